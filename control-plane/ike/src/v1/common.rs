//! What an IKE SA of version 1 has in every state, and how it speaks.

use alloc::collections::VecDeque;
use alloc::string::String;
use alloc::vec::Vec;
use core::net::SocketAddr;
use core::time::Duration;

use ike_wire::v1::{Chain, ExchangeType, Flags, Header, Message, Payload, emit_payloads};
use ipsec_types::{ChildSaId, IkeSpi, Instant, Limits, PolicyId};
use zeroize::Zeroizing;

use crate::assigned::Assigned;
use crate::context::{Context, End};
use crate::diagnosis::{self, Silence};
use crate::error::Failure;
use crate::io::{Datagram, IkeSaId, Output, RequestId};
use crate::policy::ConnectionRef;
use crate::v1::exchange::Exchange;
use crate::v1::fragments::{self, Reassembly};
use crate::v1::keys::{Iv, Keys};
use crate::v1::lifetime::Volume;
use crate::v1::nat::Abilities;
use crate::v1::phase_1::Mode;
use crate::v1::trace::{self, Traced};
use crate::v2::keys::Role;
use crate::v2::nat::{NAT_T_PORT, NatStatus};
use crate::want::Waiter;

/// What every state needs.
pub(crate) struct Core {
    pub(crate) id: IkeSaId,
    /// In phase 1.
    pub(crate) role: Role,
    /// The exchange of phase 1.
    pub(crate) mode: Mode,
    pub(crate) connection: ConnectionRef,
    pub(crate) initiator_cookie: IkeSpi,
    pub(crate) responder_cookie: Option<IkeSpi>,
    pub(crate) local: SocketAddr,
    pub(crate) remote: SocketAddr,
    /// Where the peer was when phase 1 began.
    pub(crate) first_remote: SocketAddr,
    pub(crate) created: Instant,
    /// `created`, but moved when the clock stands still.
    pub(crate) half_open_since: Instant,
    /// The messages of phase 1.
    pub(crate) phase_1: Exchange,
    /// A message of the peer's for which it is too early.
    pub(crate) early: Option<Datagram>,
    /// Addresses inside the networks of its ends.
    pub(crate) assigned: Assigned,
    /// What the peer has said, unprotected, that ends phase 1 unless something better comes.
    pub(crate) refused: Option<Failure>,
    pub(crate) abilities: Abilities,
    /// How long the peer lets the IKE SA live, by the transform that was chosen.
    pub(crate) peer_life: Limits,
    pub(crate) volume: Volume,
    /// What of the peer's messages has come in fragments.
    pub(crate) fragments: Reassembly,
    pub(crate) nat: NatStatus,
    /// When the peer last showed that it lives.
    pub(crate) last_inbound: Instant,
    /// When IKE last sent something by the way that ESP takes.
    pub(crate) last_outbound: Instant,
    pub(crate) tasks: VecDeque<Task>,
    /// Operations for which the time has not come.
    pub(crate) later: Vec<(Instant, Task)>,
    /// Policies whose negotiation runs under this IKE SA.
    pub(crate) wanted: Vec<PolicyId>,
    /// Operators who wait for its end.
    pub(crate) terminating: Vec<RequestId>,
    /// How its Child SAs end with it, where this side does not wish it.
    pub(crate) end: Option<End>,
    /// The IKE SA that this one takes the place of, and who has asked for it.
    pub(crate) predecessor: Option<(IkeSaId, Option<RequestId>)>,
    message_ids: MessageIds,
}

/// Makes the hash of a message out of what stands behind it.
type MakeHash<'a> = &'a dyn Fn(&[u8]) -> Vec<u8>;

/// One operation of ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Task {
    /// Set up a Child SA, of the child with this index.
    CreateChild(usize),
    /// Set up another in its place.
    RekeyChild { child: ChildSaId, request: Option<RequestId> },
    /// Delete a Child SA.
    DeleteChild { child: ChildSaId, request: Option<RequestId> },
    /// Delete one of those that both sides have made at once, if another is to stay still.
    LetGo { child: ChildSaId },
    /// Let another IKE SA take its place: a new phase 1, which IKEv1 has nothing shorter than.
    Replace { request: Option<RequestId> },
    /// Delete the IKE SA.
    Delete,
    /// Delete it because it has come to the end of its life.
    Expire,
}

