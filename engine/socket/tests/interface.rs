//! The exported interface, driven in-process as a test suite written in C would: calls through the table,
//! packets in and out, virtual time.

#![expect(unsafe_code, reason = "the table is C's")]

use std::ffi::{c_char, c_int, c_longlong, c_void};
use std::mem::MaybeUninit;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::ptr;

use libc::{sockaddr_in, socklen_t, ssize_t, timeval};
use sluice_socket as _;
use wire::checksum::pseudo_header;
use wire::ipv4::protocol;
use wire::{IntoBytes, Ipv4Header, Ipv4View, TcpFlags, TcpHeader, TcpView, U16, U32, UdpHeader};

const US: SocketAddrV4 = SocketAddrV4::new(Ipv4Addr::new(192, 168, 0, 2), 8080);
const PEER: SocketAddrV4 = SocketAddrV4::new(Ipv4Addr::new(192, 0, 2, 1), 40_000);

const SYN: TcpFlags = TcpFlags::SYN;
const ACK: TcpFlags = TcpFlags::ACK;
const PSH: TcpFlags = TcpFlags::PSH;
const FIN: TcpFlags = TcpFlags::FIN;
const RST: TcpFlags = TcpFlags::RST;

type World = *mut c_void;
type Unused = *const c_void;

/// `struct packetdrill_interface`, as C has it.
#[repr(C)]
struct Table {
    userdata: World,
    free: extern "C" fn(World),
    socket: extern "C" fn(World, c_int, c_int, c_int) -> c_int,
    bind: extern "C" fn(World, c_int, *const sockaddr_in, socklen_t) -> c_int,
    listen: extern "C" fn(World, c_int, c_int) -> c_int,
    accept: extern "C" fn(World, c_int, *mut sockaddr_in, *mut socklen_t) -> c_int,
    connect: extern "C" fn(World, c_int, *const sockaddr_in, socklen_t) -> c_int,
    read: extern "C" fn(World, c_int, *mut u8, usize) -> ssize_t,
    readv: Unused,
    recv: extern "C" fn(World, c_int, *mut u8, usize, c_int) -> ssize_t,
    recvfrom: extern "C" fn(World, c_int, *mut u8, usize, c_int, *mut sockaddr_in, *mut socklen_t) -> ssize_t,
    recvmsg: Unused,
    write: extern "C" fn(World, c_int, *const u8, usize) -> ssize_t,
    writev: Unused,
    send: Unused,
    sendto: extern "C" fn(World, c_int, *const u8, usize, c_int, *const sockaddr_in, socklen_t) -> ssize_t,
    sendmsg: Unused,
    fcntl: unsafe extern "C" fn(World, c_int, c_int, ...) -> c_int,
    ioctl: unsafe extern "C" fn(World, c_int, c_int, ...) -> c_int,
    close: extern "C" fn(World, c_int) -> c_int,
    shutdown: Unused,
    getsockopt: extern "C" fn(World, c_int, c_int, c_int, *mut c_int, *mut socklen_t) -> c_int,
    setsockopt: extern "C" fn(World, c_int, c_int, c_int, *const c_int, socklen_t) -> c_int,
    poll: Unused,
    netdev_send: extern "C" fn(World, *const u8, usize) -> c_int,
    netdev_receive: extern "C" fn(World, *mut u8, *mut usize, *mut c_longlong) -> c_int,
    usleep: extern "C" fn(World, u32) -> c_int,
    gettimeofday: extern "C" fn(World, *mut timeval, *mut c_void) -> c_int,
    rest: [Unused; 5],
}

unsafe extern "C" {
    fn packetdrill_interface_init(flags: *const c_char, out: *mut MaybeUninit<Table>);
}

/// A world with its table, and the peer's place in the conversation.
struct Driver {
    table: Table,
    seq: u32,
    ack: u32,
}

/// A segment that came out.
#[derive(Debug)]
struct Seen {
    at: i64,
    flags: TcpFlags,
    payload: Vec<u8>,
}

impl Driver {
    fn new() -> Self {
        let mut table = MaybeUninit::uninit();
        // SAFETY: the flags end in a zero byte, and the table has the shape that is asked for.
        let table = unsafe {
            packetdrill_interface_init(c"local=192.168.0.2".as_ptr(), &mut table);
            table.assume_init()
        };
        Driver { table, seq: 100, ack: 0 }
    }

    fn world(&self) -> World {
        self.table.userdata
    }

    fn socket(&self) -> c_int {
        let fd = (self.table.socket)(self.world(), libc::AF_INET, libc::SOCK_STREAM, libc::IPPROTO_TCP);
        assert!(fd > 2, "a descriptor of the kernel's");
        fd
    }

