//! AES-GCM composed of the crates `aes` and `ghash`: runs everywhere, and is the oracle of any other kernel.

use aes::cipher::{Array, BlockCipherEncrypt, KeyInit, consts::U16};
use aes::{Aes128, Aes192, Aes256};
use ghash::GHash;
use ghash::universal_hash::UniversalHash;
use subtle::ConstantTimeEq;
use zeroize::Zeroize;

use crate::tag::is_tag;
use crate::{ICV_LEN, NONCE_LEN};

pub(crate) type Block = Array<u8, U16>;

/// Keystream blocks computed at once: the crate `aes` runs its widest code on batches of 64.
const BATCH: usize = 64;

/// Room for keystream: made once a burst, as clearing it costs more than a short packet, and only where a job needs it.
pub(crate) struct Keystream(Option<[Block; BATCH]>);

impl Keystream {
    #[inline]
    pub(crate) const fn new() -> Self {
        Self(None)
    }
}

/// Round keys and hash key. The parts zero themselves when dropped.
pub(crate) struct Key {
    cipher: Cipher,
    ghash: GHash,
}

/// Round keys of any length; they zero themselves when dropped.
pub(crate) enum Cipher {
    Aes128(Aes128),
    Aes192(Aes192),
    Aes256(Aes256),
}

impl Key {
    /// Expands a key; `None` where the length is none of AES.
    pub(crate) fn new(key: &[u8]) -> Option<Self> {
        let cipher = Cipher::new(key)?;
        let mut hash_key = [Block::default()];
        cipher.encrypt(&mut hash_key);
        let [mut hash_key] = hash_key;
        let ghash = GHash::new(&hash_key);
        hash_key.zeroize();
        Some(Self { cipher, ghash })
    }

    pub(crate) const fn bits(&self) -> u32 {
        self.cipher.bits()
    }
}

impl Cipher {
    /// Expands a key; `None` where the length is none of AES.
    pub(crate) fn new(key: &[u8]) -> Option<Self> {
        match key.len() {
            16 => Aes128::new_from_slice(key).ok().map(Self::Aes128),
            24 => Aes192::new_from_slice(key).ok().map(Self::Aes192),
            32 => Aes256::new_from_slice(key).ok().map(Self::Aes256),
            _ => None,
        }
    }

    pub(crate) const fn bits(&self) -> u32 {
        match self {
            Self::Aes128(_) => 128,
            Self::Aes192(_) => 192,
            Self::Aes256(_) => 256,
        }
    }

    #[inline]
    pub(crate) fn encrypt(&self, blocks: &mut [Block]) {
        match self {
            Self::Aes128(aes) => aes.encrypt_blocks(blocks),
            Self::Aes192(aes) => aes.encrypt_blocks(blocks),
            Self::Aes256(aes) => aes.encrypt_blocks(blocks),
        }
    }
}

/// GCM-AE (NIST SP 800-38D section 7.1) with a 96-bit IV, in place.
#[inline]
pub(crate) fn seal(key: &Key, nonce: &[u8; NONCE_LEN], aad: &[u8], data: &mut [u8], icv: &mut [u8], stream: &mut Keystream) {
    let mask = apply_keystream(&key.cipher, nonce, data, stream);
    // A job's ICV has this length.
    if let Some(icv) = icv.first_chunk_mut() {
        *icv = tag(key, mask, aad, data);
    }
}

/// GCM-AD (section 7.2): the tag first, in constant time, and only then the data.
#[inline]
pub(crate) fn open(key: &Key, nonce: &[u8; NONCE_LEN], aad: &[u8], data: &mut [u8], icv: &[u8], stream: &mut Keystream) -> bool {
    let authentic = icv.as_array().is_some_and(|icv| is_tag(icv, &tag(key, mask(key, nonce), aad, data)));
    if authentic {
        apply_keystream(&key.cipher, nonce, data, stream);
    }
    authentic
}

/// The same with an ICV of which the tag has more: one as long as the key's, and never empty.
pub(crate) fn open_truncated(key: &Key, nonce: &[u8; NONCE_LEN], aad: &[u8], data: &mut [u8], icv: &[u8], stream: &mut Keystream) -> bool {
    let tag = tag(key, mask(key, nonce), aad, data);
    let authentic = !icv.is_empty() && tag.get(..icv.len()).is_some_and(|tag| tag.ct_eq(icv).into());
    if authentic {
        apply_keystream(&key.cipher, nonce, data, stream);
    }
    authentic
}

/// GMAC: the tag of AAD and data in a row, with nothing encrypted (NIST SP 800-38D section 3).
pub(crate) fn gmac(key: &Key, nonce: &[u8; NONCE_LEN], aad: &[u8], data: &[u8]) -> [u8; ICV_LEN] {
    let mut first = Block::default();
    let (start, rest) = data.split_at_checked(first.len().saturating_sub(aad.len())).unwrap_or((data, &[]));
    first.iter_mut().zip(aad.iter().chain(start)).for_each(|(octet, of_data)| *octet = *of_data);
    let mut ghash = key.ghash.clone();
    ghash.update(&[first]);
    ghash.update_padded(rest);
    finish(ghash, mask(key, nonce), aad.len() + data.len(), 0)
}

