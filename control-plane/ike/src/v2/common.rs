//! What an IKE SA has in every state, and how it speaks.

use alloc::collections::VecDeque;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::net::{IpAddr, SocketAddr};
use core::time::Duration;

use ike_wire::{ExchangeType, Flags, Header, Message, Payload, Protocol, Version};
use ipsec_types::{ChildSaId, HashAlgorithm, IkeSpi, Instant, PolicyId, Secret, Spi};

use crate::assigned::Assigned;
use crate::child::Bearer;
use crate::context::{Context, End, LeasedSpi};
use crate::diagnosis::{self, Silence};
use crate::error::Failure;
use crate::io::{IkeSaId, Output, RequestId};
use crate::policy::ConnectionRef;
use crate::provider::SkSuite;
use crate::trace::{self, Traced};
use crate::v2::Sk;
use crate::v2::auth::{PeerAuthenticated, Rounds};
use crate::v2::fragments::Reassembly;
use crate::v2::hurdles::Hurdles;
use crate::v2::init::InitKey;
use crate::v2::keys::Role;
use crate::v2::mobike::{self, Mobility};
use crate::v2::nat::{self, NatStatus};
use crate::v2::ppk::Mixing;
use crate::v2::receive::Incoming;
use crate::v2::sk::{Seal, Sealer};
use crate::window::{Datagrams, Window};

/// What every state needs.
pub(crate) struct Core {
    pub(crate) id: IkeSaId,
    pub(crate) role: Role,
    /// The role in the first of the IKE SAs that this one follows by rekeying.
    pub(crate) first_role: Role,
    pub(crate) connection: ConnectionRef,
    pub(crate) initiator_spi: IkeSpi,
    pub(crate) responder_spi: Option<IkeSpi>,
    pub(crate) local: SocketAddr,
    pub(crate) remote: SocketAddr,
    /// Where the last new request came from, ours first: the answer goes there (section 2.11).
    pub(crate) reply_to: (SocketAddr, SocketAddr),
    pub(crate) created: Instant,
    /// `created`, but moved when the clock stands still.
    pub(crate) half_open_since: Instant,
    pub(crate) window: Window,
    pub(crate) sealer: Sealer,
    /// What of the peer's messages has come in fragments.
    pub(crate) reassembly: Reassembly,
    /// Octets of the largest of the fragments that a message came in: what is as large gets through.
    pub(crate) gets_through: Option<usize>,
    /// What the peer shows when it has lost its state (RFC 6290).
    pub(crate) peer_token: Option<Secret>,
    /// When somebody last said that it has.
    pub(crate) suspected: Option<Instant>,
    /// The gateway that has sent us to this one (RFC 5685).
    pub(crate) redirected_from: Option<IpAddr>,
    /// What IKE_AUTH has shown so far.
    pub(crate) rounds: Rounds,
    /// Addresses of the two ends (RFC 4555).
    pub(crate) mobility: Mobility,
    /// What both sides can do beyond RFC 7296.
    pub(crate) extensions: Extensions,
    pub(crate) nat: NatStatus,
    /// When the peer last showed that it lives.
    pub(crate) last_inbound: Instant,
    /// When IKE last sent something by the way that ESP takes: a NAT on it has renewed its mapping then.
    last_outbound: Instant,
    pub(crate) tasks: VecDeque<Task>,
    /// Policies whose negotiation runs under this IKE SA.
    pub(crate) wanted: Vec<PolicyId>,
    /// Operators who wait for its end.
    pub(crate) terminating: Vec<RequestId>,
    /// The IKE_SA_INIT request a responder answered, to know it again.
    pub(crate) init_request: Vec<u8>,
    /// The peer has shown, as an initiator, that it receives at its address.
    pub(crate) cookie: bool,
    /// Hash algorithms that the peer takes in signatures; `None` where it does not know RFC 7427.
    pub(crate) peer_hashes: Option<Vec<HashAlgorithm>>,
    /// The post-quantum preshared key.
    pub(crate) ppk: Mixing,
    /// Addresses inside the networks of its ends.
    pub(crate) assigned: Assigned,
    /// Where the endpoint files it, as a responder.
    pub(crate) init_key: Option<Arc<InitKey>>,
    /// How its Child SAs end with it, where this side does not wish it.
    pub(crate) end: Option<End>,
    /// What did not come about lately.
    pub(crate) hurdles: Hurdles,
    /// Operations for which the time has not come.
    pub(crate) later: Vec<(Instant, Task)>,
    /// How long whoever has authenticated the peer believes it, where that is somebody else.
    pub(crate) granted: Option<Duration>,
}

