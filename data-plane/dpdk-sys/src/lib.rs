//! Raw DPDK bindings, generated at build time by `rte-bindgen`. Only the `dpdk` crate imports this one.
#![allow(non_camel_case_types, non_snake_case, non_upper_case_globals, missing_docs, rustdoc::all, clippy::all, clippy::pedantic)]
#![allow(unsafe_op_in_unsafe_fn, unnecessary_transmutes, clippy::undocumented_unsafe_blocks)]

include!(concat!(env!("OUT_DIR"), "/dpdk.rs"));
