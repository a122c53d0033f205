//! The cipher, once a burst and direction, over packets of as many SAs as there are.

use arrayvec::ArrayVec;
use esp_crypto::{OpenJob, SealJob, Verified, open_burst, seal_burst};
use packet::Buffer;

use super::inbound::Opening;
use super::outbound::Sealing;
use super::{BURST, Burst};
use crate::table::NextHop;
use crate::table::sad::SadEntry;

/// A packet that has been through the cipher, unless `done` denies it.
#[derive(Debug)]
pub(super) struct SealedPacket<'a> {
    pub(super) index: usize,
    pub(super) through: &'a SadEntry,
    pub(super) hop: NextHop,
    pub(super) cut: Option<usize>,
    pub(super) inner_len: usize,
    pub(super) done: bool,
}

/// The packets of a burst that were to be sealed.
pub(super) type SealedPackets<'a> = ArrayVec<SealedPacket<'a>, BURST>;

/// Seals; `seals` are in the order of the burst.
#[inline]
pub(super) fn seal<'a, B: Buffer>(seals: ArrayVec<Sealing<'a>, BURST>, burst: &mut Burst<B>) -> SealedPackets<'a> {
    let mut sealed = ArrayVec::new();
    if seals.is_empty() {
        return sealed;
    }
    let mut jobs: ArrayVec<SealJob<'_>, BURST> = ArrayVec::new();
    let mut seals = seals.into_iter().peekable();
    for (index, packet) in burst.packets.iter_mut().enumerate() {
        let Some(sealing) = seals.next_if(|sealing| sealing.index == index) else { continue };
        let Sealing { index, through, plan, hop, cut, inner_len } = sealing;
        let job = packet.as_mut().and_then(|packet| plan.job(packet));
        sealed.push(SealedPacket { index, through, hop, cut, inner_len, done: job.is_some() });
        jobs.extend(job);
    }
    seal_burst(&mut jobs);
    sealed
}

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
