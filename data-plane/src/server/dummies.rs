//! Dummy packets (RFC 4303 section 2.6): the server says when, the worker that owns an SA makes them.

use arrayvec::ArrayVec;
use rustix::rand::{GetRandomFlags, getrandom};

use crate::command::{Command, WorkerId};
use crate::pipeline::BURST;
use crate::server::core::Core;
use crate::server::sad::Entry;
use crate::table::SaSlot;

/// Dummies that one SA sends at most when a sweep has come late.
const MOST: u64 = 1024;

/// Dummies of one SA that are due.
#[derive(Debug)]
pub(super) struct Dummies {
    slot: SaSlot,
    owner: WorkerId,
    count: u64,
}

impl Core {
    /// Has dummies sent. Those that a busy worker does not take are not sent later.
    pub(super) fn send_dummies(&mut self, due: Vec<Dummies>) {
        for Dummies { slot, owner, mut count } in due {
            while count > 0 {
                let mut octets = [0; 2 * BURST];
                // Lengths that can be foretold hide less, and nothing else depends on them.
                let _ = getrandom(&mut octets, GetRandomFlags::empty());
                let random: ArrayVec<u16, BURST> = octets
                    .as_chunks::<2>()
                    .0
                    .iter()
                    .map(|pair| u16::from_ne_bytes(*pair))
                    .take(usize::try_from(count).unwrap_or(BURST))
                    .collect();
                count = count.saturating_sub(BURST as u64);
                if !self.workers.try_send(owner, Command::SendDummies { slot, random }) {
                    return;
                }
            }
        }
    }
}

impl Entry {
    /// Dummies that are due by now, which are then no more; `None` for none.
    pub(super) fn dummies_due(&mut self, now_ms: u64) -> Option<Dummies> {
        let rate = u64::from(self.sa.tfc.dummies_per_second);
        if rate == 0 || self.remove_ms.is_some() || !self.sa.state.is_active() {
            self.dummies_ms = now_ms;
            return None;
        }
        let count = now_ms.saturating_sub(self.dummies_ms).saturating_mul(rate) / 1000;
        if count == 0 {
            return None;
        }
        // What is left of a millisecond counts the next time.
        self.dummies_ms = self.dummies_ms.saturating_add(count * 1000 / rate);
        Some(Dummies { slot: self.sa.slot, owner: self.sa.owner, count: count.min(MOST) })
    }
}
