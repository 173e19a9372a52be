//! What is said over the control socket: one JSON value a line, a request and then its reply.

mod port;

use std::net::SocketAddrV4;

use l2l3::cycles::{CycleCounters, LoopStage};
use serde::{Deserialize, Serialize};

pub use port::{PortRequest, PortState};

/// A request.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(tag = "show", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Request {
    /// The ports: driver, link, counters.
    Ports,
    /// The routes, of which there may be a million: those that cover an address, or the first so many.
    Routes {
        /// Only the route that this address takes.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        address: Option<std::net::Ipv4Addr>,
        /// At most so many.
        limit: usize,
    },
    /// The neighbours.
    Neighbours,
    /// What was dropped, and why.
    Drops,
    /// The workers: how they spend their time, and their books.
    Workers,
    /// Where the workers' cycles go, by stage of their loop.
    Cycles,
    /// TCP connections, of which there may be millions: a page of them.
    Connections {
        /// At most so many, and no more than [`ConnectionsReport::PAGE`].
        limit: usize,
        /// Where the page before ended; `None` begins.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        after: Option<Place>,
    },
    /// One TCP connection, with the last things that happened to it.
    Connection {
        /// Our end.
        local: SocketAddrV4,
        /// The peer's end.
        remote: SocketAddrV4,
    },
    /// TCP listeners, of each worker.
    Listeners,
    /// What TCP has and has counted.
    Tcp,
    /// What HTTP servers have counted.
    Http,
}

/// A reply.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Reply {
    /// To [`Request::Ports`].
    Ports(Vec<PortReport>),
    /// To [`Request::Routes`].
    Routes(RouteReport),
    /// To [`Request::Neighbours`].
    Neighbours(Vec<NeighbourReport>),
    /// To [`Request::Drops`].
    Drops(Vec<DropReport>),
    /// To [`Request::Workers`].
    Workers(Vec<WorkerReport>),
    /// To [`Request::Cycles`].
    Cycles(Vec<CyclesReport>),
    /// To [`Request::Connections`].
    Connections(ConnectionsReport),
    /// To [`Request::Connection`].
    Connection(Box<ConnectionDetail>),
    /// To [`Request::Listeners`].
    Listeners(Vec<ListenerReport>),
    /// To [`Request::Tcp`].
    Tcp(Vec<TcpReport>),
    /// To [`Request::Http`].
    Http(Vec<HttpReport>),
    /// To a [`PortRequest`]: it is done; one sentence.
    Done(String),
    /// The request was not understood, or refused; one sentence.
    Error(String),
}

/// What a device says of itself.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct PortStatus {
    /// The driver's name.
    pub driver: String,
    /// Whether the link is up.
    pub link_up: bool,
    /// Megabits a second; `None` if not known.
    pub speed_mbps: Option<u32>,
    /// Offloads in use.
    pub offloads: Vec<String>,
    /// Frames received, as the device counts.
    pub rx_packets: u64,
    /// Bytes received.
    pub rx_bytes: u64,
    /// Frames that the device dropped because nobody took them in time.
    pub rx_missed: u64,
    /// Frames received with errors.
    pub rx_errors: u64,
    /// Frames for which there was no mbuf.
    pub rx_nombuf: u64,
    /// Packet buffers that it receives into; ports may share them.
    pub buffers: u64,
    /// How many of these are not free: in receive queues, under way, held.
    pub buffers_in_use: u64,
    /// Frames sent, as the device counts.
    pub tx_packets: u64,
    /// Bytes sent.
    pub tx_bytes: u64,
    /// Frames that could not be sent.
    pub tx_errors: u64,
    /// The device's extended statistics that are not zero.
    pub extended: Vec<(String, u64)>,
}

/// One port.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct PortReport {
    /// Its name in the configuration.
    pub name: String,
    /// DPDK devargs.
    pub device: String,
    /// Our Ethernet address.
    pub mac: String,
    /// Its interfaces' addresses, as `name address/len`.
    pub addresses: Vec<String>,
    /// The largest IPv4 packet, bytes.
    pub mtu: u16,
    /// Receive queues.
    pub rx_queues: u16,
    /// Transmit queues.
    pub tx_queues: u16,
    /// Frames the workers received.
    pub rx: u64,
    /// Frames the workers sent.
    pub tx: u64,
    /// Whether it has a device.
    pub state: PortState,
    /// How often its device was opened again, by a request or because its peer was away.
    pub reopened: u64,
    /// What the device says.
    pub status: PortStatus,
}

