//! What the fuzz targets check, each as a function of the bytes that the fuzzer made up.
//!
//! - [`parser`]: segments and their options.
//! - [`shard`]: one shard, whose peers, network, clock and application do anything at all.
//! - [`network`]: two stacks that transfer bytes over a network that loses, repeats, delays, marks and spoils
//!   packets: ours with ours, and ours with smoltcp.

mod host;
pub mod network;
pub mod parser;
pub mod shard;
mod smoltcp_host;
mod source;

pub(crate) use sim::Bytes;
pub(crate) use source::Source;
