//! What every step of every IKE SA may use: the time, randomness, and what the endpoint's IKE SAs have in common.

use alloc::collections::{BTreeMap, BTreeSet, VecDeque};
use alloc::string::{String, ToString};
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::net::{IpAddr, SocketAddr};
use core::time::Duration;

use ipsec_types::{ChildSaId, IkeSpi, Instant, PolicyId, Spi};

use crate::child::Child;
use crate::config::Config;
use crate::error::Failure;
use crate::holdings::Holdings;
use crate::io::{Answer, Datagram, Event, IkeSaId, Job, JobId, Output, Record, RequestId, Trace};
use crate::orphan::Orphans;
use crate::peers::{Peers, Superseded};
use crate::pool::Leases;
use crate::provider::{Provider, Random};
use crate::v1::known::Known;
use crate::v2::cookie::Cookies;
use crate::v2::keys::KeyLog;
use crate::v2::redirect::Redirects;
use crate::v2::rekey_ike::Succession;
use crate::want::{Waiter, Wants};

/// Handed to each step.
pub(crate) struct Context<'a> {
    pub(crate) now: Instant,
    pub(crate) random: &'a mut dyn Random,
    pub(crate) shared: &'a mut Shared,
}

/// What the endpoint's IKE SAs have in common.
pub(crate) struct Shared {
    pub(crate) provider: Provider,
    pub(crate) config: Arc<Config>,
    pub(crate) outputs: VecDeque<Output>,
    pub(crate) attachment: Option<Attachment>,
    pub(crate) spis: SpiStock,
    pub(crate) wants: Wants,
    pub(crate) cookies: Cookies,
    /// Addresses that were called, and when something came from there last. Only diagnoses use it: anybody can send in their name.
    heard: BTreeMap<IpAddr, Option<Instant>>,
    /// Child SAs whose IKE SA is gone.
    pub(crate) orphans: Orphans,
    /// Addresses given to peers.
    pub(crate) leases: Leases,
    /// Addresses that peers gave to this side last time, by connection.
    pub(crate) remembered: BTreeMap<String, Vec<IpAddr>>,
    /// Where peers have sent this gateway.
    pub(crate) redirects: Redirects,
    /// Who is connected.
    pub(crate) peers: Peers,
    /// Child SAs that have ended by nobody's wish on this side, and how.
    pub(crate) ended: Vec<(PolicyId, End)>,
    /// Policies whose packets may begin a negotiation though the start action of their children is none.
    pub(crate) trapped: BTreeSet<PolicyId>,
    /// IKE SAs by our SPI, as messages name it.
    pub(crate) by_spi: BTreeMap<IkeSpi, IkeSaId>,
    /// Whose Child SA is it?
    pub(crate) children: BTreeMap<ChildSaId, IkeSaId>,
    /// Which peer has which traffic.
    pub(crate) holdings: Holdings,
    /// Whose job is it?
    pub(crate) jobs: BTreeMap<JobId, IkeSaId>,
    pub(crate) stats: BTreeMap<&'static str, u64>,
    terminations: BTreeMap<RequestId, Termination>,
    rekeyings: BTreeMap<RequestId, Rekeying>,
    /// IKE SAs that make way for others.
    pub(crate) making_way: BTreeMap<IkeSaId, MakingWay>,
    /// What IKE SAs have decided about their heirs.
    pub(crate) successions: VecDeque<Succession>,
    /// The IKE SAs of version 1.
    pub(crate) v1: Known,
    last_ike_sa: u64,
    last_job: u64,
    last_child: u32,
}

/// An IKE SA that makes way.
#[derive(Debug)]
pub(crate) struct MakingWay {
    /// For how many policies there is no other yet.
    pub(crate) waiting: usize,
    /// Operators who wait for the other.
    pub(crate) requests: Vec<RequestId>,
}

/// How a Child SA has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    /// The peer does not answer any more.
    Dead,
    /// The peer has deleted it.
    ByPeer,
    /// The peer has begun anew without it (INITIAL_CONTACT).
    Forgotten,
    /// Its hard limit is reached.
    Expired,
    /// Its IKE SA could not go on.
    Failed,
}

/// A data plane.
#[derive(Debug, Clone)]
pub(crate) struct Attachment {
    pub(crate) boot: [u8; 16],
    pub(crate) epoch: u64,
    pub(crate) local_addresses: Vec<IpAddr>,
}

impl Attachment {
    /// What tells it from every other.
    const fn identity(&self) -> ([u8; 16], u64) {
        (self.boot, self.epoch)
    }
}

