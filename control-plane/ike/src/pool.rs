//! Address pools: addresses of this side's networks that peers ask for (RFC 7296 section 2.19), and who has which.
//!
//! A peer that comes back gets the address it had, as long as nobody else needed it. Leases live as long as the process. The SAs in the data plane outlive
//! it: an address that one of them is for is given to nobody else until it ends, only to a peer that calls from where that SA goes and asks for it.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::string::String;
use alloc::sync::{Arc, Weak};
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipsec_types::{AddressRange, Identity};

use crate::config::Pool;
use crate::io::{LeaseStatus, PoolStatus};

/// Leases that one pool remembers; where there are so many, new peers get addresses of those that are gone.
const MOST: usize = 1 << 17;

/// An address that a peer has, as long as this is kept.
#[derive(Debug, Clone)]
pub(crate) struct Lease {
    pub(crate) address: IpAddr,
    _held: Arc<()>,
}

/// Who asks.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Claim<'a> {
    pub(crate) identity: &'a Identity,
    /// The address it had or would like.
    pub(crate) wish: Option<IpAddr>,
    /// Its other IKE SAs are about to end: what they have is free for it.
    pub(crate) succeeds: bool,
    /// Where it calls from.
    pub(crate) from: IpAddr,
}

/// The leases of every pool, by its name.
#[derive(Debug, Default)]
pub(crate) struct Leases(BTreeMap<String, Book>);

#[derive(Debug)]
struct Book {
    range: AddressRange,
    leases: BTreeMap<IpAddr, Entry>,
    of: BTreeMap<Identity, BTreeSet<IpAddr>>,
    /// How many addresses, from the first on, were given out or passed over.
    used: u128,
}

#[derive(Debug)]
struct Entry {
    owner: Owner,
    held: Weak<()>,
}

/// Whose address it is.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Owner {
    Peer(Identity),
    /// A peer of an earlier process, which is at this outer address; nobody knows who it is.
    At(IpAddr),
}

impl Leases {
    /// An address of the pool: the one that the peer had; one that nobody had; one whose peer is gone. `None` where all are in use.
    pub(crate) fn take(&mut self, pool: &Pool, claim: Claim<'_>) -> Option<Lease> {
        let book = self.book(pool);
        let identity = claim.identity.canonical();
        let known = book.own(&identity, claim).or_else(|| book.wished(claim));
        let address = known.or_else(|| book.unused()).or_else(|| book.abandoned())?;
        Some(book.lease(address, Owner::Peer(identity)))
    }

    /// This address of the pool, which somebody else has chosen for the peer. `None` where it is none of the pool, or another's; a second IKE SA of the peer has
    /// it where it is there for the first, or the peer asks for it by itself.
    pub(crate) fn assign(&mut self, pool: &Pool, address: IpAddr, claim: Claim<'_>) -> Option<Lease> {
        let book = self.book(pool);
        let identity = claim.identity.canonical();
        let own = match book.leases.get(&address).map(|entry| &entry.owner) {
            Some(Owner::Peer(owner)) => *owner == identity && (claim.succeeds || claim.wish == Some(address)),
            Some(Owner::At(from)) => *from == claim.from,
            None => book.leases.len() < MOST,
        };
        (book.has(address) && (own || book.leases.contains_key(&address) && book.is_free(&address)))
            .then(|| book.lease(address, Owner::Peer(identity)))
    }

    fn book(&mut self, pool: &Pool) -> &mut Book {
        let book = self.0.entry(pool.name.clone()).or_insert_with(|| Book::new(pool.addresses));
        if book.range != pool.addresses {
            *book = Book::new(pool.addresses);
        }
        book
    }

    /// Keeps an address for the peer at `from`, which an SA of an earlier process is for. `None` where it is none of the pool, or another's.
    pub(crate) fn keep(&mut self, pool: &Pool, address: IpAddr, from: IpAddr) -> Option<Lease> {
        let book = self.0.entry(pool.name.clone()).or_insert_with(|| Book::new(pool.addresses));
        (book.has(address) && book.is_free(&address)).then(|| book.lease(address, Owner::At(from)))
    }

