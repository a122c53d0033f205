//! The peer's side of EAP (RFC 3748 section 4).

use std::sync::Arc;

use ike::provider::{EapBetween, EapCode, EapConversation, EapMethod, EapOutcome, EapPacket, EapStep, EapType};
use ipsec_types::Secret;

use super::{ClientMethod, PasswordMethod, detail, gtc, md5, mschapv2, user_of};

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
        Box::new(Peer::new(user, self.method.kind(), self.method.keyword(), method))
    }
}

/// A conversation by one method and no other.
pub(super) struct Peer {
    user: String,
    kind: EapType,
    keyword: &'static str,
    method: Box<dyn ClientMethod>,
    stage: Stage,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// The server has named no method yet, or another one than ours and was told so.
    Choosing { declined: bool },
    /// Our method runs.
    Running,
}

impl Peer {
    pub(super) fn new(user: String, kind: EapType, keyword: &'static str, method: Box<dyn ClientMethod>) -> Self {
        Self { user, kind, keyword, method, stage: Stage::Choosing { declined: false } }
    }

    fn request(&mut self, identifier: u8, kind: EapType, data: &[u8]) -> Result<(EapType, Vec<u8>), (String, &'static str)> {
        match (kind, self.stage) {
            (EapType::IDENTITY, Stage::Choosing { .. }) => Ok((EapType::IDENTITY, self.user.clone().into_bytes())),
            (EapType::NOTIFICATION, _) => Ok((EapType::NOTIFICATION, Vec::new())),
            (kind, _) if kind == self.kind => {
                self.stage = Stage::Running;
                let failed = |why| (why, "compare local.eap_id and its secret with the user's at the server");
                self.method.answer(identifier, data).map(|answer| (kind, answer)).map_err(failed)
            }
            // RFC 3748 section 5.3.1: once, and only for the first method that is offered.
            (_, Stage::Choosing { declined: false }) => {
                self.stage = Stage::Choosing { declined: true };
                Ok((EapType::NAK, vec![self.kind.0]))
            }
            (other, _) => Err((format!("the server insists on the EAP method {other}"), "let the server offer this method to this user")),
        }
    }

    fn hear(&mut self, packet: Option<&[u8]>) -> Result<EapStep, (String, &'static str)> {
        const SERVER: &str = "look at the EAP server";
        let packet = packet.and_then(|packet| EapPacket::parse(packet).ok()).ok_or_else(|| ("no EAP packet".to_owned(), SERVER))?;
        match (packet.code, packet.content) {
            (EapCode::REQUEST, Some((kind, data))) => {
                let (kind, answer) = self.request(packet.identifier, kind, data)?;
                let packet = EapPacket::emit(EapCode::RESPONSE, packet.identifier, kind, &answer);
                packet.map(EapStep::Say).ok_or_else(|| ("an EAP packet would be too long".to_owned(), SERVER))
            }
            (EapCode::SUCCESS, _) => {
                let msk = self.method.finish().filter(|_| self.stage == Stage::Running);
                let msk = msk.ok_or_else(|| ("EAP Success has come before the method was done".to_owned(), SERVER))?;
                Ok(EapStep::Succeeded { last: None, outcome: EapOutcome { msk, user: None, lifetime: None } })
            }
            (EapCode::FAILURE, _) => Err(("EAP Failure".to_owned(), "compare local.eap_id and its secret with the user's at the server")),
            _ => Err(("an EAP packet that no server sends".to_owned(), SERVER)),
        }
    }
}

impl EapConversation for Peer {
    fn step(&mut self, packet: Option<&[u8]>) -> EapStep {
        self.hear(packet).unwrap_or_else(|(summary, remedy)| {
            let ours = format!("local.auth = {}, EAP user {}", self.keyword, self.user);
            EapStep::Failed { last: None, why: detail(summary, ours, remedy) }
        })
    }
}
