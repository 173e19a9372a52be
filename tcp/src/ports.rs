//! The choice of a source port.
