//! What the cipher is measured against, and the cipher itself, behind one interface: each does the same packets in the same memory.

mod crates;
mod culvert;
mod ipsec_mb;
mod openssl;

pub(crate) use crates::{AwsLc, Ring};
pub(crate) use culvert::Culvert;
pub(crate) use ipsec_mb::{IpsecMb, Isa, version as ipsec_mb_version};
pub(crate) use openssl::{OpenSsl, version as openssl_version};

use crate::error::Failure;
use crate::packets::Room;

/// An implementation of AES-GCM.
pub(crate) trait Peer {
    /// What the table calls it.
    fn name(&self) -> String;

    /// Expands keys, all of 16 octets or all of 32, in place of those it has.
    fn take_keys(&mut self, keys: &[Vec<u8>]) -> Result<(), Failure>;

    /// Seals every packet of the room in bursts. Ticks that it took.
    fn seal(&mut self, room: &mut Room, overhead: u64) -> u64;

    /// Opens every packet of the room in bursts. Ticks that it took, and how many packets were authentic.
    fn open(&mut self, room: &mut Room, overhead: u64) -> (u64, usize);
}