    /// Virtual time in us.
    fn time(&self) -> i64 {
        let mut time = timeval { tv_sec: 0, tv_usec: 0 };
        assert_eq!((self.table.gettimeofday)(self.world(), &raw mut time, ptr::null_mut()), 0);
        time.tv_sec * 1_000_000 + time.tv_usec
    }

    /// The peer sends a segment.
    fn inject(&mut self, flags: TcpFlags, payload: &[u8]) {
        let mut header = TcpHeader {
            src_port: U16::new(PEER.port()),
            dst_port: U16::new(US.port()),
            seq: U32::new(self.seq),
            ack: U32::new(self.ack),
            flags,
            window: U16::new(50_000),
            ..TcpHeader::default()
        };
        header.set_header_len(TcpHeader::LEN);
        let len = TcpHeader::LEN + payload.len();
        let sum = pseudo_header(*PEER.ip(), *US.ip(), protocol::TCP, len as u16);
        header.checksum = U16::new(sum.add_bytes(header.as_bytes()).add_bytes(payload).finish());
        self.inject_packet(protocol::TCP, &[header.as_bytes(), payload].concat());
        let takes = flags.intersects(SYN | FIN);
        self.seq = self.seq.wrapping_add(payload.len() as u32 + u32::from(takes));
    }

    /// The peer sends an IPv4 packet.
    fn inject_packet(&self, protocol: u8, payload: &[u8]) {
        let mut ip = Ipv4Header::new(*PEER.ip(), *US.ip(), protocol, payload.len());
        ip.fill_checksum();
        let packet = [ip.as_bytes(), payload].concat();
        assert_eq!((self.table.netdev_send)(self.world(), packet.as_ptr(), packet.len()), 0);
    }

    /// The next packet that comes out, if any can come, and when.
    fn receive_packet(&self) -> Option<(Vec<u8>, i64)> {
        let (mut buffer, mut len, mut at) = (vec![0; 2048], 2048, 0);
        let Table { netdev_receive, .. } = self.table;
        assert_eq!(netdev_receive(self.world(), buffer.as_mut_ptr(), &raw mut len, &raw mut at), 0);
        buffer.truncate(len);
        (len > 0).then_some((buffer, at))
    }

    /// The next segment that comes out, if any can come.
    fn receive(&mut self) -> Option<Seen> {
        let (packet, at) = self.receive_packet()?;
        let ip = Ipv4View::parse(&packet, packet.len()).expect("a packet");
        assert!(ip.checksum_ok());
        let (src, dst) = (ip.header.src(), ip.header.dst());
        let sum = pseudo_header(src, dst, protocol::TCP, ip.payload.len() as u16);
        assert_eq!(sum.add_bytes(ip.payload).finish(), 0);
        let tcp = TcpView::parse(ip.payload).expect("a segment");
        assert_eq!((src, tcp.header.src_port.get()), (*US.ip(), US.port()));
        let flags = tcp.header.flags;
        let len = tcp.payload.len() as u32 + u32::from(flags.intersects(SYN | FIN));
        self.ack = tcp.header.seq.get().wrapping_add(len);
        Some(Seen { at, flags, payload: tcp.payload.to_vec() })
    }

    /// A listening socket.
    fn listening(&self) -> c_int {
        let fd = self.socket();
        let address = address(US);
        assert_eq!((self.table.bind)(self.world(), fd, &raw const address, 16), 0);
        assert_eq!((self.table.listen)(self.world(), fd, 1), 0);
        fd
    }

    /// A connection that the peer has opened.
    fn accepted(&mut self, listening: c_int) -> c_int {
        self.inject(SYN, b"");
        assert_eq!(self.receive().expect("a SYN-ACK").flags, SYN | ACK);
        self.inject(ACK, b"");
        let (mut peer, mut len) = (address(US), 16);
        let fd = (self.table.accept)(self.world(), listening, &raw mut peer, &raw mut len);
        assert!(fd > 2 && fd != listening);
        assert_eq!((peer.sin_addr.s_addr, peer.sin_port), (address(PEER).sin_addr.s_addr, 40_000u16.to_be()));
        fd
    }
}

impl Drop for Driver {
    fn drop(&mut self) {
        (self.table.free)(self.table.userdata);
    }
}

fn address(of: SocketAddrV4) -> sockaddr_in {
    sockaddr_in {
        sin_family: libc::AF_INET as u16,
        sin_port: of.port().to_be(),
        sin_addr: libc::in_addr { s_addr: u32::from(*of.ip()).to_be() },
        sin_zero: [0; 8],
    }
}

