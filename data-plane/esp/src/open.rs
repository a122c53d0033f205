//! Inbound: an ESP or AH packet becomes the packet that was protected, in place (RFC 4303 section 3.4, RFC 4302 section 3.4).
//!
//! Any SA opens by way of [`prepare`] and an [`OpenPlan`]; one of ESP in tunnel mode, as nearly all are, also by itself: [`TunnelSa`].

mod other;
mod outer;
#[cfg(test)]
mod tests;
mod trailer;
mod tunnel;

use esp_crypto::OpenJob;
use packet::Buffer;
use packet::ip::Parsed;

use crate::layout::Protocol;
use crate::{Accepted, InboundSa, ReplayError, ReplayWindow};

pub use self::outer::{IpsecPacket, Peer};
pub use self::tunnel::TunnelSa;

/// Why a packet is not opened; each is a reason to drop of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum OpenError {
    /// The outer IP or UDP header is malformed.
    #[error("the outer packet is malformed")]
    MalformedOuter,
    /// The outer packet carries something else than ESP or AH.
    #[error("neither an ESP nor an AH packet")]
    NotIpsec,
    /// The outer packet is a fragment: reassembly comes before ESP and AH (RFC 4303 section 3.4.1, RFC 4302 section 3.4.1).
    #[error("a fragment of an ESP or AH packet")]
    Fragment,
    /// Too short to be an ESP packet of this SA, or with an AH of another length than this SA's.
    #[error("too short for an ESP packet, or another length of AH")]
    Runt,
    /// The packet belongs to another SA than the one it was looked up for, or it is ESP where the SA has AH, or the other way round.
    #[error("SPI or protocol are not those of the SA")]
    WrongSpi,
    /// Too little room behind the packet: what AH does not cover is put there.
    #[error("no tailroom for what the ICV does not cover")]
    NoTailroom,
    /// The sequence number was accepted before.
    #[error("replayed packet")]
    Replay,
    /// The sequence number lies outside the replay window.
    #[error("sequence number out of the replay window")]
    OutOfWindow,
    /// The ICV is wrong: forged or damaged.
    #[error("integrity check failed")]
    Integrity,
    /// The padding is longer than the packet or not 1, 2, 3 (RFC 4303 section 2.4).
    #[error("bad padding")]
    BadPadding,
    /// In tunnel mode, a next header other than IPv4 and IPv6.
    #[error("next header {0} is neither IPv4 nor IPv6")]
    BadNextHeader(u8),
    /// A dummy packet (RFC 4303 section 2.6): authentic, and meant to be dropped.
    #[error("dummy packet")]
    Dummy,
    /// The inner packet is no well-formed packet of the IP version that the next header says; in transport mode, no whole packet.
    #[error("the inner packet is malformed")]
    MalformedInner,
    /// Congestion was signalled to an inner packet whose ends do not know ECN (RFC 6040 section 4.2).
    #[error("congestion experienced without ECN transport")]
    Congestion,
    /// The inner packet is not among the SA's selectors (RFC 4301 section 5.2).
    #[error("the inner packet does not match the selectors of the SA")]
    SelectorMismatch,
}

impl From<ReplayError> for OpenError {
    #[inline]
    fn from(error: ReplayError) -> Self {
        match error {
            ReplayError::Duplicate => Self::Replay,
            ReplayError::OutOfWindow => Self::OutOfWindow,
        }
    }
}

/// An inner packet, authentic and permitted. The buffer now starts and ends with it: what is not said here is read from there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Opened {
    /// The sequence number, all 64 bits with ESN.
    pub number: u64,
    /// Whether it is the highest so far.
    pub accepted: Accepted,
    /// Upper-layer protocol of the inner packet.
    pub protocol: u8,
    /// The inner packet as it is now.
    pub inner: Parsed,
}

/// A packet located and ready for the cipher.
#[derive(Debug)]
#[must_use = "a packet is open only when finished"]
pub struct OpenPlan<'sa> {
    sa: &'sa InboundSa,
    packet: IpsecPacket,
    number: u64,
}

/// Checks length and sequence number of a packet for its SA, before any cryptography. Of an ESP packet it changes nothing; an AH packet is laid out as its
/// ICV was computed.
///
/// # Errors
/// [`OpenError`]: `WrongSpi`, `Runt`, `Replay`, `OutOfWindow`; of AH also `NoTailroom` and `MalformedOuter`.
pub fn prepare<'sa, B: Buffer>(
    sa: &'sa InboundSa,
    window: &ReplayWindow,
    packet: &IpsecPacket,
    buffer: &mut B,
) -> Result<OpenPlan<'sa>, OpenError> {
    if packet.spi != sa.spi().value() || packet.protocol != sa.layout().protocol() {
        return Err(OpenError::WrongSpi);
    }
    match packet.protocol {
        Protocol::Esp => {
            tunnel::locate(sa, packet).ok_or(OpenError::Runt)?;
            Ok(OpenPlan { sa, packet: *packet, number: number(sa, window, packet)? })
        }
        Protocol::Ah => other::prepare_ah(sa, window, packet, buffer),
    }
}

/// The whole number of a packet, which the replay window would accept.
#[inline]
fn number(sa: &InboundSa, window: &ReplayWindow, packet: &IpsecPacket) -> Result<u64, OpenError> {
    let number = window.number(sa.sequence_numbers(), packet.sequence)?;
    window.look(number)?;
    Ok(number)
}

impl OpenPlan<'_> {
    /// The work for [`esp_crypto::open_burst`]. `None` where `buffer` is not the one that was prepared: drop it.
    pub fn job<'a, B: Buffer>(&self, buffer: &'a mut B) -> Option<OpenJob<'a>>
    where
        Self: 'a,
    {
        match self.packet.protocol {
            Protocol::Esp => tunnel::job(self.sa, &self.packet, self.number, buffer.bytes_mut()),
            Protocol::Ah => self.ah_job(buffer.bytes_mut()),
        }
    }

    /// What follows the cipher: the replay window advances, padding, next header, inner packet, ECN and selectors are checked, and everything but the
    /// inner packet is cut off. In transport mode the packet gets its IP header back. `verified` is the packet's bit in [`esp_crypto::Verified`].
    ///
    /// # Errors
    /// [`OpenError`], and the packet must be dropped. Errors but `Integrity`, `Replay` and `OutOfWindow` are of authentic packets: the window has advanced.
    pub fn finish<B: Buffer>(&self, verified: bool, window: &mut ReplayWindow, buffer: &mut B) -> Result<Opened, OpenError> {
        match TunnelSa::of(self.sa) {
            Some(tunnel) => tunnel.finish(&self.packet, self.number, verified, 0, window, buffer),
            None if verified => self.finish_other(window, buffer),
            None => Err(OpenError::Integrity),
        }
    }
}
