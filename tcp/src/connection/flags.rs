//! What is on or off about a connection.

/// A set of bits.
#[derive(Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Flags(u32);

impl Flags {
    /// Timestamps were agreed on.
    pub(crate) const TIMESTAMPS: Flags = Flags(1 << 0);
    /// Selective acknowledgment was agreed on.
    pub(crate) const SACK: Flags = Flags(1 << 1);
    /// Explicit congestion notification was agreed on.
    pub(crate) const ECN: Flags = Flags(1 << 2);
    /// The application has closed its side: a FIN follows the data.
    pub(crate) const FIN_QUEUED: Flags = Flags(1 << 3);
    /// The FIN was sent.
    pub(crate) const FIN_SENT: Flags = Flags(1 << 4);
    /// The application sends small segments at once (no Nagle).
    pub(crate) const NODELAY: Flags = Flags(1 << 5);
    /// The application holds small segments back.
    pub(crate) const CORK: Flags = Flags(1 << 6);
    /// Keepalive is on.
    pub(crate) const KEEPALIVE: Flags = Flags(1 << 7);
    /// An ACK is due at the end of the burst.
    pub(crate) const ACK_NOW: Flags = Flags(1 << 8);
    /// Data arrived since the last ACK was sent.
    pub(crate) const ACK_PENDING: Flags = Flags(1 << 9);
    /// A congestion mark arrived; ECE goes out until the peer says CWR.
    pub(crate) const ECE: Flags = Flags(1 << 10);
    /// The window was reduced; the next new data says so.
    pub(crate) const CWR: Flags = Flags(1 << 11);
    /// The application has given the connection up: it ends by itself.
    pub(crate) const DETACHED: Flags = Flags(1 << 12);
    /// The application found the send queue full, and wants to be told.
    pub(crate) const WANTS_ROOM: Flags = Flags(1 << 13);
    /// A byte past a closed window was sent to probe it.
    pub(crate) const WINDOW_PROBED: Flags = Flags(1 << 14);
    /// A segment goes out whatever the congestion window says: a tail loss probe.
    pub(crate) const PROBE: Flags = Flags(1 << 15);
    /// The window is small, and waiting has not helped: what fits is sent.
    pub(crate) const OVERRIDE: Flags = Flags(1 << 16);
    /// The SYN goes out again: with an ACK, SYNs having crossed, or after the reset of what it met.
    pub(crate) const RESEND_SYN: Flags = Flags(1 << 17);
    /// The window is probed at the next chance.
    pub(crate) const PROBE_WINDOW: Flags = Flags(1 << 18);
    /// The peer's liveness is probed at the next chance.
    pub(crate) const PROBE_PEER: Flags = Flags(1 << 19);
    /// Any of the three probes.
    pub(crate) const PROBES: Flags = Self::PROBE.and(Self::PROBE_WINDOW).and(Self::PROBE_PEER);
    /// A reset goes out, and then the connection is gone.
    pub(crate) const RESET: Flags = Flags(1 << 20);
    /// It waits its turn to transmit.
    pub(crate) const READY: Flags = Flags(1 << 21);
    /// It has events that the application has not taken.
    pub(crate) const NEWS: Flags = Flags(1 << 22);
    /// Our SYN asks for congestion notification.
    pub(crate) const ECN_ASKED: Flags = Flags(1 << 23);
    /// The application has not accepted it yet.
    pub(crate) const UNACCEPTED: Flags = Flags(1 << 24);
    /// The congestion window was what stopped the last output.
    pub(crate) const CWND_LIMITED: Flags = Flags(1 << 26);
    /// Window scaling was agreed on.
    pub(crate) const WINDOW_SCALE: Flags = Flags(1 << 27);
    /// The last bare ACK was numbered by the edge of the peer's window.
    pub(crate) const EDGE_TRIED: Flags = Flags(1 << 31);
    /// It is over, and its flow is free for another.
    pub(crate) const RETIRED: Flags = Flags(1 << 25);
    /// There was no room in the shard for what the application gave; it waits for some.
    pub(crate) const STARVED: Flags = Flags(1 << 28);

    /// The application said with the last bytes that more will follow: no PSH.
    pub(crate) const MORE: Flags = Flags(1 << 29);
    /// And nothing has happened since: what fills no segment waits.
    pub(crate) const HELD: Flags = Flags(1 << 30);

    /// Whether all of `flags` are on.
    #[inline]
    pub(crate) const fn has(self, flags: Flags) -> bool {
        self.0 & flags.0 == flags.0
    }

    /// Whether any of `flags` is on.
    #[inline]
    pub(crate) const fn any(self, flags: Flags) -> bool {
        self.0 & flags.0 != 0
    }

    /// Turns `flags` on.
    #[inline]
    pub(crate) const fn set(&mut self, flags: Flags) {
        self.0 |= flags.0;
    }

    /// Turns `flags` off.
    #[inline]
    pub(crate) const fn clear(&mut self, flags: Flags) {
        self.0 &= !flags.0;
    }

    /// Turns `flags` on or off.
    #[inline]
    pub(crate) const fn put(&mut self, flags: Flags, on: bool) {
        if on { self.set(flags) } else { self.clear(flags) }
    }

    /// Turns `flags` off, and gives whether they were on.
    #[inline]
    pub(crate) const fn take(&mut self, flags: Flags) -> bool {
        let had = self.has(flags);
        self.clear(flags);
        had
    }

    /// Both sets.
    pub(crate) const fn and(self, other: Flags) -> Flags {
        Flags(self.0 | other.0)
    }
}

impl std::fmt::Debug for Flags {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:#x}", self.0)
    }
}
