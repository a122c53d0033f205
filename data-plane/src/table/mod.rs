//! What a worker looks things up in.
//!
//! A [`Snapshot`] holds what is configured or learnt: policies, routes, neighbours, ports. It is immutable and replaced as a whole, by
//! pointers: a change copies the part that changed. SAs come and go one at a time, in slots of their own: [`sad`].

mod neighbors;
mod policy_slots;
mod ports;
mod routes;
pub mod sad;
mod spd;

use std::sync::Arc;

pub use neighbors::Neighbors;
pub use policy_slots::{PolicySlots, TooManyPolicies};
pub use ports::{PortInfo, PortRole, Ports};
pub use routes::{NextHop, Route, Routes};
pub use sad::SaSlot;
pub use spd::{Spd, SpdEntry};

/// A place for a policy in the tables of the workers. It stays the same while a policy of that identifier is in force.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PolicySlot(pub u32);

impl PolicySlot {
    /// As an index.
    #[inline]
    pub const fn index(self) -> usize {
        self.0 as usize
    }
}

/// Everything but SAs, as one worker sees it between two bursts.
#[derive(Debug, Clone)]
pub struct Snapshot {
    /// The SPD; `None` until the first complete policy set has arrived.
    pub spd: Option<Arc<Spd>>,
    /// Ports and own addresses.
    pub ports: Arc<Ports>,
    /// Routes, those to connected subnets included.
    pub routes: Arc<Routes>,
    /// MAC addresses.
    pub neighbors: Arc<Neighbors>,
}
