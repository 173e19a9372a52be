//! smoltcp under test.

use std::collections::VecDeque;

use smoltcp::iface::{Config, Interface, SocketHandle, SocketSet};
use smoltcp::phy::{Checksum, Device, DeviceCapabilities, Medium, RxToken, TxToken};
use smoltcp::socket::tcp::{CongestionControl, Socket, SocketBuffer};
use smoltcp::wire::{HardwareAddress, IpCidr};
use wire::Instant;

use crate::peers::{Frame, Load, REQUEST, SERVER, Sent, Stack};

/// Bytes of each of a socket's two buffers.
const BUFFER: usize = 1 << 15;
pub(crate) const BUFFERS: usize = 2 * BUFFER;
static DATA: [u8; BUFFER] = [0x55; BUFFER];

#[derive(Default)]
struct Link {
    received: VecDeque<Frame>,
    sent: Vec<Sent>,
    buffer: Vec<u8>,
}

impl RxToken for Frame {
    fn consume<R, F: FnOnce(&[u8]) -> R>(self, f: F) -> R {
        f(&self.memory[..self.len])
    }
}

struct ToPeers<'a>(&'a mut Vec<Sent>, &'a mut Vec<u8>);

impl TxToken for ToPeers<'_> {
    fn consume<R, F: FnOnce(&mut [u8]) -> R>(self, len: usize, f: F) -> R {
        let bytes = &mut self.1[..len];
        let result = f(bytes);
        let headers_len = 20 + usize::from(bytes[32] >> 4) * 4;
        let mut sent = Sent { headers: [0; 80], headers_len, len: len - headers_len };
        sent.headers[..headers_len].copy_from_slice(&bytes[..headers_len]);
        self.0.push(sent);
        result
    }
}

impl Device for Link {
    type RxToken<'a> = Frame;
    type TxToken<'a> = ToPeers<'a>;

    fn receive(&mut self, _: smoltcp::time::Instant) -> Option<(Frame, ToPeers<'_>)> {
        let frame = self.received.pop_front()?;
        Some((frame, ToPeers(&mut self.sent, &mut self.buffer)))
    }

    fn transmit(&mut self, _: smoltcp::time::Instant) -> Option<ToPeers<'_>> {
        Some(ToPeers(&mut self.sent, &mut self.buffer))
    }

    fn capabilities(&self) -> DeviceCapabilities {
        let mut capabilities = DeviceCapabilities::default();
        capabilities.max_transmission_unit = 1500;
        capabilities.medium = Medium::Ip;
        capabilities.checksum.tcp = Checksum::Tx;
        capabilities.checksum.ipv4 = Checksum::Tx;
        capabilities
    }
}

pub(crate) struct Smoltcp {
    link: Link,
    interface: Interface,
    sockets: SocketSet<'static>,
    handles: Vec<SocketHandle>,
}

fn at(now: Instant) -> smoltcp::time::Instant {
    smoltcp::time::Instant::from_micros((now.as_nanos() / 1000) as i64)
}

impl Smoltcp {
    pub(crate) fn new(connections: u32) -> Self {
        let mut link = Link { buffer: vec![0; 1536], ..Link::default() };
        let now = at(Instant::from_millis(1000));
        let mut interface = Interface::new(Config::new(HardwareAddress::Ip), &mut link, now);
        interface.update_ip_addrs(|addresses| {
            let _ = addresses.push(IpCidr::new((*SERVER.ip()).into(), 24));
        });
        let gateway = std::net::Ipv4Addr::new(192, 0, 2, 2);
        let _ = interface.routes_mut().add_default_ipv4_route(gateway);
        let mut sockets = SocketSet::new(Vec::new());
        let buffer = || SocketBuffer::new(vec![0; BUFFER]);
        let handles = (0..connections).map(|_| {
            let mut socket = Socket::new(buffer(), buffer());
            socket.set_congestion_control(CongestionControl::Reno);
            let _ = socket.listen(SERVER.port());
            sockets.add(socket)
        });
        let handles = handles.collect();
        Smoltcp { link, interface, sockets, handles }
    }
}

impl Stack for Smoltcp {
    fn round(
        &mut self,
        now: Instant,
        frames: &mut Vec<Frame>,
        active: &[u32],
        load: Load,
        out: &mut Vec<Sent>,
    ) {
        self.link.received.extend(frames.drain(..));
        let now = at(now);
        while self.interface.poll_ingress_single(now, &mut self.link, &mut self.sockets)
            != smoltcp::iface::PollIngressSingleResult::None
        {}
        for n in active {
            let socket = self.sockets.get_mut::<Socket>(self.handles[*n as usize]);
            while socket.can_recv() {
                let len = socket.recv(|bytes| (bytes.len(), bytes.len())).unwrap_or(0);
                if load == Load::Request {
                    let _ = socket.send_slice(&DATA[..len.min(REQUEST)]);
                }
            }
            if load == Load::Send {
                let _ = socket.send_slice(&DATA);
            }
        }
        self.interface.poll_egress(now, &mut self.link, &mut self.sockets);
        out.append(&mut self.link.sent);
    }

    fn accept(&mut self, now: Instant, frames: &mut Vec<Frame>, out: &mut Vec<Sent>) {
        self.round(now, frames, &[], Load::Receive, out);
    }
}
