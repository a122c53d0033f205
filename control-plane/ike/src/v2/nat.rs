//! NAT detection and the move to port 4500 (RFC 7296 section 2.23, RFC 3948).

use alloc::vec::Vec;
use core::net::{IpAddr, SocketAddr};

use ike_wire::{Notify, NotifyType, Payload};

use crate::context::Context;

/// The port of IKE and of UDP-encapsulated ESP behind a NAT.
pub(crate) const NAT_T_PORT: u16 = 4500;
/// The port of IKE.
pub(crate) const IKE_PORT: u16 = 500;

/// What the two notifications showed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct NatStatus {
    /// The peer sent them: it can do UDP encapsulation.
    pub(crate) supported: bool,
    /// A NAT stands before this gateway.
    pub(crate) local: bool,
    /// A NAT stands before the peer.
    pub(crate) remote: bool,
}

impl NatStatus {
    /// Whether the peer's address is followed, by IKE messages or by ESP: only from a gateway that is not behind a NAT itself (section 2.23).
    pub(crate) const fn follows(self) -> bool {
        self.remote && !self.local
    }
}

/// SPIi and SPIr of the header.
#[derive(Debug, Clone, Copy)]
pub(crate) struct HeaderSpis(pub(crate) u64, pub(crate) u64);

/// Both notifications for a message from `local` to `remote`. `forced`: with a source that fits no packet, so that the peer sees a NAT.
pub(crate) fn notifications(cx: &mut Context<'_>, spis: HeaderSpis, local: SocketAddr, remote: SocketAddr, forced: bool) -> [Payload; 2] {
    let sha1 = cx.shared.provider.sha1;
    let source = if forced { cx.octets(20) } else { hash(sha1, spis, local) };
    let destination = hash(sha1, spis, remote);
    [(NotifyType::NAT_DETECTION_SOURCE_IP, source), (NotifyType::NAT_DETECTION_DESTINATION_IP, destination)]
        .map(|(kind, data)| Payload::Notify(Notify::new(kind, data)))
}

/// What the notifications in a received message say. There may be several of a source: one that fits is enough.
pub(crate) fn detect(cx: &Context<'_>, spis: HeaderSpis, payloads: &[Payload], local: SocketAddr, remote: SocketAddr) -> NatStatus {
    let of_kind = |kind: NotifyType| {
        payloads.iter().filter_map(move |payload| match payload {
            Payload::Notify(notify) if notify.kind == kind => Some(&notify.data),
            _ => None,
        })
    };
    let source = || of_kind(NotifyType::NAT_DETECTION_SOURCE_IP);
    let destination = || of_kind(NotifyType::NAT_DETECTION_DESTINATION_IP);
    if source().next().is_none() || destination().next().is_none() {
        return NatStatus::default();
    }
    let [seen_remote, seen_local] = [remote, local].map(|address| hash(cx.shared.provider.sha1, spis, address));
    NatStatus { supported: true, local: !destination().any(|data| *data == seen_local), remote: !source().any(|data| *data == seen_remote) }
}

/// `address` with the port of NAT traversal in place of that of IKE.
pub(crate) fn moved(address: SocketAddr) -> SocketAddr {
    if address.port() == IKE_PORT { SocketAddr::new(address.ip(), NAT_T_PORT) } else { address }
}

/// SHA-1(SPIi | SPIr | address | port).
fn hash(sha1: fn(&[&[u8]]) -> [u8; 20], spis: HeaderSpis, address: SocketAddr) -> Vec<u8> {
    let octets = match address.ip() {
        IpAddr::V4(address) => address.octets().to_vec(),
        IpAddr::V6(address) => address.octets().to_vec(),
    };
    let (spi_i, spi_r, port) = (spis.0.to_be_bytes(), spis.1.to_be_bytes(), address.port().to_be_bytes());
    sha1(&[&spi_i, &spi_r, &octets, &port]).to_vec()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Computed with Python: `hashlib.sha1(struct.pack(">QQ", spi_i, spi_r) + ipaddress.ip_address(address).packed + struct.pack(">H", port))`.
    const VECTORS: [(u64, u64, &str, &str); 4] = [
        (0x0123_4567_89ab_cdef, 0, "192.0.2.1:500", "9426429034924268452f8e3ff79fb69e2a8d71eb"),
        (0x0123_4567_89ab_cdef, 0xfedc_ba98_7654_3210, "198.51.100.7:4500", "7bf4a701ea63f3769d66764e8eb91237b4895c03"),
        (0x0123_4567_89ab_cdef, 0, "[2001:db8::1]:500", "9bbdb9b85c4968af03a73f051323d6e067cf4027"),
        (0x0123_4567_89ab_cdef, 0xfedc_ba98_7654_3210, "[2001:db8:0:ff::a00:7]:4500", "7529838c816e49383b33ce27cd2f60caf66c1e0c"),
    ];

    #[test]
    fn only_a_gateway_in_the_open_follows_its_peer() {
        for (local, remote, follows) in [(false, true, true), (true, true, false), (true, false, false), (false, false, false)] {
            assert_eq!(NatStatus { supported: true, local, remote }.follows(), follows);
        }
    }

    #[test]
    fn the_hash_covers_spis_address_and_port_of_both_families() {
        for (initiator, responder, address, expected) in VECTORS {
            let computed = hash(ike_crypto::provider().sha1, HeaderSpis(initiator, responder), address.parse().unwrap());
            let hex: alloc::string::String = computed.iter().map(|octet| alloc::format!("{octet:02x}")).collect();
            assert_eq!(hex, expected, "{address}");
        }
    }
}
