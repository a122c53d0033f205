//! What the IKE SAs of version 1 have in common: who is connected, and what the endpoint is to do about it.

use alloc::boxed::Box;
use alloc::collections::{BTreeMap, VecDeque};
use alloc::vec::Vec;
use core::net::{IpAddr, SocketAddr};

use ike_wire::v1::Delete;
use ipsec_types::{Identity, IkeSpi, Instant};

use crate::config::Unique;
use crate::io::{IkeSaId, RequestId};
use crate::peers;
use crate::policy::ConnectionRef;
use crate::v1::{Core, Estate, Task};
use crate::v2::keys::Role;

/// Something that concerns more than one IKE SA.
#[derive(Debug)]
pub(crate) enum News {
    /// The peer has begun anew and has none of these any more (INITIAL-CONTACT).
    Forgotten(Vec<IkeSaId>),
    /// The Child SAs of the first go on under the second, and the first is deleted.
    Succeeded { old: IkeSaId, new: IkeSaId, request: Option<RequestId> },
    /// The peer has begun a newer one, which takes over what these have.
    Overtaken { by: IkeSaId, ids: Vec<IkeSaId> },
    /// Both peers have begun one at the same time: what the first has goes on under the second, and the first, which is ours, is deleted.
    Yields { loser: IkeSaId, winner: IkeSaId },
    /// Child SAs go on under another IKE SA with the same peer.
    Bequest { heir: IkeSaId, estate: Box<Estate> },
    /// The peer has deleted Child SAs under another IKE SA than that which has them.
    Deleted { under: IkeSaId, delete: Delete },
    /// One IKE SA has to do what another was to.
    Task { ike_sa: IkeSaId, task: Task },
    /// What was to take the place of this one has failed.
    NoSuccessor(IkeSaId),
    /// A peer that calls itself the same has come from elsewhere, and these make way for it.
    Unwanted(Vec<IkeSaId>),
    /// Another IKE SA is to take the place of this one.
    Replace { ike_sa: IkeSaId, request: Option<RequestId> },
}

/// The authenticated IKE SAs.
#[derive(Debug, Default)]
pub(crate) struct Known {
    all: BTreeMap<IkeSaId, Met>,
    /// What is to be done.
    pub(crate) news: VecDeque<News>,
}

#[derive(Debug)]
struct Met {
    local: Identity,
    remote: Identity,
    own_address: IpAddr,
    address: SocketAddr,
    /// It is behind a NAT, which others may be behind, too.
    behind_nat: bool,
    role: Role,
    cookie: IkeSpi,
    /// When phase 1 was over.
    since: Instant,
}

/// What has become of IKE SAs with peers that call themselves the same and are elsewhere.
pub(crate) struct Others {
    pub(crate) ids: Vec<IkeSaId>,
    pub(crate) replaced: bool,
    pub(crate) why: &'static str,
}

impl Met {
    fn of(core: &Core, remote: &Identity, since: Instant) -> Self {
        Self {
            local: core.connection.local_identity.canonical(),
            remote: remote.canonical(),
            own_address: core.local.ip(),
            address: core.remote,
            behind_nat: core.nat.remote,
            role: core.role,
            cookie: core.initiator_cookie,
            since,
        }
    }

    fn is_between_the_same(&self, other: &Self) -> bool {
        (&self.local, &self.remote) == (&other.local, &other.remote)
    }

    /// Whether the other one is with the same machine: a newer phase 1 with that takes over what the older one has.
    fn is_with_the_same(&self, other: &Self) -> bool {
        let is_one = self.address.port() == other.address.port() || !(self.behind_nat || other.behind_nat);
        self.is_between_the_same(other) && self.own_address == other.own_address && self.address.ip() == other.address.ip() && is_one
    }

    /// Whether another one, which is older, was begun by the other peer before either could know of this one. Both sides find the same, and let go
    /// the one whose initiator has the lower cookie: RFC 2408 says nothing of it.
    fn collides_with(&self, begun: Instant, other: &Self) -> bool {
        self.role != other.role && other.since >= begun
    }
}

