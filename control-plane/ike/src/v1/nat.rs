//! NAT traversal (RFC 3947 and the drafts before it) and what else the two sides say they can do, in Vendor ID payloads.

use alloc::vec::Vec;
use core::net::{IpAddr, SocketAddr};

use ike_wire::v1::{NatOriginalAddress, Payload, Spelling};
use ipsec_types::IkeSpi;

use crate::config::Fragmentation;
use crate::provider::Hash;
use crate::v1::Core;
use crate::v2::nat::{NatStatus, moved};

/// RFC 3947 section 3.1: MD5 of "RFC 3947".
const RFC_3947: u128 = 0x4a13_1c81_0703_5845_5c57_28f2_0e95_452f;
/// Those of the drafts 03 and 02, in both of its spellings.
const DRAFTS: [u128; 3] =
    [0x7d94_19a6_5310_ca6f_2c17_9d92_1552_9d56, 0x90cb_8091_3ebb_696e_0863_81b5_ec42_7b1f, 0xcd60_4643_35df_21f8_7cfd_b2fc_68b6_a448];
/// RFC 3706 section 5.1, its version 1.0 included.
const DEAD_PEER_DETECTION: u128 = 0xafca_d713_68a1_f1c9_6b86_96fc_7757_0100;

/// MD5 of "FRAGMENTATION". Some vendors add four octets, which say in which exchanges.
const FRAGMENTATION: u128 = 0x4048_b7d5_6ebc_e885_25e7_de7f_00d6_c2d3;
/// XAuth (draft-beaulieu-ike-xauth-02).
const XAUTH: u64 = 0x0900_2689_dfd6_b712;

/// What a peer has said it can do.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Abilities {
    /// NAT traversal, by whose numbers.
    pub(crate) nat: Option<Spelling>,
    /// Dead Peer Detection.
    pub(crate) dead_peer_detection: bool,
    /// Fragments.
    pub(crate) fragmentation: bool,
}

impl Abilities {
    /// Of the Vendor ID payloads of a first message.
    pub(crate) fn of(payloads: &[Payload]) -> Self {
        let says =
            |id: u128| payloads.iter().any(|payload| matches!(payload, Payload::VendorId(octets) if octets.as_slice() == id.to_be_bytes()));
        let nat = match (says(RFC_3947), DRAFTS.iter().any(|draft| says(*draft))) {
            (true, _) => Some(Spelling::Standard),
            (false, true) => Some(Spelling::Draft),
            (false, false) => None,
        };
        let begins =
            |id: u128| payloads.iter().any(|payload| matches!(payload, Payload::VendorId(octets) if octets.starts_with(&id.to_be_bytes())));
        Self { nat, dead_peer_detection: says(DEAD_PEER_DETECTION), fragmentation: begins(FRAGMENTATION) }
    }
}

/// What an initiator says it can do: of NAT traversal everything, so that the responder may choose.
pub(crate) fn offered(fragmentation: Fragmentation, has_users: bool) -> impl Iterator<Item = Payload> {
    [RFC_3947].into_iter().chain(DRAFTS).map(vendor_id).chain(always(fragmentation, has_users))
}

/// What a responder says: of NAT traversal what the two will speak.
pub(crate) fn answered(theirs: Abilities, fragmentation: Fragmentation, has_users: bool) -> impl Iterator<Item = Payload> {
    let nat = theirs.nat.map(|spelling| match spelling {
        Spelling::Standard => RFC_3947,
        Spelling::Draft => DRAFTS[0],
    });
    nat.into_iter().map(vendor_id).chain(always(fragmentation, has_users))
}

/// What does not depend on what the peer says.
fn always(fragmentation: Fragmentation, has_users: bool) -> impl Iterator<Item = Payload> {
    let of_16 = [DEAD_PEER_DETECTION].into_iter().chain(fragmentation.is_announced().then_some(FRAGMENTATION));
    of_16.map(vendor_id).chain(has_users.then(|| Payload::VendorId(XAUTH.to_be_bytes().to_vec())))
}

fn vendor_id(id: u128) -> Payload {
    Payload::VendorId(id.to_be_bytes().to_vec())
}

