//! What DPDK refused, which call it was, and what to do about it.

use std::ffi::{CStr, c_int};
use std::fmt;

use dpdk_sys as sys;

/// A DPDK call that failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// EAL did not start.
    #[error("EAL did not start: rte_eal_init: {errno}. {}", eal_advice(*errno))]
    Eal {
        /// What `rte_errno` held.
        errno: Errno,
    },
    /// EAL was started before in this process; it can be started once.
    #[error("EAL was already started in this process")]
    AlreadyStarted,
    /// An argument that EAL did not take.
    #[error("not an EAL argument: {0:?}")]
    Argument(String),
    /// A name or argument with a NUL octet.
    #[error("{0:?} holds a NUL octet")]
    Nul(String),
    /// A call failed.
    #[error("{call}: {errno}")]
    Call {
        /// The function of DPDK.
        call: &'static str,
        /// Why it failed.
        errno: Errno,
    },
    /// A packet pool could not be made.
    #[error("pool {name:?} of {size} mbufs: {errno}. {}", pool_advice(*errno))]
    Pool {
        /// The pool's name.
        name: String,
        /// The number of mbufs asked for.
        size: u32,
        /// Why it failed.
        errno: Errno,
    },
    /// A data room without space behind the headroom.
    #[error("a data room of {0} octets leaves nothing behind the headroom of {headroom}", headroom = crate::HEADROOM)]
    DataRoom(u16),
    /// No port has this name.
    #[error("no port {name:?}; EAL found {known:?}. A virtual port needs --vdev, a NIC needs its driver bound (dpdk-devbind.py)")]
    NoPort {
        /// The name asked for.
        name: String,
        /// The names of the ports there are.
        known: Vec<String>,
    },
    /// The port is in use: a [`Port`](crate::Port) or a queue of it lives.
    #[error("port {0:?} is already open")]
    PortInUse(String),
    /// The port was started before; its queues are handed out once.
    #[error("port {0:?} was already started")]
    PortStarted(String),
    /// The driver has fewer queues than asked for.
    #[error("port {port:?} has at most {max_rx} receive and {max_tx} transmit queues, not {rx} and {tx}")]
    Queues {
        /// The port's name.
        port: String,
        /// Receive queues asked for.
        rx: u16,
        /// Transmit queues asked for.
        tx: u16,
        /// Receive queues the driver supports.
        max_rx: u16,
        /// Transmit queues the driver supports.
        max_tx: u16,
    },
    /// The calling thread is one of EAL's, or is registered already.
    #[error("this thread is already known to EAL")]
    ThreadRegistered,
}

impl Error {
    /// The failure of `call`, whose reason is in `rte_errno`.
    pub(crate) fn last(call: &'static str) -> Self {
        Self::Call { call, errno: Errno::last() }
    }

    /// Reads the result of a call that answers a negative errno.
    pub(crate) fn check(call: &'static str, result: c_int) -> Result<c_int, Self> {
        if result < 0 { Err(Self::Call { call, errno: Errno(result.saturating_neg()) }) } else { Ok(result) }
    }
}

/// An error number, the system's or DPDK's own (from 1001 on).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Errno(pub i32);

impl Errno {
    pub(crate) const EPERM: i32 = 1;
    pub(crate) const EAGAIN: i32 = 11;
    pub(crate) const ENOMEM: i32 = 12;
    pub(crate) const EACCES: i32 = 13;
    pub(crate) const EBUSY: i32 = 16;
    pub(crate) const EEXIST: i32 = 17;

    pub(crate) fn last() -> Self {
        // SAFETY: takes nothing; reads a variable of the calling thread.
        Self(unsafe { sys::culvert_errno() })
    }
}

impl fmt::Display for Errno {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // SAFETY: total over its argument.
        let text = unsafe { sys::rte_strerror(self.0) };
        if text.is_null() {
            return write!(f, "error {}", self.0);
        }
        // SAFETY: not null; rte_strerror answers a terminated string that stays as it is until this thread calls it again.
        let text = unsafe { CStr::from_ptr(text) };
        write!(f, "{} ({})", text.to_string_lossy(), self.0)
    }
}

fn eal_advice(errno: Errno) -> &'static str {
    match errno.0 {
        Errno::EACCES | Errno::EPERM | Errno::ENOMEM => {
            "Run as root and reserve hugepages (echo 256 > /proc/sys/vm/nr_hugepages), \
             or do without them: --no-huge -m 256 --no-shconf"
        }
        Errno::EAGAIN | Errno::EBUSY => {
            "Another DPDK process may hold the same configuration: give each its own --file-prefix, or use --no-shconf or --in-memory"
        }
        _ => "Check the EAL arguments; EAL's own messages on standard error say more",
    }
}

fn pool_advice(errno: Errno) -> &'static str {
    match errno.0 {
        Errno::ENOMEM => "Give EAL more memory (-m) or reserve more hugepages",
        Errno::EEXIST => "A pool of this name exists",
        _ => "Check its size, cache and data room",
    }
}