/// Message IDs of our exchanges: "unique within the scope of an ISAKMP SA" (RFC 2409 appendix B and section 5.5), and known again, so that no message of
/// ours is ever taken for one of the peer's. The n-th is `base + n * step`, with an odd step.
#[derive(Debug, Clone, Copy)]
struct MessageIds {
    base: u32,
    step: u32,
    used: u32,
}

impl MessageIds {
    fn new(cx: &mut Context<'_>) -> Self {
        let mut number = || {
            let mut octets = [0; 4];
            cx.random.fill(&mut octets);
            u32::from_be_bytes(octets)
        };
        Self { base: number(), step: number() | 1, used: 0 }
    }

    fn next(&mut self) -> u32 {
        loop {
            self.used = self.used.wrapping_add(1);
            let id = self.base.wrapping_add(self.used.wrapping_mul(self.step));
            // Zero is phase 1's.
            if id != 0 {
                return id;
            }
        }
    }

    fn has_used(&self, id: u32) -> bool {
        // The inverse of an odd number modulo 2^32, each round of Newton's method doubles the bits that are right.
        let mut inverse = self.step;
        for _ in 0..5 {
            inverse = inverse.wrapping_mul(2_u32.wrapping_sub(self.step.wrapping_mul(inverse)));
        }
        let number = id.wrapping_sub(self.base).wrapping_mul(inverse);
        (1..=self.used).contains(&number)
    }
}

impl Core {
    /// A new IKE SA between `addresses`, ours first.
    pub(crate) fn new(
        id: IkeSaId,
        role: Role,
        connection: ConnectionRef,
        initiator_cookie: IkeSpi,
        addresses: (SocketAddr, SocketAddr),
        cx: &mut Context<'_>,
    ) -> Self {
        Self {
            id,
            role,
            mode: Mode::Main,
            connection,
            initiator_cookie,
            responder_cookie: None,
            local: addresses.0,
            remote: addresses.1,
            first_remote: addresses.1,
            created: cx.now,
            half_open_since: cx.now,
            phase_1: Exchange::default(),
            early: None,
            assigned: Assigned::default(),
            refused: None,
            abilities: Abilities::default(),
            peer_life: Limits::default(),
            volume: Volume::default(),
            fragments: Reassembly::default(),
            nat: NatStatus::default(),
            last_inbound: cx.now,
            last_outbound: cx.now,
            tasks: VecDeque::new(),
            later: Vec::new(),
            wanted: Vec::new(),
            terminating: Vec::new(),
            end: None,
            predecessor: None,
            message_ids: MessageIds::new(cx),
        }
    }

    /// Whether we show who we are before the peer does.
    pub(crate) fn shows_first(&self) -> bool {
        (self.mode == Mode::Main) == (self.role == Role::Initiator)
    }

    /// Our cookie.
    pub(crate) const fn own_cookie(&self) -> Option<IkeSpi> {
        match self.role {
            Role::Initiator => Some(self.initiator_cookie),
            Role::Responder => self.responder_cookie,
        }
    }

    /// Both, once the responder has chosen one.
    pub(crate) fn cookies(&self) -> Option<[IkeSpi; 2]> {
        Some([self.initiator_cookie, self.responder_cookie?])
    }

    /// Whether a header's cookies are those of this IKE SA.
    pub(crate) fn owns(&self, header: &Header) -> bool {
        let responder_fits = match self.responder_cookie {
            // A first message that comes again has none.
            Some(cookie) => header.responder_cookie == cookie.value() || (header.responder_cookie == 0 && self.role == Role::Responder),
            None => true,
        };
        header.initiator_cookie == self.initiator_cookie.value() && responder_fits
    }

    /// A Message ID for an exchange of ours.
    pub(crate) fn next_message_id(&mut self) -> u32 {
        self.message_ids.next()
    }

    /// Whether an exchange with this Message ID was begun here.
    pub(crate) fn has_used(&self, message_id: u32) -> bool {
        self.message_ids.has_used(message_id)
    }

