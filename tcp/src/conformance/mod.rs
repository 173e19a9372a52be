//! The requirements of TCP's RFCs, each with tests that cite it.
//!
//! Above a test, `//= RFC 9293 MUST-36: in few words` says which requirement it checks; one of a section
//! without numbers reads `//= RFC 5961 section 3.2: in few words`. `report` makes `CONFORMANCE.md` of
//! them, and fails if a MUST of RFC 9293 has neither a test nor, in `requirements.txt`, a reason.

mod closing;
mod congestion;
mod data;
mod ecn;
mod handshake;
mod icmp;
mod options;
mod report;
mod resets;
mod rig;
mod timers;
mod windows;
