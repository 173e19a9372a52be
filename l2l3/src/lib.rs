//! The Ethernet, ARP and IPv4 pipeline: free functions over bursts of frames, and the tables they read.
//!
//! Sans-IO: no clock, no random source, no system call. `now` and seeds come in as arguments.

pub mod adjacency;
pub mod arp;
pub mod cycles;
pub mod fib;
pub mod forward;
pub mod fragment;
pub mod group;
pub mod hold;
pub mod icmp;
pub mod interface;
pub mod neighbour;
pub mod options;
pub mod quote;
pub mod reassembly;
pub mod router;
