//! Who is connected: the authenticated IKE SAs by the identities of their two ends (RFC 7296 section 2.4).

use alloc::collections::{BTreeMap, VecDeque};
use alloc::format;
use alloc::string::{String, ToString};
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::net::IpAddr;

use ipsec_types::{Identity, Instant};

use crate::config::Unique;
use crate::io::{Event, IkeSaId};
use crate::v2::Core;

/// An IKE SA that makes way for a newer one between the same identities.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Superseded {
    /// The peer has none of it any more: it ends without a word.
    Forgotten(IkeSaId),
    /// The peer has it still, and is told when the newer one has taken its traffic over.
    Unwanted(IkeSaId),
}

/// All of them.
#[derive(Debug, Default)]
pub(crate) struct Peers {
    by_identity: BTreeMap<Arc<Ends>, BTreeMap<IkeSaId, Met>>,
    identities: BTreeMap<IkeSaId, Arc<Ends>>,
    /// Those that are to go.
    pub(crate) superseded: VecDeque<Superseded>,
}

/// Our identity and the peer's, canonical.
type Ends = (Identity, Identity);

#[derive(Debug)]
struct Met {
    since: Instant,
    remote: IpAddr,
}

impl Peers {
    /// The peer of an IKE SA has proved who it is.
    pub(crate) fn met(&mut self, core: &Core, remote: &Identity, now: Instant) {
        let key = (core.connection.local_identity.canonical(), remote.canonical());
        let key = self.by_identity.get_key_value(&key).map_or_else(|| Arc::new(key.clone()), |(known, _)| Arc::clone(known));
        self.by_identity.entry(Arc::clone(&key)).or_default().insert(core.id, Met { since: now, remote: core.remote.ip() });
        self.identities.insert(core.id, key);
    }

    /// The IKE SA has ended.
    pub(crate) fn left(&mut self, id: IkeSaId) {
        let Some(key) = self.identities.remove(&id) else { return };
        if let Some(ike_sas) = self.by_identity.get_mut(&key) {
            ike_sas.remove(&id);
            if ike_sas.is_empty() {
                self.by_identity.remove(&key);
            }
        }
    }

    /// Whether there is an IKE SA with the peer of `core`: by its identity, or, as long as nobody knows that, by its address.
    pub(crate) fn knows(&self, core: &Core, remote: Option<&Identity>) -> bool {
        match remote {
            Some(remote) => self.by_identity.contains_key(&(core.connection.local_identity.canonical(), remote.canonical())),
            None => self.by_identity.values().flat_map(BTreeMap::values).any(|met| met.remote == core.remote.ip()),
        }
    }

    /// The IKE SAs between our identity and `remote` that were there before the one of `core` was begun. One that was authenticated since
    /// belongs to the same life of the peer: two that cross do not end each other.
    pub(crate) fn before(&self, core: &Core, remote: &Identity) -> Vec<IkeSaId> {
        let ike_sas = self.by_identity.get(&(core.connection.local_identity.canonical(), remote.canonical()));
        let older = ike_sas.into_iter().flatten().filter(|(id, met)| **id != core.id && met.since < core.created);
        older.map(|(id, _)| *id).collect()
    }
}

/// Whether earlier IKE SAs with a peer make way for a new one that is not refused, and why.
pub(crate) const fn make_way(unique: Unique, forgotten: bool) -> (bool, &'static str) {
    match (unique, forgotten) {
        (_, true) => (true, "the peer has forgotten what was before (INITIAL_CONTACT)"),
        (Unique::Replace, false) => (true, "unique = replace"),
        (Unique::Keep, false) => (false, "unique = keep"),
        (Unique::No | Unique::Never, false) => (false, "unique = no"),
    }
}

/// A peer has further IKE SAs, or had them until now: title and lines for the trace, and what operators are told.
pub(crate) fn not_alone(
    (ike_sa, connection): (IkeSaId, &str),
    remote: &Identity,
    earlier: &[IkeSaId],
    replaced: bool,
    why: &'static str,
) -> (&'static str, Vec<String>, Event) {
    /// So many are named.
    const MOST: usize = 8;
    let others: Vec<IkeSaId> = earlier.iter().take(MOST).copied().collect();
    let list = others.iter().map(|id| id.0.to_string()).collect::<Vec<_>>().join(", ");
    let title = if replaced { "take the place of earlier IKE SAs" } else { "leave earlier IKE SAs alone" };
    let lines = alloc::vec![format!("of {remote}: {} in all, IKE SAs {list}", earlier.len()), why.to_string()];
    let (connection, remote, count) = (connection.to_string(), remote.clone(), earlier.len());
    (title, lines, Event::IkeSaNotAlone { ike_sa, connection, remote, others, count, replaced, why })
}
