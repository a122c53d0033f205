//! Which connection, child and key a peer gets: the PAD of RFC 4301 section 4.4.3.

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::net::IpAddr;
use core::ops::Deref;

use ike_wire::PpkIdType;
use ipsec_types::{Identity, PolicyId, Secret};

use crate::config::{Child, Config, Connection, Ppk, Psk};
use crate::v1::authentication::Authentication;
use crate::v2::keys::Role;

/// A connection, with the configuration that holds it: an IKE SA keeps the one it was negotiated under.
#[derive(Debug, Clone)]
pub(crate) struct ConnectionRef {
    config: Arc<Config>,
    index: usize,
}

impl ConnectionRef {
    /// Every connection, in order of preference.
    pub(crate) fn all(config: &Arc<Config>) -> impl Iterator<Item = Self> + use<> {
        let config = Arc::clone(config);
        (0..config.connections.len()).map(move |index| Self { config: Arc::clone(&config), index })
    }

    /// The connections of a peer at `remote` that calls `local` with IKEv2.
    pub(crate) fn between(config: &Arc<Config>, local: IpAddr, remote: IpAddr) -> impl Iterator<Item = Self> + use<> {
        Self::at(config, local, remote).filter(|connection| connection.version.has_v2())
    }

    /// The same with IKEv1, which has a method of authentication for some of them.
    pub(crate) fn between_with_v1(config: &Arc<Config>, local: IpAddr, remote: IpAddr) -> impl Iterator<Item = Self> + use<> {
        Self::at(config, local, remote)
            .filter(|connection| connection.version.has_v1() && Authentication::of(connection, Role::Responder).is_some())
    }

    fn at(config: &Arc<Config>, local: IpAddr, remote: IpAddr) -> impl Iterator<Item = Self> + use<> {
        let any_or = |addresses: &[IpAddr], address| addresses.is_empty() || addresses.contains(&address);
        Self::all(config).filter(move |c| any_or(&c.local_addrs, local) && any_or(&c.remote_addrs, remote))
    }

    /// The connections of the same configuration between two addresses.
    pub(crate) fn siblings(&self, local: IpAddr, remote: IpAddr) -> impl Iterator<Item = Self> + use<> {
        Self::between(&self.config, local, remote)
    }

    /// The same that speak IKEv1.
    pub(crate) fn siblings_of_v1(&self, local: IpAddr, remote: IpAddr) -> impl Iterator<Item = Self> + use<> {
        Self::between_with_v1(&self.config, local, remote)
    }

    /// The child that serves a policy.
    pub(crate) fn of_policy(config: &Arc<Config>, policy: PolicyId) -> Option<(Self, usize)> {
        Self::all(config).find_map(|connection| {
            let child = connection.children.iter().position(|child| child.policy == policy)?;
            Some((connection, child))
        })
    }

    /// The children that stand under an SPD entry.
    pub(crate) fn of_entry(config: &Arc<Config>, entry: PolicyId) -> impl Iterator<Item = (Self, usize)> + use<> {
        let config = Arc::clone(config);
        Self::all(&config).flat_map(move |connection| {
            let under = |child: &Child| config.entry(child.policy) == entry;
            let found: Vec<usize> =
                connection.children.iter().enumerate().filter(|(_, child)| under(child)).map(|(index, _)| index).collect();
            found.into_iter().map(move |index| (connection.clone(), index))
        })
    }

    /// The SPD entry that one of its children stands under.
    pub(crate) fn entry(&self, policy: PolicyId) -> PolicyId {
        self.config.entry(policy)
    }

    /// Whether several peers may have SAs of one of its children, each with selectors that it asks for.
    pub(crate) fn is_for_several(&self, child: &Child) -> bool {
        let is_one = self.remote_identity.as_ref().is_some_and(|identity| !identity.is_pattern());
        !child.remote_dynamic && (!is_one || self.config.shares_entry(child.policy))
    }

