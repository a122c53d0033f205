//! intel-ipsec-mb's direct API: one call a packet, the expanded key of each kept by the caller.
#![expect(unsafe_code, reason = "a C library, linked by this benchmark alone")]

use std::ffi::{CStr, c_char, c_int, c_void};
use std::ptr::NonNull;

use super::Peer;
use crate::error::{Context, Failure};
use crate::packets::{ICV_LEN, Room, WINDOW, split_icv};
use crate::tsc;

/// Instruction sets that the library has code for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Isa {
    /// AES-NI and PCLMULQDQ.
    Sse,
    /// The same, with three operands; with VAES and VPCLMULQDQ on 256 bits where library and CPU have them.
    Avx2,
    /// With VAES and VPCLMULQDQ on 512 bits where the CPU has them.
    Avx512,
}

impl Isa {
    fn name(self) -> &'static str {
        match self {
            Self::Sse => "sse",
            Self::Avx2 => "avx2",
            Self::Avx512 => "avx512",
        }
    }
}

#[repr(C)]
struct Manager {
    _private: [u8; 0],
}

/// `aes_gcm_enc_dec_t` of the header: key, context, output, input, octets, IV of 12 octets, AAD, its octets, tag, its octets.
type Function = unsafe extern "C" fn(*const c_void, *mut c_void, *mut u8, *const u8, u64, *const u8, *const u8, u64, *mut u8, u64);

unsafe extern "C" {
    fn culvert_ipsec_mb_new(isa: c_int) -> *mut Manager;
    fn culvert_ipsec_mb_free(manager: *mut Manager);
    fn culvert_ipsec_mb_key_size() -> usize;
    fn culvert_ipsec_mb_context_size() -> usize;
    fn culvert_ipsec_mb_version() -> *const c_char;
    fn culvert_ipsec_mb_expand(manager: *const Manager, long_key: c_int, key: *const c_void, expanded: *mut c_void);
    fn culvert_ipsec_mb_function(manager: *const Manager, long_key: c_int, open: c_int) -> Option<Function>;
}

/// The library's version.
pub(crate) fn version() -> String {
    // SAFETY: the library answers a string that lives as long as itself.
    unsafe { CStr::from_ptr(culvert_ipsec_mb_version()) }.to_string_lossy().into_owned()
}

/// One instruction set of the library.
#[derive(Debug)]
pub(crate) struct IpsecMb {
    isa: Isa,
    manager: NonNull<Manager>,
    keys: Keys,
    context: Vec<u8>,
}

/// Expanded keys, each on cache lines of its own.
#[derive(Debug, Default)]
struct Keys {
    memory: Vec<u8>,
    first: usize,
    stride: usize,
    long: bool,
}

const CACHE_LINE: usize = 64;

impl Keys {
    fn new(count: usize, long: bool) -> Self {
        // SAFETY: the function asks for nothing.
        let stride = unsafe { culvert_ipsec_mb_key_size() }.next_multiple_of(CACHE_LINE);
        let memory = vec![0_u8; count * stride + CACHE_LINE];
        Self { first: memory.as_ptr().align_offset(CACHE_LINE), memory, stride, long }
    }

    fn each(&mut self) -> impl Iterator<Item = &mut [u8]> {
        self.memory.get_mut(self.first..).unwrap_or_default().chunks_exact_mut(self.stride.max(1))
    }

    fn at(&self, index: usize) -> Option<*const c_void> {
        let start = self.first + index * self.stride;
        self.memory.get(start..start + self.stride).map(|key| key.as_ptr().cast())
    }
}

/// Arguments of one call.
struct Call {
    key: *const c_void,
    data: *mut u8,
    len: u64,
    icv: *mut u8,
    nonce: [u8; 12],
    aad: [u8; 8],
}

impl IpsecMb {
    /// # Errors
    /// A [`Failure`] where the CPU lacks the instruction set.
    pub(crate) fn new(isa: Isa) -> Result<Self, Failure> {
        // SAFETY: each of the three is one that the C code knows.
        let manager = unsafe { culvert_ipsec_mb_new(isa as c_int) };
        let manager = NonNull::new(manager).context(format_args!("ipsec-mb does not run its code for {} on this CPU", isa.name()))?;
        // SAFETY: the function asks for nothing.
        let context = vec![0; unsafe { culvert_ipsec_mb_context_size() } + CACHE_LINE];
        Ok(Self { isa, manager, keys: Keys::default(), context })
    }

