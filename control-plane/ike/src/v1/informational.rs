//! Informational exchanges (RFC 2409 section 5.7): deletions, notifications, and whether the peer lives (RFC 3706). One message each, which nobody
//! confirms.

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::time::Duration;

use ike_wire::NotifyType as Reason;
use ike_wire::v1::{Delete, ExchangeType, Message, Notify, NotifyType, Payload, Protocol};
use ipsec_types::{Instant, Secret};

use crate::child::{ChildPhase, LINGER};
use crate::context::{Context, End};
use crate::diagnosis::{self, Asked};
use crate::error::Failure;
use crate::io::Datagram;
use crate::v1::established::{Established, heard};
use crate::v1::exchange::{Due, Exchange};
use crate::v1::keys::{Iv, Keys};
use crate::v1::known::News;
use crate::v1::lifetime::{self, Phase};
use crate::v1::phase_1::{peer_of, spi_of};
use crate::v1::{Core, State, find, quick, trace_incoming};

/// Dead Peer Detection: the question that has no answer yet, and what was asked before.
#[derive(Debug)]
pub(crate) struct Probe {
    sequence: u32,
    /// When to ask again, and when to give up; what is sent is made anew each time.
    asked: Option<Exchange>,
    /// The last question of the peer.
    heard: Option<u32>,
}

impl Probe {
    pub(crate) fn new(cx: &mut Context<'_>) -> Self {
        let mut octets = [0; 4];
        cx.random.fill(&mut octets);
        // "the first R-U-THERE message should contain a random number, with the high bit clear" (section 6.2, in spirit).
        Self { sequence: u32::from_be_bytes(octets) & 0x7fff_ffff, asked: None, heard: None }
    }

    /// When it has something to do.
    pub(crate) fn deadline(&self, core: &Core) -> Option<Instant> {
        match &self.asked {
            Some(asked) => asked.deadline(),
            None => core.connection.dpd_delay.filter(|_| core.abilities.dead_peer_detection).map(|delay| core.last_inbound + delay),
        }
    }

    pub(crate) fn shift(&mut self, pause: Duration) {
        if let Some(asked) = &mut self.asked {
            asked.shift(pause);
        }
    }
}

/// `HDR*, HASH(1), N/D  -->`
pub(crate) fn send(state: &mut Established, core: &mut Core, cx: &mut Context<'_>, payloads: Vec<Payload>) -> Result<Vec<u8>, Failure> {
    say(core, cx, (&state.keys, &state.last), payloads)
}

/// The same with the keys of phase 1, and its last block.
pub(crate) fn say(core: &mut Core, cx: &mut Context<'_>, (keys, last): (&Keys, &Iv), payloads: Vec<Payload>) -> Result<Vec<u8>, Failure> {
    let message_id = core.next_message_id();
    let mut iv = keys.phase_2_iv(last, message_id);
    let header = core.header(ExchangeType::INFORMATIONAL, message_id, true);
    let hash = |rest: &[u8]| keys.hash_1(message_id, rest).expose().to_vec();
    core.send_encrypted(cx, keys, &mut iv, &header, payloads, Some(&hash))
}

/// `HDR*, HASH(1), [N,] D  -->`: the IKE SA is not to be, and why (RFC 2408 sections 3.14.1 and 3.15). The peer may believe that phase 1 is over.
pub(crate) fn end(core: &mut Core, cx: &mut Context<'_>, by: (&Keys, &Iv), why: Option<NotifyType>) {
    let spi = core.cookies().map(spi_of).unwrap_or_default();
    let notify = why.map(|kind| Payload::Notify(Notify::new(Protocol::ISAKMP, spi.clone(), kind, Vec::new())));
    let delete = Payload::Delete(Delete::new(Protocol::ISAKMP, alloc::vec![spi]));
    let _sent = say(core, cx, by, notify.into_iter().chain([delete]).collect());
}

/// Tells the peer what is wrong with its quick mode.
pub(crate) fn complain(state: &mut Established, core: &mut Core, cx: &mut Context<'_>, protocol: Protocol, spi: Vec<u8>, kind: NotifyType) {
    let _sent = send(state, core, cx, alloc::vec![Payload::Notify(Notify::new(protocol, spi, kind, Vec::new()))]);
}

