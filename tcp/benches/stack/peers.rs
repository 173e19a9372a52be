//! The peers of the stack under test, played: each is a few numbers.

use std::net::{Ipv4Addr, SocketAddrV4};
use std::sync::Arc;
use std::time::Duration;

use wire::{Instant, IntoBytes, Ipv4Header, Ipv4View, TcpFlags, TcpHeader, TcpView, U16, U32};

use tcp::{Options, Timestamps};

pub(crate) const SERVER: SocketAddrV4 = SocketAddrV4::new(Ipv4Addr::new(192, 0, 2, 1), 80);
/// Packets of a burst.
const BURST: usize = 32;
/// Bytes of a request, and of its answer.
pub(crate) const REQUEST: usize = 64;
/// Data of a segment that a peer sends.
const SEGMENT: usize = 1448;
/// Segments that a peer's window holds.
const WINDOW: u32 = 16;

/// What the application and the peers do.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Load {
    Request,
    Send,
    Receive,
}

/// A frame that came in: shared by whoever reads it, and free again when nobody does.
#[derive(Clone)]
pub(crate) struct Frame {
    pub(crate) memory: Arc<[u8; 1536]>,
    pub(crate) len: usize,
}

/// A packet that went out: its headers, and how much data followed.
pub(crate) struct Sent {
    pub(crate) headers: [u8; 80],
    pub(crate) headers_len: usize,
    pub(crate) len: usize,
}

/// A stack under test. Its listener has the address [`SERVER`].
pub(crate) trait Stack {
    /// A round: takes `frames`, lets the application do its part on `active` connections, counted in the
    /// order in which they were opened, and appends what it sends.
    fn round(
        &mut self,
        now: Instant,
        frames: &mut Vec<Frame>,
        active: &[u32],
        load: Load,
        out: &mut Vec<Sent>,
    );
    /// The same, when nobody has been accepted yet.
    fn accept(&mut self, now: Instant, frames: &mut Vec<Frame>, out: &mut Vec<Sent>);
}

#[derive(Clone, Copy, Default)]
struct Peer {
    seq: u32,
    ack: u32,
    echo: u32,
    timestamps: bool,
    /// Segments that it has not acknowledged.
    unacked: u32,
}

pub(crate) struct Peers {
    load: Load,
    all: Vec<Peer>,
    active: u32,
    next: u32,
    now: Instant,
    ring: Vec<Frame>,
    frames: Vec<Frame>,
    chosen: Vec<u32>,
    out: Vec<Sent>,
    /// By each round of a run.
    took: Vec<Duration>,
}

/// The address of peer `n`.
fn address(n: u32) -> SocketAddrV4 {
    SocketAddrV4::new(Ipv4Addr::from_bits(0x0a00_0000 + n / 4096), 1024 + (n % 4096) as u16)
}

fn number(address: SocketAddrV4) -> u32 {
    (address.ip().to_bits() - 0x0a00_0000) * 4096 + u32::from(address.port() - 1024)
}

impl Peers {
    pub(crate) fn new(open: u32, load: Load) -> Self {
        let frame = || Frame { memory: Arc::new([0; 1536]), len: 0 };
        Peers {
            load,
            all: vec![Peer { seq: 1000, ..Peer::default() }; open as usize],
            active: open,
            next: 0,
            now: Instant::from_millis(1000),
            ring: (0..8 * BURST).map(|_| frame()).collect(),
            frames: Vec::new(),
            chosen: Vec::new(),
            out: Vec::new(),
            took: Vec::new(),
        }
    }

    /// Only the first `active` do anything from now on.
    pub(crate) fn activate(&mut self, active: u32) {
        (self.active, self.next) = (active, 0);
    }

    /// All connect.
    pub(crate) fn open(&mut self, stack: &mut impl Stack) {
        for first in (0..self.all.len() as u32).step_by(BURST) {
            let burst = first..(first + BURST as u32).min(self.all.len() as u32);
            burst.clone().for_each(|n| self.push(n, TcpFlags::SYN, 0));
            stack.accept(self.now, &mut self.frames, &mut self.out);
            self.take();
            self.now = self.now + Duration::from_millis(5);
            burst.for_each(|n| self.push(n, TcpFlags::ACK, 0));
            stack.accept(self.now, &mut self.frames, &mut self.out);
            self.take();
        }
    }

    /// Until `elements` were served; gives the time that the stack takes for that many, by the median of
    /// the rounds: what else the machine did meanwhile does not count.
    pub(crate) fn run(&mut self, stack: &mut impl Stack, elements: u64) -> Duration {
        let mut done = 0;
        self.took.clear();
        while done < elements {
            let sent = self.prepare();
            self.now = self.now + Duration::from_micros(1);
            let start = std::time::Instant::now();
            stack.round(self.now, &mut self.frames, &self.chosen, self.load, &mut self.out);
            self.took.push(start.elapsed());
            let received = self.take();
            done += match self.load {
                Load::Request | Load::Receive => sent,
                Load::Send => received,
            };
        }
        let middle = self.took.len() / 2;
        let (_, median, _) = self.took.select_nth_unstable(middle);
        (*median * self.took.len() as u32).mul_f64(elements as f64 / done as f64)
    }

