//! The crates `aws-lc-rs` and `ring`, whose interfaces are the same; both check their arguments at every call.

use super::Peer;
use crate::error::{Context, Failure};
use crate::packets::{Room, WINDOW, split_icv};
use crate::tsc;

macro_rules! peer {
    ($peer:ident, $name:literal, $aead:ident) => {
        /// Its keys.
        #[derive(Debug, Default)]
        pub(crate) struct $peer(Vec<$aead::aead::LessSafeKey>);

        impl Peer for $peer {
            fn name(&self) -> String {
                $name.to_owned()
            }

            fn take_keys(&mut self, keys: &[Vec<u8>]) -> Result<(), Failure> {
                let expand = |key: &Vec<u8>| {
                    $aead::aead::UnboundKey::new(if key.len() == 32 { &$aead::aead::AES_256_GCM } else { &$aead::aead::AES_128_GCM }, key)
                        .map($aead::aead::LessSafeKey::new)
                };
                self.0 = keys.iter().map(expand).collect::<Result<_, _>>().context($name)?;
                Ok(())
            }

            fn seal(&mut self, room: &mut Room, overhead: u64) -> u64 {
                let mut packets = Vec::with_capacity(WINDOW);
                packets.extend(room.each().map(|(packet, place)| (packet, packet.aad(), split_icv(place))));
                tsc::ticks_of(overhead, || {
                    for (packet, aad, (data, icv)) in &mut packets {
                        let nonce = $aead::aead::Nonce::assume_unique_for_key(packet.nonce);
                        let tag =
                            self.0.get(packet.key).map(|key| key.seal_in_place_separate_tag(nonce, $aead::aead::Aad::from(*aad), data));
                        if let Some(Ok(tag)) = tag {
                            icv.copy_from_slice(tag.as_ref());
                        }
                    }
                })
            }

            fn open(&mut self, room: &mut Room, overhead: u64) -> (u64, usize) {
                let mut packets = Vec::with_capacity(WINDOW);
                packets.extend(room.each().map(|(packet, place)| (packet, packet.aad(), place)));
                let mut authentic = 0;
                let ticks = tsc::ticks_of(overhead, || {
                    for (packet, aad, place) in &mut packets {
                        let nonce = $aead::aead::Nonce::assume_unique_for_key(packet.nonce);
                        let opened =
                            self.0.get(packet.key).map(|key| key.open_in_place(nonce, $aead::aead::Aad::from(*aad), place).is_ok());
                        authentic += usize::from(opened == Some(true));
                    }
                });
                (ticks, authentic)
            }
        }
    };
}

peer!(AwsLc, "aws-lc-rs", aws_lc_rs);
peer!(Ring, "ring", ring);
