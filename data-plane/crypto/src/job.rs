//! What a kernel works on.

use core::fmt;

use crate::{AeadKey, NONCE_LEN};

/// Jobs that one call of [`crate::open_burst`] opens.
pub const MAX_BURST: usize = 64;
/// Octets of data that one job takes: no IP packet is longer. Far below the limits of GCM (2^36 - 32) and of ChaCha20-Poly1305 (2^38 - 64).
pub const MAX_DATA_LEN: usize = 65_535;

/// Why there is no such job.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum JobError {
    /// More than [`MAX_DATA_LEN`] octets of data.
    #[error("more than {MAX_DATA_LEN} octets of data")]
    DataTooLong,
    /// An ICV that is not as long as the key's, [`AeadKey::icv_len`].
    #[error("the ICV has another length than those of the key")]
    IcvLength,
}

/// The additional authenticated data of an ESP packet (RFC 4106 section 5, RFC 7634 section 2): SPI and sequence number, 8 octets, or 12 with ESN.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(C)]
pub struct Aad {
    octets: [u8; 12],
    len: u32,
}

impl Aad {
    /// SPI and 32-bit sequence number.
    #[inline]
    pub const fn new(spi: u32, sequence: u32) -> Self {
        let [a, b, c, d] = spi.to_be_bytes();
        let [e, f, g, h] = sequence.to_be_bytes();
        Self { octets: [a, b, c, d, e, f, g, h, 0, 0, 0, 0], len: 8 }
    }

    /// SPI and 64-bit extended sequence number.
    #[inline]
    pub const fn extended(spi: u32, sequence: u64) -> Self {
        let [a, b, c, d] = spi.to_be_bytes();
        let [e, f, g, h, i, j, k, l] = sequence.to_be_bytes();
        Self { octets: [a, b, c, d, e, f, g, h, i, j, k, l], len: 12 }
    }

    /// SPI and the half of the sequence number that is sent, and the half that is not: with ESN that one is authenticated behind the packet where the
    /// integrity algorithm stands by itself (RFC 4303 section 2.2.1).
    #[inline]
    pub(crate) fn around_packet(&self) -> ([u8; 8], &[u8]) {
        let [a, b, c, d, e, f, g, h, i, j, k, l] = self.octets;
        if self.len == 12 { ([a, b, c, d, i, j, k, l], self.octets.get(4..8).unwrap_or_default()) } else { ([a, b, c, d, e, f, g, h], &[]) }
    }

    /// The octets.
    #[inline]
    pub fn octets(&self) -> &[u8] {
        if self.len == 12 { &self.octets } else { self.octets.first_chunk::<8>().map_or(&[], |octets| octets) }
    }
}

/// What stands before the data: two blocks, as vectors take them.
#[derive(Debug, Clone, Copy)]
#[repr(C, align(8))]
pub(crate) struct Front {
    pub(crate) nonce: [u8; NONCE_LEN],
    /// Room for a counter.
    zeros: [u8; 4],
    pub(crate) aad: Aad,
}

impl Front {
    #[inline]
    pub(crate) const fn new(nonce: [u8; NONCE_LEN], aad: Aad) -> Self {
        Self { nonce, zeros: [0; 4], aad }
    }
}

/// One packet to encrypt.
#[repr(C)]
pub struct SealJob<'a> {
    pub(crate) front: Front,
    pub(crate) data: &'a mut [u8],
    pub(crate) icv: &'a mut [u8],
    pub(crate) key: &'a AeadKey,
}

impl<'a> SealJob<'a> {
    /// Will encrypt `data` in place and write its ICV to `icv`. The data begin with room for [`AeadKey::iv_len`] octets of IV.
    ///
    /// # Errors
    /// [`JobError`].
    #[inline]
    pub fn new(key: &'a AeadKey, nonce: [u8; NONCE_LEN], aad: Aad, data: &'a mut [u8], icv: &'a mut [u8]) -> Result<Self, JobError> {
        check_lengths(key, data, icv)?;
        Ok(Self { front: Front::new(nonce, aad), key, data, icv })
    }
}

/// One packet to verify and decrypt.
#[repr(C)]
pub struct OpenJob<'a> {
    pub(crate) front: Front,
    pub(crate) data: &'a mut [u8],
    pub(crate) icv: &'a [u8],
    pub(crate) key: &'a AeadKey,
}

impl<'a> OpenJob<'a> {
    /// Will compare the ICV of `data` with `icv` and decrypt `data` in place. The data begin with [`AeadKey::iv_len`] octets of IV.
    ///
    /// # Errors
    /// [`JobError`].
    #[inline]
    pub fn new(key: &'a AeadKey, nonce: [u8; NONCE_LEN], aad: Aad, data: &'a mut [u8], icv: &'a [u8]) -> Result<Self, JobError> {
        check_lengths(key, data, icv)?;
        Ok(Self { front: Front::new(nonce, aad), key, data, icv })
    }
}

#[inline]
fn check_lengths(key: &AeadKey, data: &[u8], icv: &[u8]) -> Result<(), JobError> {
    if data.len() > MAX_DATA_LEN {
        return Err(JobError::DataTooLong);
    }
    if icv.len() != key.icv_len() {
        return Err(JobError::IcvLength);
    }
    Ok(())
}

/// Which jobs of a burst were authentic, one bit each.
#[derive(Clone, Copy, PartialEq, Eq)]
#[must_use = "packets whose bit is not set must be dropped"]
pub struct Verified(u64);

impl Verified {
    #[inline]
    pub(crate) const fn new(bits: u64) -> Self {
        Self(bits)
    }

    /// Whether the job at `index` of the burst was authentic; false beyond the burst.
    #[inline]
    pub const fn contains(self, index: usize) -> bool {
        index < MAX_BURST && self.0 >> index & 1 == 1
    }

    /// The bits, the first job lowest.
    #[inline]
    pub const fn bits(self) -> u64 {
        self.0
    }
}

impl fmt::Debug for Verified {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Verified({:#066b})", self.0)
    }
}

impl fmt::Debug for SealJob<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SealJob").field("aad", &self.front.aad).field("len", &self.data.len()).finish_non_exhaustive()
    }
}

impl fmt::Debug for OpenJob<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OpenJob").field("aad", &self.front.aad).field("len", &self.data.len()).finish_non_exhaustive()
    }
}