    /// The child called `child` or `connection/child`.
    pub(crate) fn of_name(config: &Arc<Config>, name: &str) -> Option<(Self, usize)> {
        Self::all(config).find_map(|connection| {
            let named = |child: &Child| {
                child.name == name
                    || name.strip_prefix(connection.name.as_str()).and_then(|rest| rest.strip_prefix('/')) == Some(&child.name)
            };
            let child = connection.children.iter().position(named)?;
            Some((connection, child))
        })
    }

    /// Whether both are the same connection of the same configuration.
    pub(crate) fn is(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.config, &other.config) && self.index == other.index
    }

    /// Whether it is one of this configuration.
    pub(crate) fn is_of(&self, config: &Arc<Config>) -> bool {
        Arc::ptr_eq(&self.config, config)
    }

    /// Its child that serves a policy.
    pub(crate) fn child_of(&self, policy: PolicyId) -> Option<&Child> {
        self.children.iter().find(|child| child.policy == policy)
    }

    /// One of its children.
    pub(crate) fn child(&self, index: usize) -> Option<&Child> {
        self.children.get(index)
    }

    /// Whether the peer may be `remote`, and may have asked for us as `local`.
    pub(crate) fn admits(&self, remote: &Identity, local: Option<&Identity>) -> bool {
        let named = |wanted: &Identity| wanted.same(&self.local_identity);
        self.remote_identity.as_ref().is_none_or(|wanted| wanted.admits(remote)) && local.is_none_or(named)
    }

    /// How many peers it may be for: one, those of a pattern, anybody. Of those that admit a peer the one that says most of it is meant.
    pub(crate) fn vagueness(&self) -> u8 {
        self.remote_identity.as_ref().map_or(2, |identity| u8::from(identity.is_pattern()))
    }

    /// The secret of [`Self::key`].
    pub(crate) fn psk(&self, remote: &Identity) -> Option<&Secret> {
        self.key(remote).map(|psk| &psk.secret)
    }

    /// The PPK that an initiator names, with its identifier; `None` where it has none.
    pub(crate) fn own_ppk(&self) -> Option<(&str, &Secret)> {
        let id = self.ppk.as_ref()?.id.as_deref()?;
        self.config.ppks.iter().find(|ppk| ppk.id == id).map(|ppk| (ppk.id.as_str(), &ppk.secret))
    }

    /// The PPK that a peer names by a PPK_ID, if it is one of this connection.
    pub(crate) fn ppk_of_peer(&self, named: &[u8]) -> Option<(&str, &Secret)> {
        let policy = self.ppk.as_ref()?;
        let (kind, id) = named.split_first()?;
        let admitted = |ppk: &&Ppk| ppk.id.as_bytes() == id && policy.id.as_ref().is_none_or(|wanted| *wanted == ppk.id);
        let found = self.config.ppks.iter().find(admitted).filter(|_| *kind == PpkIdType::FIXED.0)?;
        Some((&found.id, &found.secret))
    }

    /// Every shared key of the configuration.
    pub(crate) fn keys(&self) -> &[Psk] {
        &self.config.psks
    }

    /// Who the peer must be, where that is one alone.
    pub(crate) fn one_peer(&self) -> Option<&Identity> {
        self.remote_identity.as_ref().filter(|identity| !identity.is_pattern())
    }

    /// Whom an initiator looks a key up for: the peer has not said who it is, so that one without a configured identity is known by its
    /// address.
    pub(crate) fn expected_peer(&self) -> Option<Identity> {
        let by_address = || {
            self.remote_addrs.first().map(|address| match address {
                IpAddr::V4(address) => Identity::Ipv4(*address),
                IpAddr::V6(address) => Identity::Ipv6(*address),
            })
        };
        self.one_peer().cloned().or_else(by_address)
    }

    /// The shared key between us and `remote`: one that names both sides before one that names the peer, both before one with a
    /// pattern for it, before one that names nobody but us, before one that names nobody. A key that names others than us is for them: it must name
    /// the peer.
    pub(crate) fn key(&self, remote: &Identity) -> Option<&Psk> {
        let is_ours = |owner: &Identity| self.local_rounds().any(|(identity, _)| owner.same(identity));
        let score = |owners: &[Identity]| {
            let names_us = owners.iter().any(is_ours);
            if owners.iter().any(|owner| owner.same(remote)) {
                return Some(4 + u8::from(names_us));
            }
            if owners.iter().any(|owner| owner.admits(remote)) {
                return Some(2 + u8::from(names_us));
            }
            if names_us { owners.iter().all(is_ours).then_some(1) } else { owners.is_empty().then_some(0) }
        };
        let scored = self.config.psks.iter().filter_map(|psk| Some((score(&psk.owners)?, psk)));
        // The first of the best: `max_by_key` alone would take the last.
        scored.rev().max_by_key(|(score, _)| *score).map(|(_, psk)| psk)
    }
}

