//! A process of its own: without hugepages, and from DPDK's start to its end.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod common;

use common::{Pool, Running, bytes, ethernet, frame, pool};
use pmd::{Eal, EalConfig, Error, Huge, HugeTable, LogLevel, Port, PortConfig};
use std::path::Path;
use wire::Frame;

/// The CPUs that the calling thread may run on.
fn cpus() -> Vec<usize> {
    // SAFETY: all zeros are an empty set, and the call writes no more than its size.
    #[expect(unsafe_code, reason = "a system call")]
    unsafe {
        let mut set: libc::cpu_set_t = std::mem::zeroed();
        assert_eq!(libc::sched_getaffinity(0, size_of::<libc::cpu_set_t>(), &raw mut set), 0);
        (0..libc::CPU_SETSIZE as usize).filter(|&cpu| libc::CPU_ISSET(cpu, &set)).collect()
    }
}

#[test]
fn runs_on_plain_pages_and_ends() {
    let prefix = format!("pmd-plain-{}", std::process::id());
    let config = EalConfig {
        program: "pmd-plain".into(),
        huge: Huge::Never,
        memory_mb: Some(128),
        log: LogLevel::Error,
        vdevs: vec!["net_ring0".into(), "net_null0,size=99".into()],
        file_prefix: Some(prefix.clone()),
        ..Default::default()
    };
    let before = cpus();
    let eal = Eal::init(&config).unwrap();
    assert_eq!(cpus(), before, "EAL pins its caller");
    assert!(Eal::version().starts_with("DPDK 2"));
    assert!(eal.args().contains("--no-huge --no-shconf -m 128"), "{}", eal.args());
    assert!(matches!(Eal::init(&config), Err(Error::EalTwice)));

    let pool: Pool = pool(&eal, "plain");
    // Both were made at start, with the arguments given there.
    let mut ring = Running::open(&eal, "net_ring0", &PortConfig::default(), &pool);
    let mut null = Running::open(&eal, "net_null0", &PortConfig::default(), &pool);
    assert_eq!(null.receive(|_| true).unwrap().len(), 99);
    ring.send(frame(&pool, &ethernet(1514, 3), 500));
    let got = ring.receive(|_| true).unwrap();
    assert_eq!(bytes(&got), ethernet(1514, 3));
    let socket = std::env::temp_dir().join(format!("{prefix}.sock"));
    let vhost = format!("net_vhost0,iface={}", socket.display());
    let virtio = format!("net_virtio_user0,path={}", socket.display());
    let mut vhost = Running::open(&eal, &vhost, &PortConfig::default(), &pool);
    let mut virtio = Running::open(&eal, &virtio, &PortConfig::default(), &pool);
    virtio.send(frame(&pool, &ethernet(60, 4), 60));
    assert!(vhost.receives(&ethernet(60, 4)), "memory is shared without hugepages too");
    drop((virtio, vhost));
    assert!(HugeTable::new(&eal, 1 << 20, None).unwrap().len() == 1 << 20);
    assert!(matches!(HugeTable::new(&eal, 1 << 26, None), Err(Error::HugeTable { bytes: 0x1000_0000 })));

    // The environment ends with the last that uses it, in whatever order they go.
    drop(eal);
    drop((ring, got));
    let Running { port, rx, tx } = null;
    drop((port, tx, pool));
    let port: Port = rx.port().clone();
    drop(rx);
    assert!(port.stats().is_ok());
    drop(port);
    for folder in ["/var/run/dpdk", "/tmp/dpdk"] {
        assert!(!Path::new(folder).join(&prefix).exists(), "files are left");
    }
    assert!(matches!(Eal::init(&config), Err(Error::EalTwice)));
}