fn errno() -> c_int {
    std::io::Error::last_os_error().raw_os_error().expect("an error of the system's")
}

#[test]
fn a_passive_open_talks_and_closes() {
    let mut driver = Driver::new();
    let listening = driver.listening();
    let fd = driver.accepted(listening);
    let world = driver.world();

    driver.inject(ACK | PSH, b"ping");
    assert_eq!(driver.receive().expect("an ACK").flags, ACK);
    let mut buffer = [0; 16];
    let peeked = (driver.table.recv)(world, fd, buffer.as_mut_ptr(), 16, libc::MSG_PEEK);
    assert_eq!((peeked, &buffer[..4]), (4, &b"ping"[..]));
    assert_eq!((driver.table.read)(world, fd, buffer.as_mut_ptr(), 16), 4);

    assert_eq!((driver.table.write)(world, fd, b"pong".as_ptr(), 4), 4);
    let pong = driver.receive().expect("data");
    assert_eq!((pong.flags, &pong.payload[..]), (ACK | PSH, &b"pong"[..]));
    driver.inject(ACK | FIN, b"");
    assert_eq!(driver.receive().expect("an ACK").flags, ACK);
    assert_eq!((driver.table.read)(world, fd, buffer.as_mut_ptr(), 16), 0);
    assert_eq!((driver.table.close)(world, fd), 0);
    assert_eq!(driver.receive().expect("a FIN").flags, ACK | FIN);
    driver.inject(ACK, b"");
    assert!(driver.receive().is_none(), "nothing can come any more");
    assert_eq!((driver.table.read)(world, fd, buffer.as_mut_ptr(), 16), -1);
    assert_eq!(errno(), libc::EBADF);
}

#[test]
fn calls_that_would_wait() {
    let mut driver = Driver::new();
    let listening = driver.listening();
    let world = driver.world();
    // SAFETY: the arguments are those that each command takes.
    unsafe {
        assert_eq!((driver.table.fcntl)(world, listening, libc::F_GETFL), libc::O_RDWR);
        let flags = libc::O_RDWR | libc::O_NONBLOCK;
        assert_eq!((driver.table.fcntl)(world, listening, libc::F_SETFL, flags), 0);
    }
    assert_eq!((driver.table.accept)(world, listening, ptr::null_mut(), ptr::null_mut()), -1);
    assert_eq!(errno(), libc::EAGAIN);
    let fd = driver.accepted(listening);
    // The driver itself may wait: time goes by until the retransmission comes to an end.
    assert_eq!((driver.table.write)(world, fd, b"data".as_ptr(), 4), 4);
    let start = driver.time();
    let mut byte = 0;
    assert_eq!((driver.table.read)(world, fd, &raw mut byte, 1), -1);
    assert_eq!(errno(), libc::ETIMEDOUT);
    assert!((900..1100).contains(&((driver.time() - start) / 1_000_000)));
}

#[test]
fn time_is_virtual() {
    let mut driver = Driver::new();
    let (first, second) = (driver.time(), driver.time());
    assert_eq!(second - first, 1);
    assert_eq!((driver.table.usleep)(driver.world(), 999_999), 0);
    assert_eq!(driver.time() - second, 1_000_000);
    let listening = driver.listening();
    let fd = driver.accepted(listening);
    let start = driver.time();
    assert_eq!((driver.table.write)(driver.world(), fd, b"x".as_ptr(), 1), 1);
    let times: Vec<i64> = (0..3).map(|_| (driver.receive().expect("data").at - start) / 1000).collect();
    assert!(matches!(times[..], [0, 200..=203, 600..=606]), "{times:?} ms");
}

#[test]
fn errors_and_options() {
    let mut driver = Driver::new();
    let listening = driver.listening();
    let fd = driver.accepted(listening);
    let (world, on) = (driver.world(), 1);
    let Table { setsockopt, getsockopt, .. } = driver.table;
    assert_eq!(setsockopt(world, fd, libc::IPPROTO_TCP, libc::TCP_NODELAY, &raw const on, 4), 0);
    let (mut value, mut len) = (0, 4);
    assert_eq!(getsockopt(world, fd, libc::IPPROTO_TCP, libc::TCP_NODELAY, &raw mut value, &raw mut len), 0);
    assert_eq!((value, len), (1, 4));
    driver.inject(RST | ACK, b"");
    for want in [libc::ECONNRESET, 0] {
        getsockopt(world, fd, libc::SOL_SOCKET, libc::SO_ERROR, &raw mut value, &raw mut len);
        assert_eq!(value, want, "told once");
    }
    let mut pending: c_int = 7;
    // SAFETY: FIONREAD takes a pointer to an int.
    assert_eq!(unsafe { (driver.table.ioctl)(world, fd, libc::FIONREAD as c_int, &raw mut pending) }, 0);
    assert_eq!(pending, 0);
    assert_eq!((driver.table.write)(world, fd, b"x".as_ptr(), 1), -1);
    assert_eq!(errno(), libc::EPIPE);
}

