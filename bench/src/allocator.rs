//! An allocator that knows which threads may not use it.
//!
//! The threads are named by the operating system's thread id, so that nothing in a worker has to be changed for a test to watch it. Memory that C code
//! (drivers of DPDK) takes from the C library does not come by here.
#![expect(unsafe_code, reason = "the trait of allocators is an unsafe one")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::backtrace::Backtrace;
use std::io::{self, Write};
use std::process;
use std::sync::atomic::{AtomicU32, Ordering};

/// The allocator of the operating system, watched.
#[derive(Debug)]
struct Watched;

#[global_allocator]
static ALLOCATOR: Watched = Watched;

/// Thread ids; 0 for none.
static WATCHED: [AtomicU32; 8] = [const { AtomicU32::new(0) }; 8];

/// Ends the process as soon as one of these threads allocates or frees, until the answer is dropped.
pub(crate) fn watch(threads: impl IntoIterator<Item = u32>) -> Watch {
    let mut threads = threads.into_iter();
    for place in &WATCHED {
        place.store(threads.next().unwrap_or(0), Ordering::SeqCst);
    }
    assert!(threads.next().is_none(), "more threads than can be watched");
    Watch(())
}

/// Threads are being watched.
#[derive(Debug)]
pub(crate) struct Watch(());

impl Drop for Watch {
    fn drop(&mut self) {
        for place in &WATCHED {
            place.store(0, Ordering::SeqCst);
        }
    }
}

/// Before anything happens to memory.
fn look(what: &str, octets: usize) {
    // Without a watched thread, which is nearly always, this is one load.
    if WATCHED[0].load(Ordering::Relaxed) == 0 {
        return;
    }
    let own = rustix::thread::gettid().as_raw_nonzero().get().cast_unsigned();
    if WATCHED.iter().any(|place| place.load(Ordering::Relaxed) == own) {
        // What follows allocates: nothing is watched any more.
        drop(Watch(()));
        // Not by `eprintln`, whose output a test captures and loses with the process.
        let _ = writeln!(io::stderr(), "thread {own} is on the hot path and {what} {octets} octets:\n{}", Backtrace::force_capture());
        process::abort();
    }
}

// SAFETY: every call goes on to the system's allocator as it came.
unsafe impl GlobalAlloc for Watched {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        look("allocates", layout.size());
        // SAFETY: what the caller promises.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        look("allocates", layout.size());
        // SAFETY: what the caller promises.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, place: *mut u8, layout: Layout, octets: usize) -> *mut u8 {
        look("reallocates", octets);
        // SAFETY: what the caller promises.
        unsafe { System.realloc(place, layout, octets) }
    }

    unsafe fn dealloc(&self, place: *mut u8, layout: Layout) {
        look("frees", layout.size());
        // SAFETY: what the caller promises.
        unsafe { System.dealloc(place, layout) }
    }
}