/// What both sides have said they can do.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Extensions {
    /// Fragments (RFC 7383).
    pub(crate) fragmentation: bool,
    /// An IKE_AUTH exchange without a Child SA (RFC 6023): said by the responder.
    pub(crate) childless: bool,
    /// Moving between addresses (RFC 4555).
    pub(crate) mobike: bool,
    /// We have begun, and follow where the peer sends us (RFC 5685).
    pub(crate) redirect: bool,
}

/// One operation of ours: one exchange.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Task {
    /// Set up a further Child SA, of the child with this index.
    CreateChild(usize),
    /// Replace a Child SA.
    RekeyChild { child: ChildSaId, request: Option<RequestId> },
    /// Delete a Child SA.
    DeleteChild { child: ChildSaId, request: Option<RequestId> },
    /// Delete what the peer installed and we did not. `unused`: no SA of ours was handed to the data plane with the SPI, which is free
    /// when the peer has answered.
    DeleteSpi { protocol: Protocol, spi: Spi, unused: Option<LeasedSpi> },
    /// Replace the IKE SA.
    RekeyIkeSa { request: Option<RequestId> },
    /// Let another IKE SA take its place, whose peer shows anew who it is.
    Reauthenticate { request: Option<RequestId> },
    /// Delete the IKE SA.
    DeleteIkeSa,
    /// Delete the IKE SA because it has come to the end of its life.
    ExpireIkeSa,
    /// Delete the IKE SA because the peer has not shown anew who it is.
    ExpireAuthentication,
    /// Ask for a sign of life.
    Probe,
    /// Tell the peer between which addresses the IKE SA is (RFC 4555).
    UpdateAddresses,
    /// See whether the peer is where it says.
    CheckRoute,
    /// Tell the peer what we show when we have lost our state (RFC 6290 section 4.3).
    SendToken,
}

impl Core {
    /// A new IKE SA between `addresses`, ours first.
    pub(crate) fn new(
        id: IkeSaId,
        role: Role,
        connection: ConnectionRef,
        initiator_spi: IkeSpi,
        addresses: (SocketAddr, SocketAddr),
        now: Instant,
    ) -> Self {
        Self {
            id,
            role,
            first_role: role,
            connection,
            initiator_spi,
            responder_spi: None,
            local: addresses.0,
            remote: addresses.1,
            reply_to: addresses,
            created: now,
            half_open_since: now,
            window: Window::default(),
            sealer: Sealer::new(),
            reassembly: Reassembly::default(),
            gets_through: None,
            redirected_from: None,
            rounds: Rounds::default(),
            mobility: Mobility::default(),
            peer_token: None,
            suspected: None,
            extensions: Extensions::default(),
            nat: NatStatus::default(),
            last_inbound: now,
            last_outbound: now,
            tasks: VecDeque::new(),
            wanted: Vec::new(),
            terminating: Vec::new(),
            init_request: Vec::new(),
            cookie: false,
            peer_hashes: None,
            ppk: Mixing::default(),
            assigned: Assigned::default(),
            init_key: None,
            end: None,
            hurdles: Hurdles::default(),
            later: Vec::new(),
            granted: None,
        }
    }

    /// Where we speak to an address from: as now, or where that is of the other version of IP from the first one that fits.
    pub(crate) fn local_towards(&self, cx: &Context<'_>, remote: IpAddr) -> Option<IpAddr> {
        let same = |local: &IpAddr| local.is_ipv4() == remote.is_ipv4();
        Some(self.local.ip()).filter(same).or_else(|| mobike::own_addresses(self, cx).into_iter().find(same))
    }

    /// Our SPI.
    pub(crate) const fn own_spi(&self) -> Option<IkeSpi> {
        match self.role {
            Role::Initiator => Some(self.initiator_spi),
            Role::Responder => self.responder_spi,
        }
    }

    /// Whether a header's SPIs and Initiator flag are those of the peer's messages for this IKE SA.
    pub(crate) fn owns(&self, header: &Header) -> bool {
        let responder = header.responder_spi;
        // Before the responder has said its SPI, only IKE_SA_INIT can tell it; a request then has none.
        let responder_fits = match self.responder_spi {
            Some(spi) => responder == spi.value() || (header.exchange == ExchangeType::IKE_SA_INIT && responder == 0),
            None => true,
        };
        header.initiator_spi == self.initiator_spi.value() && responder_fits && header.flags.initiator == (self.role == Role::Responder)
    }

