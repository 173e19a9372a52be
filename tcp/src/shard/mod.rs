//! A core's TCP.
