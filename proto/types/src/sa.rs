//! What the control plane tells the data plane: policies and Child SAs (RFC 4301 sections 4.4.1 and 4.4.2).

use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;
use core::net::IpAddr;
use core::time::Duration;

use crate::{DscpSet, EncryptionAlgorithm, IntegrityAlgorithm, Lifetime, Secret, SequenceNumbers, Spi, TrafficSelector};

/// Names an SPD entry for as long as the configuration that holds it is in force.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PolicyId(pub u32);

/// Names a pair of SAs. Never reused within one boot of the data plane.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ChildSaId(pub u64);

impl fmt::Display for ChildSaId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// What happens to a packet that an SPD entry selects.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum PolicyAction {
    /// It crosses in an SA of this policy, or triggers one.
    Protect,
    /// It crosses in the clear.
    Bypass,
    /// It is dropped.
    Discard,
}

/// An SPD entry. "Local" is this gateway's protected side: outbound packets have their source there, inbound ones their destination.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Policy {
    /// Its identifier in Acquires and SAs.
    pub id: PolicyId,
    /// What operators call it: the child's name in the configuration.
    pub name: String,
    /// Entries with a lower value are looked at first.
    pub priority: u32,
    /// What happens to packets it selects.
    pub action: PolicyAction,
    /// Any of these on the local side,
    pub local: Vec<TrafficSelector>,
    /// and any of these on the remote side.
    pub remote: Vec<TrafficSelector>,
    /// Of outbound packets, those of these classes: several SAs may carry the same selectors, each a class of its own (RFC 4301 section 4.1). Of
    /// inbound ones, any.
    pub dscp: DscpSet,
}

/// The keys of one direction, as cut from the keying material (RFC 7296 section 2.17).
#[derive(Debug, PartialEq, Eq)]
pub struct SaKeys {
    /// Cipher key, followed by the salt where the algorithm has one; empty with AH.
    pub encryption: Secret,
    /// Key of the integrity algorithm; `None` with AEAD.
    pub integrity: Option<Secret>,
}

/// UDP encapsulation (RFC 3948): the ports ESP travels between.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct UdpEncapsulation {
    /// This gateway's port.
    pub local_port: u16,
    /// The peer's port, as seen from here.
    pub remote_port: u16,
}

/// When an installed outbound SA starts to carry packets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Activation {
    /// At once: the peer is known to hold the inbound half.
    Immediate,
    /// When an `Activate` says so, when the first authenticated packet arrives on the inbound sibling, or after `fallback`.
    Parked {
        /// How long to wait for either at most; `None` waits for ever.
        fallback: Option<Duration>,
    },
}

/// The security protocol of an SA, and its algorithms.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Protection {
    /// ESP (RFC 4303).
    Esp {
        /// The cipher.
        encryption: EncryptionAlgorithm,
        /// The integrity algorithm; `None` exactly with AEAD.
        integrity: Option<IntegrityAlgorithm>,
    },
    /// AH (RFC 4302).
    Ah {
        /// The integrity algorithm.
        integrity: IntegrityAlgorithm,
    },
}

impl Protection {
    /// The cipher; `None` for AH.
    pub const fn encryption(&self) -> Option<EncryptionAlgorithm> {
        match *self {
            Self::Esp { encryption, .. } => Some(encryption),
            Self::Ah { .. } => None,
        }
    }

    /// The integrity algorithm; `None` for ESP with AEAD.
    pub const fn integrity(&self) -> Option<IntegrityAlgorithm> {
        match *self {
            Self::Esp { integrity, .. } => integrity,
            Self::Ah { integrity } => Some(integrity),
        }
    }
}

/// What an SA protects of a packet (RFC 4301 section 4.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Mode {
    /// The whole packet, within another one between the gateways.
    #[default]
    Tunnel,
    /// What the packet carries; its ends are those of the SA.
    Transport,
}

/// What becomes of the DF bit in an outer IPv4 header (RFC 4301 section 8.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum DontFragment {
    /// As in the inner header; set for an inner IPv6 packet, which no router fragments.
    #[default]
    Copy,
    /// Always set.
    Set,
    /// Always clear.
    Clear,
}

/// What hides the lengths and the rate of packets in an ESP tunnel (RFC 4303 sections 2.6 and 2.7).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Tfc {
    /// What inner packets are padded to; `None` for no padding.
    pub padding: Option<TfcPadding>,
    /// Dummy packets sent each second; 0 for none.
    pub dummies_per_second: u32,
}

/// The length that inner packets are padded to. Longer ones stay as they are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum TfcPadding {
    /// So many octets, or as many as fit.
    To(u16),
    /// As many octets as fit on the way.
    Mtu,
}

/// A pair of SAs, ready to be installed.
#[derive(Debug, PartialEq, Eq)]
pub struct ChildSa {
    /// Its identifier.
    pub id: ChildSaId,
    /// The SPD entry it serves.
    pub policy: PolicyId,
    /// SPI of packets towards this gateway; leased from the data plane.
    pub inbound_spi: Spi,
    /// SPI of packets towards the peer; chosen by the peer.
    pub outbound_spi: Spi,
    /// Outer address of this gateway.
    pub local: IpAddr,
    /// Outer address of the peer.
    pub remote: IpAddr,
    /// UDP encapsulation; `None` for plain ESP, and for AH.
    pub encapsulation: Option<UdpEncapsulation>,
    /// Protocol and algorithms.
    pub protection: Protection,
    /// Tunnel or transport mode.
    pub mode: Mode,
    /// The DF bit of the outer header.
    pub dont_fragment: DontFragment,
    /// Whether the outer header has the DSCP of the inner one; otherwise it has zero (RFC 4301 section 5.1.2, RFC 2983 section 3.1).
    pub copy_dscp: bool,
    /// Traffic flow confidentiality; nothing but in an ESP tunnel.
    pub tfc: Tfc,
    /// Width of sequence numbers.
    pub sequence_numbers: SequenceNumbers,
    /// Size of the replay window in packets; 0 switches replay protection off.
    pub replay_window: u32,
    /// Keys of the inbound direction.
    pub inbound_keys: SaKeys,
    /// Keys of the outbound direction.
    pub outbound_keys: SaKeys,
    /// Selectors of the local side.
    pub local_selectors: Vec<TrafficSelector>,
    /// Selectors of the remote side.
    pub remote_selectors: Vec<TrafficSelector>,
    /// When the outbound SA starts to carry packets.
    pub activation: Activation,
    /// The Child SA that this one replaces in a rekey.
    pub predecessor: Option<ChildSaId>,
    /// When to rekey and when to end.
    pub lifetime: Lifetime,
}
