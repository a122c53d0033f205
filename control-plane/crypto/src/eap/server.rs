//! The authenticator's side of EAP (RFC 3748 section 4).

use std::sync::Arc;

use ike::error::Detail;
use ike::provider::{EapBetween, EapCode, EapConversation, EapMethod, EapOutcome, EapPacket, EapStep, EapType};
use ipsec_types::{Identity, Secret};

use super::{PasswordMethod, ServerMethod, Users, Verdict, Why, gtc, md5, mschapv2, random, user_of};

/// Which user a peer may be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EapIdentity {
    /// The one of its identity in IKE; it is not asked again.
    FromIke,
    /// Any that is known: it is asked (RFC 3748 section 5.1).
    Any,
    /// This one: it is asked.
    Exactly(String),
}

/// Lets peers show who they are by passwords.
#[derive(Debug)]
pub struct EapServer {
    method: PasswordMethod,
    identity: EapIdentity,
    users: Arc<Users>,
}

impl EapServer {
    /// Users may be any of `users` that `identity` allows.
    #[must_use]
    pub const fn new(method: PasswordMethod, identity: EapIdentity, users: Arc<Users>) -> Self {
        Self { method, identity, users }
    }
}

impl EapMethod for EapServer {
    fn keyword(&self) -> &'static str {
        self.method.keyword()
    }

    fn is_mutual(&self) -> bool {
        false
    }

    fn begin(&self, between: &EapBetween<'_>) -> Box<dyn EapConversation> {
        let (method, users, name) = (self.method, Arc::clone(&self.users), user_of(between.responder));
        let open = move |user: &str, _: &Identity| -> Box<dyn ServerMethod> {
            // A user that is not there is refused where a wrong password is, and in the same way.
            let password: Option<Arc<Secret>> = users.password(user);
            match method {
                PasswordMethod::Mschapv2 => Box::new(mschapv2::Server::new(name.clone(), user.to_owned(), password)),
                PasswordMethod::Md5 => Box::new(md5::Server::new(name.clone(), password)),
                PasswordMethod::Gtc => Box::new(gtc::Server::new(password)),
            }
        };
        let asked = Asked {
            keyword: self.method.keyword(),
            remedy: "compare the user's name and secret under [eap.NAME] with the peer's, and its EAP method",
            kind: self.method.kind(),
            identity: self.identity.clone(),
            name: by_name,
        };
        Box::new(Authenticator::new(asked, between.initiator.clone(), Box::new(open)))
    }
}

/// By which method, and whom.
pub(super) struct Asked {
    pub(super) keyword: &'static str,
    /// What to do where it fails.
    pub(super) remedy: &'static str,
    pub(super) kind: EapType,
    pub(super) identity: EapIdentity,
    /// Who a user of this name is.
    pub(super) name: fn(&str) -> Identity,
}

/// A name that a user or a server says, never an address or a distinguished name: those are for others to show.
pub(crate) fn by_name(name: &str) -> Identity {
    if name.contains('@') { Identity::Rfc822(name.to_owned()) } else { Identity::KeyId(name.as_bytes().to_vec()) }
}

/// The method for a user, as the peer has it and as IKE does.
type Begin = Box<dyn Fn(&str, &Identity) -> Box<dyn ServerMethod> + Send>;

/// A conversation by one method and no other.
pub(super) struct Authenticator {
    asked: Asked,
    begin: Begin,
    /// Of the Request that is to be answered.
    identifier: u8,
    user: String,
    /// As IKE has it, if it is the same; otherwise made of `user`.
    known_as: Identity,
    method: Option<Box<dyn ServerMethod>>,
}

/// Octets of a user's name.
const LONGEST_NAME: usize = 253;

/// The name that octets are.
pub(crate) fn name_in(octets: &[u8]) -> Option<&str> {
    std::str::from_utf8(octets).ok().filter(|name| (1..=LONGEST_NAME).contains(&name.len()))
}

impl Authenticator {
    pub(super) fn new(asked: Asked, initiator: Identity, begin: Begin) -> Self {
        let [identifier] = random();
        Self { asked, begin, identifier, user: user_of(&initiator), known_as: initiator, method: None }
    }

