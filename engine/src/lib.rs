//! The engine: workers that poll, the rings between them, and the control plane.
//!
//! Generic over the devices ([`device::Device`]): it never names DPDK, and runs on simulated queues in
//! tests. Read [`worker`] first; its `poll_once` is a packet's life on one screen.
#![forbid(unsafe_code)]

pub mod api;
pub mod app;
pub mod control;
pub mod device;
pub mod host;
pub mod link;
pub mod net;
mod plugs;
pub mod run;
pub mod worker;

mod chance;
mod egress;