/// The routes that were asked for.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct RouteReport {
    /// How many routes there are in all.
    pub total: usize,
    /// Those asked for.
    pub routes: Vec<Route>,
}

/// One route.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Route {
    /// The destinations.
    pub prefix: String,
    /// `connected`, `via`, `local`, `blackhole`, `unreachable`, ...
    pub kind: String,
    /// The gateways, with their interfaces.
    pub via: Vec<String>,
}

/// One neighbour.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct NeighbourReport {
    /// The interface it is reached by.
    pub interface: String,
    /// Its IPv4 address.
    pub address: String,
    /// Its Ethernet address, if known.
    pub mac: Option<String>,
    /// The state of its entry.
    pub state: String,
    /// Seconds since it was last heard of, or, if it never was, since it was first asked for or set.
    pub age_seconds: f64,
}

/// One drop reason.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct DropReport {
    /// The stable name.
    pub reason: String,
    /// The stage that drops.
    pub stage: String,
    /// `expected`, `error` or `overload`.
    pub severity: String,
    /// Frames, all workers together.
    pub count: u64,
    /// Frames, by worker.
    pub by_worker: Vec<u64>,
    /// What it means.
    pub text: String,
}

/// One worker.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct WorkerReport {
    /// The core it runs on.
    pub core: u16,
    /// Instructions of the straight path.
    pub isa: String,
    /// Loops run.
    pub loops: u64,
    /// Share of loops that found nothing, 0 to 1.
    pub idle_share: f64,
    /// Nanoseconds a received frame took, in loops that found something; 0 if none was received.
    pub nanos_per_frame: f64,
    /// Where its frames came from and went.
    pub books: BooksReport,
    /// Whether the books balance; they may be a few frames off while frames are on their way.
    pub balanced: bool,
    /// Events for the control thread that were lost.
    pub events_lost: u64,
}

/// Where a worker's cycles went, in those of its loops that were measured.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct CyclesReport {
    /// The core it runs on.
    pub core: u16,
    /// Loops that were measured.
    pub loops: u64,
    /// Those of them that found something to do.
    pub busy_loops: u64,
    /// Frames received in them, from devices and other workers.
    pub received: u64,
    /// Every stage, in the order of a packet's life.
    pub stages: Vec<StageReport>,
}

/// One stage of a worker's loop; see [`l2l3::cycles`].
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct StageReport {
    /// The stable name.
    pub stage: String,
    /// Ticks of the time stamp counter.
    pub cycles: u64,
    /// What it means.
    pub text: String,
}

impl StageReport {
    pub(crate) fn new(stage: LoopStage, counters: &CycleCounters) -> Self {
        StageReport { stage: stage.name().into(), cycles: counters.ticks(stage), text: stage.text().into() }
    }
}

/// A place among all connections.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Place {
    /// The worker's number.
    pub worker: usize,
    /// The slot in its table.
    pub slot: u32,
}

/// A page of TCP connections.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct ConnectionsReport {
    /// How many there are in all.
    pub total: u64,
    /// Those of this page.
    pub connections: Vec<ConnectionReport>,
    /// Where the next page begins; `None`: that was all.
    pub next: Option<Place>,
}

impl ConnectionsReport {
    /// Connections of a page, at most.
    pub const PAGE: usize = 1024;
}

