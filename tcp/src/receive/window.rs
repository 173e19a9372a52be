//! The window to advertise.

use super::{Limits, Receiver};
use crate::UnscaledWindow;

impl Receiver {
    /// The window field of the segment that is being sent. `mss` is that of the segments that the peer
    /// sends.
    pub fn window(&mut self, limits: &Limits, mss: u16) -> UnscaledWindow {
        let window = match self.opened(limits, mss) {
            Some(window) => window,
            //= RFC 9293 section 3.8.6: do not shrink the window (SHLD-14).
            // Rounded up, since RCV.NXT has moved by any number of bytes: what comes past the buffer for
            // it finds no room.
            None => self.granted().next_multiple_of(1 << self.scale),
        };
        let field = (window >> self.scale).min(0xffff);
        let edge = self.next + (field << self.scale);
        if edge.after(self.edge) {
            self.edge = edge;
        }
        UnscaledWindow(field as u16)
    }

    /// Whether the peer should be told at once of a window that release has opened: it was shut, or is
    /// twice as wide as the peer knows. Less than that travels with the ACKs of the data that the peer
    /// may still send.
    pub fn should_update_window(&self, limits: &Limits, mss: u16) -> bool {
        self.opened(limits, mss).is_some_and(|window| window / 2 >= self.granted())
    }

    /// RCV.WND: what the peer may still send.
    const fn granted(&self) -> u32 {
        self.edge.distance_from(self.next)
    }

    /// The new window, if its right edge may move.
    fn opened(&self, limits: &Limits, mss: u16) -> Option<u32> {
        let pinned = self.pinned() * u64::from(limits.payload_charge);
        let taken = u64::from(self.used).max(pinned);
        let free = u64::from(self.limit).saturating_sub(taken) as u32;
        let window = (free >> self.scale).min(0xffff) << self.scale;
        //= RFC 9293 section 3.8.6.2.2: the right edge moves by the lesser of half the buffer and a segment
        //= at least (MUST-39).
        let step = (self.limit / 2).min(u32::from(mss)).max(1);
        (window >= self.granted() + step).then_some(window)
    }
}