    fn function(&self, open: bool) -> Function {
        // SAFETY: the manager lives as long as this value.
        let function = unsafe { culvert_ipsec_mb_function(self.manager.as_ptr(), self.keys.long.into(), open.into()) };
        function.expect("ipsec-mb has all of AES-GCM")
    }

    fn context(&mut self) -> *mut c_void {
        let start = self.context.as_ptr().align_offset(CACHE_LINE);
        self.context.as_mut_ptr().wrapping_add(start).cast()
    }

    fn calls(&self, room: &mut Room) -> Vec<Call> {
        let mut calls = Vec::with_capacity(WINDOW);
        for (packet, place) in room.each() {
            let (data, icv) = split_icv(place);
            let key = self.keys.at(packet.key).expect("as many keys as packets ask for");
            let (len, data) = (data.len() as u64, data.as_mut_ptr());
            calls.push(Call { key, data, len, icv: icv.as_mut_ptr(), nonce: packet.nonce, aad: packet.aad() });
        }
        calls
    }
}

impl Call {
    /// # Safety
    /// The pointers are those of a key, of data and of an ICV that nobody else uses meanwhile; the function takes keys of this length.
    #[inline]
    unsafe fn run(&self, function: Function, context: *mut c_void, tag: *mut u8) {
        let (iv, aad) = (self.nonce.as_ptr(), self.aad.as_ptr());
        // SAFETY: the caller says so; the context is large enough, and the lengths are those of the arrays.
        unsafe { function(self.key, context, self.data, self.data, self.len, iv, aad, 8, tag, ICV_LEN as u64) };
    }
}

impl Peer for IpsecMb {
    fn name(&self) -> String {
        format!("ipsec-mb {}", self.isa.name())
    }

    fn take_keys(&mut self, keys: &[Vec<u8>]) -> Result<(), Failure> {
        let long = keys.iter().all(|key| key.len() == 32);
        if !long && !keys.iter().all(|key| key.len() == 16) {
            return Err(Failure("keys of 16 octets or of 32".to_owned()));
        }
        self.keys = Keys::new(keys.len(), long);
        for (key, place) in keys.iter().zip(self.keys.each()) {
            // SAFETY: the key has the length that is told, and its place that of an expanded key.
            unsafe { culvert_ipsec_mb_expand(self.manager.as_ptr(), long.into(), key.as_ptr().cast(), place.as_mut_ptr().cast()) };
        }
        Ok(())
    }

    fn seal(&mut self, room: &mut Room, overhead: u64) -> u64 {
        let (calls, function, context) = (self.calls(room), self.function(false), self.context());
        tsc::ticks_of(overhead, || {
            for call in &calls {
                // SAFETY: the room is borrowed for as long as this takes, its packets do not overlap, and the function is the one for these keys.
                unsafe { call.run(function, context, call.icv) };
            }
        })
    }

    /// The library computes the tag; comparing it is left to the caller, and belongs to opening.
    fn open(&mut self, room: &mut Room, overhead: u64) -> (u64, usize) {
        let (calls, function, context) = (self.calls(room), self.function(true), self.context());
        let mut authentic = 0;
        let ticks = tsc::ticks_of(overhead, || {
            for call in &calls {
                let mut tag = [0_u8; ICV_LEN];
                // SAFETY: as for sealing; the tag has a place of its own, and the ICV can be read.
                let icv = unsafe {
                    call.run(function, context, tag.as_mut_ptr());
                    call.icv.cast::<[u8; ICV_LEN]>().read()
                };
                authentic += usize::from(u128::from_ne_bytes(tag) == u128::from_ne_bytes(icv));
            }
        });
        (ticks, authentic)
    }
}

impl Drop for IpsecMb {
    fn drop(&mut self) {
        // SAFETY: nobody else has the manager.
        unsafe { culvert_ipsec_mb_free(self.manager.as_ptr()) };
    }
}