/// One TCP connection, with all that it tells of itself; the names are those of Linux's `tcp_info` where it has
/// the same.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct ConnectionDetail {
    /// What the table of connections has, too.
    #[serde(flatten)]
    pub report: ConnectionReport,
    /// Options that were agreed on, of `timestamps`, `sack`, `ecn`, `wscale`.
    pub options: Vec<String>,
    /// How far the peer's windows are shifted.
    pub snd_wscale: u8,
    /// How far our windows are shifted.
    pub rcv_wscale: u8,
    /// The MSS that the peer announced.
    pub peer_mss: u16,
    /// Data of the largest segment received lately.
    pub rcv_mss: u16,
    /// The variation of the round-trip time.
    pub rttvar_micros: u32,
    /// The least round-trip time of late; 0 if there is no sample yet.
    pub min_rtt_micros: u32,
    /// Timeouts in a row.
    pub backoff: u8,
    /// The congestion control.
    pub congestion: String,
    /// Where slow start ends, bytes.
    pub ssthresh: u32,
    /// Bytes in flight that the peer has beyond a gap.
    pub sacked: u32,
    /// Bytes taken for lost and not sent again yet.
    pub lost: u32,
    /// Whether a loss is being repaired.
    pub in_recovery: bool,
    /// Whether the path was seen to reorder.
    pub reordering: bool,
    /// Bytes given by the program and never sent.
    pub notsent: u32,
    /// Bytes that the program can give now.
    pub room: u32,
    /// Whether the peer has sent its FIN, and all before it is here.
    pub peer_closed: bool,
    /// Whether our FIN is sent, or waits behind data.
    pub shut: bool,
    /// Whether small segments are sent at once (no Nagle).
    pub nodelay: bool,
    /// Whether silence is probed.
    pub keepalive: bool,
    /// What the network said of the path since data was last acknowledged.
    pub soft_error: Option<String>,
    /// The last things that happened to it, oldest first.
    pub events: Vec<EventReport>,
}

/// Something that happened to a connection.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct EventReport {
    /// How long ago, in nanoseconds.
    pub nanos_ago: u64,
    /// What: `received`, `sent`, or the name of a timer.
    pub what: String,
    /// The sequence number; SND.NXT if it is no segment.
    pub seq: u32,
    /// The acknowledgment number; RCV.NXT if it is no segment.
    pub ack: u32,
    /// Bytes of data.
    pub len: u16,
    /// The header's flags, as a number; 0 if it is no segment.
    pub flags: u8,
    /// The window, as the header has it; the peer's, if it is no segment.
    pub window: u16,
    /// The congestion window, bytes; 0 if it was not looked at.
    pub cwnd: u32,
}

/// One TCP connection.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct ConnectionReport {
    /// The core of the worker that owns it.
    pub core: u16,
    /// Our end.
    pub local: String,
    /// The peer's end.
    pub remote: String,
    /// The state, as RFC 9293 names it.
    pub state: String,
    /// Data of a full segment, bytes.
    pub mss: u16,
    /// Smoothed round-trip time; 0 if there is no sample yet.
    pub srtt_micros: u32,
    /// The retransmission timeout.
    pub rto_micros: u32,
    /// The congestion window, bytes.
    pub cwnd: u32,
    /// The peer's window, bytes.
    pub send_window: u32,
    /// Our window, bytes.
    pub receive_window: u32,
    /// Bytes in flight.
    pub in_flight: u32,
    /// Bytes given by the program and not acknowledged.
    pub queued: u32,
    /// Bytes received and not yet done with by the program.
    pub unread: u32,
    /// Segments sent again.
    pub retransmitted: u32,
}

/// One listener of one worker.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct ListenerReport {
    /// The worker's core.
    pub core: u16,
    /// Where it listens.
    pub address: String,
    /// Connections that may wait to be taken.
    pub backlog: u32,
    /// Connections that wait.
    pub waiting: u32,
}

/// One of TCP's counters or gauges; a few tenths of a second old.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct TcpReport {
    /// The stable name.
    pub name: String,
    /// All workers together.
    pub value: u64,
    /// By worker.
    pub by_worker: Vec<u64>,
    /// What it means.
    pub text: String,
}

/// One counter of one HTTP server.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct HttpReport {
    /// Where the server listens.
    pub server: String,
    /// The stable name.
    pub name: String,
    /// All workers together.
    pub value: u64,
    /// By worker.
    pub by_worker: Vec<u64>,
    /// What it means.
    pub text: String,
}

/// See [`l2l3::router::Books`].
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[expect(missing_docs, reason = "named as in `l2l3::router::Books`")]
pub struct BooksReport {
    pub rx: u64,
    pub originated: u64,
    pub handed_in: u64,
    pub tx: u64,
    pub dropped: u64,
    pub consumed: u64,
    pub held: u64,
    pub handed_out: u64,
}

impl From<l2l3::router::Books> for BooksReport {
    fn from(books: l2l3::router::Books) -> Self {
        let l2l3::router::Books { rx, originated, handed_in, tx, dropped, consumed, held, handed_out } =
            books;
        BooksReport { rx, originated, handed_in, tx, dropped, consumed, held, handed_out }
    }
}
