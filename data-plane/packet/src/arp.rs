//! ARP for IPv4 over Ethernet (RFC 826).
//!
//! ```text
//!  0                   1                   2                   3
//!  0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! |       Hardware type = 1       |     Protocol type = 0x0800    |
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! | HW length = 6 | Pr length = 4 |           Operation           |
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! |                    Sender hardware address                    |
//! +                               +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! |                               | Sender protocol address ...   |
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! | ... (2 octets)                |    Target hardware address    |
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+                               +
//! |                                                               |
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! |                    Target protocol address                    |
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! ```

use core::net::Ipv4Addr;

use crate::ethernet::MacAddress;
use crate::{be16, octets};

/// Octets of an ARP packet for IPv4 over Ethernet.
pub const PACKET_LEN: usize = 28;

/// Hardware type 1, protocol type 0x0800, lengths 6 and 4.
const FIXED: [u8; 6] = [0, 1, 8, 0, 6, 4];

/// What an ARP packet wants.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operation {
    /// Who has the target protocol address?
    Request,
    /// The sender has its protocol address.
    Reply,
}

/// An ARP packet for IPv4 over Ethernet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ArpPacket {
    /// Request or reply.
    pub operation: Operation,
    /// Sender's MAC address.
    pub sender_mac: MacAddress,
    /// Sender's IPv4 address.
    pub sender: Ipv4Addr,
    /// Target's MAC address; without meaning in a request.
    pub target_mac: MacAddress,
    /// Target's IPv4 address.
    pub target: Ipv4Addr,
}

impl ArpPacket {
    /// Reads the payload of an Ethernet frame; `None` where it is short, of other types or lengths, or of another operation.
    pub fn parse(bytes: &[u8]) -> Option<Self> {
        if octets::<6>(bytes, 0)? != FIXED {
            return None;
        }
        let operation = match be16(bytes, 6)? {
            1 => Operation::Request,
            2 => Operation::Reply,
            _ => return None,
        };
        let mac = |at| octets(bytes, at).map(MacAddress);
        let address = |at| octets::<4>(bytes, at).map(Ipv4Addr::from);
        Some(Self { operation, sender_mac: mac(8)?, sender: address(14)?, target_mac: mac(18)?, target: address(24)? })
    }

    /// The octets of the packet.
    pub fn to_octets(&self) -> [u8; PACKET_LEN] {
        let mut out = [0; PACKET_LEN];
        out[..6].copy_from_slice(&FIXED);
        out[7] = match self.operation {
            Operation::Request => 1,
            Operation::Reply => 2,
        };
        out[8..14].copy_from_slice(&self.sender_mac.0);
        out[14..18].copy_from_slice(&self.sender.octets());
        out[18..24].copy_from_slice(&self.target_mac.0);
        out[24..].copy_from_slice(&self.target.octets());
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parse_and_write_are_inverse_and_the_last_octet_is_needed() {
        let packet = ArpPacket {
            operation: Operation::Reply,
            sender_mac: MacAddress([2, 0, 0, 0, 0, 1]),
            sender: Ipv4Addr::new(192, 0, 2, 1),
            target_mac: MacAddress([2, 0, 0, 0, 0, 2]),
            target: Ipv4Addr::new(192, 0, 2, 2),
        };
        let octets = packet.to_octets();
        assert_eq!(ArpPacket::parse(&octets), Some(packet));
        assert_eq!(ArpPacket::parse(&octets[..27]), None);
        for at in 0..7 {
            let mut bad = octets;
            bad[at] ^= 0x40;
            assert_eq!(ArpPacket::parse(&bad), None, "octet {at}");
        }
    }
}