    /// Whether ESP travels in UDP.
    pub(crate) fn encapsulates(&self) -> bool {
        self.nat.supported && (self.nat.local || self.nat.remote || self.connection.force_encapsulation)
    }

    /// Between which ends ESP travels, ours first. "UDP encapsulation MUST NOT be done on port 500" (section 2.23), though a peer may speak
    /// IKE there.
    pub(crate) fn esp_ends(&self) -> [SocketAddr; 2] {
        [self.local, self.remote].map(nat::moved)
    }

    /// The IKE SA as its Child SAs see it.
    pub(crate) fn bearer<'a>(&'a self, authenticated: &'a PeerAuthenticated) -> Bearer<'a> {
        Bearer {
            ike_sa: self.id,
            connection: &self.connection,
            spis: (Some(self.initiator_spi), self.responder_spi),
            ends: self.esp_ends(),
            encapsulates: self.encapsulates(),
            authenticated,
            grace: None,
            growth: "KEYMAT = prf+(SK_d, [g^ir |] Ni | Nr)",
        }
    }

    pub(crate) fn header(&self, exchange: ExchangeType, response: bool, message_id: u32) -> Header {
        let flags = Flags { initiator: self.role == Role::Initiator, response, version: false };
        Header {
            initiator_spi: self.initiator_spi.value(),
            responder_spi: self.responder_spi.map_or(0, IkeSpi::value),
            version: Version::V2,
            exchange,
            flags,
            message_id,
        }
    }

    /// Sends an IKE_SA_INIT message; gives back its octets, which AUTH will cover.
    pub(crate) fn send_init(&mut self, cx: &mut Context<'_>, response: bool, payloads: Vec<Payload>) -> Result<Vec<u8>, Failure> {
        let message = Message { header: self.header(ExchangeType::IKE_SA_INIT, response, 0), payloads };
        let octets = message.emit().map_err(|error| Failure::Local(alloc::format!("{error}")))?;
        let datagrams = alloc::vec![octets.clone()];
        self.trace(cx, (self.local, self.remote), (&message.header, &message.payloads), None, &datagrams);
        if response {
            self.window.accepted();
            self.window.answered(datagrams.clone());
        } else {
            self.window.sent(cx.now, &self.connection.retransmission, message.header.exchange, datagrams.clone());
        }
        self.transmit(cx, (self.local, self.remote), datagrams);
        Ok(octets)
    }

    /// Sends a protected request; the window must be free.
    pub(crate) fn request(&mut self, cx: &mut Context<'_>, sk: &Sk, exchange: ExchangeType, payloads: &[Payload]) -> Result<(), Failure> {
        let header = self.header(exchange, false, self.window.request_id());
        let datagrams = self.seal(cx, sk, &header, payloads)?;
        self.trace(cx, (self.local, self.remote), (&header, payloads), Some(sk.suite.sk), &datagrams);
        self.window.sent(cx.now, &self.connection.retransmission, exchange, datagrams.clone());
        self.transmit(cx, (self.local, self.remote), datagrams);
        Ok(())
    }

    /// Answers the request accepted last.
    pub(crate) fn respond(&mut self, cx: &mut Context<'_>, sk: &Sk, to: &Header, payloads: &[Payload]) -> Result<(), Failure> {
        let header = self.header(to.exchange, true, to.message_id);
        let datagrams = self.seal(cx, sk, &header, payloads)?;
        self.trace(cx, self.reply_to, (&header, payloads), Some(sk.suite.sk), &datagrams);
        self.window.answered(datagrams.clone());
        self.transmit(cx, self.reply_to, datagrams);
        Ok(())
    }

    /// A protected message as it travels.
    fn seal(&mut self, cx: &mut Context<'_>, sk: &Sk, header: &Header, payloads: &[Payload]) -> Result<Datagrams, Failure> {
        let seal = Seal { suite: sk.suite.sk, key: sk.keys.sender(self.role), most: self.most_octets() };
        let datagrams = self.sealer.seal(&seal, cx.random, header, payloads)?;
        if datagrams.len() > 1 {
            cx.shared.count("messages_fragmented");
        }
        Ok(datagrams)
    }

    /// Octets of a message that need no fragments; `None` where there are none anyway.
    fn most_octets(&self) -> Option<usize> {
        let configured = self.connection.fragmentation.most_octets(self.remote.ip())?;
        self.extensions.fragmentation.then(|| self.gets_through.map_or(configured, |octets| octets.min(configured)))
    }

