//! smoltcp as a host: a stack of other hands.

use std::collections::VecDeque;
use std::time::Duration;

use smoltcp::iface::{Config, Interface, SocketHandle, SocketSet};
use smoltcp::phy::{Device, DeviceCapabilities, Medium, RxToken, TxToken};
use smoltcp::socket::tcp::{CongestionControl, Socket, SocketBuffer, State};
use smoltcp::time::Instant as SmolInstant;
use smoltcp::wire::{HardwareAddress, IpCidr};
use wire::checksum::pseudo_header;
use wire::{Instant, Ipv4View};

use crate::Source;
use crate::host::{App, CLIENT, Host, PORT, SERVER};

#[derive(Default)]
struct Link {
    received: VecDeque<Vec<u8>>,
    sent: Vec<Vec<u8>>,
}

struct Received(Vec<u8>);

impl RxToken for Received {
    fn consume<R, F: FnOnce(&[u8]) -> R>(self, f: F) -> R {
        f(&self.0)
    }
}

struct ToSend<'a>(&'a mut Vec<Vec<u8>>);

impl TxToken for ToSend<'_> {
    fn consume<R, F: FnOnce(&mut [u8]) -> R>(self, len: usize, f: F) -> R {
        let mut bytes = vec![0; len];
        let result = f(&mut bytes);
        self.0.push(bytes);
        result
    }
}

impl Device for Link {
    type RxToken<'a> = Received;
    type TxToken<'a> = ToSend<'a>;

    fn receive(&mut self, _: SmolInstant) -> Option<(Received, ToSend<'_>)> {
        let packet = self.received.pop_front()?;
        Some((Received(packet), ToSend(&mut self.sent)))
    }

    fn transmit(&mut self, _: SmolInstant) -> Option<ToSend<'_>> {
        Some(ToSend(&mut self.sent))
    }

    fn capabilities(&self) -> DeviceCapabilities {
        let mut capabilities = DeviceCapabilities::default();
        capabilities.max_transmission_unit = 1500;
        capabilities.medium = Medium::Ip;
        capabilities
    }
}

pub(crate) struct Smoltcp {
    link: Link,
    interface: Interface,
    sockets: SocketSet<'static>,
    handle: SocketHandle,
    app: App,
    is_client: bool,
    wake: Option<Instant>,
}

fn at(now: Instant) -> SmolInstant {
    SmolInstant::from_micros((now.as_nanos() / 1000) as i64)
}

impl Smoltcp {
    pub(crate) fn new(source: &mut Source<'_>, is_client: bool, app: App, now: Instant) -> Self {
        let setup = source.byte();
        let mut link = Link::default();
        let mut interface = Interface::new(Config::new(HardwareAddress::Ip), &mut link, at(now));
        let address = if is_client { CLIENT } else { SERVER };
        interface.update_ip_addrs(|addresses| {
            let _ = addresses.push(IpCidr::new(address.into(), 24));
        });
        let buffer = |bit: u8| SocketBuffer::new(vec![0; if setup >> bit & 1 == 0 { 100_000 } else { 4000 }]);
        let mut socket = Socket::new(buffer(0), buffer(1));
        socket.set_nagle_enabled(setup & 4 == 0);
        socket.set_ack_delay((setup & 8 == 0).then(|| smoltcp::time::Duration::from_millis(10)));
        if setup & 16 == 0 {
            socket.set_congestion_control(CongestionControl::Reno);
        }
        if is_client {
            let _ = socket.connect(interface.context(), (SERVER, PORT), 40_000);
        } else {
            let _ = socket.listen(PORT);
        }
        let mut sockets = SocketSet::new(Vec::new());
        let handle = sockets.add(socket);
        Smoltcp { link, interface, sockets, handle, app, is_client, wake: None }
    }

    fn run_app(&mut self) {
        let socket = self.sockets.get_mut::<Socket>(self.handle);
        let app = &mut self.app;
        // It closes at once what it has not begun.
        if matches!(socket.state(), State::Listen | State::SynSent | State::SynReceived) {
            return;
        }
        app.reads_now();
        while socket.can_recv() {
            let _ = socket.recv(|bytes| {
                app.on_read(bytes);
                (bytes.len(), ())
            });
        }
        app.ended |= !socket.may_recv();
        while app.sent < app.total && socket.can_send() {
            let taken = socket.send_slice(&app.next_write()).unwrap_or(0);
            app.sent += taken as u32;
            if taken == 0 {
                break;
            }
        }
        if app.sent == app.total && !app.closed {
            socket.close();
            app.closed = true;
        }
        app.failed |= socket.state() == State::Closed && !(app.closed && app.ended);
    }
}

/// Whether both checksums are right.
fn is_sound(packet: &[u8]) -> bool {
    Ipv4View::parse(packet, packet.len()).is_ok_and(|ip| {
        let (header, payload) = (ip.header, ip.payload);
        let sum = pseudo_header(header.src(), header.dst(), 6, payload.len() as u16);
        ip.checksum_ok() && sum.add_bytes(payload).finish() == 0
    })
}

impl Host for Smoltcp {
    fn take(&mut self, _: Instant, packet: &[u8], _: bool) {
        // Built for fuzzing, smoltcp looks at no checksum.
        if is_sound(packet) {
            self.link.received.push_back(packet.to_vec());
        }
    }

    fn run(&mut self, now: Instant, out: &mut Vec<Vec<u8>>) {
        self.interface.poll(at(now), &mut self.link, &mut self.sockets);
        self.run_app();
        self.interface.poll(at(now), &mut self.link, &mut self.sockets);
        out.append(&mut self.link.sent);
        let wait = self.interface.poll_delay(at(now), &self.sockets);
        self.wake = wait.map(|wait| now + Duration::from_micros(wait.total_micros().max(10)));
    }

    fn deadline(&self) -> Option<Instant> {
        self.wake
    }

    fn app(&self) -> &App {
        &self.app
    }

    /// smoltcp 0.14 never sends its FIN again once it is in CLOSING.
    fn is_excused(&self) -> bool {
        self.sockets.get::<Socket>(self.handle).state() == State::Closing
    }

    fn assert_empty(&self) {
        let state = self.sockets.get::<Socket>(self.handle).state();
        assert!(self.app.failed || state != State::Established, "client: {}", self.is_client);
    }
}