    /// The header of a message of ours.
    pub(crate) fn header(&self, exchange: ExchangeType, message_id: u32, encryption: bool) -> Header {
        let flags = Flags { encryption, ..Flags::default() };
        let responder = self.responder_cookie.map_or(0, IkeSpi::value);
        Header::new(self.initiator_cookie.value(), responder, exchange, flags, message_id)
    }

    /// Sends a message in the clear; gives back its octets.
    pub(crate) fn send(&mut self, cx: &mut Context<'_>, header: &Header, payloads: &[Payload]) -> Result<Vec<u8>, Failure> {
        let Chain { first, octets } = emit_payloads(payloads).map_err(impossible)?;
        let datagram = Message { header: *header, first, body: &octets }.emit().map_err(impossible)?;
        self.show(cx, header, payloads, datagram.len(), false);
        self.transmit(cx, datagram.clone(), false);
        Ok(datagram)
    }

    /// Sends an encrypted message, whose chain of blocks has come to `iv`. `hash` makes the HASH payload at its beginning out of what stands behind it,
    /// where it has one.
    pub(crate) fn send_encrypted(
        &mut self,
        cx: &mut Context<'_>,
        keys: &Keys,
        iv: &mut Iv,
        header: &Header,
        mut payloads: Vec<Payload>,
        hash: Option<MakeHash<'_>>,
    ) -> Result<Vec<u8>, Failure> {
        if let Some(hash) = hash {
            let rest = Zeroizing::new(emit_payloads(&payloads).map_err(impossible)?.octets);
            payloads.insert(0, Payload::Hash(hash(&rest)));
        }
        let Chain { first, octets } = emit_payloads(&payloads).map_err(impossible)?;
        let octets = Zeroizing::new(octets);
        let body = keys.encrypt(iv, &octets)?;
        let datagram = Message { header: *header, first, body: &body }.emit().map_err(impossible)?;
        self.protected(cx.now, datagram.len());
        self.show(cx, header, &payloads, datagram.len(), false);
        self.transmit(cx, datagram.clone(), false);
        Ok(datagram)
    }

    fn show(&self, cx: &mut Context<'_>, header: &Header, payloads: &[Payload], octets: usize, retransmission: bool) {
        let (connection, addresses) = (Some(self.connection.name.as_str()), (self.local, self.remote));
        trace::message(cx.shared, &Traced { connection, outbound: true, addresses, header, payloads, octets, retransmission });
    }

    /// Sends a message again, as it was.
    pub(crate) fn repeat(&mut self, cx: &mut Context<'_>, datagram: Vec<u8>) {
        if let Ok(message) = Message::parse(&datagram) {
            self.show(cx, &message.header, &[], datagram.len(), true);
        }
        self.transmit(cx, datagram, true);
    }

    /// Sends a message, in fragments where it is too long and the peer can put them together.
    fn transmit(&mut self, cx: &mut Context<'_>, datagram: Vec<u8>, retransmission: bool) {
        self.last_outbound = cx.now;
        let most = self.connection.fragmentation.most_octets(self.remote.ip()).filter(|_| self.abilities.fragmentation);
        let (Some(most), Ok(message)) = (most.filter(|most| datagram.len() > *most), Message::parse(&datagram)) else {
            return cx.shared.transmit(self.local, self.remote, datagram);
        };
        cx.shared.count("messages_fragmented");
        for part in fragments::cut(&message, &datagram, most) {
            self.show(cx, &part.header, core::slice::from_ref(&part.payload), part.datagram.len(), retransmission);
            cx.shared.transmit(self.local, self.remote, part.datagram);
        }
    }

    /// A step for the trace.
    pub(crate) fn step(&self, cx: &mut Context<'_>, title: &str, lines: Vec<String>) {
        cx.shared.step(Some(&self.connection.name), (Some(self.initiator_cookie), self.responder_cookie), title, lines);
    }

    /// The peer does not go on.
    pub(crate) fn timed_out(&self, cx: &Context<'_>, what: &str, exchange: &Exchange) -> Failure {
        let (tries, since) = exchange.tries().unwrap_or((1, self.created));
        diagnosis::timed_out(&Silence {
            request: what,
            local: self.local,
            remote: self.remote,
            tries,
            elapsed: cx.now.since(since),
            heard: cx.shared.heard(self.remote.ip()).map(|at| cx.now.since(at)),
            answered: self.responder_cookie.is_some(),
        })
    }