    /// Who has which address of a pool.
    pub(crate) fn status(&self, pool: &Pool) -> PoolStatus {
        let book = self.0.get(&pool.name).filter(|book| book.range == pool.addresses);
        let leases = book.into_iter().flat_map(|book| &book.leases).map(|(address, entry)| LeaseStatus {
            address: *address,
            identity: match &entry.owner {
                Owner::Peer(identity) => Some(identity.clone()),
                Owner::At(_) => None,
            },
            online: entry.held.strong_count() > 0,
        });
        PoolStatus { name: pool.name.clone(), addresses: pool.addresses, size: hosts(pool.addresses).1, leases: leases.collect() }
    }
}

impl Book {
    const fn new(range: AddressRange) -> Self {
        Self { range, leases: BTreeMap::new(), of: BTreeMap::new(), used: 0 }
    }

    fn is_free(&self, address: &IpAddr) -> bool {
        self.leases.get(address).is_none_or(|entry| entry.held.strong_count() == 0)
    }

    /// One that the peer has had. The one it asks for may still be held by an IKE SA of its own that this one replaces.
    fn own(&self, identity: &Identity, claim: Claim<'_>) -> Option<IpAddr> {
        let inherited = |wish: &IpAddr| self.leases.get(wish).is_some_and(|entry| entry.owner == Owner::At(claim.from));
        if let Some(wish) = claim.wish.filter(inherited) {
            return Some(wish);
        }
        let own = self.of.get(identity)?;
        let free = |address: &&IpAddr| claim.succeeds || self.is_free(address);
        claim.wish.filter(|wish| own.contains(wish)).or_else(|| own.iter().find(free).copied())
    }

    /// The one it asks for, where nobody has had it: a peer that this process does not know may have had it from one before.
    fn wished(&self, claim: Claim<'_>) -> Option<IpAddr> {
        claim.wish.filter(|wish| self.leases.len() < MOST && self.has(*wish) && !self.leases.contains_key(wish))
    }

    fn unused(&mut self) -> Option<IpAddr> {
        let (first, count) = hosts(self.range);
        while self.leases.len() < MOST && self.used < count {
            let address = nth(first, self.used)?;
            self.used = self.used.saturating_add(1);
            if !self.leases.contains_key(&address) {
                return Some(address);
            }
        }
        None
    }

    /// Whether it is an address for peers.
    fn has(&self, address: IpAddr) -> bool {
        let (first, count) = hosts(self.range);
        count > 0 && nth(first, count.saturating_sub(1)).is_some_and(|last| first <= address && address <= last)
    }

    fn abandoned(&self) -> Option<IpAddr> {
        self.leases.keys().find(|address| self.is_free(address)).copied()
    }

    fn lease(&mut self, address: IpAddr, owner: Owner) -> Lease {
        let held = Arc::new(());
        let entry = Entry { owner: owner.clone(), held: Arc::downgrade(&held) };
        if let Some(Entry { owner: Owner::Peer(former), .. }) = self.leases.insert(address, entry)
            && let Some(addresses) = self.of.get_mut(&former)
        {
            addresses.remove(&address);
            if addresses.is_empty() {
                self.of.remove(&former);
            }
        }
        if let Owner::Peer(identity) = owner {
            self.of.entry(identity).or_default().insert(address);
        }
        Lease { address, _held: held }
    }
}

/// The first address of a range that a host may have, and how many there are. A network's own address is no host's, nor is the broadcast
/// address of an IPv4 network (RFC 1122 section 3.2.1.3), nor the address of an IPv6 network, which is that of its routers (RFC 4291 section 2.6.1).
fn hosts(range: AddressRange) -> (IpAddr, u128) {
    let count = match (range.first(), range.last()) {
        (IpAddr::V4(first), IpAddr::V4(last)) => u128::from(u32::from(last).saturating_sub(u32::from(first))),
        (IpAddr::V6(first), IpAddr::V6(last)) => u128::from(last).saturating_sub(u128::from(first)),
        _ => return (range.first(), 0),
    }
    .saturating_add(1);
    if range.prefix_length().is_none() || count <= 2 {
        return (range.first(), count);
    }
    let others = if range.first().is_ipv4() { 2 } else { 1 };
    (nth(range.first(), 1).unwrap_or_else(|| range.first()), count.saturating_sub(others))
}

fn nth(first: IpAddr, n: u128) -> Option<IpAddr> {
    Some(match first {
        IpAddr::V4(first) => Ipv4Addr::from(u32::from(first).checked_add(u32::try_from(n).ok()?)?).into(),
        IpAddr::V6(first) => Ipv6Addr::from(u128::from(first).checked_add(n)?).into(),
    })
}

#[cfg(test)]
mod tests {
    use alloc::string::ToString;
    use alloc::vec::Vec;

