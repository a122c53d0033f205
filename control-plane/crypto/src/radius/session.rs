//! One peer's conversation with a RADIUS server, in which the gateway passes EAP packets through (RFC 3579 section 2).
//!
//! ```text
//! peer                           gateway                          RADIUS server
//!      <- EAP-Request/Identity
//!      EAP-Response/Identity ->
//!                                Access-Request {EAP} ->
//!                                                      <- Access-Challenge {EAP, State}
//!      <- EAP-Request/method
//!      EAP-Response/method ->
//!                                Access-Request {EAP, State} ->              as often as the method wants
//!                                                      <- Access-Accept {EAP Success, keys}
//!      <- EAP-Success
//! ```

use std::net::{IpAddr, SocketAddr};

use ike::provider::{EapBetween, EapCode, EapOutcome, EapPacket, EapStep, EapType};
use ipsec_types::Identity;

use super::packet::{Answer, Request, Verdict, kind};
use crate::eap::{EapIdentity, by_name, detail, name_in, random, user_of};

/// What the conversation holds between two steps.
#[derive(Debug)]
pub struct Session {
    identity: EapIdentity,
    /// Attributes of every request.
    facts: Request,
    /// As IKE has it.
    initiator: Identity,
    user: String,
    /// Of the EAP Request that is to be answered.
    identifier: u8,
    state: Option<Vec<u8>>,
    stage: Stage,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// The peer has not said who it is.
    Asking,
    /// No method has been answered yet.
    Begun,
    /// The peer has answered this method.
    Running(EapType),
}

/// What comes next.
#[derive(Debug)]
pub enum Move {
    /// Something for the core.
    Step(EapStep),
    /// Something for a server.
    Ask(Request),
}

/// Octets of an EAP packet that passes everywhere, inside IKE as well.
const MTU: u32 = 1024;
/// RFC 2865 section 5.6: Framed. RFC 2865 section 5.41: Virtual.
const FRAMED: u32 = 2;
const VIRTUAL: u32 = 5;
/// Octets of text in an attribute.
const LONGEST_TEXT: usize = 253;

impl Session {
    /// The gateway calls itself by its identity in IKE. `port`: through what the peer has come.
    #[must_use]
    pub fn new(identity: EapIdentity, between: &EapBetween<'_>, port: &str) -> Self {
        let mut facts = Request::new(user_of(between.responder));
        match between.local.ip().to_canonical() {
            IpAddr::V4(address) => facts.add(kind::NAS_IP_ADDRESS, &address.octets()),
            IpAddr::V6(address) => facts.add(kind::NAS_IPV6_ADDRESS, &address.octets()),
        }
        facts.add(kind::NAS_PORT_TYPE, &VIRTUAL.to_be_bytes());
        facts.add(kind::NAS_PORT_ID, clipped(port));
        facts.add(kind::SERVICE_TYPE, &FRAMED.to_be_bytes());
        facts.add(kind::CALLED_STATION_ID, station(between.local).as_bytes());
        facts.add(kind::CALLING_STATION_ID, station(between.remote).as_bytes());
        facts.add(kind::FRAMED_MTU, &MTU.to_be_bytes());
        let [identifier] = random();
        Self {
            identity,
            facts,
            initiator: between.initiator.clone(),
            user: user_of(between.initiator),
            identifier,
            state: None,
            stage: Stage::Asking,
        }
    }

    /// Goes on with the peer's packet; begins without one.
    #[must_use]
    pub fn hear_peer(&mut self, packet: Option<&[u8]>) -> Move {
        self.peer(packet).unwrap_or_else(|why| Move::Step(self.fail(why, "look at the peer's EAP, and at the RADIUS server's log")))
    }

    /// Goes on with a server's answer.
    #[must_use]
    pub fn hear_server(&mut self, answer: Answer) -> EapStep {
        const SERVER: &str = "look at the RADIUS server's log, and at the methods and secrets of this user there";
        self.server(answer).unwrap_or_else(|(last, why)| match self.fail(why, SERVER) {
            EapStep::Failed { why, .. } => EapStep::Failed { last, why },
            other => other,
        })
    }

    /// Ends the conversation; nobody has written an EAP Failure (RFC 3579 section 2.6.3: nor may we), so IKE tells the peer.
    #[must_use]
    pub fn fail(&self, why: String, remedy: &str) -> EapStep {
        let ours = format!("remote.auth = eap-radius, EAP user {}", self.user.escape_debug());
        EapStep::Failed { last: None, why: detail(why, ours, remedy) }
    }

