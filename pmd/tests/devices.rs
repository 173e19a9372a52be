//! Every virtual device that must work: opened, started, and frames through it. Those that meet the
//! kernel want root, and are passed over without.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod common;

use common::{Pool, Running, Veth, bytes, dpdk, ethernet, frame, ip, is_root, pool, within_a_second};
use pmd::{Eal, Error, Mbuf, Mempool, Port, PortConfig};
use std::fs;
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::path::PathBuf;
use wire::checksum::pseudo_header;
use wire::ipv4::protocol;
use wire::{Frame, IntoBytes, Ipv4Header, OpenChecksum, Transport, U16, UdpHeader};

/// A raw socket on a network device: the kernel's side of a port.
struct Kernel(OwnedFd);

#[expect(unsafe_code, reason = "raw sockets are system calls")]
impl Kernel {
    fn on(device: &str) -> Kernel {
        let path = format!("/sys/class/net/{device}/ifindex");
        let index: i32 = fs::read_to_string(path).unwrap().trim().parse().unwrap();
        let every_protocol = (libc::ETH_P_ALL as u16).to_be();
        // SAFETY: opens a socket; the address is a whole sockaddr_ll.
        unsafe {
            let socket =
                libc::socket(libc::AF_PACKET, libc::SOCK_RAW | libc::SOCK_NONBLOCK, every_protocol.into());
            assert!(socket >= 0, "{}", io::Error::last_os_error());
            let kernel = Kernel(OwnedFd::from_raw_fd(socket));
            let mut address: libc::sockaddr_ll = std::mem::zeroed();
            address.sll_family = libc::AF_PACKET as u16;
            address.sll_protocol = every_protocol;
            address.sll_ifindex = index;
            let len = size_of::<libc::sockaddr_ll>() as u32;
            assert_eq!(
                libc::bind(socket, (&raw const address).cast(), len),
                0,
                "{}",
                io::Error::last_os_error()
            );
            kernel
        }
    }

    fn send(&self, bytes: &[u8]) {
        // SAFETY: reads `bytes`.
        let sent = unsafe { libc::send(self.0.as_raw_fd(), bytes.as_ptr().cast(), bytes.len(), 0) };
        assert_eq!(sent, bytes.len() as isize, "{}", io::Error::last_os_error());
    }

    /// Waits a second for a frame that is `wanted`.
    fn receive(&self, wanted: impl Fn(&[u8]) -> bool) -> Option<Vec<u8>> {
        let mut found = None;
        within_a_second(|| {
            let mut buffer = vec![0; 65_536];
            // SAFETY: writes no more than the buffer's length.
            let got = unsafe { libc::recv(self.0.as_raw_fd(), buffer.as_mut_ptr().cast(), buffer.len(), 0) };
            buffer.truncate(got.max(0) as usize);
            found = Some(buffer).filter(|buffer| got > 0 && wanted(buffer));
            found.is_some()
        });
        found
    }
}

/// Frames of these lengths pass both ways between a port and the kernel.
fn meets_kernel(running: &mut Running, pool: &Mempool, device: &str, lengths: &[usize]) {
    let kernel = Kernel::on(device);
    for (tag, &len) in lengths.iter().enumerate() {
        let sent = ethernet(len, tag as u8 + 1);
        kernel.send(&sent);
        assert!(running.receives(&sent), "{len} bytes from the kernel");
        running.send(frame(pool, &sent, 2048));
        assert!(kernel.receive(|got| got == sent).is_some(), "{len} bytes to the kernel");
    }
    let stats = running.port.stats().unwrap();
    assert!(stats.rx_frames >= lengths.len() as u64 && stats.tx_frames >= lengths.len() as u64, "{stats:?}");
}

/// Frames of these lengths, in segments of 1000 bytes, pass both ways between two ports.
fn meet(a: &mut Running, b: &mut Running, pool: &Mempool, lengths: &[usize]) {
    assert!(within_a_second(|| a.port.link().unwrap().up && b.port.link().unwrap().up), "no link");
    // A memif server has no slots to send into before its client has polled.
    assert!(!a.polls() && !b.polls(), "nothing was sent yet");
    for (tag, &len) in lengths.iter().enumerate() {
        let sent = ethernet(len, tag as u8 + 1);
        a.send(frame(pool, &sent, 1000));
        assert!(b.receives(&sent), "{len} bytes there");
        b.send(frame(pool, &sent, 1000));
        assert!(a.receives(&sent), "{len} bytes back");
    }
}

