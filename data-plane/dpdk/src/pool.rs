//! Packet pools.

use std::ffi::CString;
use std::ptr::NonNull;
use std::sync::Arc;

use dpdk_sys as sys;

use crate::eal::{EalInner, RawPool};
use crate::error::{Errno, Error};
use crate::mbuf::{HEADROOM, Mbuf};

/// How a pool is made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PoolConfig {
    /// A name no other pool of the process has.
    pub name: String,
    /// Number of mbufs; one less than a power of two uses memory best.
    pub size: u32,
    /// Mbufs that each registered thread keeps at hand; at most 512 and two thirds of `size`. One and a half times as many may lie
    /// there, out of reach of other threads, also after the thread is gone: size the pool for it.
    pub cache: u32,
    /// Octets of each mbuf, [`HEADROOM`] included. Drivers want 2176 at least: `net_af_packet` refuses less.
    pub data_room: u16,
}

/// A pool of mbufs; a handle that can be cloned and shared.
#[derive(Debug, Clone)]
pub struct Pool {
    raw: RawPool,
    _eal: Arc<EalInner>,
}

impl Pool {
    pub(crate) fn create(eal: &Arc<EalInner>, config: &PoolConfig) -> Result<Self, Error> {
        if usize::from(config.data_room) <= HEADROOM {
            return Err(Error::DataRoom(config.data_room));
        }
        let name = CString::new(config.name.as_str()).map_err(|_| Error::Nul(config.name.clone()))?;
        // The operations are named so that no EAL argument can choose ones that are not safe for many threads.
        // SAFETY: two terminated strings that live through the call; every other value is checked by DPDK.
        let pool = unsafe {
            sys::rte_pktmbuf_pool_create_by_ops(
                name.as_ptr(),
                config.size,
                config.cache,
                0,
                config.data_room,
                SOCKET_ANY,
                c"ring_mp_mc".as_ptr(),
            )
        };
        let Some(pool) = NonNull::new(pool) else {
            return Err(Error::Pool { name: config.name.clone(), size: config.size, errno: Errno::last() });
        };
        let raw = RawPool(pool);
        eal.adopt(raw);
        Ok(Self { raw, _eal: Arc::clone(eal) })
    }

    /// An empty mbuf with [`HEADROOM`] octets of headroom; `None` when the pool is exhausted.
    #[must_use]
    pub fn alloc(&self) -> Option<Mbuf> {
        // SAFETY: the pool lives as long as the EAL, which this handle keeps alive; any thread may allocate.
        let mbuf = unsafe { sys::culvert_mbuf_alloc(self.raw.0.as_ptr()) };
        // SAFETY: what the pool answers is a fresh mbuf that nothing else refers to.
        NonNull::new(mbuf).map(|mbuf| unsafe { Mbuf::from_raw(mbuf) })
    }

    /// A copy of a packet, all segments of it in as few as this pool's mbufs need: in one, where the packet fits behind the headroom. `None` when the pool is
    /// exhausted.
    #[must_use]
    pub fn copy(&self, packet: &Mbuf) -> Option<Mbuf> {
        // SAFETY: the pool lives as long as the EAL, which this handle keeps alive; the packet is a valid mbuf whose segments are only read.
        let copy = unsafe { sys::rte_pktmbuf_copy(packet.raw(), self.raw.0.as_ptr(), 0, u32::MAX) };
        // SAFETY: what DPDK answers is a fresh mbuf that nothing else refers to.
        NonNull::new(copy).map(|mbuf| unsafe { Mbuf::from_raw(mbuf) })
    }

    /// Mbufs that are out: held by the program, a driver or a ring. Walks every thread's cache: not for the hot path.
    #[must_use]
    pub fn in_use(&self) -> usize {
        self.raw.in_use()
    }

    pub(crate) fn raw(&self) -> RawPool {
        self.raw
    }
}

const SOCKET_ANY: i32 = -1;
