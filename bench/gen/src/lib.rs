//! A packet generator and analyser: frames that can be told apart, an open-loop sender, a receiver that tells
//! loss, duplication, reordering and corruption apart, and the searches that find what a device can do.
//!
//! Everything runs over the queue traits of [`wire`], and is told the time: a test drives it through a simulated
//! link in virtual time, `sluice bench forward` through DPDK's devices.
#![forbid(unsafe_code)]

pub mod analyser;
pub mod flow;
mod packet;
pub mod port;
pub mod schedule;
pub mod search;
pub mod sender;
pub mod size;
pub mod source;
pub mod station;
pub mod timing;
pub mod trial;
mod window;
