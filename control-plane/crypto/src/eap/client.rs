//! The peer's side of EAP (RFC 3748 section 4).

use std::sync::Arc;

use ike::error::Detail;
use ike::provider::{EapBetween, EapCode, EapConversation, EapMethod, EapOutcome, EapPacket, EapStep, EapType};
use ipsec_types::Secret;

use super::{ClientMethod, PasswordMethod, Reply, Why, gtc, md5, mschapv2, user_of};

/// Shows who we are by a password.
#[derive(Debug)]
pub struct EapClient {
    method: PasswordMethod,
    user: Option<String>,
    password: Arc<Secret>,
}

impl EapClient {
    /// `user`: the name by which the server knows us; without one it is our identity in IKE.
    #[must_use]
    pub const fn new(method: PasswordMethod, user: Option<String>, password: Arc<Secret>) -> Self {
        Self { method, user, password }
    }
}

impl EapMethod for EapClient {
    fn keyword(&self) -> &'static str {
        self.method.keyword()
    }

    /// None resists a dictionary, as RFC 5998 section 4 wants.
    fn is_mutual(&self) -> bool {
        false
    }

    fn begin(&self, between: &EapBetween<'_>) -> Box<dyn EapConversation> {
        let user = self.user.clone().unwrap_or_else(|| user_of(between.initiator));
        let password = Arc::clone(&self.password);
        let method: Box<dyn ClientMethod> = match self.method {
            PasswordMethod::Mschapv2 => Box::new(mschapv2::Client::new(user.clone(), password)),
            PasswordMethod::Md5 => Box::new(md5::Client::new(password)),
            PasswordMethod::Gtc => Box::new(gtc::Client::new(password)),
        };
        let remedy = "compare local.eap_id and its secret with the user's at the server";
        Box::new(Peer::new(user, self.method.kind(), (self.method.keyword(), remedy), method))
    }
}

/// A conversation by one method and no other.
pub(super) struct Peer {
    user: String,
    kind: EapType,
    keyword: &'static str,
    /// What to do where the method fails.
    remedy: &'static str,
    method: Box<dyn ClientMethod>,
    stage: Stage,
    /// Of the Request that is being answered.
    identifier: u8,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// The server has named no method yet, or another one than ours and was told so.
    Choosing { declined: bool },
    /// Our method runs.
    Running,
}

const SERVER: &str = "look at the EAP server";

impl Peer {
    pub(super) fn new(user: String, kind: EapType, (keyword, remedy): (&'static str, &'static str), method: Box<dyn ClientMethod>) -> Self {
        Self { user, kind, keyword, remedy, method, stage: Stage::Choosing { declined: false }, identifier: 0 }
    }

    fn request(&mut self, kind: EapType, data: &[u8]) -> Result<EapStep, (Why, &'static str)> {
        match (kind, self.stage) {
            (EapType::IDENTITY, Stage::Choosing { .. }) => self.say(EapType::IDENTITY, self.user.as_bytes()),
            (EapType::NOTIFICATION, _) => self.say(EapType::NOTIFICATION, &[]),
            (kind, _) if kind == self.kind => {
                self.stage = Stage::Running;
                let reply = self.method.answer(self.identifier, data);
                self.go_on(reply)
            }
            // RFC 3748 section 5.3.1: once, and only for the first method that is offered.
            (_, Stage::Choosing { declined: false }) => {
                self.stage = Stage::Choosing { declined: true };
                self.say(EapType::NAK, &[self.kind.0])
            }
            (other, _) => {
                Err((format!("the server insists on the EAP method {other}").into(), "let the server offer this method to this user"))
            }
        }
    }

    fn go_on(&self, reply: Result<Reply, Why>) -> Result<EapStep, (Why, &'static str)> {
        match reply.map_err(|why| (why, self.remedy))? {
            Reply::Say(data) => self.say(self.kind, &data),
            Reply::Verify(open) => Ok(open.into()),
        }
    }

    fn say(&self, kind: EapType, data: &[u8]) -> Result<EapStep, (Why, &'static str)> {
        let packet = EapPacket::emit(EapCode::RESPONSE, self.identifier, kind, data);
        packet.map(EapStep::Say).ok_or_else(|| ("an EAP packet would be too long".into(), SERVER))
    }

    fn hear(&mut self, packet: Option<&[u8]>) -> Result<EapStep, (Why, &'static str)> {
        let packet = packet.and_then(|packet| EapPacket::parse(packet).ok()).ok_or_else(|| ("no EAP packet".into(), SERVER))?;
        match (packet.code, packet.content) {
            (EapCode::REQUEST, Some((kind, data))) => {
                self.identifier = packet.identifier;
                self.request(kind, data)
            }
            (EapCode::SUCCESS, _) => {
                let msk = self.method.finish().filter(|_| self.stage == Stage::Running);
                let msk = msk.ok_or_else(|| ("EAP Success has come before the method was done".into(), SERVER))?;
                Ok(EapStep::Succeeded { last: None, outcome: EapOutcome { msk, ..EapOutcome::default() } })
            }
            (EapCode::FAILURE, _) => Err((self.method.refused().unwrap_or_else(|| "EAP Failure".into()), self.remedy)),
            _ => Err(("an EAP packet that no server sends".into(), SERVER)),
        }
    }

    fn or_failed(&self, step: Result<EapStep, (Why, &'static str)>) -> EapStep {
        step.unwrap_or_else(|(why, remedy)| EapStep::Failed { last: None, why: self.explain(why, remedy) })
    }

    fn explain(&self, why: Why, remedy: &str) -> Box<Detail> {
        why.explain(format!("local.auth = {}, EAP user {}", self.keyword, self.user), remedy)
    }
}

impl EapConversation for Peer {
    fn step(&mut self, packet: Option<&[u8]>) -> EapStep {
        let step = self.hear(packet);
        self.or_failed(step)
    }

    fn verified(&mut self, verdict: Result<(), Box<Detail>>) -> EapStep {
        let reply = match verdict {
            Ok(()) => self.method.verified(),
            Err(why) => self.method.distrusted(Why::Explained(why)),
        };
        self.or_failed(self.go_on(reply))
    }

    fn refused(&mut self) -> Option<Box<Detail>> {
        let why = self.method.refused()?;
        Some(self.explain(why, self.remedy))
    }
}
