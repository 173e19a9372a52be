//! The router as a whole, without an engine: frames in, frames out, the books balanced after every step.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on panics")]

mod arp;
mod bad_input;
mod checksums;
mod drops;
mod ecmp;
mod errors;
mod hold;
mod local;
mod mtu;
mod options;
mod paths;
mod rig;
mod steering;
mod vlan;
