//! Listeners and connections.

use std::net::{Ipv4Addr, SocketAddrV4};

use tcp::connection::State;
use tcp::shard::{self, ConnectError, Error, ListenError};
use wire::{Instant, Payload};

use super::{Bytes, Connection, Listener, Stack};
use crate::errno::{Errno, Result};
use crate::info::Info;
use crate::settings::Settings;

/// What a connection is at the moment.
#[derive(Clone, Copy, Default, Debug)]
pub(crate) struct Status {
    /// In SYN-SENT or SYN-RECEIVED.
    pub(crate) connecting: bool,
    /// In CLOSED or TIME-WAIT: nothing more comes or goes.
    pub(crate) closed: bool,
    /// Bytes to read, in order.
    pub(crate) readable: usize,
    /// The peer's FIN is next after them.
    pub(crate) finished: bool,
    /// Bytes that the send buffer still takes.
    pub(crate) room: usize,
    /// Our own FIN is queued or sent: nothing more can be sent.
    pub(crate) shut: bool,
    /// Bytes queued that the peer has not acknowledged.
    pub(crate) unacknowledged: usize,
    /// Our own FIN has been acknowledged.
    pub(crate) shut_acknowledged: bool,
    /// The error that ended the connection or came for it, not taken yet.
    pub(crate) error: Option<Errno>,
}

impl Stack {
    /// Listens on `local` (port 0: any free one). Connections get `settings`.
    pub(crate) fn listen(
        &mut self,
        local: SocketAddrV4,
        backlog: usize,
        settings: &Settings,
    ) -> Result<Listener> {
        let backlog = backlog as u32;
        let listener = match local.port() {
            0 => EPHEMERAL
                .map(|port| SocketAddrV4::new(*local.ip(), port))
                .find_map(|local| self.tcp.listen(local, backlog).ok()),
            _ => match self.tcp.listen(local, backlog) {
                Err(ListenError::TooMany) => return Err(Errno::NOBUFS),
                listener => listener.ok(),
            },
        };
        let listener = listener.ok_or(Errno::ADDRINUSE)?;
        self.configure_listener(listener, settings);
        Ok(listener)
    }

    /// Changes the bound of the accept queue.
    pub(crate) fn set_backlog(&mut self, listener: Listener, backlog: usize) {
        self.tcp.set_backlog(listener, backlog as u32);
    }

    /// Changes what connections to come get.
    pub(crate) fn configure_listener(&mut self, listener: Listener, settings: &Settings) {
        self.tcp.configure_listener(listener, &translated(settings));
    }

    /// Whether a connection waits to be accepted.
    pub(crate) fn is_acceptable(&self, listener: Listener) -> bool {
        self.tcp.acceptable(listener) > 0
    }

    /// The oldest connection that waits to be accepted, and its peer. It may have ended meanwhile: its
    /// bytes and its error are still there.
    pub(crate) fn accept(&mut self, listener: Listener) -> Option<(Connection, SocketAddrV4)> {
        let connection = self.tcp.accept(listener)?;
        let info = self.tcp.info(connection)?;
        Some((connection, info.remote))
    }

    /// Stops listening. Resets the connections that nobody accepted.
    pub(crate) fn close_listener(&mut self, now: Instant, listener: Listener) {
        self.tcp.close_listener(now, listener);
    }

