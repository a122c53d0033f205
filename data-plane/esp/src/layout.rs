//! What an SA puts around a packet.

use ipsec_types::{CipherMode, EncryptionAlgorithm, Mode, Protection};
use packet::ah;

use crate::TRAILER_LEN;

/// Octets of the longest IV, that of AES-CBC.
pub(crate) const MAX_IV_LEN: usize = 16;
/// The largest [`ipsec_types::EncryptionAlgorithm::esp_alignment`].
pub(crate) const MAX_ALIGNMENT: usize = 16;

/// The security protocol of an SA.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Protocol {
    /// ESP (RFC 4303).
    Esp,
    /// AH (RFC 4302).
    Ah,
}

/// Protocol, mode, lengths of IV and ICV, and what the encrypted part is padded to: the same for every packet of an SA.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Layout {
    protocol: Protocol,
    mode: Mode,
    iv_len: u8,
    icv_len: u8,
    alignment: u8,
    /// Octets of the IV that stand in front of the data of a job ([`esp_crypto::AeadKey::iv_len`]): all or none.
    iv_in_data: u8,
}

impl Layout {
    /// Of an AEAD with its whole ICV in tunnel mode: what nearly all SAs have.
    pub(crate) const USUAL: Self = Self::new(Protection::Esp { encryption: EncryptionAlgorithm::AesGcm128, integrity: None });

    /// Of the algorithms, in tunnel mode; an integrity algorithm beside an AEAD says nothing.
    #[expect(clippy::cast_possible_truncation, reason = "no algorithm has a length beyond 64")]
    pub const fn new(protection: Protection) -> Self {
        let (encryption, integrity) = match protection {
            Protection::Esp { encryption, integrity } => (encryption, integrity),
            Protection::Ah { integrity } => {
                let icv_len = integrity.icv_len() as u8;
                return Self { protocol: Protocol::Ah, mode: Mode::Tunnel, iv_len: 0, icv_len, alignment: 1, iv_in_data: 0 };
            }
        };
        let iv_len = encryption.esp_iv_len() as u8;
        let (icv_len, iv_in_data) = match (encryption.aead_icv_len(), integrity) {
            (Some(icv_len), _) if matches!(encryption.mode(), CipherMode::Gmac) => (icv_len, iv_len),
            (Some(icv_len), _) => (icv_len, 0),
            (None, Some(integrity)) => (integrity.icv_len(), iv_len),
            (None, None) => (0, iv_len),
        };
        let alignment = encryption.esp_alignment() as u8;
        Self { protocol: Protocol::Esp, mode: Mode::Tunnel, iv_len, icv_len: icv_len as u8, alignment, iv_in_data }
    }

    /// The same in this mode.
    #[must_use]
    pub const fn in_mode(self, mode: Mode) -> Self {
        Self { mode, ..self }
    }

    /// ESP or AH.
    #[inline]
    pub const fn protocol(self) -> Protocol {
        self.protocol
    }

    /// Tunnel or transport mode.
    #[inline]
    pub const fn mode(self) -> Mode {
        self.mode
    }

    #[inline]
    pub(crate) const fn iv_len(self) -> usize {
        self.iv_len as usize
    }

    #[inline]
    pub(crate) const fn icv_len(self) -> usize {
        self.icv_len as usize
    }

    #[inline]
    pub(crate) const fn iv_in_data(self) -> usize {
        self.iv_in_data as usize
    }

    /// Octets of padding that align the trailer (RFC 4303 section 2.4). The alignment is a power of two.
    #[inline]
    pub(crate) const fn padding_len(self, payload_len: usize) -> usize {
        payload_len.wrapping_add(TRAILER_LEN).wrapping_neg() & (self.alignment as usize - 1)
    }

    /// Octets of the AH: a multiple of four, over IPv6 of eight (RFC 4302 section 3.3.3.2.1).
    #[inline]
    pub(crate) const fn ah_len(self, ipv6: bool) -> usize {
        (ah::FIXED_LEN + self.icv_len()).next_multiple_of(if ipv6 { 8 } else { 4 })
    }

    /// The most octets of payload, padding and trailer that `room` takes.
    #[inline]
    pub(crate) const fn aligned(self, room: usize) -> usize {
        room & !(self.alignment as usize - 1)
    }
}

#[cfg(test)]
mod tests {
    use ipsec_types::IntegrityAlgorithm;

    use super::*;

    #[test]
    fn padding_aligns() {
        let padding =
            |encryption| [0, 1, 2, 3, 13, 14, 15].map(|len| Layout::new(Protection::Esp { encryption, integrity: None }).padding_len(len));
        assert_eq!(padding(EncryptionAlgorithm::AesGcm128), [2, 1, 0, 3, 1, 0, 3]);
        assert_eq!(padding(EncryptionAlgorithm::AesCbc128), [14, 13, 12, 11, 1, 0, 15]);
    }

    /// RFC 4302 section 2.2: with 96 bits of ICV the payload length field is 4, whatever the IP version.
    #[test]
    fn an_ah_is_aligned_as_its_ip_version_wants() {
        let lens = |integrity| [false, true].map(|ipv6| Layout::new(Protection::Ah { integrity }).ah_len(ipv6));
        assert_eq!(lens(IntegrityAlgorithm::HmacSha1), [24, 24]);
        assert_eq!(lens(IntegrityAlgorithm::HmacSha256), [28, 32]);
        assert_eq!(lens(IntegrityAlgorithm::HmacSha384), [36, 40]);
        assert_eq!(lens(IntegrityAlgorithm::HmacSha512), [44, 48]);
    }

    #[test]
    fn no_transform_exceeds_what_buffers_have_room_for() {
        for &encryption in EncryptionAlgorithm::ALL {
            for &integrity in IntegrityAlgorithm::ALL {
                let layout = Layout::new(Protection::Esp { encryption, integrity: Some(integrity) });
                assert!(layout.iv_len() <= MAX_IV_LEN && layout.icv_len() <= esp_crypto::MAX_ICV_LEN);
                assert!(usize::from(layout.alignment).is_power_of_two() && usize::from(layout.alignment) <= MAX_ALIGNMENT);
            }
        }
    }
}
