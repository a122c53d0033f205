//! How things stand, as operators see it.

use alloc::string::String;
use alloc::vec::Vec;
use core::net::{IpAddr, SocketAddr};
use core::time::Duration;

use ipsec_types::{AddressRange, ChildSaId, Identity, IkeSpi, Mode, PolicyId, Protection, Spi, TrafficSelector};

use super::IkeSaId;
use crate::error::Failure;

/// An IKE SA as operators see it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IkeSaStatus {
    /// Its identifier.
    pub id: IkeSaId,
    /// Of IKE: 1 or 2.
    pub version: u8,
    /// Its connection.
    pub connection: String,
    /// Initiator's SPI.
    pub initiator_spi: IkeSpi,
    /// Responder's SPI; `None` before the first answer.
    pub responder_spi: Option<IkeSpi>,
    /// Whether this gateway began it.
    pub initiator: bool,
    /// Where it stands.
    pub state: SaState,
    /// This gateway.
    pub local: SocketAddr,
    /// The peer.
    pub remote: SocketAddr,
    /// Who we are.
    pub local_identity: Option<Identity>,
    /// Who the peer is, once authenticated.
    pub remote_identity: Option<Identity>,
    /// Such as `AES_GCM_16_128/PRF_HMAC_SHA2_256/CURVE_25519`; empty before the negotiation.
    pub proposal: String,
    /// Time since it was begun.
    pub age: Duration,
    /// A NAT stands before this gateway.
    pub nat_local: bool,
    /// A NAT stands before the peer.
    pub nat_remote: bool,
    /// What has become of the post-quantum preshared key.
    pub ppk: PpkStatus,
    /// Addresses that its ends have given each other.
    pub virtual_addresses: VirtualAddresses,
    /// Its Child SAs.
    pub children: Vec<ChildSaStatus>,
}

/// The post-quantum preshared key of an IKE SA (RFC 8784).
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum PpkStatus {
    /// None is configured, or it is not known yet.
    #[default]
    NotWanted,
    /// The one of this name is in its keys.
    Used(String),
    /// The one that is configured is not in its keys, because of this.
    Missing(String),
}

/// Addresses that one side of an IKE SA has inside the other's network (RFC 7296 section 2.19).
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct VirtualAddresses {
    /// This gateway's in the peer's network.
    pub local: Vec<IpAddr>,
    /// The peer's in this gateway's.
    pub remote: Vec<IpAddr>,
    /// Name servers that the peer has named.
    pub dns: Vec<IpAddr>,
    /// Networks that it has named as its own.
    pub networks: Vec<AddressRange>,
}

/// A pool of addresses for peers, and who has which.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PoolStatus {
    /// Its name.
    pub name: String,
    /// What it has.
    pub addresses: AddressRange,
    /// How many addresses peers may have.
    pub size: u128,
    /// Those that were given out, in their order.
    pub leases: Vec<LeaseStatus>,
}

/// An address that a peer has, or has had and finds again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LeaseStatus {
    /// The address.
    pub address: IpAddr,
    /// Whose it is; `None` where only an SA of an earlier process says that it is somebody's.
    pub identity: Option<Identity>,
    /// Whether it is in use.
    pub online: bool,
}

/// A Child SA that somebody wants, or that the last negotiation did not bring, as operators see it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WantStatus {
    /// Its connection.
    pub connection: String,
    /// Its name in the configuration.
    pub child: String,
    /// The SPD entry it stands under.
    pub policy: PolicyId,
    /// A negotiation runs or is about to.
    pub negotiating: bool,
    /// It is tried again without being asked.
    pub insists: bool,
    /// Not before so long.
    pub rest: Option<Duration>,
    /// Failures in a row.
    pub failures: u32,
    /// Why the last one failed.
    pub last_failure: Option<Failure>,
}

/// A Child SA as operators see it; its counters are the data plane's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChildSaStatus {
    /// Its identifier.
    pub id: ChildSaId,
    /// Its name in the configuration.
    pub name: String,
    /// Where it stands.
    pub state: SaState,
    /// Towards this gateway.
    pub inbound_spi: Spi,
    /// Towards the peer.
    pub outbound_spi: Spi,
    /// ESP or AH, and the algorithms.
    pub protection: Protection,
    /// Tunnel or transport mode.
    pub mode: Mode,
    /// Such as `AES_GCM_16_128/NO_EXT_SEQ`.
    pub proposal: String,
    /// Whether ESP travels in UDP.
    pub udp_encapsulation: bool,
    /// Local side.
    pub local_selectors: Vec<TrafficSelector>,
    /// Remote side.
    pub remote_selectors: Vec<TrafficSelector>,
    /// Time since it was installed.
    pub age: Duration,
}

/// Where an SA stands in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum SaState {
    /// Being negotiated or installed.
    Connecting,
    /// In use.
    Established,
    /// Replaced by a newer one; its deletion follows.
    Rekeyed,
    /// Deletion is under way.
    Deleting,
}