    use super::*;

    const HERE: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 7));

    fn pool(addresses: &str) -> Pool {
        Pool { name: "v4".into(), addresses: addresses.parse().unwrap(), dns: Vec::new(), networks: Vec::new() }
    }

    fn identity(name: &str) -> Identity {
        name.parse().unwrap()
    }

    fn take(leases: &mut Leases, pool: &Pool, name: &str) -> Option<Lease> {
        leases.take(pool, Claim { identity: &identity(name), wish: None, succeeds: false, from: HERE })
    }

    fn address(lease: Option<&Lease>) -> String {
        lease.map_or_else(|| "none".into(), |lease| lease.address.to_string())
    }

    #[test]
    fn a_peer_that_comes_back_gets_the_address_it_had() {
        let (mut leases, pool) = (Leases::default(), pool("10.3.0.0/29"));
        let [a, b] = ["a.example", "b.example"].map(|name| take(&mut leases, &pool, name));
        assert_eq!([&a, &b].map(|lease| address(lease.as_ref())), ["10.3.0.1", "10.3.0.2"]);
        drop(a);
        let c = take(&mut leases, &pool, "c.example");
        assert_eq!(address(c.as_ref()), "10.3.0.3", "an address that nobody had");
        assert_eq!(address(take(&mut leases, &pool, "A.example").as_ref()), "10.3.0.1", "names differ in no letter's case");
    }

    #[test]
    fn one_whose_peer_is_gone_goes_to_another_when_no_other_is_left() {
        let (mut leases, pool) = (Leases::default(), pool("10.3.0.0/30"));
        let [a, b] = ["a.example", "b.example"].map(|name| take(&mut leases, &pool, name));
        assert_eq!(address(take(&mut leases, &pool, "c.example").as_ref()), "none");
        drop(a);
        let c = take(&mut leases, &pool, "c.example");
        assert_eq!(address(c.as_ref()), "10.3.0.1");
        drop(c);
        drop(b);
        assert_eq!(address(take(&mut leases, &pool, "a.example").as_ref()), "10.3.0.1", "the former lease is forgotten, one is free");
    }

    #[test]
    fn a_second_ike_sa_gets_a_second_address_unless_it_takes_the_place_of_the_first() {
        let (mut leases, pool) = (Leases::default(), pool("10.3.0.0/24"));
        let first = take(&mut leases, &pool, "a.example").unwrap();
        let second = take(&mut leases, &pool, "a.example").unwrap();
        assert_ne!(first.address, second.address);
        let claim = Claim { identity: &identity("a.example"), wish: Some(second.address), succeeds: false, from: HERE };
        assert_eq!(leases.take(&pool, claim).unwrap().address, second.address, "it asks for its own");
        let heir = leases.take(&pool, Claim { wish: None, succeeds: true, ..claim }).unwrap();
        assert_eq!(heir.address, first.address);
        let other = Claim { identity: &identity("b.example"), wish: Some(first.address), succeeds: true, from: HERE };
        assert!(![first.address, second.address].contains(&leases.take(&pool, other).unwrap().address), "nobody gets another's");
        drop(first);
        assert!(!leases.0["v4"].is_free(&heir.address), "the heir holds it");
    }

    #[test]
    fn hosts_have_every_address_of_a_range_but_not_a_networks_own() {
        let all = |range: &str| {
            let (mut leases, pool) = (Leases::default(), pool(range));
            let held: Vec<Lease> = (0..9).map_while(|n| take(&mut leases, &pool, &alloc::format!("{n}.example"))).collect();
            held.iter().map(|lease| lease.address.to_string()).collect::<Vec<_>>()
        };
        assert_eq!(all("10.3.0.7-10.3.0.9"), ["10.3.0.7", "10.3.0.8", "10.3.0.9"]);
        assert_eq!(all("10.3.0.0/30"), ["10.3.0.1", "10.3.0.2"]);
        assert_eq!(all("10.3.0.0/31"), ["10.3.0.0", "10.3.0.1"]);
        assert_eq!(all("10.3.0.5"), ["10.3.0.5"]);
        assert_eq!(all("fd99::/126"), ["fd99::1", "fd99::2", "fd99::3"]);
        assert_eq!(all("fd99::/64").len(), 9);
    }

    /// After a restart, SAs of the process before are still for addresses of the pool.
    #[test]
    fn what_an_earlier_process_gave_goes_to_nobody_else_while_its_sa_is_there() {
        let (mut leases, pool) = (Leases::default(), pool("10.3.0.0/29"));
        let kept: IpAddr = "10.3.0.1".parse().unwrap();
        let there = Ipv4Addr::new(198, 51, 100, 9).into();
        let sa = leases.keep(&pool, kept, there);
        assert!(sa.is_some() && leases.keep(&pool, kept, HERE).is_none() && leases.keep(&pool, there, there).is_none());
        let claim = Claim { identity: &identity("a.example"), wish: Some(kept), succeeds: true, from: HERE };
        let other = leases.take(&pool, claim);
        assert_eq!(address(other.as_ref()), "10.3.0.2", "it calls from elsewhere");
        let back = leases.take(&pool, Claim { identity: &identity("b.example"), wish: Some(kept), succeeds: false, from: there });
        assert_eq!(address(back.as_ref()), "10.3.0.1", "it is where the SA goes to");
        drop(sa);
        let status = leases.status(&pool);
        let shown: Vec<_> = status.leases.iter().map(|lease| (lease.address.to_string(), lease.identity.clone(), lease.online)).collect();
        assert_eq!(shown, [("10.3.0.1".into(), Some(identity("b.example")), true), ("10.3.0.2".into(), Some(identity("a.example")), true)]);
        assert_eq!(status.size, 6);
    }

    #[test]
    fn an_address_that_nobody_has_had_may_be_asked_for() {
        let (mut leases, pool) = (Leases::default(), pool("10.3.0.0/29"));
        let wish = |name: &'static str, wish: &str| (identity(name), Some(wish.parse().unwrap()));
        let mut take = |(identity, wish): (Identity, Option<IpAddr>)| {
            leases.take(&pool, Claim { identity: &identity, wish, succeeds: false, from: HERE })
        };
        let a = take(wish("a.example", "10.3.0.2"));
        assert_eq!(address(a.as_ref()), "10.3.0.2");
        for refused in ["10.3.0.2", "10.3.0.0", "10.3.0.7", "10.4.0.1", "fd99::1"] {
            let other = take(wish("b.example", refused));
            assert_eq!(address(other.as_ref()), "10.3.0.1", "{refused}");
        }
        let b = take((identity("b.example"), None));
        assert_eq!(
            [address(b.as_ref()), address(take((identity("c.example"), None)).as_ref())],
            ["10.3.0.1", "10.3.0.3"],
            "the second is passed over"
        );
    }

    /// A RADIUS server may know better.
    #[test]
    fn an_address_that_somebody_else_has_chosen_is_given_to_nobody_but_its_peer() {
        let (mut leases, pool) = (Leases::default(), pool("10.3.0.0/29"));
        let chosen: IpAddr = "10.3.0.4".parse().unwrap();
        let claim = |identity| Claim { identity, wish: None, succeeds: false, from: HERE };
        let (a, b) = (identity("a.example"), identity("b.example"));
        let held = leases.assign(&pool, chosen, claim(&a));
        assert_eq!(address(held.as_ref()), "10.3.0.4");
        for refused in ["10.3.0.4", "10.3.0.0", "10.3.0.7", "10.4.0.1", "fd99::1"] {
            assert!(leases.assign(&pool, refused.parse().unwrap(), claim(&b)).is_none(), "{refused}");
        }
        let others: Vec<_> = ["1.example", "2.example", "3.example", "4.example", "5.example", "6.example"]
            .map(|name| take(&mut leases, &pool, name))
            .into();
        assert_eq!(others.iter().flatten().count(), 5, "the pool gives the others");
        // The same peer again: beside its first IKE SA only where that ends, or where it asks for its own.
        assert!(leases.assign(&pool, chosen, claim(&a)).is_none());
        assert!(leases.assign(&pool, chosen, Claim { succeeds: true, ..claim(&a) }).is_some());
        assert!(leases.assign(&pool, chosen, Claim { wish: Some(chosen), ..claim(&a) }).is_some());
        assert!(leases.assign(&pool, chosen, Claim { wish: Some(chosen), succeeds: true, ..claim(&b) }).is_some(), "nobody holds it");
    }

    #[test]
    fn a_pool_with_other_addresses_begins_anew() {
        let mut leases = Leases::default();
        let held = take(&mut leases, &pool("10.3.0.0/24"), "a.example");
        assert_eq!(address(take(&mut leases, &pool("10.4.0.0/24"), "a.example").as_ref()), "10.4.0.1");
        drop(held);
    }
}