#[test]
fn an_active_open_that_nobody_answers() {
    let driver = Driver::new();
    let fd = driver.socket();
    let (world, peer) = (driver.world(), address(PEER));
    let start = driver.time();
    assert_eq!((driver.table.connect)(world, fd, &raw const peer, 16), -1);
    assert_eq!(errno(), libc::ETIMEDOUT);
    // RFC 9293 section 3.8.3: a SYN is tried for three minutes at least (MUST-23).
    assert!((180..300).contains(&((driver.time() - start) / 1_000_000)));
}

#[test]
fn datagrams() {
    let driver = Driver::new();
    let Table { socket, bind, sendto, recvfrom, close, .. } = driver.table;
    let world = driver.world();
    let fd = socket(world, libc::AF_INET, libc::SOCK_DGRAM, libc::IPPROTO_UDP);
    let (us, peer) = (address(US), address(PEER));
    assert_eq!(bind(world, fd, &raw const us, 16), 0);

    // No checksum.
    let question = [UdpHeader::new(PEER.port(), US.port(), 4).as_bytes(), b"ping"].concat();
    driver.inject_packet(protocol::UDP, &question);
    let (mut buffer, mut from, mut len) = ([0; 16], us, 16);
    let n = recvfrom(world, fd, buffer.as_mut_ptr(), 16, 0, &raw mut from, &raw mut len);
    assert_eq!((n, &buffer[..4], from.sin_port, len), (4, &b"ping"[..], peer.sin_port, 16));
    assert_eq!(sendto(world, fd, b"pong".as_ptr(), 4, 0, &raw const peer, 16), 4);
    let (packet, _) = driver.receive_packet().expect("a datagram");
    let ip = Ipv4View::parse(&packet, packet.len()).expect("a packet");
    let (header, payload) = wire::udp::parse(ip.payload).expect("a datagram");
    assert_eq!((header.src_port.get(), header.dst_port.get(), payload), (8080, 40_000, &b"pong"[..]));

    // With a wrong checksum it is dropped; on a closed port it is refused.
    let mut spoiled = question.clone();
    spoiled[7] = 1;
    driver.inject_packet(protocol::UDP, &spoiled);
    assert!(driver.receive_packet().is_none());
    assert_eq!(close(world, fd), 0);
    driver.inject_packet(protocol::UDP, &question);
    let (packet, _) = driver.receive_packet().expect("an ICMP error");
    let ip = Ipv4View::parse(&packet, packet.len()).expect("a packet");
    assert_eq!((ip.header.protocol, &ip.payload[..2]), (protocol::ICMP, &[3, 3][..]));
    assert_eq!(wire::checksum::checksum(ip.payload), 0);
    assert_eq!(ip.payload[28..], question[..8], "what is refused is quoted");
}

#[test]
fn a_router_ends_a_connect() {
    for (code, want) in [(1, libc::EINPROGRESS), (3, libc::ECONNREFUSED), (13, libc::EHOSTUNREACH)] {
        let driver = Driver::new();
        let (world, fd, peer) = (driver.world(), driver.socket(), address(PEER));
        // SAFETY: the command takes an int.
        unsafe { (driver.table.fcntl)(world, fd, libc::F_SETFL, libc::O_NONBLOCK) };
        assert_eq!((driver.table.connect)(world, fd, &raw const peer, 16), -1);
        assert_eq!(errno(), libc::EINPROGRESS);
        let (syn, _) = driver.receive_packet().expect("a SYN");
        let mut message = [&[3, code, 0, 0, 0, 0, 0, 0][..], &syn[..28]].concat();
        let sum = wire::checksum::checksum(&message);
        message[2..4].copy_from_slice(&sum.to_be_bytes());
        driver.inject_packet(protocol::ICMP, &message);
        let (mut value, mut len) = (0, 4);
        let done = (driver.table.getsockopt)(
            world,
            fd,
            libc::SOL_SOCKET,
            libc::SO_ERROR,
            &raw mut value,
            &raw mut len,
        );
        assert_eq!(done, 0);
        assert_eq!(if value == 0 { libc::EINPROGRESS } else { value }, want, "code {code}");
    }
}
