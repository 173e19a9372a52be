//! Initial sequence numbers and timestamp offsets: they go on per flow, and tell a stranger nothing.

use std::net::SocketAddrV4;

use wire::Instant;

use super::{Purpose, SipKey};
use crate::SeqNumber;

/// Chooses where a connection's sequence numbers and timestamps begin.
#[derive(Clone, Copy, Debug)]
pub struct IsnGenerator {
    key: SipKey,
}

impl IsnGenerator {
    /// Nanoseconds of a step of the ISN clock.
    const STEP: u64 = 4000;

    /// A generator that draws on the secret `key`. All cores of a process share one key, so that a flow's
    /// numbers go on when the flow moves.
    pub const fn new(key: [u8; 16]) -> Self {
        IsnGenerator { key: SipKey::new(key) }
    }

    //= RFC 6528 section 3: ISN = M + F(localip, localport, remoteip, remoteport, secretkey), M being the
    //= 4 microsecond timer.
    /// ISS of a connection that begins at `now`. Later incarnations of the same flow begin further on,
    /// for as long as the clock takes to wrap (4.7 hours).
    pub fn isn(&self, now: Instant, local: SocketAddrV4, remote: SocketAddrV4) -> SeqNumber {
        let clock = (now.as_nanos() / Self::STEP) as u32;
        SeqNumber::new(self.key.hash_flow(Purpose::Isn, local, remote, 0) as u32) + clock
    }

    //= RFC 7323 section 7.1: a random offset per connection keeps its timestamps from telling the uptime,
    //= or which connections are one host's. Per flow, they still grow from one incarnation to the next.
    /// What a flow adds to [`timestamp_clock`] for its TSval, modulo 2^32.
    pub fn timestamp_offset(&self, local: SocketAddrV4, remote: SocketAddrV4) -> u32 {
        self.key.hash_flow(Purpose::TimestampOffset, local, remote, 0) as u32
    }
}

//= RFC 7323 section 5.4: the timestamp clock ticks every 1 ms to 1 s.
/// The timestamps clock before a flow's offset: milliseconds, modulo 2^32.
pub const fn timestamp_clock(now: Instant) -> u32 {
    (now.as_nanos() / 1_000_000) as u32
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::segment::tests::{DST, SRC};

    #[test]
    fn the_clock_advances_the_numbers_of_a_flow() {
        let isn = IsnGenerator::new([1; 16]);
        let start = Instant::from_millis(123_456);
        let first = isn.isn(start, DST, SRC);
        // After, steps of 4 microseconds.
        for (after, steps) in [(0, 0), (4_000, 1), (1_000_000_000, 250_000), (1 << 44, (1_u64 << 44) / 4000)]
        {
            let later = isn.isn(start + Duration::from_nanos(after), DST, SRC);
            assert_eq!(later.distance_from(first), steps as u32, "{after} ns on");
        }
    }

    #[test]
    fn every_flow_and_key_has_numbers_of_its_own() {
        let at = Instant::ZERO;
        let (isn, other) = (IsnGenerator::new([1; 16]), IsnGenerator::new([2; 16]));
        let port = |n| SocketAddrV4::new(*SRC.ip(), n);
        let mut numbers: Vec<_> = (0..1000).map(|n| isn.isn(at, DST, port(n)).get()).collect();
        numbers.extend((0..1000).map(|n| isn.timestamp_offset(DST, port(n))));
        numbers.extend((0..1000).map(|n| other.isn(at, DST, port(n)).get()));
        numbers.sort_unstable();
        numbers.dedup();
        assert_eq!(numbers.len(), 3000);
        assert_eq!(isn.timestamp_offset(DST, SRC), isn.timestamp_offset(DST, SRC));
    }

    #[test]
    fn timestamps_count_milliseconds() {
        assert_eq!(timestamp_clock(Instant::from_nanos(1_999_999)), 1);
        assert_eq!(timestamp_clock(Instant::from_millis((1 << 32) + 5)), 5);
    }
}