    /// Whether its deletion is only a matter of its turn.
    pub(crate) fn is_ending(&self) -> bool {
        self.tasks.iter().any(|task| matches!(task, Task::Delete | Task::Expire))
    }

    /// When the mapping of the NAT before this gateway must be kept alive.
    pub(crate) fn keep_alive_due(&self) -> Option<Instant> {
        let mapped = self.nat.local && self.local.port() == NAT_T_PORT;
        self.connection.keep_alive.filter(|_| mapped).map(|delay| self.last_outbound + delay)
    }

    /// Keeps it alive.
    pub(crate) fn keep_alive(&mut self, cx: &mut Context<'_>) {
        self.last_outbound = cx.now;
        cx.shared.output(Output::KeepAlive { local: self.local, remote: self.remote });
    }

    /// The clock stood still for `pause`.
    pub(crate) fn shift(&mut self, pause: Duration) {
        self.phase_1.shift(pause);
        self.fragments.shift(pause);
        self.last_inbound = self.last_inbound + pause;
        self.half_open_since = self.half_open_since + pause;
        self.later.iter_mut().for_each(|(at, _)| *at = *at + pause);
    }

    /// Queues the operations whose time has come.
    pub(crate) fn queue_due(&mut self, now: Instant) {
        for (_, task) in self.later.extract_if(.., |(at, _)| *at <= now) {
            if !self.tasks.contains(&task) {
                self.tasks.push_back(task);
            }
        }
    }

    /// A Child SA for this policy is wanted in the place of what was there, by nobody else.
    pub(crate) fn want_again(&mut self, cx: &mut Context<'_>, policy: PolicyId) {
        let index = self.connection.children.iter().position(|child| child.policy == policy);
        let Some(index) = index.filter(|_| !self.wanted.contains(&policy)) else { return };
        cx.shared.wants.add(cx.now, policy, Waiter::Heir);
        cx.shared.wants.begun(policy);
        self.wanted.push(policy);
        self.tasks.push_back(Task::CreateChild(index));
    }

    /// A negotiation under this IKE SA has failed.
    pub(crate) fn child_failed(&mut self, cx: &mut Context<'_>, policy: PolicyId, failure: &Failure) {
        self.wanted.retain(|wanted| *wanted != policy);
        cx.shared.child_failed(cx.now, policy, failure);
    }

    /// Everything that waited for something under this IKE SA is told that it will not come.
    pub(crate) fn release(&mut self, cx: &mut Context<'_>, failure: &Failure) {
        for policy in core::mem::take(&mut self.wanted) {
            cx.shared.child_failed(cx.now, policy, failure);
        }
        if let Some((_, Some(request))) = self.predecessor.take() {
            cx.shared.ike_rekeyed(request, Err(failure.clone()));
        }
        let later = core::mem::take(&mut self.later).into_iter().map(|(_, task)| task);
        for task in core::mem::take(&mut self.tasks).into_iter().chain(later) {
            match task {
                Task::Replace { request: Some(request) } => cx.shared.ike_rekeyed(request, Err(failure.clone())),
                Task::RekeyChild { request: Some(request), .. } => cx.shared.child_rekeyed(request, Err(failure.clone())),
                Task::DeleteChild { request: Some(request), .. } => cx.shared.terminated(request),
                _ => {}
            }
        }
    }
}

fn impossible(error: ike_wire::EmitError) -> Failure {
    Failure::Local(alloc::format!("{error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn message_ids_are_known_again_and_no_others() {
        let mut ids = MessageIds { base: 0xffff_fff0, step: 0x1234_5679, used: 0 };
        let ours: Vec<u32> = (0..100).map(|_| ids.next()).collect();
        assert!(ours.iter().all(|id| *id != 0 && ids.has_used(*id)));
        assert!(!ids.has_used(ids.base) && !ids.has_used(ours[99].wrapping_add(ids.step)));
        let mut zero = MessageIds { base: 0_u32.wrapping_sub(3), step: 1, used: 0 };
        assert_eq!([zero.next(), zero.next(), zero.next()], [u32::MAX - 1, u32::MAX, 1], "zero is left out");
    }
}
