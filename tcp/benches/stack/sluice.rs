//! Our stack under test.

use std::sync::Arc;

use tcp::Checksum;
use tcp::config::Config;
use tcp::content::Content;
use tcp::demux::FlowKey;
use tcp::packet::{NoFrame, Output, Packet};
use tcp::ports::SourcePorts;
use tcp::shard::{ListenerId, Received, Shard, ShardEvent};
use wire::checksum::Sum;
use wire::{FromBytes, Instant, Ipv4Header, Ipv4View, Payload, Reta, RssKey};

use crate::peers::{Frame, Load, REQUEST, SERVER, Sent, Stack};

/// Data that the application sends.
static DATA: [u8; 1 << 16] = [0x55; 1 << 16];

/// A range of a frame that came in, or of data that lies there for ever.
pub(crate) struct Bytes {
    memory: Memory,
    start: u32,
    end: u32,
}

enum Memory {
    Frame(Arc<[u8; 1536]>),
    Static,
}

impl Payload for Bytes {
    fn len(&self) -> usize {
        (self.end - self.start) as usize
    }

    fn chunk(&self, offset: usize) -> &[u8] {
        let all: &[u8] = match &self.memory {
            Memory::Frame(frame) => &frame[..],
            Memory::Static => &DATA,
        };
        all.get(self.start as usize + offset..self.end as usize).unwrap_or(&[])
    }

    fn advance(&mut self, n: usize) {
        self.start = self.end.min(self.start + n as u32);
    }

    fn truncate(&mut self, len: usize) {
        self.end = self.end.min(self.start + len as u32);
    }
}

struct ToPeers<'a> {
    sent: &'a mut Vec<Sent>,
    /// The device fills in checksums.
    offload: bool,
}

impl Output<Bytes> for ToPeers<'_> {
    fn send(&mut self, packet: &Packet<'_, Bytes>) -> Result<(), NoFrame> {
        let mut sent =
            Sent { headers: [0; 80], headers_len: packet.headers_len(), len: packet.payload_len() };
        packet.write_headers(&mut sent.headers[..sent.headers_len]);
        if self.offload {
            self.sent.push(sent);
            return Ok(());
        }
        let mut sum = Sum::new();
        for (content, offset, len) in packet.payload.clone().into_iter().flatten() {
            let Content::Bytes(bytes) = content else { continue };
            sum = sum.add_payload(bytes, offset, len);
        }
        let tcp = &mut sent.headers[Ipv4Header::LEN..sent.headers_len];
        let checksum = Sum::new().add_bytes(tcp).add_sum(sum).finish();
        tcp[16..18].copy_from_slice(&checksum.to_be_bytes());
        self.sent.push(sent);
        Ok(())
    }
}

pub(crate) struct Sluice {
    shard: Shard<Bytes>,
    listener: ListenerId,
    /// Handles, in the order in which the connections were opened.
    ids: Vec<tcp::shard::ConnectionId>,
    offload: bool,
}

/// A shard for so many connections.
pub(crate) fn config(connections: u32) -> Config {
    Config {
        connections,
        half_open: 1024,
        time_wait: 16,
        chunks: 1 << 17,
        flights: 1 << 19,
        send_buffer: 1 << 16,
        ..Config::default()
    }
}

pub(crate) fn shard(config: Config) -> Shard<Bytes> {
    let reta = Reta::round_robin(128, 1);
    let ports = SourcePorts::new(&RssKey::SYMMETRIC, &reta, 0, SourcePorts::DEFAULT_RANGE, [1; 16]);
    Shard::new(config, ports, Instant::from_millis(1000))
}

impl Sluice {
    /// `offload` leaves checksums open, for the device to fill in.
    pub(crate) fn new(connections: u32, offload: bool) -> Self {
        let mut shard = shard(config(connections));
        let listener = shard.listen(SERVER, 1024).expect("an address that is free");
        Sluice { shard, listener, ids: Vec::new(), offload }
    }

    fn take(&mut self, now: Instant, frames: &mut Vec<Frame>) {
        if frames.len() > 1 {
            self.shard.prefetch(frames.iter().filter_map(Frame::flow));
        }
        for Frame { memory, len } in frames.drain(..) {
            let ip = Ipv4View::parse(&memory[..len], len).expect("an IPv4 packet");
            let addresses = (ip.header.src(), ip.header.dst());
            let bytes = Bytes { memory: Memory::Frame(memory), start: 20, end: len as u32 };
            let _ = self.shard.handle_packet(now, addresses, bytes, Checksum::KnownGood, false);
        }
        self.shard.handle_timeout(now);
    }
}

impl Frame {
    /// The flow of the packet in it.
    fn flow(&self) -> Option<FlowKey> {
        let (ip, tcp) = Ipv4Header::ref_from_prefix(&self.memory[..]).ok()?;
        FlowKey::peek(ip.src(), ip.dst(), tcp)
    }
}

impl Stack for Sluice {
    #[inline(never)]
    fn round(
        &mut self,
        now: Instant,
        frames: &mut Vec<Frame>,
        active: &[u32],
        load: Load,
        out: &mut Vec<Sent>,
    ) {
        self.take(now, frames);
        while let Some(event) = self.shard.poll_event(now) {
            let ShardEvent::Connection(id, _) = event else { continue };
            while let Received::Bytes(bytes) = self.shard.receive(now, id) {
                self.shard.credit(now, id, 1, bytes.len() as u32);
                if load == Load::Request {
                    let answer = Bytes { memory: Memory::Static, start: 0, end: REQUEST as u32 };
                    let _ = self.shard.send(now, id, answer);
                }
            }
        }
        if load == Load::Send {
            for n in active {
                let data = || Bytes { memory: Memory::Static, start: 0, end: 1 << 15 };
                let id = self.ids[*n as usize];
                while self.shard.room(id) >= 1 << 15 && self.shard.send(now, id, data()).is_ok() {}
            }
        }
        self.shard.poll_transmit(now, &mut ToPeers { sent: out, offload: self.offload });
    }

    fn accept(&mut self, now: Instant, frames: &mut Vec<Frame>, out: &mut Vec<Sent>) {
        self.take(now, frames);
        while let Some(id) = self.shard.accept(self.listener) {
            self.ids.push(id);
        }
        while self.shard.poll_event(now).is_some() {}
        self.shard.poll_transmit(now, &mut ToPeers { sent: out, offload: self.offload });
    }
}