impl Known {
    /// Whether a peer is refused because another one calls itself the same and is kept (`unique = "keep"`), unless it has forgotten that.
    pub(crate) fn is_taken(&self, now: Instant, core: &Core, remote: &Identity, initial_contact: bool) -> bool {
        let met = Met::of(core, remote, now);
        let keeps = core.connection.unique == Unique::Keep && core.role == Role::Responder && !initial_contact;
        // Behind one NAT it may be the peer itself, whose port has changed.
        keeps && self.all.values().any(|other| met.is_between_the_same(other) && met.address.ip() != other.address.ip())
    }

    /// Phase 1 is over. Gives back what becomes of others that call themselves as the peer does.
    pub(crate) fn met(&mut self, now: Instant, core: &mut Core, remote: &Identity, initial_contact: bool) -> Option<Others> {
        let met = Met::of(core, remote, now);
        let others = self.others(&met, core.connection.unique, initial_contact);
        if let Some(others) = others.as_ref().filter(|others| others.replaced) {
            let ids = others.ids.clone();
            self.news.push_back(if initial_contact { News::Forgotten(ids) } else { News::Unwanted(ids) });
        }
        let same = self.all.iter().filter(|(_, other)| met.is_with_the_same(other));
        // What the peer has begun itself, or answered, since it began this one it has not forgotten.
        let (contested, before): (Vec<_>, Vec<_>) = same.partition(|(_, other)| met.collides_with(core.created, other));
        let contested: Vec<(IkeSaId, Role, IkeSpi)> = contested.into_iter().map(|(id, other)| (*id, other.role, other.cookie)).collect();
        let before: Vec<IkeSaId> = before.into_iter().map(|(id, _)| *id).collect();
        let news = match (initial_contact, core.connection.unique) {
            (true, Unique::No | Unique::Replace | Unique::Keep) => News::Forgotten(before),
            (_, _) => News::Overtaken { by: core.id, ids: before },
        };
        self.news.push_back(news);
        if let Some((old, request)) = core.predecessor.take() {
            self.news.push_back(News::Succeeded { old, new: core.id, request });
        }
        for (other, role, cookie) in contested {
            let (loser, role, winner) = if met.cookie < cookie { (core.id, met.role, other) } else { (other, role, core.id) };
            self.news.push_back(match role {
                Role::Initiator => News::Yields { loser, winner },
                Role::Responder => News::Overtaken { by: winner, ids: alloc::vec![loser] },
            });
        }
        self.all.insert(core.id, met);
        others
    }

    fn others(&self, met: &Met, unique: Unique, initial_contact: bool) -> Option<Others> {
        let elsewhere = self.all.iter().filter(|(_, other)| met.is_between_the_same(other) && !met.is_with_the_same(other));
        let ids: Vec<IkeSaId> = elsewhere.map(|(id, _)| *id).collect();
        let (replaced, why) = peers::make_way(unique, initial_contact);
        (!ids.is_empty() && unique != Unique::Never).then_some(Others { ids, replaced, why })
    }

    /// The IKE SA has ended.
    pub(crate) fn left(&mut self, id: IkeSaId) {
        self.all.remove(&id);
    }

    /// Whether there is an IKE SA with a peer: by its identity, or, where that is not known, with anybody at all from our identity.
    pub(crate) fn knows(&self, connection: &ConnectionRef, remote: Option<&Identity>) -> bool {
        let local = connection.local_identity.canonical();
        let remote = remote.map(Identity::canonical);
        self.all.values().any(|met| met.local == local && remote.as_ref().is_none_or(|remote| *remote == met.remote))
    }

    /// Another IKE SA with the same peer: the newest.
    pub(crate) fn sibling(&self, id: IkeSaId) -> Option<IkeSaId> {
        self.siblings(id).next()
    }

    /// All of them, the newest first.
    pub(crate) fn siblings(&self, id: IkeSaId) -> impl Iterator<Item = IkeSaId> {
        let met = self.all.get(&id);
        let same = move |other: &Met| met.is_some_and(|met| met.is_with_the_same(other));
        self.all.iter().rev().filter(move |(other, theirs)| **other != id && same(theirs)).map(|(other, _)| *other)
    }
}