/// Inbound SPIs leased from the data plane and not yet used.
#[derive(Debug, Default)]
pub(crate) struct SpiStock {
    free: VecDeque<Spi>,
    asked: bool,
}

/// An inbound SPI that the data plane has leased to us and no SA has taken. Every attachment makes those of the one before void.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct LeasedSpi {
    pub(crate) spi: Spi,
    /// Boot and epoch of the attachment: epochs begin anew with each boot.
    of: ([u8; 16], u64),
}

/// An operator's deletion under way.
#[derive(Debug, Default)]
struct Termination {
    waiting: u32,
    deleted: u32,
}

/// An operator's rekeying under way.
#[derive(Debug, Default)]
struct Rekeying {
    waiting: u32,
    ike_sas: Vec<IkeSaId>,
    child_sas: Vec<ChildSaId>,
    failure: Option<Failure>,
}

/// SPIs asked for at once, and how few may be left before more are asked for.
const SPI_BLOCK: u32 = 128;
const SPI_LOW_WATER: usize = 64;

impl Shared {
    pub(crate) fn new(provider: Provider) -> Self {
        Self {
            provider,
            config: Arc::new(Config::default()),
            outputs: VecDeque::new(),
            attachment: None,
            spis: SpiStock::default(),
            wants: Wants::default(),
            cookies: Cookies::default(),
            heard: BTreeMap::new(),
            orphans: Orphans::default(),
            leases: Leases::default(),
            remembered: BTreeMap::new(),
            redirects: Redirects::default(),
            peers: Peers::default(),
            ended: Vec::new(),
            trapped: BTreeSet::new(),
            by_spi: BTreeMap::new(),
            children: BTreeMap::new(),
            holdings: Holdings::default(),
            jobs: BTreeMap::new(),
            stats: BTreeMap::new(),
            terminations: BTreeMap::new(),
            rekeyings: BTreeMap::new(),
            making_way: BTreeMap::new(),
            successions: VecDeque::new(),
            v1: Known::default(),
            last_ike_sa: 0,
            last_job: 0,
            last_child: 0,
        }
    }

    pub(crate) fn count(&mut self, counter: &'static str) {
        *self.stats.entry(counter).or_default() += 1;
    }

    pub(crate) fn output(&mut self, output: Output) {
        self.outputs.push_back(output);
    }

