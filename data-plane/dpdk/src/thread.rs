//! Threads that EAL did not start.

use std::marker::PhantomData;
use std::sync::Arc;

use dpdk_sys as sys;

use crate::eal::{Eal, EalInner};
use crate::error::Error;

/// Makes the calling thread known to EAL until the answer is dropped. A thread that EAL does not know can do everything, but pools
/// keep no cache for it: 37 against 61 million packets a second.
///
/// # Errors
/// When the thread is known already, or there are as many as EAL can hold (128).
pub fn register(eal: &Eal) -> Result<Registration, Error> {
    if is_registered() {
        return Err(Error::ThreadRegistered);
    }
    // SAFETY: EAL runs, and the thread has no lcore yet: asked above.
    let result = unsafe { sys::rte_thread_register() };
    if result < 0 {
        return Err(Error::last("rte_thread_register"));
    }
    Ok(Registration { _eal: eal.shared(), this_thread: PhantomData })
}

/// Whether EAL knows the calling thread.
fn is_registered() -> bool {
    // SAFETY: takes nothing; reads a variable of the calling thread.
    unsafe { sys::culvert_lcore_id() != sys::LCORE_ID_ANY }
}

/// The calling thread's registration with EAL. It stays on its thread.
#[derive(Debug)]
#[must_use = "the thread is unregistered when this is dropped"]
pub struct Registration {
    _eal: Arc<EalInner>,
    this_thread: PhantomData<*const ()>,
}

impl Drop for Registration {
    fn drop(&mut self) {
        // SAFETY: made by `register` on this thread (the type does not move to another), and EAL lives.
        unsafe { sys::rte_thread_unregister() };
    }
}
