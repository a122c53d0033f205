//! The fence around DPDK: safe types for EAL, pools, mbufs, ports and queues.
//!
//! The only crate that imports `dpdk-sys`. Who owns what:
//!
//! - [`Eal`] is created once in a process and owns every pool. [`Pool`], [`Port`], the queues and [`thread::Registration`] are handles
//!   that keep it alive. It is cleaned up when the last handle is gone, and only if no mbuf is out then.
//! - An [`Mbuf`] is owned: it is freed when dropped. Moving it into [`TxQueue::tx`] hands it to the driver, and only if the driver
//!   takes it.
//! - A [`Port`] stops when it and all its queues are gone, so no worker ever polls a stopped port. Queues are handed out once, may
//!   move to another thread, and are used through `&mut`.
//!
//! Receive, transmit and the mbuf's fields are plain Rust without a call through a wrapper; everything else is C.

mod burst;
mod eal;
mod error;
mod mbuf;
mod pool;
mod port;
mod queue;
pub mod thread;
mod ticks;

pub use burst::{BURST, Burst};
pub use eal::{Eal, version};
pub use error::{Errno, Error};
pub use mbuf::{HEADROOM, Mbuf};
pub use pool::{Pool, PoolConfig};
pub use port::{Port, PortConfig, PortStats, Queues};
pub use queue::{RxQueue, TxQueue};
pub use ticks::ticks;
