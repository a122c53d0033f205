//! EAP between the first IKE_AUTH exchange and the last (RFC 7296 section 2.16).
//!
//! ```text
//! initiator                                                         responder
//! ---------                                                         ---------
//! HDR, SK {IDi, [CERTREQ,] [IDr,] SAi2, TSi, TSr}  -->
//!                                       <--  HDR, SK {IDr, [CERT,] [AUTH,] EAP}
//! HDR, SK {EAP}  -->
//!                                       <--  HDR, SK {EAP}                       as often as the method wants
//!                                       <--  HDR, SK {EAP (success)}
//! HDR, SK {AUTH}  -->
//!                                       <--  HDR, SK {AUTH, SAr2, TSi, TSr}
//! ```
//!
//! Without the responder's first AUTH (RFC 5998) EAP alone shows who it is, and has to be a method that does. Each step of the method is a job.

pub(super) mod initiator;
pub(super) mod responder;

use alloc::boxed::Box;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use ike_wire::{EapMessage, EapPacket, Header, Identification, Payload};
use ipsec_types::Identity;

use super::{Transcript, WantedChild};
use crate::context::Context;
use crate::diagnosis;
use crate::error::Detail;
use crate::io::{Event, Job, JobId, JobResult};
use crate::provider::{EapConversation, EapOutcome, EapStep};
use crate::v2::keys::Role;
use crate::v2::{Core, Protected, Sk, State};

/// A conversation is under way, or its AUTH is awaited.
pub(crate) struct Conversing {
    talk: Talk,
    phase: Phase,
}

/// What is there from its beginning to its end.
struct Talk {
    sk: Sk,
    transcript: Transcript,
    side: Side,
    spent: Spent,
}

enum Side {
    Initiator(Initiator),
    Responder(Responder),
}

struct Initiator {
    child: WantedChild,
    /// Who the responder is, by its first AUTH or only as it says.
    id: Identification,
    identity: Identity,
    /// It has not shown it by a first AUTH.
    eap_alone: bool,
}

struct Responder {
    /// The first request.
    request: Protected,
    /// Who the initiator says it is.
    id: Identification,
    identity: Identity,
    /// The request to be answered.
    header: Header,
    /// IDr, certificates and AUTH, which go out before the first EAP packet.
    opening: Vec<Payload>,
}

enum Phase {
    /// The method is at work.
    Working(JobId),
    /// Others are asked about the other side's certificate.
    Verifying(JobId, Box<dyn EapConversation>),
    /// The other side has to answer.
    Listening(Box<dyn EapConversation>),
    /// The method has succeeded, AUTH is awaited.
    Proving(EapOutcome),
    /// Nothing more comes of it.
    Over,
}

/// What a conversation may take: a method without an end must not keep an IKE SA half-open, nor memory.
#[derive(Default)]
struct Spent {
    packets: u32,
    octets: usize,
}

/// EAP-TLS with large certificates takes some dozens of packets (RFC 5216 section 2.1.5), in either direction.
const MOST_PACKETS: u32 = 100;
const MOST_OCTETS: usize = 128 << 10;

impl Spent {
    fn take(&mut self, packet: &[u8]) -> Result<(), Box<Detail>> {
        self.packets = self.packets.saturating_add(1);
        self.octets = self.octets.saturating_add(packet.len());
        if self.packets > MOST_PACKETS || self.octets > MOST_OCTETS {
            return Err(diagnosis::endless_eap(self.packets, self.octets));
        }
        Ok(())
    }
}

impl Conversing {
    /// The keys.
    pub(crate) const fn sk(&self) -> &Sk {
        &self.talk.sk
    }

    /// The keys, at its end.
    pub(crate) fn into_sk(self) -> Sk {
        self.talk.sk
    }

    /// Whose IKE SA it is.
    pub(crate) const fn role(&self) -> Role {
        match self.talk.side {
            Side::Initiator(_) => Role::Initiator,
            Side::Responder(_) => Role::Responder,
        }
    }

    /// The Child SA that an initiator wants.
    pub(crate) const fn wanted(&self) -> Option<&WantedChild> {
        match &self.talk.side {
            Side::Initiator(initiator) => Some(&initiator.child),
            Side::Responder(_) => None,
        }
    }