    /// The peer has not answered the outstanding request.
    pub(crate) fn timed_out(&self, cx: &Context<'_>) -> Failure {
        let unanswered = self.window.unanswered();
        let header = unanswered.and_then(|unanswered| Header::peek(unanswered.octets).ok());
        let request =
            header.map_or_else(|| "a request".into(), |header| alloc::format!("{} request {}", header.exchange, header.message_id));
        diagnosis::timed_out(&Silence {
            request: &request,
            local: self.local,
            remote: self.remote,
            tries: unanswered.map_or(1, |unanswered| unanswered.tries),
            elapsed: cx.now.since(unanswered.map_or(self.created, |unanswered| unanswered.since)),
            heard: cx.shared.heard(self.remote.ip()).map(|at| cx.now.since(at)),
            answered: self.responder_spi.is_some(),
        })
    }

    /// Sends the outstanding request again, as it was.
    pub(crate) fn repeat_request(&mut self, cx: &mut Context<'_>, datagrams: Datagrams) {
        cx.shared.count("requests_retransmitted");
        let addresses = (self.local, self.remote);
        self.trace_repetition(cx, addresses, &datagrams);
        self.transmit(cx, addresses, datagrams);
    }

    /// Sends the last response again, as it was, between `addresses`, ours first.
    pub(crate) fn repeat_response(&mut self, cx: &mut Context<'_>, addresses: (SocketAddr, SocketAddr)) {
        let Some(datagrams) = self.window.cached().map(<[_]>::to_vec) else { return };
        cx.shared.count("responses_retransmitted");
        self.trace_repetition(cx, addresses, &datagrams);
        self.transmit(cx, addresses, datagrams);
    }

    /// Sends a message between `addresses`, ours first.
    fn transmit(&mut self, cx: &mut Context<'_>, addresses: (SocketAddr, SocketAddr), datagrams: Datagrams) {
        if addresses == (self.local, self.remote) {
            self.last_outbound = cx.now;
        }
        for octets in datagrams {
            cx.shared.transmit(addresses.0, addresses.1, octets);
        }
    }

    /// An IKE_SA_INIT request came again: the same octets get the same answer (section 2.1); anything else is somebody else's.
    pub(crate) fn repeat_init(&mut self, cx: &mut Context<'_>, incoming: &Incoming) {
        if incoming.datagram.payload == self.init_request && self.window.cached().is_some() {
            self.repeat_response(cx, (incoming.datagram.local, incoming.datagram.remote));
        } else {
            cx.shared.count("messages_ignored");
        }
    }

    /// The peer is authenticated: a repeated IKE_SA_INIT request is not answered any more, and nothing is signed under this IKE SA.
    pub(crate) fn forget_the_way(&mut self) {
        self.init_request = Vec::new();
        self.peer_hashes = None;
        self.rounds = Rounds::default();
    }

    /// A step for the trace.
    pub(crate) fn step(&self, cx: &mut Context<'_>, title: &str, lines: Vec<String>) {
        cx.shared.step(Some(&self.connection.name), (Some(self.initiator_spi), self.responder_spi), title, lines);
    }

    /// Whether its deletion is only a matter of the window.
    pub(crate) fn is_ending(&self) -> bool {
        self.tasks.contains(&Task::DeleteIkeSa)
    }

    /// When the peer must be asked for a sign of life: never while a request is outstanding, which asks for one by itself.
    pub(crate) fn probe_due(&self) -> Option<Instant> {
        let idle = !self.window.is_busy() && self.tasks.is_empty();
        self.connection.dpd_delay.filter(|_| idle).map(|delay| self.last_inbound + delay)
    }

    /// When the mapping of the NAT before this gateway must be kept alive: nobody but the side behind a NAT has to (RFC 7296 section 2.23). ESP
    /// keeps it alive, too, but its packets are not counted here: a keepalive that was not needed does no harm.
    pub(crate) fn keep_alive_due(&self) -> Option<Instant> {
        let mapped = self.nat.local && self.local.port() == nat::NAT_T_PORT;
        self.connection.keep_alive.filter(|_| mapped).map(|delay| self.last_outbound + delay)
    }

    /// Keeps it alive.
    pub(crate) fn keep_alive(&mut self, cx: &mut Context<'_>) {
        self.last_outbound = cx.now;
        cx.shared.output(Output::KeepAlive { local: self.local, remote: self.remote });
    }