fn name(tag: &str) -> String {
    format!("{tag}{}", std::process::id() % 1_000_000)
}

fn socket(tag: &str) -> PathBuf {
    std::env::temp_dir().join(format!("{tag}-{}.sock", std::process::id()))
}

#[test]
fn tap() {
    if !is_root() {
        return;
    }
    let eal = dpdk();
    let pool = pool(&eal, "tap");
    let device = name("tp");
    let devargs = format!("net_tap0,iface={device}");
    let mut tap = Running::open(&eal, &devargs, &PortConfig::default(), &pool);
    ip(&format!("link set {device} addrgenmode none"));
    meets_kernel(&mut tap, &pool, &device, &[60, 1000, 1514]);
    assert!(tap.port.link().unwrap().up);
    tap.port.set_promiscuous(true).unwrap();
    assert!(tap.port.is_promiscuous());
    tap.port.set_promiscuous(false).unwrap();
    assert!(!tap.port.is_promiscuous());
    drop(tap);
    assert!(!fs::exists(format!("/sys/class/net/{device}")).unwrap(), "the device goes with its port");
}

/// A UDP datagram of 1000 bytes, in a frame of three segments; its checksum is open.
fn datagram(pool: &Mempool) -> Mbuf {
    let (src, dst) = ([10, 0, 0, 1].into(), [10, 0, 0, 2].into());
    let mut ip = Ipv4Header::new(src, dst, protocol::UDP, 1008);
    ip.fill_checksum();
    let mut udp = UdpHeader::new(1, 2, 1000);
    udp.checksum = U16::new(pseudo_header(src, dst, protocol::UDP, 1008).partial());
    let mut ethernet = ethernet(14, 9);
    ethernet[12..].copy_from_slice(&[8, 0]);
    let bytes = [&ethernet[..], ip.as_bytes(), udp.as_bytes(), &[7; 1000]].concat();
    let mut frame = frame(pool, &bytes, 501);
    frame.set_open_checksum(OpenChecksum { transport: Transport::Udp, l2_len: 14, l3_len: 20, l4_len: 8 });
    frame
}

/// Whether a frame's UDP checksum, behind 14 bytes and an IPv4 header, is right.
fn sum_is_right(frame: &Mbuf) -> bool {
    let pseudo = pseudo_header([10, 0, 0, 1].into(), [10, 0, 0, 2].into(), protocol::UDP, 1008);
    pseudo.add_frame(frame, 34, 1008).finish() == 0
}

#[test]
fn open_checksums_are_filled_in_by_the_device_or_by_us() {
    let eal = dpdk();
    let pool = pool(&eal, "sums");
    let (mut vhost, mut virtio) = vhost_pair(&eal, &pool, 6, &PortConfig::default());
    let granted = |end: &Running| end.port.info().unwrap().granted.tx_l4_checksum;
    // vhost's driver would sum up in software: we are not slower.
    assert_eq!((granted(&virtio), granted(&vhost)), (true, false));
    let is_it = |got: &Mbuf| got.len() == 14 + 20 + 1008;
    virtio.send(datagram(&pool));
    let by_device = vhost.receive(is_it).unwrap();
    assert!(sum_is_right(&by_device) && !sum_is_right(&datagram(&pool)));
    vhost.send(datagram(&pool));
    let by_us = virtio.receive(is_it).unwrap();
    assert_eq!(bytes(&by_us), bytes(&by_device));
}

#[test]
fn tap_takes_jumbo_frames_or_says_that_it_does_not() {
    if !is_root() {
        return;
    }
    let eal = dpdk();
    let pool = pool(&eal, "jumbo");
    let device = name("tj");
    let port = Port::open(&eal, &format!("net_tap1,iface={device}")).unwrap();
    let can = port.capabilities().unwrap();
    let config = PortConfig { mtu: 9000, ..Default::default() };
    match port.configure(&config, std::slice::from_ref(&*pool)) {
        Ok(_) => {
            port.start().unwrap();
            let (rx, tx) = (port.take_rx(0).unwrap(), port.take_tx(0).unwrap());
            meets_kernel(&mut Running { port, rx, tx }, &pool, &device, &[60, 9014]);
        }
        // DPDK 22.11's driver ends at 1504.
        Err(error) => {
            assert!(matches!(error, Error::Mtu { mtu: 9000, max, .. } if max == can.max_mtu && max < 9000))
        }
    }
}

