//! The endpoint: every IKE SA of a gateway, and which of them an input is for.

use alloc::boxed::Box;
use alloc::collections::{BTreeMap, BTreeSet};
use alloc::string::ToString;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::fmt;
use core::net::{IpAddr, SocketAddr};

use ike_wire::ExchangeType;
use ipsec_types::{Instant, PolicyId};

use crate::config::{Child, Connection, Pool};
use crate::context::{Context, Shared};
use crate::io::{Datagram, IkeSaId, IkeSaStatus, Input, JobId, JobResult, Output, PoolStatus, WantStatus};
use crate::policy::ConnectionRef;
use crate::provider::{Provider, Random};
use crate::v2::IkeSa;
use crate::v2::init::InitKey;

mod commands;
mod dataplane;
mod desired;
mod inbound;
mod initiate;
mod lost;
mod recovery;
mod reload;
mod succession;
mod v1;

/// Every IKE SA of a gateway. See [`crate::io`] for how to drive it.
pub struct Endpoint {
    shared: Shared,
    /// Boxed, as nodes of the tree are half empty.
    sas: BTreeMap<IkeSaId, Box<IkeSa>>,
    /// Responders by what an IKE_SA_INIT request brings: a repetition must find the first one's answer (RFC 7296 section 2.1).
    by_init: BTreeMap<Arc<InitKey>, IkeSaId>,
    /// Those of version 1.
    v1: BTreeMap<IkeSaId, crate::v1::IkeSa>,
    /// Their responders by an initiator's first message.
    v1_by_first: BTreeMap<v1::FirstKey, IkeSaId>,
    /// Those of peers that have not proved who they are, the refused included for as long as they are remembered.
    half_open: usize,
    /// Those of them that may still be authenticated, by the peer's address: without a cookie, and with one.
    half_open_of: BTreeMap<IpAddr, [usize; 2]>,
    /// When each IKE SA needs the clock, in order: with thousands of them, nobody may look at all to find the next.
    deadlines: BTreeSet<(Instant, IkeSaId)>,
    /// Those of version 2 that wait for an SPI, or might.
    waiting_for_spi: BTreeSet<IkeSaId>,
    /// The highest identifier a policy has had.
    last_policy: u32,
    detached_since: Option<Instant>,
    last_boot: Option<[u8; 16]>,
    recovery: recovery::Recovery,
    told: lost::Told,
    told_of_spis: lost::Told,
    /// After [`crate::io::Command::Shutdown`].
    closing: bool,
}

impl Endpoint {
    /// An endpoint without configuration and without data plane, which therefore does nothing.
    pub fn new(provider: Provider) -> Self {
        Self {
            shared: Shared::new(provider),
            sas: BTreeMap::new(),
            by_init: BTreeMap::new(),
            v1: BTreeMap::new(),
            v1_by_first: BTreeMap::new(),
            half_open: 0,
            half_open_of: BTreeMap::new(),
            deadlines: BTreeSet::new(),
            waiting_for_spi: BTreeSet::new(),
            last_policy: 0,
            detached_since: None,
            last_boot: None,
            recovery: recovery::Recovery::default(),
            told: lost::Told::default(),
            told_of_spis: lost::Told::default(),
            closing: false,
        }
    }

    /// Takes in what happened; what is to be done about it comes out of [`Self::poll_output`].
    pub fn handle(&mut self, now: Instant, input: Input, random: &mut dyn Random) {
        self.shared.wants.seed(random);
        match input {
            Input::Datagram(datagram) => self.on_datagram(now, random, datagram),
            Input::Timeout => self.on_timeout(now, random),
            Input::Command(command) => self.on_command(now, random, command),
            Input::JobDone { id, result } => self.on_job(now, random, id, result),
            Input::SpisLeased(spis) => {
                self.shared.leased(spis);
                self.go_on(now, random);
            }
            Input::Installed { child, result } => {
                if let Some(id) = self.shared.children.get(&child).copied() {
                    if self.v1.contains_key(&id) {
                        self.with_v1(now, random, id, |sa, cx| sa.on_installed(cx, child, result));
                    } else {
                        self.with(now, random, id, |sa, cx| sa.on_installed(cx, child, result));
                    }
                }
            }
            Input::Dataplane(news) => self.on_dataplane(now, random, news),
        }
        loop {
            self.recover(now, random);
            self.reconcile(now);
            self.start_wanted(now, random);
            // What could not even be begun may have been what an IKE SA waited for that makes way.
            if self.shared.peers.superseded.is_empty() {
                break;
            }
        }
    }