    fn peer(&mut self, packet: Option<&[u8]>) -> Result<Move, String> {
        let Some(packet) = packet else {
            if self.identity != EapIdentity::FromIke {
                return emit(EapCode::REQUEST, self.identifier, &[]).map(EapStep::Say).map(Move::Step);
            }
            // RFC 3579 section 2.1: where the NAS knows the identity, it speaks for the peer.
            let name = self.user.clone();
            return self.begin(&emit(EapCode::RESPONSE, self.identifier, name.as_bytes())?, name.as_bytes());
        };
        let read = EapPacket::parse(packet).map_err(|error| error.to_string())?;
        let (EapCode::RESPONSE, Some((kind, data))) = (read.code, read.content) else {
            return Err("an EAP packet that no peer sends".to_owned());
        };
        if read.identifier != self.identifier {
            return Err("an EAP response to another request".to_owned());
        }
        match (self.stage, kind) {
            (Stage::Asking, EapType::IDENTITY) => return self.begin(packet, data),
            (Stage::Asking, kind) => return Err(format!("an EAP response of type {kind} that was not asked for")),
            // Whoever may be let in is known by now.
            (_, EapType::IDENTITY) if data != self.user.as_bytes() => return Err("the peer has become another EAP user".to_owned()),
            (_, EapType::IDENTITY | EapType::NOTIFICATION | EapType::NAK) => {}
            (_, kind) => self.stage = Stage::Running(kind),
        }
        self.ask(packet).map(Move::Ask)
    }

    /// The peer has said who it is.
    fn begin(&mut self, packet: &[u8], name: &[u8]) -> Result<Move, String> {
        let name = name_in(name).ok_or("the peer's EAP identity is no text of 1 to 253 octets")?;
        if matches!(&self.identity, EapIdentity::Exactly(only) if only != name) {
            return Err(format!("the peer is the EAP user {}, not the one of remote.eap_id", name.escape_debug()));
        }
        name.clone_into(&mut self.user);
        self.stage = Stage::Begun;
        self.ask(packet).map(Move::Ask)
    }

    fn ask(&self, packet: &[u8]) -> Result<Request, String> {
        let mut request = self.facts.clone();
        request.add(kind::USER_NAME, self.user.as_bytes());
        if let Some(state) = &self.state {
            request.add(kind::STATE, state);
        }
        if request.add_eap(packet) { Ok(request) } else { Err("an EAP packet that is too long for RADIUS".to_owned()) }
    }

    /// The decision is the code of RADIUS; where the EAP packet beside it says otherwise, nobody is let in (RFC 3579 section 2.6.3).
    fn server(&mut self, answer: Answer) -> Result<EapStep, (Option<Vec<u8>>, String)> {
        let err = |why: &str| Err((None, why.to_owned()));
        let packet = answer.eap.as_deref().and_then(|packet| EapPacket::parse(packet).ok());
        match (answer.verdict, packet) {
            (Verdict::Challenge, Some(packet @ EapPacket { code: EapCode::REQUEST, .. })) => {
                self.identifier = packet.identifier;
                self.state = answer.state;
                Ok(EapStep::Say(answer.eap.unwrap_or_default()))
            }
            (Verdict::Challenge, _) => err("the RADIUS server's Access-Challenge holds no EAP Request"),
            (Verdict::Accept, Some(EapPacket { code: EapCode::SUCCESS, .. })) => {
                let Stage::Running(method) = self.stage else {
                    return err("the RADIUS server's EAP Success has come before any method was done");
                };
                if answer.msk.is_none() && makes_key(method) {
                    return Err((
                        None,
                        format!("the RADIUS server's Access-Accept holds no key (MS-MPPE-Recv-Key), and {method} makes one"),
                    ));
                }
                let user = Some(self.known_as(answer.user.as_deref()));
                let outcome = EapOutcome { msk: answer.msk, user, lifetime: answer.session, addresses: answer.addresses };
                Ok(EapStep::Succeeded { last: answer.eap, outcome })
            }
            (Verdict::Accept, _) => err("the RADIUS server's Access-Accept holds no EAP Success"),
            (Verdict::Reject, packet) => {
                let why = match answer.reply {
                    Some(text) => format!("the RADIUS server refuses the EAP user: {}", text.escape_debug()),
                    None => "the RADIUS server refuses the EAP user".to_owned(),
                };
                let failure = packet.is_some_and(|packet| packet.code == EapCode::FAILURE);
                Err((answer.eap.filter(|_| failure), why))
            }
        }
    }

    /// Who the peer is: as the server says (RFC 3579 section 3), as it says itself, or as IKE says where that is the same.
    fn known_as(&self, by_server: Option<&str>) -> Identity {
        let name = by_server.and_then(|name| name_in(name.as_bytes())).unwrap_or(&self.user);
        if name == user_of(&self.initiator) { self.initiator.clone() } else { by_name(name) }
    }
}

/// Methods that leave both sides without one (RFC 3748 section 5); of every other we know, or expect, that it makes one.
const fn makes_key(method: EapType) -> bool {
    const OTP: EapType = EapType(5);
    !matches!(method, EapType::MD5_CHALLENGE | OTP | EapType::GTC)
}

/// As much of a text as an attribute holds.
fn clipped(text: &str) -> &[u8] {
    text.as_bytes().get(..LONGEST_TEXT).unwrap_or(text.as_bytes())
}

/// As strongSwan writes it.
fn station(at: SocketAddr) -> String {
    format!("{}[{}]", at.ip().to_canonical(), at.port())
}

fn emit(code: EapCode, identifier: u8, name: &[u8]) -> Result<Vec<u8>, String> {
    EapPacket::emit(code, identifier, EapType::IDENTITY, name).ok_or_else(|| "an EAP packet would be too long".to_owned())
}
