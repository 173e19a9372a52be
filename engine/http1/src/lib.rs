//! HTTP/1.1 for a server, sans-IO (RFC 9110, RFC 9112): requests from bytes that arrive in pieces, and heads
//! of responses into memory that is given.
//!
//! ```text
//! received bytes -> Reader -> Head: method, target, framing, fields    -> the program's answer
//!                      |        conditions, range: what the answer is     -> response::HeadWriter
//!                      +--> Body: read to its end, and dropped
//!                      +--> Refusal: what no request can be made of; the connection ends
//! ```
//!
//! - [`reader`]: where one request ends and the next begins; heads in one piece are parsed where they lie,
//!   others are gathered in memory from a pool. [`head`], [`target`], [`body`]: the parts of a request.
//! - [`condition`], [`range`]: RFC 9110 sections 13 and 14. [`date`], [`media`]: what responses say.
//! - [`response`], [`status`]: the way back.
//!
//! Nothing is allocated after [`reader::HeadPool::new`], no clock is read, and everything has a bound
//! ([`reader::Limits`]).
#![forbid(unsafe_code)]

pub mod body;
pub mod condition;
pub mod date;
pub mod head;
pub mod media;
pub mod range;
pub mod reader;
pub mod response;
pub mod status;
pub mod target;

pub use head::{Head, Method};
pub use reader::{HeadPool, Item, Limits, Reader, Refusal};
pub use status::Status;