    /// The same.
    pub(crate) const fn wanted_mut(&mut self) -> Option<&mut WantedChild> {
        match &mut self.talk.side {
            Side::Initiator(initiator) => Some(&mut initiator.child),
            Side::Responder(_) => None,
        }
    }
}

impl Talk {
    /// The method goes on with the other side's packet.
    fn work(mut self, core: &mut Core, cx: &mut Context<'_>, conversation: Box<dyn EapConversation>, packet: Option<EapMessage>) -> State {
        if let Err(why) = self.spent.take(packet.as_deref().unwrap_or_default()) {
            return self.fail(core, cx, None, why);
        }
        let job = cx.shared.job(core.id, Job::Eap { conversation, packet });
        State::Conversing(Box::new(Conversing { talk: self, phase: Phase::Working(job) }))
    }

    /// It has something to say.
    fn count(&mut self, core: &Core, cx: &mut Context<'_>, packet: &[u8]) -> Result<(), Box<Detail>> {
        self.spent.take(packet)?;
        let connection = core.connection.name.clone();
        cx.shared.event(Event::EapRound { connection, remote: core.remote, round: self.spent.packets, packet: shown(packet) });
        Ok(())
    }

    /// One side does not believe the other.
    fn fail(self, core: &mut Core, cx: &mut Context<'_>, last: Option<Vec<u8>>, why: Box<Detail>) -> State {
        match &self.side {
            Side::Initiator(_) => initiator::fail(self, core, cx, why),
            Side::Responder(_) => responder::fail(self, core, cx, last, why),
        }
    }

    /// Its end.
    fn over(self) -> State {
        State::Conversing(Box::new(Conversing { talk: self, phase: Phase::Over }))
    }
}

/// A packet without what is in it, which may be a password.
fn shown(packet: &[u8]) -> String {
    let octets = packet.len();
    match EapPacket::parse(packet) {
        Ok(EapPacket { code, content: Some((kind, _)), .. }) => format!("{code} {kind}, {octets} octets"),
        Ok(EapPacket { code, .. }) => code.to_string(),
        Err(_) => format!("{octets} octets"),
    }
}

/// A step of the method is done, or others have said what they know of a certificate.
pub(crate) fn on_job(state: Conversing, core: &mut Core, cx: &mut Context<'_>, job: JobId, result: JobResult) -> State {
    let Conversing { mut talk, phase } = state;
    let (conversation, step) = match (phase, result) {
        (Phase::Working(running), JobResult::Eap(conversation, step)) if running == job => (conversation, step),
        (Phase::Verifying(running, mut conversation), JobResult::Verified(verdict)) if running == job => {
            let step = conversation.verified(verdict);
            (conversation, step)
        }
        (phase, _) => return State::Conversing(Box::new(Conversing { talk, phase })),
    };
    let (packet, phase) = match step {
        EapStep::Failed { last, why } => return talk.fail(core, cx, last, why.bounded()),
        EapStep::Verify { verifier, proof } => {
            let job = cx.shared.job(core.id, Job::Verify { verifier, proof: *proof });
            return State::Conversing(Box::new(Conversing { talk, phase: Phase::Verifying(job, conversation) }));
        }
        EapStep::Say(packet) => (Some(packet), Phase::Listening(conversation)),
        EapStep::Succeeded { last, outcome } => (last, Phase::Proving(outcome)),
    };
    let packet = packet.map(EapMessage::from);
    if let Some(packet) = &packet
        && let Err(why) = talk.count(core, cx, packet)
    {
        return talk.fail(core, cx, None, why);
    }
    match talk.side {
        Side::Initiator(_) => initiator::go_on(talk, phase, core, cx, packet),
        Side::Responder(_) => responder::go_on(talk, phase, core, cx, packet),
    }
}

/// The other side speaks: an EAP packet where the method waits for one, AUTH where it has succeeded.
pub(crate) fn on_message(state: Conversing, core: &mut Core, cx: &mut Context<'_>, message: Protected) -> State {
    if let Phase::Working(_) | Phase::Verifying(..) | Phase::Over = state.phase {
        cx.shared.count("messages_ignored");
        return State::Conversing(Box::new(state));
    }
    match state.talk.side {
        Side::Initiator(_) => initiator::on_response(state.talk, state.phase, core, cx, &message),
        Side::Responder(_) => responder::on_request(state.talk, state.phase, core, cx, message),
    }
}