/// The block of counter 1, which masks the tag.
#[inline]
fn mask(key: &Key, nonce: &[u8; NONCE_LEN]) -> Block {
    let mut first = [counter_block(nonce, 1)];
    key.cipher.encrypt(&mut first);
    let [mask] = first;
    mask
}

/// XORs the keystream from counter 2 on and returns the block of counter 1, which masks the tag.
#[inline]
fn apply_keystream(cipher: &Cipher, nonce: &[u8; NONCE_LEN], data: &mut [u8], stream: &mut Keystream) -> Block {
    let mut counters = 1_u32..;
    // The mask is the first block of the first batch: a short packet costs one call of the cipher.
    let (first, rest) = data.split_at_mut(data.len().min((BATCH - 1) * 16));
    let [mask, blocks @ ..] = fill(cipher, nonce, &mut counters, stream, 1 + first.len().div_ceil(16)) else {
        return Block::default();
    };
    xor(first, blocks);
    let mask = *mask;
    xor_keystream(cipher, nonce, &mut counters, rest, stream);
    mask
}

/// Octets of the IV at the end of a nonce (RFC 3686 section 3.1, RFC 4543 section 3.1).
pub(crate) const IV_LEN: usize = 8;

/// Writes the IV of the nonce to the front of the data.
pub(crate) fn write_iv(nonce: &[u8; NONCE_LEN], data: &mut [u8]) {
    data.iter_mut().zip(nonce.iter().skip(NONCE_LEN - IV_LEN)).for_each(|(octet, of_nonce)| *octet = *of_nonce);
}

/// CTR mode of AES-CTR in place, its counter beginning with 1 (RFC 3686 section 2.1).
#[inline]
pub(crate) fn ctr(cipher: &Cipher, nonce: &[u8; NONCE_LEN], data: &mut [u8], stream: &mut Keystream) {
    xor_keystream(cipher, nonce, &mut (1..), data, stream);
}

#[inline]
fn xor_keystream(
    cipher: &Cipher,
    nonce: &[u8; NONCE_LEN],
    counters: &mut core::ops::RangeFrom<u32>,
    data: &mut [u8],
    stream: &mut Keystream,
) {
    for chunk in data.chunks_mut(BATCH * 16) {
        let len = chunk.len().div_ceil(16);
        xor(chunk, fill(cipher, nonce, counters, stream, len));
    }
}

/// The next `len` keystream blocks, at most [`BATCH`].
#[inline]
fn fill<'a>(
    cipher: &Cipher,
    nonce: &[u8; NONCE_LEN],
    counters: &mut core::ops::RangeFrom<u32>,
    stream: &'a mut Keystream,
    len: usize,
) -> &'a [Block] {
    let blocks = stream.0.get_or_insert_with(|| [Block::default(); BATCH]).get_mut(..len).unwrap_or_default();
    for (block, counter) in blocks.iter_mut().zip(counters) {
        *block = counter_block(nonce, counter);
    }
    cipher.encrypt(blocks);
    blocks
}

#[inline]
fn xor(data: &mut [u8], stream: &[Block]) {
    let (whole, rest) = data.as_chunks_mut::<16>();
    for (data, block) in whole.iter_mut().zip(stream) {
        *data = (u128::from_ne_bytes(*data) ^ u128::from_ne_bytes((*block).into())).to_ne_bytes();
    }
    for (octet, key) in rest.iter_mut().zip(stream.get(whole.len()).into_iter().flatten()) {
        *octet ^= key;
    }
}

/// GHASH over AAD, data and their lengths, masked.
#[inline]
fn tag(key: &Key, mask: Block, aad: &[u8], data: &[u8]) -> [u8; ICV_LEN] {
    let mut ghash = key.ghash.clone();
    ghash.update_padded(aad);
    ghash.update_padded(data);
    finish(ghash, mask, aad.len(), data.len())
}

/// GHASH over the lengths, in octets, of what it has seen, masked.
#[inline]
fn finish(mut ghash: GHash, mask: Block, aad_len: usize, data_len: usize) -> [u8; ICV_LEN] {
    let bits = |octets: usize| u64::try_from(octets).unwrap_or(u64::MAX) << 3;
    let lengths = (u128::from(bits(aad_len)) << 64) | u128::from(bits(data_len));
    ghash.update(&[lengths.to_be_bytes().into()]);
    (u128::from_be_bytes(ghash.finalize().into()) ^ u128::from_be_bytes(mask.into())).to_be_bytes()
}

#[inline]
fn counter_block(nonce: &[u8; NONCE_LEN], counter: u32) -> Block {
    let [a, b, c, d, e, f, g, h, i, j, k, l] = *nonce;
    let [w, x, y, z] = counter.to_be_bytes();
    Array([a, b, c, d, e, f, g, h, i, j, k, l, w, x, y, z])
}

#[cfg(test)]
mod tests;
