//! Raw bindings to libdpdk, generated at build time from the headers of the DPDK that is installed,
//! and the smallest C shim for what bindgen cannot bind (`shim.h`). Use the `pmd` crate instead: it
//! is safe.
//!
//! `struct rte_mbuf` is opaque here: its fields lie in unions that differ from release to release, so
//! they are reached by the offsets `SL_MBUF_*`, which the C compiler's `offsetof` gave.
#![allow(unsafe_code, reason = "these are foreign functions")]
#![allow(
    missing_docs,
    unreachable_pub,
    unused_qualifications,
    non_camel_case_types,
    non_snake_case,
    non_upper_case_globals,
    clippy::all,
    clippy::undocumented_unsafe_blocks,
    reason = "the names and the code are generated"
)]

include!(concat!(env!("OUT_DIR"), "/bindings.rs"));