    /// The next thing to be done.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.shared.outputs.pop_front()
    }

    /// When [`Input::Timeout`] is due; `None` while there is nothing to wait for, or no data plane.
    pub fn next_timeout(&self) -> Option<Instant> {
        self.shared.attachment.as_ref()?;
        let first = self.deadlines.first().map(|(at, _)| *at);
        [first, self.shared.wants.deadline(), self.shared.orphans.deadline(), self.recovery.deadline()].into_iter().flatten().min()
    }

    /// The IKE SAs with their Child SAs, oldest first.
    pub fn ike_sas(&self, now: Instant) -> Vec<IkeSaStatus> {
        let mut all: Vec<IkeSaStatus> = self.sas.values().filter_map(|sa| sa.status(now)).collect();
        all.extend(self.v1.values().filter_map(|sa| sa.status(now)));
        all.sort_by_key(|sa| sa.id);
        all
    }

    /// One of them; `None` where it is gone.
    pub fn ike_sa(&self, id: IkeSaId, now: Instant) -> Option<IkeSaStatus> {
        self.sas.get(&id).and_then(|sa| sa.status(now)).or_else(|| self.v1.get(&id)?.status(now))
    }

    /// Child SAs that somebody wants, or that the last negotiation did not bring.
    pub fn wants(&self, now: Instant) -> Vec<WantStatus> {
        let named = self.shared.wants.list(now).filter_map(|wanted| {
            let (connection, index) = ConnectionRef::of_policy(&self.shared.config, wanted.policy)?;
            Some(WantStatus {
                connection: connection.name.clone(),
                child: connection.child(index)?.name.clone(),
                policy: self.shared.config.entry(wanted.policy),
                negotiating: wanted.negotiating,
                insists: wanted.insists,
                rest: wanted.rest,
                failures: wanted.failures,
                last_failure: wanted.last.cloned(),
            })
        });
        named.collect()
    }

    /// The pools of all connections, in the order of their names.
    pub fn pools(&self) -> Vec<PoolStatus> {
        let pools = self.shared.config.connections.iter().flat_map(|connection| &connection.pools);
        let by_name: BTreeMap<&str, &Pool> = pools.map(|pool| (pool.name.as_str(), &**pool)).collect();
        by_name.into_values().map(|pool| self.shared.leases.status(pool)).collect()
    }

    /// The first connection with a child under an SPD entry; `None` where the entry protects nothing.
    pub fn connection_of(&self, entry: PolicyId) -> Option<&str> {
        let is_of = |child: &Child| self.shared.config.entry(child.policy) == entry;
        let serves = |connection: &&Connection| connection.children.iter().any(is_of);
        self.shared.config.connections.iter().find(serves).map(|connection| connection.name.as_str())
    }

    /// Counters by name.
    pub fn stats(&self) -> Vec<(&'static str, u64)> {
        let mut stats: Vec<_> = self.shared.stats.iter().map(|(name, value)| (*name, *value)).collect();
        stats.push(("ike_sas_half_open", self.half_open as u64));
        stats.push(("spis_free", self.shared.free_spis() as u64));
        stats
    }

    fn on_timeout(&mut self, now: Instant, random: &mut dyn Random) {
        if self.shared.attachment.is_none() {
            return;
        }
        self.shared.wants.wake(now);
        let due: Vec<IkeSaId> = self.deadlines.iter().take_while(|(at, _)| *at <= now).map(|(_, id)| *id).collect();
        for id in due {
            self.with(now, random, id, |sa, cx| sa.on_timeout(cx));
            self.with_v1(now, random, id, |sa, cx| sa.on_timeout(cx));
        }
    }

    fn on_job(&mut self, now: Instant, random: &mut dyn Random, id: JobId, result: JobResult) {
        if let Some(ike_sa) = self.shared.jobs.remove(&id) {
            if self.v1.contains_key(&ike_sa) {
                self.with_v1(now, random, ike_sa, |sa, cx| sa.on_job(cx, id, result));
            } else {
                self.with(now, random, ike_sa, |sa, cx| sa.on_job(cx, id, result));
            }
        }
    }

    /// Lets one IKE SA take a step; forgets it where that was the last.
    fn with(&mut self, now: Instant, random: &mut dyn Random, id: IkeSaId, step: impl FnOnce(&mut IkeSa, &mut Context<'_>)) {
        let Some(sa) = self.sas.get_mut(&id) else { return };
        let before = Standing::of(sa);
        step(sa, &mut Context { now, random, shared: &mut self.shared });
        if sa.state.is_closed() {
            if let Some(spi) = sa.core.own_spi() {
                self.shared.by_spi.remove(&spi);
            }
            if let Some(key) = &sa.core.init_key {
                self.by_init.remove(key);
            }
            self.shared.jobs.retain(|_, owner| *owner != id);
            self.sas.remove(&id);
            self.refile(id, &before, &Standing::default());
        } else {
            let after = Standing::of(sa);
            self.refile(id, &before, &after);
        }
        self.succeed(now, random);
    }

    /// Files a new IKE SA.
    fn put(&mut self, sa: IkeSa) {
        let id = sa.core.id;
        self.refile(id, &Standing::default(), &Standing::of(&sa));
        self.sas.insert(id, Box::new(sa));
    }

    /// Keeps what IKE SAs are found and counted by in step with one of them.
    fn refile(&mut self, id: IkeSaId, before: &Standing, after: &Standing) {
        if before.deadline != after.deadline {
            if let Some(at) = before.deadline {
                self.deadlines.remove(&(at, id));
            }
            self.deadlines.extend(after.deadline.map(|at| (at, id)));
        }
        if before.needs_spi != after.needs_spi {
            self.waiting_for_spi.remove(&id);
            self.waiting_for_spi.extend(after.needs_spi.then_some(id));
        }
        self.half_open = self.half_open.saturating_sub(usize::from(before.unproven)) + usize::from(after.unproven);
        if before.half_open != after.half_open {
            self.count_half_open(before.half_open, false);
            self.count_half_open(after.half_open, true);
        }
    }

    /// Counts a half-open IKE SA under its peer's address, by whether it has shown a cookie, or counts it no more.
    fn count_half_open(&mut self, from: Option<(IpAddr, bool)>, there: bool) {
        let Some((address, cookie)) = from else { return };
        let counts = self.half_open_of.entry(address).or_default();
        let [without, with] = counts;
        let count = if cookie { with } else { without };
        *count = if there { *count + 1 } else { count.saturating_sub(1) };
        if *counts == [0, 0] {
            self.half_open_of.remove(&address);
        }
    }

    /// Lets IKE SAs begin what they could not without an SPI.
    fn go_on(&mut self, now: Instant, random: &mut dyn Random) {
        for id in self.waiting_for_spi.clone() {
            self.with(now, random, id, |sa, cx| sa.go_on(cx));
        }
        let waiting: Vec<IkeSaId> = self.v1.values().filter(|sa| sa.needs_spi()).map(|sa| sa.core.id).collect();
        for id in waiting {
            self.with_v1(now, random, id, |sa, cx| sa.go_on(cx));
        }
        self.shared.lease_spis();
    }
}

/// What of an IKE SA the endpoint's indexes and counts are made of; by default of none.
#[derive(Debug, Default, PartialEq, Eq)]
struct Standing {
    deadline: Option<Instant>,
    needs_spi: bool,
    /// See [`Endpoint::half_open`].
    unproven: bool,
    /// A responder's that may still be authenticated: the peer's address, and whether it has shown a cookie.
    half_open: Option<(IpAddr, bool)>,
}

impl Standing {
    fn of(sa: &IkeSa) -> Self {
        let half_open = sa.core.init_key.as_ref().filter(|_| sa.state.is_half_open());
        Self {
            deadline: sa.deadline(),
            needs_spi: sa.needs_spi(),
            unproven: sa.state.is_unproven(),
            half_open: half_open.map(|key| (key.remote.ip(), sa.core.cookie)),
        }
    }
}

impl fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Endpoint").field("ike_sas", &self.sas.len()).field("half_open", &self.half_open).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// There is one for each of perhaps 10,000 peers.
    #[test]
    fn what_is_kept_of_an_ike_sa_is_small() {
        assert!(size_of::<IkeSa>() <= 1376, "{}", size_of::<IkeSa>());
    }
}