/// The peer says something.
pub(crate) fn on_message(
    mut state: Box<Established>,
    core: &mut Core,
    cx: &mut Context<'_>,
    datagram: &Datagram,
    message: &Message<'_>,
) -> State {
    let message_id = message.header.message_id;
    let iv = state.keys.phase_2_iv(&state.last, message_id);
    let Some((payloads, _)) = quick::open(&state.keys, &iv, message, |rest| state.keys.hash_1(message_id, rest)) else {
        cx.shared.count("messages_unauthentic");
        return State::Established(state);
    };
    state.saw(message_id);
    trace_incoming(cx, core, datagram, &message.header, &payloads);
    heard(&state, core, cx, datagram);
    for payload in &payloads {
        match payload {
            Payload::Delete(delete) if delete.protocol == Protocol::ISAKMP => {
                let ours = core.cookies().map(spi_of);
                if delete.spis.iter().any(|spi| Some(spi) == ours.as_ref()) {
                    return ended_by_peer(state, core, cx);
                }
            }
            Payload::Delete(delete) => {
                let elsewhere = delete_by_peer(&mut state, core, cx, delete);
                if !elsewhere.is_empty() {
                    let delete = Delete::new(delete.protocol, elsewhere);
                    cx.shared.v1.news.push_back(News::Deleted { under: core.id, delete });
                }
            }
            Payload::Notify(notify) => on_notification(&mut state, core, cx, notify),
            _ => {}
        }
    }
    State::Established(state)
}

/// The peer has deleted the IKE SA. Child SAs go on under another one with it, as they do not depend on any.
fn ended_by_peer(state: Box<Established>, core: &mut Core, cx: &mut Context<'_>) -> State {
    core.end = Some(End::ByPeer);
    State::Established(state).close(core, cx, None)
}

/// The peer has closed SAs it received on; ours go with them. Gives back the SPIs of those that are not there: they were deleted before, or another IKE SA
/// with the peer has them, as both ends need not agree on which.
pub(crate) fn delete_by_peer(state: &mut Established, core: &mut Core, cx: &mut Context<'_>, delete: &Delete) -> Vec<Vec<u8>> {
    let mut elsewhere = Vec::new();
    for spi in &delete.spis {
        let named = state
            .children
            .iter()
            .find(|child| child.protocol().0 == delete.protocol.0 && spi.as_slice() == child.outbound.value().to_be_bytes());
        let Some((id, policy, phase)) = named.map(|child| (child.id, child.policy, child.phase)) else {
            elsewhere.push(spi.clone());
            continue;
        };
        if let Some(ended) = state.retire(core, cx, id, LINGER) {
            quick::replacing::reinstate(state, core, cx, &ended);
        }
        let served = state.children.iter().any(|child| child.policy == policy && child.is_live());
        if phase == ChildPhase::Installed && !served {
            cx.shared.ended.push((policy, End::ByPeer));
        }
    }
    elsewhere
}

fn on_notification(state: &mut Established, core: &mut Core, cx: &mut Context<'_>, notify: &Notify) {
    let about_us = core.cookies().is_some_and(|cookies| notify.spi.is_empty() || notify.spi == spi_of(cookies));
    match notify.kind {
        NotifyType::R_U_THERE if about_us => answer_probe(state, core, cx, notify),
        NotifyType::R_U_THERE_ACK if about_us && sequence(notify) == Some(state.probe.sequence) => state.probe.asked = None,
        NotifyType::RESPONDER_LIFETIME if about_us && notify.protocol == Protocol::ISAKMP => {
            if let Some(life) = lifetime::notified(Phase::One, notify) {
                core.limit_life(cx.now, &life);
            }
        }
        kind if kind.is_error() => {
            let reason = match kind {
                NotifyType::NO_PROPOSAL_CHOSEN => Reason::NO_PROPOSAL_CHOSEN,
                NotifyType::INVALID_ID_INFORMATION => Reason::TS_UNACCEPTABLE,
                other => Reason(other.0),
            };
            let Some(active) = state.active.take_if(|active| active.may_be_refused()) else { return };
            let asked = core.connection.child(active.index).map_or(Asked::Nothing, Asked::Child);
            let failure = diagnosis::refused(&core.connection, reason, asked);
            quick::abandon(state, core, cx, *active, &failure);
        }
        _ => {}
    }
}

fn sequence(notify: &Notify) -> Option<u32> {
    notify.data.as_slice().try_into().ok().map(u32::from_be_bytes)
}

/// "An entity MUST send a R-U-THERE-ACK in response to R-U-THERE" (section 5.4), but not to one that was asked before.
fn answer_probe(state: &mut Established, core: &mut Core, cx: &mut Context<'_>, notify: &Notify) {
    let (Some(number), Some(cookies)) = (sequence(notify), core.cookies()) else { return };
    // What comes again after its answer was lost is answered again; what is older is a replay.
    if state.probe.heard.is_some_and(|last| number.wrapping_sub(last) > u32::MAX / 2) {
        return cx.shared.count("messages_ignored");
    }
    state.probe.heard = Some(number);
    let answer = Notify::new(Protocol::ISAKMP, spi_of(cookies), NotifyType::R_U_THERE_ACK, number.to_be_bytes().to_vec());
    let _sent = send(state, core, cx, alloc::vec![Payload::Notify(answer)]);
}

