//! Our own cipher, a burst at a time.

use std::hint::black_box;

use esp_crypto::{Aad, AeadKey, Kernel, OpenJob, SealJob, open_burst, seal_burst};

use super::Peer;
use crate::error::{Context, Failure};
use crate::packets::{BURST, Room, WINDOW, split_icv};
use crate::tsc;

/// One kernel.
#[derive(Debug)]
pub(crate) struct Culvert {
    kernel: Kernel,
    keys: Vec<AeadKey>,
}

impl Culvert {
    pub(crate) fn new(kernel: Kernel) -> Self {
        Self { kernel, keys: Vec::new() }
    }
}

impl Peer for Culvert {
    fn name(&self) -> String {
        format!("culvert {}", self.kernel)
    }

    fn take_keys(&mut self, keys: &[Vec<u8>]) -> Result<(), Failure> {
        self.keys = keys.iter().map(|key| AeadKey::aes_gcm_for(self.kernel, key)).collect::<Result<_, _>>().context("key")?;
        Ok(())
    }

    fn seal(&mut self, room: &mut Room, overhead: u64) -> u64 {
        let mut jobs = Vec::with_capacity(WINDOW);
        for (packet, place) in room.each() {
            let (data, icv) = split_icv(place);
            let aad = Aad::new(packet.spi, packet.sequence);
            jobs.extend(self.keys.get(packet.key).and_then(|key| SealJob::new(key, packet.nonce, aad, data, icv).ok()));
        }
        tsc::ticks_of(overhead, || jobs.chunks_mut(BURST).for_each(|burst| seal_burst(black_box(burst))))
    }

    fn open(&mut self, room: &mut Room, overhead: u64) -> (u64, usize) {
        let mut jobs = Vec::with_capacity(WINDOW);
        for (packet, place) in room.each() {
            let (data, icv) = split_icv(place);
            let aad = Aad::new(packet.spi, packet.sequence);
            jobs.extend(self.keys.get(packet.key).and_then(|key| OpenJob::new(key, packet.nonce, aad, data, icv).ok()));
        }
        let mut authentic = 0;
        let ticks = tsc::ticks_of(overhead, || {
            for burst in jobs.chunks_mut(BURST) {
                authentic += open_burst(black_box(burst)).bits().count_ones();
            }
        });
        (ticks, usize::try_from(authentic).unwrap_or(0))
    }
}