    /// Where the keys of IKE SAs go besides, if the configuration wants that.
    pub(crate) fn key_log(&mut self) -> KeyLog<'_> {
        self.config.key_log.then_some(&mut self.outputs)
    }

    pub(crate) fn event(&mut self, event: Event) {
        self.output(Output::Event(event));
    }

    pub(crate) fn transmit(&mut self, local: SocketAddr, remote: SocketAddr, payload: Vec<u8>) {
        self.count("messages_sent");
        self.output(Output::Transmit(Datagram { local, remote, payload }));
    }

    /// A step that sends nothing, for the trace.
    pub(crate) fn step(&mut self, connection: Option<&str>, spis: (Option<IkeSpi>, Option<IkeSpi>), title: &str, lines: Vec<String>) {
        let trace = Trace {
            connection: connection.map(ToString::to_string),
            initiator_spi: spis.0,
            responder_spi: spis.1,
            record: Record::Step { title: title.to_string(), lines },
        };
        self.output(Output::Trace(alloc::boxed::Box::new(trace.into())));
    }

    /// Hands slow work to the driver.
    pub(crate) fn job(&mut self, ike_sa: IkeSaId, job: Job) -> JobId {
        self.last_job += 1;
        let id = JobId(self.last_job);
        self.jobs.insert(id, ike_sa);
        self.output(Output::Job { id, job });
        id
    }

    /// A fresh identifier. The epoch keeps it from those of earlier processes, the number from those of earlier boots, when epochs begin anew.
    /// `None` while no data plane is attached.
    pub(crate) fn next_child(&mut self, ike_sa: IkeSaId) -> Option<ChildSaId> {
        let epoch = self.attachment.as_ref()?.epoch;
        self.last_child = self.last_child.checked_add(1)?;
        let id = ChildSaId(epoch << 32 | u64::from(self.last_child));
        self.children.insert(id, ike_sa);
        Some(id)
    }

    /// A Child SA is no IKE SA's any more.
    pub(crate) fn forget_child(&mut self, child: &Child) {
        self.children.remove(&child.id);
        self.holdings.remove(child.entry, child.id, &child.selectors);
    }

    /// An inbound SPI; asks for more in time.
    pub(crate) fn take_spi(&mut self) -> Option<LeasedSpi> {
        let of = self.attachment.as_ref()?.identity();
        let spi = self.spis.free.pop_front();
        self.lease_spis();
        spi.map(|spi| LeasedSpi { spi, of })
    }

    /// How many SPIs are leased and not taken.
    pub(crate) fn free_spis(&self) -> usize {
        self.spis.free.len()
    }

    /// Whether an SA may still be installed with the SPI.
    pub(crate) fn holds(&self, leased: LeasedSpi) -> bool {
        self.attachment.as_ref().is_some_and(|attachment| attachment.identity() == leased.of)
    }

    /// Whether a Child SA could be installed now.
    pub(crate) fn can_install(&self) -> bool {
        self.attachment.is_some() && !self.spis.free.is_empty()
    }

    /// An SPI that no SA was installed with.
    pub(crate) fn return_spi(&mut self, leased: LeasedSpi) {
        if self.holds(leased) {
            self.spis.free.push_back(leased.spi);
        }
    }

    /// SPIs have come.
    pub(crate) fn leased(&mut self, spis: Vec<Spi>) {
        self.spis.asked = false;
        self.spis.free.extend(spis);
    }

    /// What was leased is void.
    pub(crate) fn forget_spis(&mut self) {
        self.spis = SpiStock::default();
    }

    /// Asks for SPIs where few are left.
    pub(crate) fn lease_spis(&mut self) {
        if self.attachment.is_some() && !self.spis.asked && self.spis.free.len() < SPI_LOW_WATER {
            self.spis.asked = true;
            self.output(Output::LeaseSpis(SPI_BLOCK));
        }
    }

    /// The Child SA of `policy` is installed.
    pub(crate) fn child_installed(&mut self, policy: PolicyId, ike_sa: IkeSaId, child: ChildSaId) {
        for waiter in self.wants.succeeded(policy) {
            match waiter {
                Waiter::Request(request) => self.event(Event::Answer { request, result: Ok(Answer::Initiated { ike_sa, child }) }),
                Waiter::Predecessor(predecessor) => self.makes_way(predecessor, Ok(ike_sa)),
                Waiter::Acquire(_) | Waiter::Start | Waiter::Heir => {}
            }
        }
    }

    /// One of the policies that keep an IKE SA is served by another now, or will not be.
    pub(crate) fn makes_way(&mut self, ike_sa: IkeSaId, successor: Result<IkeSaId, &Failure>) {
        let Some(making_way) = self.making_way.get_mut(&ike_sa) else { return };
        making_way.waiting = making_way.waiting.saturating_sub(1);
        if making_way.waiting == 0 {
            self.peers.superseded.push_back(Superseded::Unwanted(ike_sa));
            self.has_made_way(ike_sa, successor);
        }
    }

    /// It waits no more: whoever waits for its successor is told.
    pub(crate) fn has_made_way(&mut self, ike_sa: IkeSaId, successor: Result<IkeSaId, &Failure>) {
        for request in self.making_way.remove(&ike_sa).map(|making_way| making_way.requests).unwrap_or_default() {
            self.ike_rekeyed(request, successor.map_err(Failure::clone));
        }
    }

    /// An operator waits for the IKE SA that takes the place of one which makes way.
    pub(crate) fn awaits_successor(&mut self, ike_sa: IkeSaId, request: Option<RequestId>) {
        let Some(request) = request else { return };
        match self.making_way.get_mut(&ike_sa) {
            Some(making_way) => making_way.requests.push(request),
            None => self.ike_rekeyed(request, Err(Failure::Local("the IKE SA has no Child SA for which another would be set up".into()))),
        }
    }

    /// The negotiation of `policy` has failed.
    pub(crate) fn child_failed(&mut self, now: Instant, policy: PolicyId, failure: &Failure) {
        let (waiters, retry_after) = self.wants.failed(now, policy, failure);
        for waiter in waiters {
            self.disappoint(waiter, retry_after, failure);
        }
    }

    /// Tells somebody that there will be no Child SA.
    pub(crate) fn disappoint(&mut self, waiter: Waiter, retry_after: Duration, failure: &Failure) {
        match waiter {
            Waiter::Acquire(id) => self.output(Output::RefuseAcquire { id, retry_after }),
            Waiter::Request(request) => self.event(Event::Answer { request, result: Err(failure.clone()) }),
            Waiter::Predecessor(ike_sa) => self.makes_way(ike_sa, Err(failure)),
            Waiter::Start | Waiter::Heir => {}
        }
    }

    /// A peer is called.
    pub(crate) fn calls(&mut self, remote: IpAddr) {
        self.heard.entry(remote).or_default();
    }

    /// Something came from an address; of those that were never called nothing is kept.
    pub(crate) fn hears(&mut self, now: Instant, remote: IpAddr) {
        if let Some(last) = self.heard.get_mut(&remote) {
            *last = Some(now);
        }
    }

    /// When something came last from an address that was called.
    pub(crate) fn heard(&self, remote: IpAddr) -> Option<Instant> {
        self.heard.get(&remote).copied().flatten()
    }

    /// An operator waits for `count` deletions.
    pub(crate) fn terminating(&mut self, request: RequestId, count: u32) {
        self.terminations.entry(request).or_default().waiting += count;
    }

    /// An operator waits for `count` SAs to be replaced.
    pub(crate) fn rekeying(&mut self, request: RequestId, count: u32) {
        self.rekeyings.entry(request).or_default().waiting += count;
    }

    /// A Child SA has a successor, or will have none.
    pub(crate) fn child_rekeyed(&mut self, request: RequestId, result: Result<ChildSaId, Failure>) {
        self.one_rekeyed(request, result, |rekeying| &mut rekeying.child_sas);
    }

    /// An IKE SA has a successor, or will have none.
    pub(crate) fn ike_rekeyed(&mut self, request: RequestId, result: Result<IkeSaId, Failure>) {
        self.one_rekeyed(request, result, |rekeying| &mut rekeying.ike_sas);
    }

    /// A fresh identifier.
    pub(crate) fn next_ike_sa(&mut self) -> IkeSaId {
        self.last_ike_sa += 1;
        IkeSaId(self.last_ike_sa)
    }

    fn one_rekeyed<T>(&mut self, request: RequestId, result: Result<T, Failure>, of: impl Fn(&mut Rekeying) -> &mut Vec<T>) {
        let Some(rekeying) = self.rekeyings.get_mut(&request) else { return };
        match result {
            Ok(successor) => of(rekeying).push(successor),
            Err(failure) => rekeying.failure = Some(failure),
        }
        rekeying.waiting = rekeying.waiting.saturating_sub(1);
        if rekeying.waiting > 0 {
            return;
        }
        let Some(Rekeying { ike_sas, child_sas, failure, .. }) = self.rekeyings.remove(&request) else { return };
        let result = failure.map_or(Ok(Answer::Rekeyed { ike_sas, child_sas }), Err);
        self.event(Event::Answer { request, result });
    }

    /// One of them is done.
    pub(crate) fn terminated(&mut self, request: RequestId) {
        let Some(termination) = self.terminations.get_mut(&request) else { return };
        termination.waiting = termination.waiting.saturating_sub(1);
        termination.deleted += 1;
        if termination.waiting == 0 {
            let deleted = termination.deleted;
            self.terminations.remove(&request);
            self.event(Event::Answer { request, result: Ok(Answer::Terminated(deleted)) });
        }
    }
}

