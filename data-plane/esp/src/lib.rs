//! ESP (RFC 4303) and AH (RFC 4302) as pure code over a [`packet::Buffer`]: seal, open, replay protection; tunnel mode for IPv4 and IPv6 in either, and
//! transport mode.
//!
//! Nothing here does I/O, takes a lock, allocates per packet or knows the time. Key expansion and window allocation happen where an SA is made
//! ([`SaKey`], [`OutboundSa`], [`InboundSa`], [`ReplayWindow`]), off the hot path.
//!
//! # Three phases
//! Both directions are split so that a pipeline calls the cipher once for a whole burst, whatever SAs the packets belong to:
//!
//! | | outbound | inbound |
//! |---|---|---|
//! | before | [`OutboundSa::take`], [`seal::prepare`] | [`open::IpsecPacket::parse`], SA lookup, [`open::prepare`] (replay looks) |
//! | crypto | [`seal::SealPlan::job`] (or with the former in one: [`seal::prepare_frames`]), [`esp_crypto::seal_burst`] | [`open::OpenPlan::job`] (in one: [`open::TunnelSa::prepare`]), [`esp_crypto::open_burst`] |
//! | after | [`seal::finish`] (the ICV of AH, the UDP checksum where IPv6 needs one) | [`open::OpenPlan::finish`] (replay advances, trailer, ECN, selectors) |
//!
//! A buffer starts at the IP header in every phase: the inner one before sealing and after opening, the outer one otherwise; in transport mode they are
//! the same. TTL of a forwarded inner
//! packet is the pipeline's business ([`packet::ip::decrement_hop_limit`]).
//!
//! What is the same for all packets of an SA is made once: a [`Template`] of the headers for where the SA leads, ranges for the selectors. What parsing a
//! packet has shown is handed on as [`packet::ip::Parsed`].
//!
//! # What the types promise
//! - A [`SequenceNumber`] comes only from the one counter of its SA, cannot be copied, and is consumed by [`seal::prepare`]: safe code cannot use a nonce
//!   twice. The IV is the 64-bit sequence number (RFC 4106 section 3.1 asks for uniqueness only), for AES-CBC encrypted under a key of its own.
//! - A packet leaves [`open::OpenPlan::finish`] only verified, accepted by the replay window, well formed, and within the SA's selectors.
//!
//! ```
//! use esp::{DontFragment, Ends, InboundSa, OutboundSa, ReplayWindow, SaKey, Selectors, Template, Tunnel, WindowSize, open, seal};
//! use ipsec_types::{AddressRange, EncryptionAlgorithm, Secret, SequenceNumbers, Spi, TrafficSelector};
//! use packet::{Buffer, VecBuffer, ip::Parsed, ipv4::Ipv4Header};
//!
//! let keymat = Secret::new(vec![7; 20]);
//! let key = || SaKey::from_keymat(EncryptionAlgorithm::AesGcm128, &keymat);
//! let tunnel = Tunnel {
//!     ends: Ends::V4 { source: [192, 0, 2, 1].into(), destination: [192, 0, 2, 2].into() },
//!     udp: None,
//!     dont_fragment: DontFragment::Copy,
//!     copy_dscp: true,
//! };
//! let any = || vec![TrafficSelector::addresses_only(AddressRange::ALL_IPV4)];
//! let outbound = OutboundSa::new(Spi::new(0x1000)?, key()?, SequenceNumbers::Extended);
//! let inbound = InboundSa::new(
//!     Spi::new(0x1000)?,
//!     key()?,
//!     SequenceNumbers::Extended,
//!     WindowSize::DEFAULT,
//!     Selectors::new(any(), any()),
//! );
//! let mut window = ReplayWindow::new(inbound.window_size());
//!
//! let header = Ipv4Header {
//!     traffic_class: 0,
//!     identification: 1,
//!     dont_fragment: true,
//!     ttl: 64,
//!     protocol: 1,
//!     source: [10, 0, 0, 1].into(),
//!     destination: [10, 0, 1, 1].into(),
//! };
//! let mut buffer = VecBuffer::from_packet(&[&header.to_octets(8).unwrap()[..], &[8, 0, 0, 0, 0, 0, 0, 0]].concat());
//! let inner = buffer.bytes().to_vec();
//!
//! let template = Template::new(&outbound, &tunnel);
//! let inner_parsed = Parsed::parse(buffer.bytes())?;
//! let plan = seal::prepare(outbound.take_one()?, &template, inner_parsed, &mut buffer)?;
//! esp_crypto::seal_burst(&mut [plan.job(&mut buffer).unwrap()]);
//! seal::finish(&template, &mut buffer).unwrap();
//!
//! let packet = open::IpsecPacket::parse(buffer.bytes())?;
//! let plan = open::prepare(&inbound, &window, &packet, &mut buffer)?;
//! let verified = esp_crypto::open_burst(&mut [plan.job(&mut buffer).unwrap()]);
//! let opened = plan.finish(verified.contains(0), &mut window, &mut buffer)?;
//! assert_eq!((buffer.bytes(), opened.number), (&inner[..], 1));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
#![no_std]
// A packet from the network never panics: what could is not compiled.
#![cfg_attr(
    not(test),
    deny(clippy::indexing_slicing, clippy::string_slice, clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::unreachable)
)]

extern crate alloc;

mod ah;
mod ecn;
mod esn;
mod facts;
#[cfg(test)]
mod fixtures;
mod inbound_sa;
mod key;
mod layout;
pub mod open;
mod outbound_sa;
mod replay;
pub mod seal;
mod template;
mod tunnel;

pub use inbound_sa::{InboundSa, Selectors};
pub use ipsec_types::DontFragment;
pub use key::{KeymatError, SaKey};
pub use layout::{Layout, Protocol};
pub use outbound_sa::{OutboundSa, SequenceExhausted, SequenceNumber, SequenceRange};
pub use replay::{Accepted, ReplayError, ReplayWindow, WindowSize, WindowTooLarge};
pub use template::{EspTunnel, Template};
pub use tunnel::{Ends, MAX_HEADROOM, MAX_TAILROOM, Tunnel, UdpPorts};

/// Octets of pad length and next header.
const TRAILER_LEN: usize = 2;
