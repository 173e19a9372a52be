//! Listening: SYN queue, SYN cookies, initial sequence numbers.
//!
//! A SYN to a listener ([`on_listen`]) opens a handshake ([`HalfOpen`]), which waits in the [`SynQueue`]
//! for its last ACK ([`HalfOpen::on_segment`]). When the queue is full, [`SynCookies`] answer instead:
//! they keep nothing, and make the same [`HalfOpen`] of the ACK that comes back.

mod agreed;
mod challenge;
mod cookie;
mod half_open;
mod handshake;
mod isn;
mod siphash;
mod syn_queue;

pub use agreed::{Agreed, Offer, WindowScales};
pub use challenge::ChallengeLimiter;
pub use cookie::SynCookies;
pub use half_open::{HalfOpen, Listener};
pub use handshake::{ListenVerdict, SynReceivedVerdict, on_listen};
pub use isn::{IsnGenerator, timestamp_clock};
pub(crate) use siphash::{Purpose, SipKey};
pub use syn_queue::{Due, Full, SynId, SynQueue, SynQueueConfig};
