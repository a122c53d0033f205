//! What the transforms of an SA put around a packet.

use ipsec_types::{CipherMode, EncryptionAlgorithm, IntegrityAlgorithm};

use crate::TRAILER_LEN;

/// Octets of the longest IV, that of AES-CBC.
pub(crate) const MAX_IV_LEN: usize = 16;
/// The largest [`EncryptionAlgorithm::esp_alignment`].
pub(crate) const MAX_ALIGNMENT: usize = 16;

/// Lengths of IV and ICV, and what the encrypted part is padded to: the same for every packet of an SA.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Layout {
    iv_len: u8,
    icv_len: u8,
    alignment: u8,
    /// Octets of the IV that stand in front of the data of a job ([`esp_crypto::AeadKey::iv_len`]): all or none.
    iv_in_data: u8,
}

impl Layout {
    /// Of the algorithms; an integrity algorithm beside an AEAD says nothing.
    #[expect(clippy::cast_possible_truncation, reason = "no algorithm has a length beyond 64")]
    pub const fn new(encryption: EncryptionAlgorithm, integrity: Option<IntegrityAlgorithm>) -> Self {
        let iv_len = encryption.esp_iv_len() as u8;
        let (icv_len, iv_in_data) = match (encryption.aead_icv_len(), integrity) {
            (Some(icv_len), _) if matches!(encryption.mode(), CipherMode::Gmac) => (icv_len, iv_len),
            (Some(icv_len), _) => (icv_len, 0),
            (None, Some(integrity)) => (integrity.icv_len(), iv_len),
            (None, None) => (0, iv_len),
        };
        Self { iv_len, icv_len: icv_len as u8, alignment: encryption.esp_alignment() as u8, iv_in_data }
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

    /// The most octets of payload, padding and trailer that `room` takes.
    #[inline]
    pub(crate) const fn aligned(self, room: usize) -> usize {
        room & !(self.alignment as usize - 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn padding_aligns() {
        let padding = |algorithm| [0, 1, 2, 3, 13, 14, 15].map(|len| Layout::new(algorithm, None).padding_len(len));
        assert_eq!(padding(EncryptionAlgorithm::AesGcm128), [2, 1, 0, 3, 1, 0, 3]);
        assert_eq!(padding(EncryptionAlgorithm::AesCbc128), [14, 13, 12, 11, 1, 0, 15]);
    }

    #[test]
    fn no_transform_exceeds_what_buffers_have_room_for() {
        for &encryption in EncryptionAlgorithm::ALL {
            for &integrity in IntegrityAlgorithm::ALL {
                let layout = Layout::new(encryption, Some(integrity));
                assert!(layout.iv_len() <= MAX_IV_LEN && layout.icv_len() <= esp_crypto::MAX_ICV_LEN);
                assert!(usize::from(layout.alignment).is_power_of_two() && usize::from(layout.alignment) <= MAX_ALIGNMENT);
            }
        }
    }
}