#[test]
fn tap_of_two_queues() {
    if !is_root() {
        return;
    }
    let eal = dpdk();
    let pool = pool(&eal, "twoq");
    let port = Port::open(&eal, &format!("net_tap2,iface={}", name("tq"))).unwrap();
    let pools = [pool.0.clone()];
    let uneven = PortConfig { rx_queues: 1, tx_queues: 2, ..Default::default() };
    let error = port.configure(&uneven, &pools).unwrap_err();
    assert!(matches!(error, Error::Device { what: "be configured", .. }), "{error}");
    let info = port.configure(&PortConfig { rx_queues: 2, ..uneven }, &pools).unwrap();
    assert_eq!((info.rx_queues, info.tx_queues), (2, 2));
    port.start().unwrap();
    let queues = (port.take_rx(0), port.take_rx(1), port.take_tx(0), port.take_tx(1));
    assert!(matches!(queues, (Ok(_), Ok(_), Ok(_), Ok(_))));
    // The kernel spreads the flows, by a hash of its own.
    assert_eq!(port.rss(), None);
}

#[test]
fn a_device_that_vanishes_is_noticed() {
    if !is_root() {
        return;
    }
    let eal = dpdk();
    let (pool, veth) = (pool(&eal, "gone"), Veth::new("gn"));
    let (device, renamed, namespace) = (name("tg"), name("tr"), name("ns"));
    let devargs = format!("net_tap4,iface={device}");
    let mut tap = Running::open(&eal, &devargs, &PortConfig::default(), &pool);
    let devargs = format!("net_af_packet4,iface={}", veth.0);
    let packet = Running::open(&eal, &devargs, &PortConfig::default(), &pool);
    assert!(!tap.port.is_removed() && !packet.port.is_removed());

    ip(&format!("netns add {namespace}"));
    ip(&format!("link set {device} netns {namespace} name {renamed}"));
    assert!(!tap.port.is_removed(), "it is elsewhere, but is there");
    ip(&format!("-n {namespace} link del {renamed}"));
    ip(&format!("netns del {namespace}"));
    assert!(tap.port.is_removed() && !packet.port.is_removed());
    assert!(!tap.polls());
    drop(veth);
    assert!(packet.port.is_removed());
}

#[test]
fn af_packet() {
    if !is_root() {
        return;
    }
    let eal = dpdk();
    let (pool, veth) = (pool(&eal, "afp"), Veth::new("ap"));
    let devargs = format!("net_af_packet0,iface={}", veth.0);
    let mut port = Running::open(&eal, &devargs, &PortConfig::default(), &pool);
    meets_kernel(&mut port, &pool, &veth.1, &[60, 1000, 1514]);
}

#[test]
fn af_xdp() {
    if !is_root() {
        return;
    }
    let eal = dpdk();
    // Not a `Pool` that wants all its buffers back: the driver keeps those that it gave to the kernel.
    let pool = Mempool::new(&eal, "afx", 8191, 128, 2048, None).unwrap();
    let veth = Veth::new("ax");
    let devargs = format!("net_af_xdp0,iface={}", veth.0);
    let mut port = Running::open(&eal, &devargs, &PortConfig::default(), &pool);
    meets_kernel(&mut port, &pool, &veth.1, &[60, 1000, 1514]);
    // It sends one segment only: others are copied together, and one that does not fit is left.
    let kernel = Kernel::on(&veth.1);
    let sent = ethernet(1400, 77);
    port.send(frame(&pool, &sent, 100));
    assert!(kernel.receive(|got| got == sent).is_some());
    let mut too_long = vec![frame(&pool, &ethernet(60, 78), 60), frame(&pool, &ethernet(4000, 79), 1000)];
    assert_eq!(wire::TxQueue::tx_burst(&mut port.tx, &mut too_long), 1);
    assert_eq!(bytes(&too_long[0]), ethernet(4000, 79));
}

