//! The transforms of ESP and AH, a burst of packets at a time: AES-GCM (RFC 4106, NIST SP 800-38D), AES-GMAC (RFC 4543), AES-CCM (RFC 4309),
//! ChaCha20-Poly1305 (RFC 7634, RFC 8439), and AES-CBC (RFC 3602), AES-CTR (RFC 3686), 3DES-CBC (RFC 2451) and NULL (RFC 2410) with HMAC (RFC 2404,
//! RFC 4868), AES-XCBC (RFC 3566) or AES-CMAC (RFC 4494); those of AH are the latter alone.
//!
//! A kernel maps key, nonce, AAD and bytes, in place, and knows nothing of packets. [`SealJob`] and [`OpenJob`] describe one packet each;
//! [`seal_burst`] and [`open_burst`] take all packets of a burst at once, of as many keys as there are. They do not allocate, lock or fail as a
//! whole: [`open_burst`] answers a [`Verified`] mask with one bit a packet.
//!
//! AES-GCM with its whole ICV has several kernels, which give the same octets; a key keeps the [`Kernel`] it was expanded
//! for, the fastest of the machine unless another one is asked for.
//!
//! [`AeadKey`] holds everything that can be computed ahead. It is made off the hot path and zeroed when dropped.
//!
//! ```
//! use esp_crypto::{Aad, AeadKey, OpenJob, SealJob, open_burst, seal_burst};
//!
//! let key = AeadKey::aes_gcm(&[7; 16])?;
//! let (nonce, aad) = ([1; 12], Aad::new(0x1000, 1));
//! let (mut data, mut icv) = (*b"inner packet", [0; 16]);
//! seal_burst(&mut [SealJob::new(&key, nonce, aad, &mut data, &mut icv)?]);
//! assert_ne!(&data, b"inner packet");
//! let verified = open_burst(&mut [OpenJob::new(&key, nonce, aad, &mut data, &icv)?]);
//! assert!(verified.contains(0));
//! assert_eq!(&data, b"inner packet");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
#![no_std]
// A packet from the network never panics: what could is not compiled.
#![cfg_attr(
    not(test),
    deny(clippy::indexing_slicing, clippy::string_slice, clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::unreachable)
)]

extern crate alloc;

mod aead;
mod authentication;
mod chacha;
mod composed;
mod gcm;
mod job;
mod key;
mod mac;
mod portable;
mod prefetch;
mod tag;
mod transform;
#[cfg(target_arch = "x86_64")]
mod x86;

pub use gcm::{Kernel, KernelUnavailable, UnknownKernel};
pub use job::{Aad, JobError, MAX_BURST, MAX_DATA_LEN, OpenJob, SealJob, Verified};
pub use key::{AeadKey, CipherKey, KeyError};
pub use mac::{MAX_ICV_LEN, MacKey};
pub use prefetch::prefetch;

use key::Algorithm;

/// Octets of the nonce: salt and IV (RFC 4106 section 4, RFC 7634 section 2).
pub const NONCE_LEN: usize = 12;
/// Octets of the ICV of AES-GCM and ChaCha20-Poly1305 (RFC 4106 section 6, RFC 7634 section 2).
pub const ICV_LEN: usize = 16;

/// Encrypts the data of every job in place and writes its ICV. The caller never gives one key the same nonce twice.
#[inline]
pub fn seal_burst(jobs: &mut [SealJob<'_>]) {
    for jobs in jobs.chunks_mut(MAX_BURST) {
        let done = gcm::seal_burst(jobs);
        if done.jobs.count_ones() as usize != jobs.len() {
            seal_one_by_one(jobs, done.jobs);
        }
    }
}

/// Checks the ICV of every job and decrypts its data in place. The mask says which packets are authentic.
///
/// The data of a job that fails are unspecified and must not be used: drop the packet. Of more than [`MAX_BURST`] jobs, those beyond are not opened and
/// count as failed.
#[inline]
#[must_use = "packets whose bit is not set must be dropped"]
pub fn open_burst(jobs: &mut [OpenJob<'_>]) -> Verified {
    let count = jobs.len().min(MAX_BURST);
    let jobs = jobs.get_mut(..count).unwrap_or_default();
    let done = gcm::open_burst(jobs);
    let mut authentic = done.authentic;
    if done.jobs.count_ones() as usize != jobs.len() {
        authentic |= open_one_by_one(jobs, done.jobs);
    }
    Verified::new(authentic)
}

/// Seals the jobs that are not done: of other kernels and transforms.
#[inline(never)]
fn seal_one_by_one(jobs: &mut [SealJob<'_>], done: u64) {
    let mut stream = portable::Keystream::new();
    for (_, SealJob { front, key, data, icv }) in jobs.iter_mut().enumerate().filter(|(index, _)| done >> index & 1 == 0) {
        match &key.0 {
            Algorithm::AesGcm(key) => key.seal(&front.nonce, &front.aad, data, icv, &mut stream),
            Algorithm::ChaCha20Poly1305(key) => chacha::seal(key, &front.nonce, front.aad.octets(), data, icv),
            Algorithm::Other(transform) => transform.seal(&front.nonce, &front.aad, data, icv, &mut stream),
        }
    }
}

/// Opens the jobs that are not done, likewise; which of them are authentic.
#[inline(never)]
fn open_one_by_one(jobs: &mut [OpenJob<'_>], done: u64) -> u64 {
    let mut stream = portable::Keystream::new();
    let mut authentic = 0;
    for (index, OpenJob { front, key, data, icv }) in jobs.iter_mut().enumerate().filter(|(index, _)| done >> index & 1 == 0) {
        let right = match &key.0 {
            Algorithm::AesGcm(key) => key.open(&front.nonce, &front.aad, data, icv, &mut stream),
            Algorithm::ChaCha20Poly1305(key) => chacha::open(key, &front.nonce, front.aad.octets(), data, icv),
            Algorithm::Other(transform) => transform.open(&front.nonce, &front.aad, data, icv, &mut stream),
        };
        authentic |= u64::from(right) << index;
    }
    authentic
}