    /// The clock stood still for `pause`, but not for a NAT: what is due for that is due all the sooner.
    pub(crate) fn shift(&mut self, pause: Duration) {
        self.window.shift(pause);
        self.last_inbound = self.last_inbound + pause;
        self.half_open_since = self.half_open_since + pause;
        self.hurdles.shift(pause);
        self.reassembly.shift(pause);
        self.later.iter_mut().for_each(|(at, _)| *at = *at + pause);
    }

    /// Queues the operations whose time has come.
    pub(crate) fn queue_due(&mut self, now: Instant) {
        let due = self.later.extract_if(.., |(at, _)| *at <= now).map(|(_, task)| task);
        for task in due {
            if !self.tasks.contains(&task) {
                self.tasks.push_back(task);
            }
        }
    }

    /// Whether no operation waits, and no response is awaited.
    pub(crate) fn is_idle(&self) -> bool {
        self.tasks.is_empty() && self.later.is_empty() && !self.window.is_busy()
    }

    /// A negotiation under this IKE SA has failed.
    pub(crate) fn child_failed(&mut self, cx: &mut Context<'_>, policy: PolicyId, failure: &Failure) {
        self.wanted.retain(|wanted| *wanted != policy);
        cx.shared.child_failed(cx.now, policy, failure);
    }

    /// The same, for the child with this index.
    pub(crate) fn wanted_child_failed(&mut self, cx: &mut Context<'_>, index: usize, failure: &Failure) {
        if let Some(policy) = self.connection.child(index).map(|child| child.policy) {
            self.child_failed(cx, policy, failure);
        }
    }

    /// The same, for all that are wanted under this IKE SA.
    pub(crate) fn all_failed(&mut self, cx: &mut Context<'_>, failure: &Failure) {
        for policy in core::mem::take(&mut self.wanted) {
            cx.shared.child_failed(cx.now, policy, failure);
        }
    }

    /// Everything that waited for something under this IKE SA is told that it will not come.
    pub(crate) fn release(&mut self, cx: &mut Context<'_>, failure: &Failure) {
        self.window.withdraw();
        self.all_failed(cx, failure);
        let later = core::mem::take(&mut self.later).into_iter().map(|(_, task)| task);
        for task in core::mem::take(&mut self.tasks).into_iter().chain(later) {
            match task {
                Task::RekeyIkeSa { request: Some(request) } | Task::Reauthenticate { request: Some(request) } => {
                    cx.shared.ike_rekeyed(request, Err(failure.clone()));
                }
                Task::RekeyChild { request: Some(request), .. } => cx.shared.child_rekeyed(request, Err(failure.clone())),
                Task::DeleteChild { request: Some(request), .. } => cx.shared.terminated(request),
                Task::DeleteSpi { unused: Some(unused), .. } => cx.shared.return_spi(unused),
                _ => {}
            }
        }
    }

    /// After NAT detection the initiator speaks from and to port 4500 (section 2.23), NAT or not, as both sides can.
    pub(crate) fn move_ports(&mut self) {
        if self.nat.supported {
            self.local = nat::moved(self.local);
            self.remote = nat::moved(self.remote);
        }
    }

    fn trace(
        &self,
        cx: &mut Context<'_>,
        addresses: (SocketAddr, SocketAddr),
        message: (&Header, &[Payload]),
        sealed: Option<&dyn SkSuite>,
        datagrams: &[Vec<u8>],
    ) {
        for (index, datagram) in datagrams.iter().enumerate() {
            // Of fragments the last one shows what is in all of them.
            let payloads = if index + 1 == datagrams.len() { message.1 } else { &[] };
            let traced = Traced {
                connection: Some(&self.connection.name),
                outbound: true,
                local: addresses.0,
                remote: addresses.1,
                header: message.0,
                payloads,
                sealed,
                datagram,
                retransmission: false,
            };
            trace::message(cx.shared, &traced);
        }
    }

    fn trace_repetition(&self, cx: &mut Context<'_>, addresses: (SocketAddr, SocketAddr), datagrams: &[Vec<u8>]) {
        for datagram in datagrams {
            let Ok(message) = Message::parse(datagram) else { return };
            let traced = Traced {
                connection: Some(&self.connection.name),
                outbound: true,
                local: addresses.0,
                remote: addresses.1,
                header: &message.header,
                payloads: &message.payloads,
                sealed: None,
                datagram,
                retransmission: true,
            };
            trace::message(cx.shared, &traced);
        }
    }
}
