//! What a connection tells of itself, in the terms of Linux's `tcp_info`.

use std::net::SocketAddrV4;

use super::{Connection, Error, Flags, State};
use crate::config::Config;
use crate::congestion::{Algorithm, CongestionControl};
use crate::pool::Slab;
use crate::recovery;
use crate::sender::{Sender, Sending};

/// A look at one connection.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Info {
    /// Our end.
    pub local: SocketAddrV4,
    /// The peer's end.
    pub remote: SocketAddrV4,
    /// The state.
    pub state: State,
    /// Whether timestamps were agreed on.
    pub timestamps: bool,
    /// Whether selective acknowledgment was agreed on.
    pub sack: bool,
    /// Whether explicit congestion notification was agreed on.
    pub ecn: bool,
    /// Whether window scaling was agreed on.
    pub wscale: bool,
    /// How far the peer's windows, and ours, are shifted.
    pub scales: (u8, u8),
    /// Data of a full segment, in bytes.
    pub mss: u16,
    /// The MSS that the peer announced.
    pub peer_mss: u16,
    /// Data of the largest segment received lately.
    pub rcv_mss: u16,
    /// Smoothed round-trip time, in microseconds; 0 if there is no sample yet.
    pub srtt: u32,
    /// Its variation, in microseconds.
    pub rttvar: u32,
    /// The least round-trip time of late, in microseconds; 0 if there is no sample yet.
    pub min_rtt: u32,
    /// The retransmission timeout, in microseconds.
    pub rto: u32,
    /// Timeouts in a row.
    pub backoffs: u8,
    /// The congestion window, in bytes.
    pub cwnd: u32,
    /// Where slow start ends, in bytes.
    pub ssthresh: u32,
    /// The peer's window, in bytes.
    pub snd_wnd: u32,
    /// The window that we offer, in bytes.
    pub rcv_wnd: u32,
    /// Bytes in flight, as the sender reckons.
    pub in_flight: u32,
    /// Bytes of them that the peer has beyond a gap (RFC 2018).
    pub sacked: u32,
    /// Bytes taken for lost and not sent again yet.
    pub lost: u32,
    /// Whether a loss is being repaired.
    pub in_recovery: bool,
    /// Whether the path was seen to reorder.
    pub reordering: bool,
    /// Bytes given by the application and not acknowledged.
    pub queued: u32,
    /// Bytes given by the application and never sent.
    pub unsent: u32,
    /// Bytes received in order and not yet credited back.
    pub unread: u32,
    /// The peer has sent its FIN, and all before it is here.
    pub peer_closed: bool,
    /// We have nothing more to send: a FIN is sent, or waits behind data.
    pub shut: bool,
    /// Whether small segments are sent at once (no Nagle).
    pub nodelay: bool,
    /// Whether silence is probed.
    pub keepalive: bool,
    /// Bytes that can be given for sending now.
    pub room: u32,
    /// Congestion control.
    pub congestion: Algorithm,
    /// Segments sent again.
    pub retransmitted: u32,
    /// What the network said of the path since data was last acknowledged (RFC 9293 section 3.9.1.8).
    pub soft_error: Option<Error>,
}

impl Connection {
    /// A look at the connection.
    pub(crate) fn info(&self, config: &Config, senders: &Slab<Sender>, limits: &recovery::Limits) -> Info {
        let sender = self.sending.peek(senders);
        let path = match (&self.sending, sender) {
            (Sending::Resting(resting), _) => resting.path.clone(),
            (_, Some(sender)) => sender.recovery.path_memory(),
            _ => recovery::PathMemory::default(),
        };
        let (cwnd, ssthresh) = match (&self.sending, sender) {
            (Sending::Resting(resting), _) => resting.congestion.windows(),
            (_, sender) => sender.map_or((0, 0), |s| (s.congestion.cwnd(), s.congestion.ssthresh())),
        };
        let [srtt, rttvar, min_rtt] = path.round_trips();
        Info {
            local: self.local,
            remote: self.remote,
            state: self.state,
            timestamps: self.flags.has(Flags::TIMESTAMPS),
            sack: self.flags.has(Flags::SACK),
            ecn: self.flags.has(Flags::ECN),
            wscale: self.flags.has(Flags::WINDOW_SCALE),
            scales: (self.snd_scale, self.rcv_scale),
            mss: self.mss,
            peer_mss: self.peer_mss,
            rcv_mss: self.rcv_mss,
            srtt,
            rttvar,
            min_rtt,
            rto: self.sending.rto(senders, limits),
            backoffs: sender.map_or(0, |sender| sender.recovery.timeouts()),
            cwnd,
            ssthresh,
            snd_wnd: self.snd_wnd,
            rcv_wnd: self.receiver.receive_window().window.bytes(),
            in_flight: sender.map_or(0, |sender| sender.recovery.in_flight()),
            sacked: sender.map_or(0, |sender| sender.recovery.sacked()),
            lost: sender.map_or(0, |sender| sender.recovery.lost()),
            in_recovery: sender.is_some_and(|sender| sender.recovery.in_recovery()),
            reordering: sender.is_some_and(|sender| sender.recovery.reordering_seen()),
            queued: self.queued(),
            unsent: self.unsent(),
            unread: self.receiver.used(),
            peer_closed: self.receiver.has_fin(),
            shut: self.flags.has(Flags::FIN_QUEUED),
            nodelay: self.flags.has(Flags::NODELAY),
            keepalive: self.flags.has(Flags::KEEPALIVE),
            room: self.room(config),
            congestion: self.sending.algorithm(senders).unwrap_or(config.congestion),
            retransmitted: path.retransmits,
            soft_error: self.soft_error,
        }
    }
}