    /// Makes a burst; gives how many segments have data.
    fn prepare(&mut self) -> u64 {
        self.chosen.clear();
        let each = if self.load == Load::Request { 1 } else { 8 };
        let connections = (BURST / each).min(self.active as usize);
        for _ in 0..connections {
            let n = self.next;
            // A stride without pattern, and prime to any number of connections here.
            self.next = ((u64::from(n) + 7_919) % u64::from(self.active)) as u32;
            self.chosen.push(n);
        }
        for at in 0..connections {
            let n = self.chosen[at];
            match self.load {
                Load::Request => self.push(n, TcpFlags::ACK | TcpFlags::PSH, REQUEST),
                Load::Receive => (0..each).for_each(|_| self.push(n, TcpFlags::ACK, SEGMENT)),
                Load::Send => self.acknowledge(n),
            }
        }
        if self.load == Load::Send { 0 } else { self.frames.len() as u64 }
    }

    /// An ACK for every second segment.
    fn acknowledge(&mut self, n: u32) {
        let Peer { unacked, ack, .. } = self.all[n as usize];
        // What a segment held is not kept: all but the last ACK are of the same length.
        for back in (0..unacked).step_by(2).rev() {
            self.all[n as usize].ack = ack.wrapping_sub(back * SEGMENT as u32);
            self.push(n, TcpFlags::ACK, 0);
        }
        self.all[n as usize].unacked = 0;
    }

    /// Makes a segment of peer `n`.
    fn push(&mut self, n: u32, flags: TcpFlags, data: usize) {
        let peer = &mut self.all[n as usize];
        let syn = flags.contains(TcpFlags::SYN);
        let millis = (self.now.as_nanos() / 1_000_000) as u32;
        let timestamps = Timestamps { value: millis, echo: peer.echo };
        let options = Options {
            mss: syn.then_some(1460),
            window_scale: syn.then_some(0),
            sack_permitted: syn,
            timestamps: (syn || peer.timestamps).then_some(timestamps),
            ..Options::default()
        };
        let mut option_bytes = [0; Options::MAX_LEN];
        let options_len = options.write(&mut option_bytes);
        let from = address(n);
        let mut tcp = TcpHeader {
            src_port: U16::new(from.port()),
            dst_port: U16::new(SERVER.port()),
            seq: U32::new(peer.seq),
            ack: U32::new(peer.ack),
            flags,
            window: U16::new((WINDOW * 1460) as u16),
            ..TcpHeader::default()
        };
        tcp.set_header_len(TcpHeader::LEN + options_len);
        let len = TcpHeader::LEN + options_len + data;
        let mut ip = Ipv4Header::new(*from.ip(), *SERVER.ip(), 6, len);
        ip.fill_checksum();
        peer.seq = peer.seq.wrapping_add(data as u32 + u32::from(syn));
        let frame = self.ring.iter_mut().find(|frame| Arc::strong_count(&frame.memory) == 1);
        let frame = frame.expect("the stack gives frames back");
        frame.len = 20 + len;
        let bytes = Arc::get_mut(&mut frame.memory).expect("nobody else has it");
        bytes[..20].copy_from_slice(ip.as_bytes());
        bytes[20..40].copy_from_slice(tcp.as_bytes());
        bytes[40..40 + options_len].copy_from_slice(&option_bytes[..options_len]);
        self.frames.push(frame.clone());
    }

    /// Takes what the stack sent; gives how many segments had data.
    fn take(&mut self) -> u64 {
        let mut with_data = 0;
        for Sent { headers, headers_len, len } in self.out.drain(..) {
            let ip = Ipv4View::parse(&headers[..headers_len], headers_len + len).expect("a packet");
            let view = TcpView::parse(&headers[20..headers_len]).expect("a segment");
            let n = number(SocketAddrV4::new(ip.header.dst(), view.header.dst_port.get()));
            let peer = &mut self.all[n as usize];
            assert!(!view.header.flags.contains(TcpFlags::RST), "peer {n} is reset");
            let syn = view.header.flags.contains(TcpFlags::SYN);
            if let Some(timestamps) = Options::parse(view.options).timestamps {
                peer.echo = timestamps.value;
                peer.timestamps = true;
            }
            let end = view.header.seq.get().wrapping_add(len as u32 + u32::from(syn));
            if syn || end.wrapping_sub(peer.ack) < 1 << 31 {
                peer.ack = end;
            }
            peer.unacked += u32::from(len > 0);
            with_data += u64::from(len > 0);
        }
        with_data
    }
}
