//! Entries by slot, in chunks that copies share.

use std::sync::Arc;

use super::Stored;
use crate::table::PolicySlot;

/// Entries of a chunk: a change copies one chunk, and the list of all.
const CHUNK: usize = 256;

type Chunk = [Option<Arc<Stored>>; CHUNK];

/// The entries.
#[derive(Debug, Clone, Default)]
pub(super) struct Slots(Vec<Arc<Chunk>>);

impl Slots {
    #[inline]
    pub(super) fn of(&self, slot: PolicySlot) -> Option<&Arc<Stored>> {
        self.0.get(slot.index() / CHUNK)?.get(slot.index() % CHUNK)?.as_ref()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Arc<Stored>> {
        self.0.iter().flat_map(|chunk| chunk.iter().flatten())
    }

    /// Puts an entry into a slot, or nothing; what was there comes back.
    pub(super) fn set(&mut self, slot: PolicySlot, stored: Option<Arc<Stored>>) -> Option<Arc<Stored>> {
        let chunk = slot.index() / CHUNK;
        if chunk >= self.0.len() {
            self.0.resize_with(chunk + 1, || Arc::new([const { None }; CHUNK]));
        }
        let place = Arc::make_mut(self.0.get_mut(chunk)?).get_mut(slot.index() % CHUNK)?;
        std::mem::replace(place, stored)
    }
}