    /// Sends a SYN. `local` is the whole local address, its address alone (port 0) or nothing.
    pub(crate) fn connect(
        &mut self,
        now: Instant,
        local: Option<SocketAddrV4>,
        remote: SocketAddrV4,
        settings: &Settings,
    ) -> Result<Connection> {
        let mut local = local.unwrap_or(SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, 0));
        if local.ip().is_unspecified() {
            local.set_ip(self.local);
        }
        self.tcp.connect_with(now, local, remote, &translated(settings)).map_err(|error| match error {
            ConnectError::InUse | ConnectError::NoPort => Errno::ADDRNOTAVAIL,
            ConnectError::TooMany => Errno::NOBUFS,
            ConnectError::BadAddress => Errno::NETUNREACH,
        })
    }

    /// What `connection` is at the moment.
    pub(crate) fn status(&self, connection: Connection) -> Status {
        let Some(info) = self.tcp.info(connection) else {
            return Status { closed: true, ..Status::default() };
        };
        let closed = matches!(info.state, State::TimeWait | State::Closed);
        Status {
            connecting: matches!(info.state, State::SynSent | State::SynReceived),
            closed,
            readable: info.unread as usize,
            finished: info.peer_closed,
            room: if closed { 0 } else { info.room as usize },
            shut: info.shut,
            unacknowledged: info.queued as usize,
            shut_acknowledged: info.state == State::FinWait2 || closed,
            error: self.tcp.error(connection).and_then(errno),
        }
    }

    /// Takes the pending error.
    pub(crate) fn take_error(&mut self, connection: Connection) -> Option<Errno> {
        self.tcp.take_error(connection).and_then(errno)
    }

    /// Queues as many of `bytes` as there is room for, and gives how many. `more` holds back what does
    /// not fill a segment, as a cork does, until the next send without it, be it of no bytes.
    pub(crate) fn send(&mut self, now: Instant, connection: Connection, bytes: &[u8], more: bool) -> usize {
        let n = bytes.len().min(self.tcp.room(connection) as usize);
        let taken = self.tcp.send_more(now, connection, Bytes::new(&bytes[..n]), more);
        if taken.is_ok() { n } else { 0 }
    }

    /// Copies bytes to read from `offset` on, and leaves them to be read again.
    pub(crate) fn peek(&self, connection: Connection, offset: usize, out: &mut [u8]) -> usize {
        let (mut skip, mut n) = (offset, 0);
        for bytes in self.tcp.peek(connection) {
            n += bytes.copy_out(skip, &mut out[n..]);
            skip = skip.saturating_sub(bytes.len());
        }
        n
    }

    /// Takes `n` bytes that have been peeked at: they are read, and the window may open.
    pub(crate) fn consume(&mut self, now: Instant, connection: Connection, n: usize) {
        self.tcp.consume(now, connection, n as u32);
    }

    /// Queues a FIN (once).
    pub(crate) fn shut(&mut self, now: Instant, connection: Connection) {
        self.tcp.shutdown(now, connection);
    }

    /// Queues a FIN and gives the connection up: the stack brings it to its end. If bytes were left
    /// unread it is reset instead (RFC 9293 section 3.6.1, RFC 2525 section 2.17).
    pub(crate) fn close(&mut self, now: Instant, connection: Connection) {
        self.tcp.close(now, connection);
    }

    /// Sends a reset, forgets what is queued, and gives the connection up.
    pub(crate) fn abort(&mut self, now: Instant, connection: Connection) {
        self.tcp.abort(now, connection);
    }

    /// Puts changed options into effect.
    pub(crate) fn configure(&mut self, now: Instant, connection: Connection, settings: &Settings) {
        self.tcp.configure(now, connection, &translated(settings));
    }

    /// Sends what is held back.
    pub(crate) fn push(&mut self, now: Instant, connection: Connection) {
        self.tcp.set_nodelay(now, connection, true);
    }

    /// Counters and estimates.
    pub(crate) fn info(&self, connection: Connection) -> Info {
        self.tcp.info(connection).map_or_else(Info::default, |info| reported(&info))
    }
}

/// Ports for those who listen and do not care where.
const EPHEMERAL: std::ops::RangeInclusive<u16> = 32_768..=60_999;

/// What a socket's owner has set, in the stack's terms.
fn translated(settings: &Settings) -> shard::Settings {
    shard::Settings {
        nodelay: settings.nodelay,
        cork: settings.cork,
        keepalive: settings.keepalive,
        keepalive_idle: settings.keepalive_idle,
        keepalive_interval: settings.keepalive_interval,
        keepalive_probes: settings.keepalive_count,
        user_timeout: settings.user_timeout,
        fin_wait2: settings.fin_wait.unwrap_or_default(),
        max_segment: settings.max_segment,
        receive_buffer: settings.receive_buffer,
        send_buffer: settings.send_buffer,
        unsent_low_water: settings.unsent_low_water,
        ttl: settings.ttl,
        tos: settings.tos,
        may_fragment: !settings.dont_fragment,
        congestion: Some(settings.algorithm),
        defer_accept: settings.defer_accept,
    }
}

/// How a socket tells why its connection ended; nothing if its owner did that.
fn errno(error: Error) -> Option<Errno> {
    match error {
        Error::Refused => Some(Errno::CONNREFUSED),
        Error::Reset => Some(Errno::CONNRESET),
        Error::TimedOut => Some(Errno::TIMEDOUT),
        Error::HostUnreachable => Some(Errno::HOSTUNREACH),
        Error::NetUnreachable => Some(Errno::NETUNREACH),
        Error::Aborted => None,
    }
}

/// What `TCP_INFO` tells.
fn reported(info: &shard::Info) -> Info {
    let mss = u32::from(info.mss).max(1);
    let state = match info.state {
        State::Established => 1,
        State::SynSent => 2,
        State::SynReceived => 3,
        State::FinWait1 => 4,
        State::FinWait2 => 5,
        State::TimeWait => 6,
        State::Closed => 7,
        State::CloseWait => 8,
        State::LastAck => 9,
        State::Closing => 11,
    };
    let (send, receive) = info.scales;
    Info {
        state,
        backoff: info.backoffs,
        retransmits: info.backoffs,
        options: u8::from(info.timestamps)
            | u8::from(info.sack) << 1
            | u8::from(send > 0 || receive > 0) << 2
            | u8::from(info.ecn) << 3,
        window_scales: receive << 4 | send,
        rto: info.rto,
        snd_mss: mss,
        unacked: info.in_flight.div_ceil(mss),
        rtt: info.srtt,
        rttvar: info.rttvar,
        snd_ssthresh: info.ssthresh / mss,
        snd_cwnd: info.cwnd / mss,
        rcv_space: info.rcv_wnd,
        total_retrans: info.retransmitted,
        ..Info::default()
    }
}