impl Context<'_> {
    /// Unpredictable octets.
    pub(crate) fn octets(&mut self, len: usize) -> Vec<u8> {
        let mut octets = alloc::vec![0; len];
        self.random.fill(&mut octets);
        octets
    }

    /// An SPI for our side of an IKE SA, which no other has.
    pub(crate) fn ike_spi(&mut self) -> IkeSpi {
        loop {
            let mut octets = [0; 8];
            self.random.fill(&mut octets);
            // Zero means "not yet chosen"; one draw in 2^64, and hardly more meet an SPI that is in use.
            if let Some(spi) = IkeSpi::new(u64::from_be_bytes(octets)).filter(|spi| !self.shared.by_spi.contains_key(spi)) {
                return spi;
            }
        }
    }

    /// A random time up to `most`.
    pub(crate) fn up_to(&mut self, most: Duration) -> Duration {
        Duration::from_nanos(self.at_most(u64::try_from(most.as_nanos()).unwrap_or(u64::MAX)))
    }

    /// A random number up to `most`. The tiny bias of the remainder does no harm to jitter.
    pub(crate) fn at_most(&mut self, most: u64) -> u64 {
        let mut octets = [0; 8];
        self.random.fill(&mut octets);
        let number = u64::from_be_bytes(octets);
        most.checked_add(1).map_or(number, |bound| number % bound)
    }

    pub(crate) fn fail(&mut self, connection: Option<&str>, remote: SocketAddr, failure: Failure) {
        self.shared.count("negotiations_failed");
        self.shared.event(Event::NegotiationFailed { connection: connection.map(ToString::to_string), remote, failure });
    }
}