/// HASH = HASH(CKY-I | CKY-R | IP | Port) (RFC 3947 section 3.2).
fn hash(hash: &dyn Hash, cookies: [IkeSpi; 2], address: SocketAddr) -> Vec<u8> {
    let octets = match address.ip() {
        IpAddr::V4(address) => address.octets().to_vec(),
        IpAddr::V6(address) => address.octets().to_vec(),
    };
    let [cky_i, cky_r] = cookies.map(|cookie| cookie.value().to_be_bytes());
    hash.compute(&[&cky_i, &cky_r, &octets, &address.port().to_be_bytes()])
}

/// The NAT-D payloads of a message between two addresses, ours first: "The first NAT-D payload contains the remote end's IP address and port", the
/// second ours. `forged`: other octets in its place, so that the peer sees a NAT.
pub(crate) fn detection(
    spelling: Spelling,
    function: &dyn Hash,
    cookies: [IkeSpi; 2],
    (local, remote): (SocketAddr, SocketAddr),
    forged: Option<Vec<u8>>,
) -> [Payload; 2] {
    let source = forged.unwrap_or_else(|| hash(function, cookies, local));
    [hash(function, cookies, remote), source].map(|hash| Payload::NatDetection(spelling, hash))
}

/// What those of a received message say.
pub(crate) fn detect(
    function: &dyn Hash,
    cookies: [IkeSpi; 2],
    payloads: &[Payload],
    (local, remote): (SocketAddr, SocketAddr),
) -> NatStatus {
    let mut hashes = payloads.iter().filter_map(|payload| match payload {
        Payload::NatDetection(_, hash) => Some(hash),
        _ => None,
    });
    let Some(destination) = hashes.next() else { return NatStatus::default() };
    let mut sources = hashes.peekable();
    if sources.peek().is_none() {
        return NatStatus::default();
    }
    let (seen_local, seen_remote) = (hash(function, cookies, local), hash(function, cookies, remote));
    NatStatus { supported: true, local: *destination != seen_local, remote: !sources.any(|source| *source == seen_remote) }
}

impl Core {
    /// Whether ESP travels in UDP.
    pub(crate) fn encapsulates(&self) -> bool {
        self.nat.supported && (self.nat.local || self.nat.remote || self.connection.force_encapsulation)
    }

    /// "The initiator MUST now set both UDP source and destination port to 4500" (RFC 3947 section 4), where a NAT was seen.
    pub(crate) fn move_ports(&mut self) {
        if self.encapsulates() {
            self.local = moved(self.local);
            self.remote = moved(self.remote);
        }
    }

    /// Between which ends ESP travels, ours first.
    pub(crate) fn esp_ends(&self) -> [SocketAddr; 2] {
        [self.local, self.remote].map(moved)
    }

    /// NAT-OA payloads: the addresses of the initiator and of the responder, as we know them (RFC 3947 section 5.2).
    pub(crate) fn original_addresses(&self, initiator: IpAddr, responder: IpAddr) -> impl Iterator<Item = Payload> {
        let spelling = self.abilities.nat.unwrap_or(Spelling::Standard);
        [initiator, responder].into_iter().map(move |address| Payload::NatOriginalAddress(NatOriginalAddress { spelling, address }))
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec;

    use super::*;

    #[test]
    fn the_standard_is_spoken_where_the_peer_can() {
        let nat = |ids: &[u128]| Abilities::of(&ids.iter().copied().map(vendor_id).collect::<Vec<_>>()).nat;
        assert_eq!(nat(&[]), None);
        assert_eq!(nat(&[DRAFTS[2]]), Some(Spelling::Draft));
        assert_eq!(nat(&[DRAFTS[0], RFC_3947]), Some(Spelling::Standard));
        let all: Vec<Payload> = offered(Fragmentation::No, false).collect();
        let abilities = Abilities::of(&all);
        assert!(abilities.dead_peer_detection && !abilities.fragmentation && abilities.nat == Some(Spelling::Standard));
        let cisco = Payload::VendorId([&FRAGMENTATION.to_be_bytes()[..], &[0xc0, 0, 0, 0]].concat());
        assert!(Abilities::of(&[cisco]).fragmentation);
        assert!(Abilities::of(&answered(abilities, Fragmentation::Accept, true).collect::<Vec<_>>()).fragmentation);
        assert_eq!(Abilities::of(&[Payload::VendorId(vec![1, 2])]).nat, None);
    }
}
