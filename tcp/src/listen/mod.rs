//! Listening: SYN queue, SYN cookies, initial sequence numbers.
