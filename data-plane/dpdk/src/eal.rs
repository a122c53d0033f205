//! The environment abstraction layer: started once, owner of all pools.

use std::collections::HashSet;
use std::ffi::{CStr, CString, c_char, c_int};
use std::ptr::NonNull;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use dpdk_sys as sys;

use crate::error::{Errno, Error};
use crate::pool::{Pool, PoolConfig};
use crate::port::Port;

static STARTED: AtomicBool = AtomicBool::new(false);

/// The version of the DPDK libraries that are loaded, such as `DPDK 22.11.11`.
#[must_use]
pub fn version() -> String {
    // SAFETY: takes nothing; answers a terminated string that lives as long as the process.
    let text = unsafe { sys::rte_version() };
    // SAFETY: as above.
    let text = unsafe { CStr::from_ptr(text) };
    text.to_string_lossy().into_owned()
}

/// The running EAL.
#[derive(Debug)]
pub struct Eal {
    inner: Arc<EalInner>,
}

impl Eal {
    /// Starts EAL with its own arguments (`--vdev`, `--no-huge`, ...; no program name). Takes 0.3 to 0.5 s: it loads every driver.
    ///
    /// EAL pins the calling thread to the main lcore; start workers with an affinity of their own.
    ///
    /// # Errors
    /// When EAL was started before, refuses an argument or cannot get memory or devices. It can't be tried again in this process.
    pub fn init(args: Vec<String>) -> Result<Self, Error> {
        let mut argv = vec![c"culvert".to_owned()];
        for arg in args {
            argv.push(CString::new(arg).map_err(|e| Error::Nul(String::from_utf8_lossy(&e.into_vec()).into_owned()))?);
        }
        if STARTED.swap(true, Ordering::SeqCst) {
            return Err(Error::AlreadyStarted);
        }
        // EAL permutes and keeps these pointers, so the strings are never freed: once a process, a few hundred octets.
        let argv: Vec<*mut c_char> = argv.into_iter().map(CString::into_raw).collect();
        let argv: &'static mut [*mut c_char] = argv.leak();
        let count = c_int::try_from(argv.len()).unwrap_or(c_int::MAX);
        // SAFETY: `count` pointers to terminated strings that are never freed.
        let taken = unsafe { sys::rte_eal_init(count, argv.as_mut_ptr()) };
        if taken < 0 {
            return Err(Error::Eal { errno: Errno::last() });
        }
        let eal = Self { inner: Arc::new(EalInner::default()) };
        match argv.get(usize::try_from(taken).unwrap_or(0) + 1) {
            None => Ok(eal),
            // SAFETY: one of the terminated strings made above; EAL only changes their order.
            Some(&rest) => Err(Error::Argument(unsafe { CStr::from_ptr(rest) }.to_string_lossy().into_owned())),
        }
    }

    /// Makes a packet pool. It lives as long as the EAL.
    ///
    /// # Errors
    /// When memory is short, the name is taken or the configuration is out of DPDK's range.
    pub fn pool(&self, config: &PoolConfig) -> Result<Pool, Error> {
        Pool::create(&self.inner, config)
    }

    /// Opens the port of this name: a virtual device's (`net_af_packet0`; arguments after a comma, as given to `--vdev`, are ignored)
    /// or a PCI address (`0000:00:03.0`).
    ///
    /// # Errors
    /// When there is no such port, or when it is open.
    pub fn port(&self, name: &str) -> Result<Port, Error> {
        Port::open(&self.inner, name)
    }

    pub(crate) fn shared(&self) -> Arc<EalInner> {
        Arc::clone(&self.inner)
    }
}

/// What every handle keeps alive.
#[derive(Debug, Default)]
pub(crate) struct EalInner {
    pools: Mutex<Vec<RawPool>>,
    control: Mutex<HashSet<u16>>,
}

/// A pool as DPDK made it; it is freed by `rte_eal_cleanup` only.
#[derive(Debug, Clone, Copy)]
pub(crate) struct RawPool(pub(crate) NonNull<sys::rte_mempool>);

// SAFETY: a mempool is made for many threads: its operations are those of `ring_mp_mc`, which `Pool::create` asks for by name, and
// its caches belong each to one lcore, which is one thread.
unsafe impl Send for RawPool {}
// SAFETY: as above.
unsafe impl Sync for RawPool {}

impl RawPool {
    /// Mbufs that are neither in the pool nor in a thread's cache.
    pub(crate) fn in_use(self) -> usize {
        // SAFETY: the pool lives until `rte_eal_cleanup`, which only `EalInner::drop` calls, after it asked this.
        usize::try_from(unsafe { sys::rte_mempool_in_use_count(self.0.as_ptr()) }).unwrap_or(usize::MAX)
    }
}

impl EalInner {
    pub(crate) fn adopt(&self, pool: RawPool) {
        locked(&self.pools).push(pool);
    }

    /// The numbers of the open ports. DPDK's control functions of ports are not made for several threads: each is called under this lock.
    pub(crate) fn control(&self) -> MutexGuard<'_, HashSet<u16>> {
        locked(&self.control)
    }
}

/// The names of all ports, in the order of their numbers. The caller holds the lock.
pub(crate) fn port_names() -> Vec<String> {
    let mut names = Vec::new();
    let mut next = 0;
    while let Some(id) = next_port(next) {
        names.extend(port_name(id));
        next = id + 1;
    }
    names
}

impl Drop for EalInner {
    /// Cleans up, unless an mbuf is still out: its memory must stay then. No handle is left that could take another one, so the
    /// count can only fall.
    fn drop(&mut self) {
        let pools = self.pools.get_mut().unwrap_or_else(PoisonError::into_inner);
        if pools.iter().all(|pool| pool.in_use() == 0) {
            // SAFETY: `init` succeeded, this runs once, and no port, queue, pool handle, registered thread or mbuf is left.
            unsafe { sys::rte_eal_cleanup() };
        }
    }
}

fn next_port(from: u16) -> Option<u16> {
    // SAFETY: total over its arguments; owner 0 means ports that no other DPDK user has claimed.
    let id = unsafe { sys::rte_eth_find_next_owned_by(from, 0) };
    u16::try_from(id).ok().filter(|&id| u32::from(id) < sys::RTE_MAX_ETHPORTS)
}

fn port_name(id: u16) -> Option<String> {
    let mut name: [c_char; sys::RTE_ETH_NAME_MAX_LEN as usize] = [0; _];
    // SAFETY: `name` has the RTE_ETH_NAME_MAX_LEN octets that the call may write, its terminator included.
    let result = unsafe { sys::rte_eth_dev_get_name_by_port(id, name.as_mut_ptr()) };
    if result != 0 {
        return None;
    }
    // SAFETY: all zero before the call, which wrote a terminated string.
    let name = unsafe { CStr::from_ptr(name.as_ptr()) };
    Some(name.to_string_lossy().into_owned())
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
