//! `[limits]`: one table of bounds. Defaults, ranges, the struct and its documentation come from it.

/// One row of the table.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Limit {
    /// The key in `[limits]`.
    pub name: &'static str,
    /// What holds when the key is absent; `None`: worked out by the [`Plan`](crate::Plan) (`"auto"`).
    pub default: Option<u32>,
    /// The least value accepted.
    pub min: u32,
    /// The greatest value accepted.
    pub max: u32,
    /// What is bounded, in one sentence.
    pub what: &'static str,
}

/// How a field of [`Limits`] takes its value: a plain number always has one, an optional one may be
/// left to the plan.
trait Field {
    fn from_setting(value: Option<u32>, default: Option<u32>) -> Self;
}

impl Field for u32 {
    fn from_setting(value: Option<u32>, default: Option<u32>) -> Self {
        value.or(default).unwrap_or(0)
    }
}

impl Field for Option<u32> {
    fn from_setting(value: Option<u32>, default: Option<u32>) -> Self {
        value.or(default)
    }
}

macro_rules! limits {
    ($(#[$doc:meta])* $table:ident
     $($name:ident: $type:ty = $default:expr, $min:literal..=$max:literal, $what:literal;)*) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, Debug)]
        pub struct $table {
            $(#[doc = $what] pub $name: $type,)*
        }

        impl $table {
            /// Every limit: its key, default, range and meaning.
            pub const TABLE: &[Limit] = &[
                $(Limit { name: stringify!($name), default: $default, min: $min, max: $max, what: $what },)*
            ];

            /// The limits with the values that `read` gives; where it gives none, the default.
            pub(crate) fn from_settings(mut read: impl FnMut(&'static Limit) -> Option<u32>) -> Self {
                let mut rows = Self::TABLE.iter();
                $table {
                    $($name: {
                        let row = rows.next();
                        Field::from_setting(row.and_then(&mut read), row.and_then(|row| row.default))
                    },)*
                }
            }
        }

        impl Default for $table {
            fn default() -> Self {
                Self::from_settings(|_| None)
            }
        }
    };
}

limits! {
    /// Bounds of everything that could grow. Set at start, never exceeded.
    Limits
    routes: u32 = Some(1_200_000), 16..=16_000_000, "Routes in the table, connected networks included.";
    adjacencies: u32 = Some(16_384), 16..=1_000_000, "Adjacencies: next hops with a precomputed rewrite.";
    neighbours: u32 = Some(8_192), 16..=1_000_000, "Neighbours (ARP entries) of all interfaces together.";
    hold_packets: u32 = Some(1_024), 1..=65_536, "Packets of one worker that wait for a neighbour's answer.";
    hold_per_neighbour: u32 = Some(64), 1..=4_096, "Packets of one worker that wait for the same neighbour.";
    reassembly_datagrams: u32 = Some(256), 1..=65_536, "Datagrams that one worker reassembles at once.";
    reassembly_bytes: u32 = Some(4_194_304), 65_535..=1_073_741_824, "Bytes of fragments that one worker keeps for reassembly.";
    icmp_errors_per_second: u32 = Some(1_000), 1..=1_000_000, "ICMP errors that one worker sends a second.";
    icmp_errors_burst: u32 = Some(100), 1..=1_000_000, "ICMP errors that one worker may send at once after a silence.";
    ring_packets: u32 = Some(1_024), 64..=65_536, "Packets in the ring by which one worker hands over to another.";
    tcp_connections: u32 = Some(16_384), 1..=4_000_000, "TCP connections of one worker.";
    tcp_half_open: u32 = Some(4_096), 1..=4_000_000, "Half-open TCP connections of one worker; past it, SYN cookies.";
    tcp_time_wait: u32 = Some(16_384), 1..=4_000_000, "TCP connections of one worker in TIME-WAIT; past it, the oldest is forgotten.";
    tcp_payloads: u32 = Some(8_192), 64..=4_000_000, "Payloads that one worker's TCP holds: received and not read; and as many sent and not acknowledged.";
    tcp_user_timeout_seconds: u32 = Some(924), 1..=86_400, "Seconds in which a peer acknowledges nothing of what it is sent; past it, the connection is given up.";
    tcp_keepalive_seconds: u32 = Some(7_200), 1..=65_535, "Seconds of silence after which the echo servers ask whether the peer is still there.";
    udp_sockets: u32 = Some(64), 1..=65_536, "UDP sockets of one worker.";
    udp_datagrams: u32 = Some(1_024), 1..=65_536, "Datagrams of one worker that wait in its UDP sockets; and as many to be sent.";
    tasks: u32 = Some(32_768), 1..=262_144, "Tasks of one worker's asynchronous programs, each; and as many timers that they wait for.";
    mbufs: Option<u32> = None, 1_024..=67_108_863, "Packet buffers of the pool; by default as many as the plan counts.";
}

limits! {
    /// Bounds and timeouts of one HTTP server.
    HttpLimits
    target_bytes: u32 = Some(4_096), 64..=65_536, "Bytes of a request target; past it, 414.";
    head_bytes: u32 = Some(16_384), 256..=65_536, "Bytes of a request's head; past it, 431.";
    body_bytes: u32 = Some(1_048_576), 0..=4_294_967_295, "Bytes of a request's body; past it, 413.";
    partial_heads: u32 = Some(1_024), 1..=65_536, "Heads of one worker that have come in part; past it, 503.";
    head_seconds: u32 = Some(15), 1..=3_600, "Seconds for a request's head to come whole; past it, 408.";
    body_seconds: u32 = Some(60), 1..=3_600, "Seconds for a request's body to come whole; past it, 408.";
    idle_seconds: u32 = Some(60), 1..=86_400, "Seconds that a connection may wait for its next request.";
    stall_seconds: u32 = Some(30), 1..=3_600, "Seconds in which a client that is sent something takes nothing of it; past it, a reset.";
    linger_seconds: u32 = Some(5), 1..=3_600, "Seconds that a client has to close after we have.";
    files: u32 = Some(65_536), 1..=16_000_000, "Files below the root.";
    memory_mb: u32 = Some(1_024), 1..=1_048_576, "Mebibytes of all files and pages together.";
}

impl Limits {
    /// Groups of the route table's second level, one for each /24 that holds longer routes. Each neighbour
    /// may need one, and of a full Internet table's routes few are longer than /24.
    pub fn route_groups(&self) -> usize {
        self.neighbours as usize + self.routes as usize / 64 + 64
    }

    /// Fragments of all datagrams that one worker reassembles: full Ethernet frames, and half as many again.
    pub fn reassembly_fragments(&self) -> usize {
        self.reassembly_bytes as usize / 1024
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn defaults_are_in_range_and_agree() {
        for row in Limits::TABLE.iter().chain(HttpLimits::TABLE) {
            let default = row.default.unwrap_or(row.min);
            assert!((row.min..=row.max).contains(&default), "{}", row.name);
        }
        let limits = Limits::default();
        assert!(limits.hold_per_neighbour <= limits.hold_packets);
        assert!(limits.reassembly_fragments() >= 45, "one datagram of 64 KiB in Ethernet frames");
    }
}
