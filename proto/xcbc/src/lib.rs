//! AES-XCBC-MAC (RFC 3566), from which both planes make AUTH_AES_XCBC_96 (RFC 3566) and IKE makes PRF_AES128_XCBC (RFC 4434).
//!
//! It is a [`Mac`] like those of the crates `hmac` and `cmac`, among which it is missing.
//!
//! ```
//! use aes_xcbc::{AesXcbc, KeyInit, Mac};
//!
//! let mut mac = AesXcbc::new(&[7; 16].into());
//! mac.update(b"a message");
//! assert_eq!(mac.finalize().into_bytes().len(), 16);
//! ```
#![no_std]

use core::fmt;

use aes::Aes128;
use aes::cipher::BlockCipherEncrypt;
use digest::block_api::{Block, BlockSizeUser, Buffer, BufferKindUser, FixedOutputCore, Lazy, UpdateCore};
use digest::common::KeySizeUser;
use digest::consts::U16;
use digest::{Key, MacMarker, Output, OutputSizeUser};
use zeroize::{Zeroize, ZeroizeOnDrop};

pub use digest::{KeyInit, Mac};

digest::buffer_fixed!(
    /// AES-XCBC-MAC under a key of 128 bits: 16 octets, of which the caller takes what it needs. Zeroed when dropped.
    #[derive(Clone)]
    pub struct AesXcbc(AesXcbcCore);
    impl: MacTraits KeyInit;
);

/// What works on whole blocks.
#[derive(Clone)]
pub struct AesXcbcCore {
    /// Under K1.
    cipher: Aes128,
    /// K2: for a message that ends with a whole block.
    whole: Block<Self>,
    /// K3: for one that is padded.
    padded: Block<Self>,
    /// E[i].
    state: Block<Self>,
}

impl KeyInit for AesXcbcCore {
    /// K1, K2 and K3 are three constant blocks encrypted under the key (RFC 3566 section 4, step 1).
    fn new(key: &Key<Self>) -> Self {
        let cipher = Aes128::new(key);
        let derive = |constant| {
            let mut block = Block::<Self>::from([constant; 16]);
            cipher.encrypt_block(&mut block);
            block
        };
        let mut k1 = derive(1);
        let core = Self { cipher: Aes128::new(&k1), whole: derive(2), padded: derive(3), state: Block::<Self>::default() };
        k1.as_mut_slice().zeroize();
        core
    }
}

impl UpdateCore for AesXcbcCore {
    /// Step 3: every block but the last, which [`Lazy`] keeps back.
    fn update_blocks(&mut self, blocks: &[Block<Self>]) {
        for block in blocks {
            self.absorb(block);
        }
    }
}

impl FixedOutputCore for AesXcbcCore {
    /// Step 4: the last block, which is padded with 10...0 unless it is whole.
    fn finalize_fixed_core(&mut self, buffer: &mut Buffer<Self>, out: &mut Output<Self>) {
        let len = buffer.get_pos();
        let mut last = buffer.pad_with_zeros();
        let key = match last.get_mut(len) {
            Some(behind) => {
                *behind = 0x80;
                &self.padded
            }
            None => &self.whole,
        };
        last.iter_mut().zip(key).for_each(|(octet, of_key)| *octet ^= of_key);
        self.absorb(&last);
        *out = self.state;
    }
}

impl AesXcbcCore {
    /// E[i] = AES(K1, M[i] XOR E[i-1]).
    fn absorb(&mut self, block: &Block<Self>) {
        self.state.iter_mut().zip(block).for_each(|(octet, of_block)| *octet ^= of_block);
        self.cipher.encrypt_block(&mut self.state);
    }
}

impl KeySizeUser for AesXcbcCore {
    type KeySize = U16;
}

impl BlockSizeUser for AesXcbcCore {
    type BlockSize = U16;
}

impl OutputSizeUser for AesXcbcCore {
    type OutputSize = U16;
}

impl BufferKindUser for AesXcbcCore {
    type BufferKind = Lazy;
}

impl MacMarker for AesXcbcCore {}

impl Drop for AesXcbcCore {
    fn drop(&mut self) {
        self.whole.as_mut_slice().zeroize();
        self.padded.as_mut_slice().zeroize();
        self.state.as_mut_slice().zeroize();
    }
}

impl ZeroizeOnDrop for AesXcbcCore {}

impl fmt::Debug for AesXcbcCore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AesXcbcCore")
    }
}

#[cfg(test)]
mod tests {
    extern crate std;

    use std::format;
    use std::vec::Vec;

    use super::*;

    /// The cases of RFC 3566 section 4.6, whose key and messages count up from zero; the last message is 1000 zeros.
    const CASES: [(usize, u128); 7] = [
        (0, 0x75f0_251d_528a_c01c_4573_dfd5_84d7_9f29),
        (3, 0x5b37_6580_ae2f_19af_e721_9cee_f172_756f),
        (16, 0xd2a2_46fa_349b_68a7_9998_a439_4ff7_a263),
        (20, 0x47f5_1b45_6496_6215_b898_5c63_055e_d308),
        (32, 0xf54f_0ec8_d2b9_f3d3_6807_734b_d528_3fd4),
        (34, 0xbecb_b3bc_cdb5_18a3_0677_d548_1fb6_b4d8),
        (1000, 0xf0da_fee8_95db_3025_3761_103b_5d84_528f),
    ];

    fn key() -> [u8; 16] {
        core::array::from_fn(|i| u8::try_from(i).unwrap())
    }

    fn message(len: usize) -> Vec<u8> {
        if len == 1000 { std::vec![0; len] } else { (0..).take(len).collect() }
    }

    fn mac(parts: &[&[u8]]) -> u128 {
        let mut mac = AesXcbc::new(&key().into());
        parts.iter().for_each(|part| mac.update(part));
        u128::from_be_bytes(mac.finalize().into_bytes().into())
    }

    #[test]
    fn the_cases_of_the_rfc() {
        for (len, expected) in CASES {
            assert_eq!(mac(&[&message(len)]), expected, "{len} octets");
        }
    }

    #[test]
    fn it_does_not_matter_how_a_message_is_cut() {
        for (len, expected) in CASES {
            let message = message(len);
            for at in 0..=len.min(40) {
                assert_eq!(mac(&[&message[..at], &[], &message[at..]]), expected, "{len} octets, cut at {at}");
            }
        }
    }

    #[test]
    fn only_a_key_of_128_bits_is_taken_and_none_is_shown() {
        for len in [0, 15, 17, 24, 32] {
            assert!(AesXcbc::new_from_slice(&std::vec![7; len]).is_err(), "{len}");
        }
        assert_eq!(format!("{:?}", AesXcbc::new(&key().into())), "AesXcbc { ... }");
    }
}