#[test]
fn pcap() {
    let eal = dpdk();
    let pool = pool(&eal, "pcap");
    let folder = tempfile::tempdir().unwrap();
    let devargs = format!("net_pcap0,tx_pcap={}", folder.path().join("out.pcap").display());
    let mut pcap = Running::open(&eal, &devargs, &PortConfig::default(), &pool);
    pcap.send(frame(&pool, &ethernet(60, 1), 60));
}

#[test]
fn null() {
    let eal = dpdk();
    let pool = pool(&eal, "null");
    let mut null = Running::open(&eal, "net_null0", &PortConfig::default(), &pool);
    assert!(null.receive(|frame| frame.len() == 64).is_some());
    null.send(frame(&pool, &ethernet(60, 1), 20));
}

#[test]
fn null_spreads_by_the_key_given() {
    let eal = dpdk();
    let pool = pool(&eal, "rss");
    let port = Port::open(&eal, "net_null1").unwrap();
    let key = std::array::from_fn(|i| i as u8 + 1);
    let config = PortConfig { rx_queues: 3, rss_key: Some(key), ..Default::default() };
    port.configure(&config, std::slice::from_ref(&*pool)).unwrap();
    port.start().unwrap();
    let rss = port.rss().unwrap();
    assert!(rss.reta.iter().enumerate().all(|(entry, queue)| usize::from(*queue) == entry % 3), "{rss:?}");
    assert_eq!(rss.reta.len(), usize::from(port.capabilities().unwrap().reta_size));
}

#[test]
fn ring() {
    let eal = dpdk();
    let pool = pool(&eal, "ring");
    let jumbo = PortConfig { mtu: 9000, ..Default::default() };
    let mut ring = Running::open(&eal, "net_ring0", &jumbo, &pool);
    ring.send(frame(&pool, &ethernet(9014, 1), 2048));
    assert!(ring.receives(&ethernet(9014, 1)));
}

#[test]
fn memif() {
    let eal = dpdk();
    let pool = pool(&eal, "memif");
    let socket = socket("memif");
    let jumbo = PortConfig { mtu: 9000, ..Default::default() };
    let open = |n: u8, role: &str| {
        let socket = socket.display();
        let devargs = format!("net_memif{n},role={role},id=0,socket={socket},socket-abstract=no");
        Running::open(&eal, &devargs, &jumbo, &pool)
    };
    let (mut server, mut client) = (open(0, "server"), open(1, "client"));
    meet(&mut server, &mut client, &pool, &[60, 1514, 9014]);
    assert_eq!(server.port.info().unwrap().mtu, 9000);
}

fn vhost_pair(eal: &Eal, pool: &Pool, n: u8, config: &PortConfig) -> (Running, Running) {
    let socket = socket(&format!("vhost{n}"));
    let queues = config.rx_queues;
    let vhost = format!("net_vhost{n},iface={},queues={queues}", socket.display());
    let vhost = Running::open(eal, &vhost, config, pool);
    let virtio = format!("net_virtio_user{n},path={},queues={queues},mrg_rxbuf=1", socket.display());
    (vhost, Running::open(eal, &virtio, config, pool))
}

#[test]
fn vhost_and_virtio_user() {
    let eal = dpdk();
    let pool = pool(&eal, "vhost");
    let jumbo = PortConfig { mtu: 9000, rx_desc: 256, tx_desc: 256, ..Default::default() };
    let (mut vhost, mut virtio) = vhost_pair(&eal, &pool, 0, &jumbo);
    meet(&mut vhost, &mut virtio, &pool, &[60, 1514, 9014]);
}

#[test]
fn memory_is_given_back() {
    let eal = dpdk();
    let in_use = || eal.heap(0).0 - eal.heap(0).1;
    let use_once = || {
        let pool = pool(&eal, "again");
        let mut null = Running::open(&eal, "net_null5", &PortConfig::default(), &pool);
        null.send(frame(&pool, &ethernet(60, 1), 60));
    };
    // The first port of a process has DPDK make tables for all.
    use_once();
    let before = in_use();
    (0..5).for_each(|_| use_once());
    let after = in_use();
    assert!(after <= before + 4096, "{before} bytes in use before, {after} after");
}