    fn ask(&mut self, kind: EapType, data: &[u8]) -> Result<EapStep, Why> {
        self.identifier = self.identifier.wrapping_add(1);
        let packet = EapPacket::emit(EapCode::REQUEST, self.identifier, kind, data);
        packet.map(EapStep::Say).ok_or_else(|| "an EAP packet would be too long".into())
    }

    fn begin_method(&mut self) -> Result<EapStep, Why> {
        let mut method = (self.begin)(&self.user, &self.known_as);
        let data = method.begin();
        self.method = Some(method);
        self.ask(self.asked.kind, &data)
    }

    fn identified(&mut self, name: &[u8]) -> Result<EapStep, Why> {
        let name = name_in(name).ok_or("the peer's EAP identity is no text of 1 to 253 octets")?;
        if matches!(&self.asked.identity, EapIdentity::Exactly(only) if only != name) {
            return Err(format!("the peer is the EAP user {}, not the one of remote.eap_id", name.escape_debug()).into());
        }
        if name != self.user {
            self.known_as = (self.asked.name)(name);
        }
        name.clone_into(&mut self.user);
        self.begin_method()
    }

    fn hear(&mut self, packet: Option<&[u8]>) -> Result<EapStep, Why> {
        let Some(packet) = packet else {
            return match self.asked.identity {
                EapIdentity::FromIke => self.begin_method(),
                EapIdentity::Any | EapIdentity::Exactly(_) => self.ask(EapType::IDENTITY, &[]),
            };
        };
        let packet = EapPacket::parse(packet).map_err(|error| Why::Said(error.to_string()))?;
        let (EapCode::RESPONSE, Some((kind, data))) = (packet.code, packet.content) else {
            return Err("an EAP packet that no peer sends".into());
        };
        if packet.identifier != self.identifier {
            return Err("an EAP response to another request".into());
        }
        match (&mut self.method, kind) {
            (None, EapType::IDENTITY) => self.identified(data),
            (Some(_), EapType::NAK) => {
                let wanted: Vec<String> = data.iter().take(8).map(|kind| EapType(*kind).to_string()).collect();
                Err(format!("the peer wants another EAP method than {}: {}", self.asked.kind, wanted.join(", ")).into())
            }
            (Some(method), kind) if kind == self.asked.kind => {
                let verdict = method.hear(packet.identifier, data);
                self.go_on(verdict)
            }
            (_, kind) => Err(format!("an EAP response of type {kind} that was not asked for").into()),
        }
    }

    fn go_on(&mut self, verdict: Verdict) -> Result<EapStep, Why> {
        match verdict {
            Verdict::Ask(data) => self.ask(self.asked.kind, &data),
            Verdict::Verify(open) => Ok(open.into()),
            Verdict::Accept(msk) => {
                let last = EapPacket::verdict(EapCode::SUCCESS, self.identifier);
                Ok(EapStep::Succeeded {
                    last: Some(last),
                    outcome: EapOutcome { msk, user: Some(self.known_as.clone()), ..EapOutcome::default() },
                })
            }
            Verdict::Refuse(why) => Err(why),
        }
    }

    fn or_failed(&self, step: Result<EapStep, Why>) -> EapStep {
        step.unwrap_or_else(|why| {
            let ours = format!("remote.auth = {}, EAP user {}", self.asked.keyword, self.user.escape_debug());
            let last = Some(EapPacket::verdict(EapCode::FAILURE, self.identifier));
            EapStep::Failed { last, why: why.explain(ours, self.asked.remedy) }
        })
    }
}

impl EapConversation for Authenticator {
    fn step(&mut self, packet: Option<&[u8]>) -> EapStep {
        let step = self.hear(packet);
        self.or_failed(step)
    }

    fn verified(&mut self, verdict: Result<(), Box<Detail>>) -> EapStep {
        let verdict = match (verdict, &mut self.method) {
            (_, None) => Verdict::Refuse("nothing was to be verified".into()),
            (Ok(()), Some(method)) => method.verified(),
            (Err(why), Some(method)) => method.distrusted(Why::Explained(why)),
        };
        let step = self.go_on(verdict);
        self.or_failed(step)
    }
}