/// `HDR*, HASH(1), N(R-U-THERE)  -->`
fn ask(state: &mut Established, core: &mut Core, cx: &mut Context<'_>) -> Result<Vec<u8>, Failure> {
    let spi = core.cookies().map(spi_of).unwrap_or_default();
    let question = Notify::new(Protocol::ISAKMP, spi, NotifyType::R_U_THERE, state.probe.sequence.to_be_bytes().to_vec());
    send(state, core, cx, alloc::vec![Payload::Notify(question)])
}

/// Asks the peer whether it lives, again, or no more.
pub(crate) fn on_timeout(mut state: Box<Established>, core: &mut Core, cx: &mut Context<'_>) -> State {
    if state.probe.deadline(core).is_none_or(|at| at > cx.now) {
        return State::Established(state);
    }
    // Whatever the peer has said since shows that it lives (section 5.5); that may be long ago.
    let heard = core.last_inbound;
    if state.probe.asked.take_if(|asked| asked.tries().is_some_and(|(_, since)| heard > since)).is_some()
        && state.probe.deadline(core).is_none_or(|at| at > cx.now)
    {
        return State::Established(state);
    }
    let timing = core.connection.retransmission;
    let Some(mut asked) = state.probe.asked.take() else {
        cx.shared.count("probes_sent");
        state.probe.sequence = state.probe.sequence.wrapping_add(1);
        match ask(&mut state, core, cx) {
            Ok(sent) => {
                let mut asked = Exchange::default();
                asked.asked(cx.now, &timing, sent);
                state.probe.asked = Some(asked);
                return State::Established(state);
            }
            Err(failure) => return State::Established(state).close(core, cx, Some(failure)),
        }
    };
    match asked.due(cx.now, &timing) {
        Due::GiveUp => {
            let failure = core.timed_out(cx, "R-U-THERE", &asked);
            return State::Established(state).close(core, cx, Some(failure));
        }
        // With a Message ID of its own: to the peer the old one would be a replay.
        Due::Repeat(_) => {
            cx.shared.count("requests_retransmitted");
            let _sent = ask(&mut state, core, cx);
        }
        Due::Nothing => {}
    }
    state.probe.asked = Some(asked);
    State::Established(state)
}

/// An Informational message during phase 1. Without keys anybody can have sent it; with them, it is the peer's word, or nobody's.
pub(crate) fn on_early(state: State, core: &mut Core, cx: &mut Context<'_>, datagram: &Datagram, message: &Message<'_>) -> State {
    if let (State::AwaitId(keyed), true) = (&state, message.header.flags.encryption) {
        let message_id = message.header.message_id;
        let iv = keyed.keys.phase_2_iv(&keyed.iv, message_id);
        let Some((payloads, _)) = quick::open(&keyed.keys, &iv, message, |rest| keyed.keys.hash_1(message_id, rest)) else {
            // Keys that differ are why it cannot be read here either.
            let peer = peer_of(&core.connection, core.remote.ip());
            cx.shared.count("messages_unprotected");
            core.refused.get_or_insert_with(|| Failure::Unauthenticated(diagnosis::wrong_key(&core.connection, &peer)));
            return state;
        };
        trace_incoming(cx, core, datagram, &message.header, &payloads);
        let Some(kind) = error_in(&payloads) else { return state };
        let failure = refused(core, kind);
        return state.close(core, cx, Some(failure));
    }
    let Some((payloads, kind)) = crate::v1::parse(message).and_then(|payloads| error_in(&payloads).map(|kind| (payloads, kind))) else {
        cx.shared.count("messages_ignored");
        return state;
    };
    cx.shared.count("messages_unprotected");
    trace_incoming(cx, core, datagram, &message.header, &payloads);
    // Believed only if nothing better comes until the next retransmission.
    core.refused = Some(refused(core, kind));
    state
}

/// The first error that a message notifies of.
pub(crate) fn error_in(payloads: &[Payload]) -> Option<NotifyType> {
    find::notifications(payloads).map(|notify| notify.kind).find(|kind| kind.is_error())
}

/// What the peer says against phase 1, by the numbers of IKEv2, which has words for all of them.
pub(crate) fn refused(core: &Core, kind: NotifyType) -> Failure {
    let reason = match kind {
        NotifyType::NO_PROPOSAL_CHOSEN => Reason::NO_PROPOSAL_CHOSEN,
        NotifyType::AUTHENTICATION_FAILED
        | NotifyType::PAYLOAD_MALFORMED
        | NotifyType::INVALID_HASH_INFORMATION
        | NotifyType::INVALID_ID_INFORMATION => Reason::AUTHENTICATION_FAILED,
        other => Reason(other.0),
    };
    diagnosis::refused(&core.connection, reason, Asked::IkeSa)
}

/// A hash of a message, compared in constant time.
pub(crate) fn is_hash(said: &[u8], expected: &Secret) -> bool {
    Secret::copy_from(said) == *expected
}