impl Deref for ConnectionRef {
    type Target = Connection;

    #[expect(clippy::indexing_slicing, reason = "the index is one of this list")]
    fn deref(&self) -> &Connection {
        // Private fields, and every constructor takes the index from the list itself, which nobody can change behind the Arc.
        &self.config.connections[self.index]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{LocalAuth, RemoteAuth};

    fn connection(psks: &[(&[&str], &str)]) -> ConnectionRef {
        let identity = |text: &&str| text.parse().unwrap();
        let psks = psks
            .iter()
            .map(|(owners, secret)| Psk { owners: owners.iter().map(identity).collect(), secret: Secret::copy_from(secret.as_bytes()) });
        let connection = Connection {
            name: "lab".into(),
            version: crate::config::Version::V2,
            local_addrs: Vec::new(),
            remote_addrs: Vec::new(),
            proposals: Vec::new(),
            local_identity: "a.test".parse().unwrap(),
            remote_identity: None,
            local_auth: LocalAuth::Psk,
            remote_auth: RemoteAuth::Psk,
            local_more: Vec::new(),
            remote_more: Vec::new(),
            ppk: None,
            children: Vec::new(),
            unique: crate::config::Unique::default(),
            dpd_delay: None,
            keep_alive: None,
            retransmission: crate::config::Retransmission::default(),
            lifetime: crate::config::IkeLifetime::default(),
            reauthentication: None,
            force_encapsulation: false,
            pools: Vec::new(),
            virtual_addresses: Vec::new(),
            pull: true,
            fragmentation: crate::config::Fragmentation::default(),
            mobike: false,
            childless: crate::config::Childless::default(),
            aggressive: false,
            follow_redirects: false,
        };
        let config = Arc::new(Config { connections: alloc::vec![connection], psks: psks.collect(), ..Config::default() });
        ConnectionRef::all(&config).next().unwrap()
    }

    #[test]
    fn the_key_that_names_most_is_taken() {
        let connection = connection(&[(&[], "anybody"), (&["a.test"], "mine"), (&["b.test"], "theirs"), (&["a.test", "b.test"], "both")]);
        let key = |remote: &str| connection.psk(&remote.parse().unwrap()).map(|secret| secret.expose().to_vec());
        assert_eq!(key("B.test"), Some(b"both".to_vec()));
        assert_eq!(key("c.test"), Some(b"mine".to_vec()));
    }

    #[test]
    fn a_key_of_others_is_not_taken() {
        assert!(connection(&[(&["x.test", "y.test"], "others")]).psk(&"b.test".parse().unwrap()).is_none());
        assert!(connection(&[]).psk(&"b.test".parse().unwrap()).is_none());
    }

    /// What we share with one peer proves nothing about another.
    #[test]
    fn a_key_shared_with_another_peer_is_not_taken() {
        let shared_with_x = connection(&[(&["a.test", "x.test"], "ours and x's")]);
        assert!(shared_with_x.psk(&"b.test".parse().unwrap()).is_none());
        assert!(shared_with_x.psk(&"x.test".parse().unwrap()).is_some());
        let connection = connection(&[(&["a.test", "x.test"], "ours and x's"), (&["A.test", "a.test"], "mine")]);
        assert_eq!(connection.psk(&"b.test".parse().unwrap()).map(Secret::expose), Some(&b"mine"[..]));
    }
}
