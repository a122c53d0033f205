//! The cipher, once a burst and direction, over packets of as many SAs as there are.

use arrayvec::ArrayVec;
use esp_crypto::{OpenJob, Verified, open_burst};
use packet::Buffer;

use super::inbound::Opening;
use super::{BURST, Burst};

/// Which packets of the burst are authentic, by their place in `opens`.
#[derive(Debug, Clone, Copy)]
pub(super) struct Authentic {
    verified: Option<Verified>,
    /// The places that had a job, one bit each: job n is the n-th of them.
    jobs: u32,
}

impl Authentic {
    /// Whether the packet at this place was verified.
    #[inline]
    pub(super) fn contains(self, place: usize) -> bool {
        let Some(verified) = self.verified else { return false };
        let below = self.jobs & ((1_u32 << place) - 1);
        self.jobs >> place & 1 == 1 && verified.contains(below.count_ones() as usize)
    }
}

/// Opens; `opens` are in the order of the burst.
#[inline]
pub(super) fn open<B: Buffer>(opens: &[Opening<'_>], burst: &mut Burst<B>) -> Authentic {
    let mut authentic = Authentic { verified: None, jobs: 0 };
    if opens.is_empty() {
        return authentic;
    }
    let mut jobs: ArrayVec<OpenJob<'_>, BURST> = ArrayVec::new();
    let mut opens = opens.iter().enumerate().peekable();
    for (index, packet) in burst.packets.iter_mut().enumerate() {
        let Some((place, opening)) = opens.next_if(|(_, opening)| opening.index == index) else { continue };
        if let Some(job) = packet.as_mut().and_then(|packet| opening.plan.job(packet)) {
            authentic.jobs |= 1 << place;
            jobs.push(job);
        }
    }
    authentic.verified = Some(open_burst(&mut jobs));
    authentic
}
