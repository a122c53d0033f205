//! OpenSSL's EVP, as its users are told to: one context a key, which only takes another IV for the next packet.

use openssl::cipher::Cipher;
use openssl::cipher_ctx::CipherCtx;
use openssl::error::ErrorStack;

use super::Peer;
use crate::error::{Context, Failure};
use crate::packets::{ICV_LEN, Packet, Room, WINDOW, split_icv};
use crate::tsc;

/// Contexts for each direction.
#[derive(Default)]
pub(crate) struct OpenSsl {
    sealing: Vec<CipherCtx>,
    opening: Vec<CipherCtx>,
}

/// Its version.
pub(crate) fn version() -> &'static str {
    openssl::version::version()
}

fn context(key: &[u8], open: bool) -> Result<CipherCtx, ErrorStack> {
    let cipher = if key.len() == 32 { Cipher::aes_256_gcm() } else { Cipher::aes_128_gcm() };
    let mut context = CipherCtx::new()?;
    if open { context.decrypt_init(Some(cipher), Some(key), None) } else { context.encrypt_init(Some(cipher), Some(key), None) }?;
    Ok(context)
}

fn seal(context: &mut CipherCtx, packet: &Packet, aad: &[u8; 8], data: &mut [u8], icv: &mut [u8; ICV_LEN]) -> Result<(), ErrorStack> {
    context.encrypt_init(None, None, Some(&packet.nonce))?;
    context.cipher_update(aad, None)?;
    let len = data.len();
    context.cipher_update_inplace(data, len)?;
    context.cipher_final(&mut [])?;
    context.tag(icv)
}

fn open(context: &mut CipherCtx, packet: &Packet, aad: &[u8; 8], data: &mut [u8], icv: &[u8; ICV_LEN]) -> Result<(), ErrorStack> {
    context.decrypt_init(None, None, Some(&packet.nonce))?;
    context.set_tag(icv)?;
    context.cipher_update(aad, None)?;
    let len = data.len();
    context.cipher_update_inplace(data, len)?;
    context.cipher_final(&mut [])?;
    Ok(())
}

impl Peer for OpenSsl {
    fn name(&self) -> String {
        "OpenSSL EVP".to_owned()
    }

    fn take_keys(&mut self, keys: &[Vec<u8>]) -> Result<(), Failure> {
        self.sealing = keys.iter().map(|key| context(key, false)).collect::<Result<_, _>>().context("OpenSSL")?;
        self.opening = keys.iter().map(|key| context(key, true)).collect::<Result<_, _>>().context("OpenSSL")?;
        Ok(())
    }

    fn seal(&mut self, room: &mut Room, overhead: u64) -> u64 {
        let mut packets = Vec::with_capacity(WINDOW);
        packets.extend(room.each().map(|(packet, place)| (packet, packet.aad(), split_icv(place))));
        tsc::ticks_of(overhead, || {
            for (packet, aad, (data, icv)) in &mut packets {
                if let Some(context) = self.sealing.get_mut(packet.key) {
                    // What fails is found when the octets of all peers are compared.
                    let _ = seal(context, packet, aad, data, icv);
                }
            }
        })
    }

    fn open(&mut self, room: &mut Room, overhead: u64) -> (u64, usize) {
        let mut packets = Vec::with_capacity(WINDOW);
        packets.extend(room.each().map(|(packet, place)| (packet, packet.aad(), split_icv(place))));
        let mut authentic = 0;
        let ticks = tsc::ticks_of(overhead, || {
            for (packet, aad, (data, icv)) in &mut packets {
                if let Some(context) = self.opening.get_mut(packet.key) {
                    authentic += usize::from(open(context, packet, aad, data, icv).is_ok());
                }
            }
        });
        (ticks, authentic)
    }
}
