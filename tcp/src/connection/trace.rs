//! What is noted of a connection for operators.

use wire::TcpFlags;

use super::{Connection, Cx};
use crate::congestion::CongestionControl;
use crate::packet::SegmentOut;
use crate::trace::{Event, Trace, What};
use crate::{Segment, SeqNumber};

impl Connection {
    /// A segment arrived, and was handled.
    #[inline]
    pub(crate) fn note_received<B>(&mut self, cx: &mut Cx<'_, B>, segment: &Segment) {
        let event = Event {
            at: cx.now,
            seq: segment.seq,
            ack: segment.ack.unwrap_or(SeqNumber::ZERO),
            window: segment.window.0,
            len: segment.payload_len as u16,
            what: What::Received,
            flags: segment.flags,
            owner: self.owner(),
            ..Event::default()
        };
        cx.trace.note(&mut self.last_event, event);
    }

    /// A segment with so many bytes of data was sent.
    #[inline]
    pub(super) fn note_sent<B>(&mut self, cx: &mut Cx<'_, B>, segment: &SegmentOut, len: u32) {
        let ack = if segment.ack.is_some() { TcpFlags::ACK } else { TcpFlags::default() };
        let event = Event {
            at: cx.now,
            seq: segment.seq,
            ack: segment.ack.unwrap_or(SeqNumber::ZERO),
            window: segment.window.0,
            cwnd: self.congestion_window(cx),
            len: len as u16,
            what: What::Sent,
            flags: segment.flags | ack,
            owner: self.owner(),
            ..Event::default()
        };
        cx.trace.note(&mut self.last_event, event);
    }

    /// Something else happened.
    pub(super) fn note<B>(&mut self, cx: &mut Cx<'_, B>, what: What) {
        let event = Event {
            at: cx.now,
            seq: self.snd_nxt,
            ack: self.receiver.next(),
            window: (self.snd_wnd >> self.snd_scale).min(0xffff) as u16,
            cwnd: self.congestion_window(cx),
            what,
            owner: self.owner(),
            ..Event::default()
        };
        cx.trace.note(&mut self.last_event, event);
    }

    /// What is left of its events, newest first.
    pub(crate) fn events<'a>(&self, trace: &'a Trace) -> impl Iterator<Item = &'a Event> {
        trace.of(self.owner(), self.last_event)
    }

    /// A number that few others have.
    const fn owner(&self) -> u16 {
        self.remote.port() ^ self.ts_offset as u16
    }

    fn congestion_window<B>(&self, cx: &Cx<'_, B>) -> u32 {
        self.sending.peek(cx.senders).map_or(0, |sender| sender.congestion.cwnd())
    }
}
