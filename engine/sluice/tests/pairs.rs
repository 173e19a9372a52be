//! Two routers back to back, each a process of its own, over shared memory: virtio-user with vhost, and memif. One is
//! killed under traffic and started again, several times: the other counts, goes on, and loses no packet buffer,
//! whether it is the one that listens or the one that connects.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod common;

use std::fs;
use std::time::Duration;

use common::net::{Host, Net};
use common::{Router, idle_buffers, succeed, unique, within};
use serde_json::json;

/// How often the second router is killed.
const ROUNDS: usize = 4;

/// ```text
/// host A -- TAP -- stays -- the pair -- dies -- TAP -- host B
///   10.1.0.2     .1     10.2.0.1  10.2.0.2   10.3.0.1   .2
/// ```
struct Pair {
    net: Net,
    queues: u16,
    stays: String,
    dies: String,
    survivor: Survivor,
}

/// Which end of the pair stays.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Survivor {
    Listens,
    /// Its port is closed, and opened again when somebody listens.
    Connects,
}

impl Pair {
    /// Two configurations, of so many workers each, with the devices of the pair.
    fn new(workers: u16, survivor: Survivor, listens: &str, connects: &str) -> Pair {
        let (first, second) = match survivor {
            Survivor::Listens => (listens, connects),
            Survivor::Connects => (connects, listens),
        };
        let cores: Vec<u16> = (0..workers).collect();
        let body = |tap: &str, outer: &str, inner: &str, device: &str, far: &str, via: &str| {
            format!(
                "[workers]\ncores = {cores:?}\npoll = \"adaptive\"\n\
                 [[port]]\nname = \"outer\"\ndevice = \"net_tap0,iface={tap}\"\naddresses = [\"{outer}/24\"]\n\
                 [[port]]\nname = \"inner\"\ndevice = \"{device}\"\naddresses = [\"{inner}/24\"]\n\
                 rx_descriptors = 256\ntx_descriptors = 256\n\
                 [[route]]\nprefix = \"{far}/24\"\nvia = \"{via}\"\n"
            )
        };
        Pair {
            net: Net::new(),
            queues: workers,
            stays: body("ta", "10.1.0.1", "10.2.0.1", first, "10.3.0.0", "10.2.0.2"),
            dies: body("tb", "10.3.0.1", "10.2.0.2", second, "10.1.0.0", "10.2.0.1"),
            survivor,
        }
    }

    /// Starts both, the one that listens first.
    fn start(&self) -> (Router, Router) {
        match self.survivor {
            Survivor::Listens => (self.net.run(&self.stays), self.net.run(&self.dies)),
            Survivor::Connects => {
                let dies = self.net.run(&self.dies);
                (self.net.run(&self.stays), dies)
            }
        }
    }

    /// Has both start, and kills the second again and again.
    fn survives(&self) {
        let (stays, mut dies) = self.start();
        let inner = &stays.ask(&["ports"])[1];
        assert_eq!((&inner["rx_queues"], &inner["tx_queues"]), (&json!(self.queues), &json!(self.queues)));
        let a = self.net.host_on_tap("a", "ta", "10.1.0.2/24", "10.1.0.1");
        self.reach_b(&a);
        let first = idle_buffers(&stays);
        for _ in 0..ROUNDS {
            let traffic = a.shell("exec ping -n -q -f 10.3.0.2");
            receives_more(&stays, 200);
            dies.signal("KILL");
            dies.wait(common::STOP);
            let reason = match self.survivor {
                Survivor::Listens => "tx-full",
                Survivor::Connects => "port-removed",
            };
            let dropped = stays.drops(reason);
            let counts = || stays.drops(reason) > dropped;
            assert!(within(Duration::from_secs(20), counts), "what nobody takes: {}", stays.show(&["drops"]));
            if self.survivor == Survivor::Connects {
                assert!(stays.show(&["ports"]).contains(" waiting "), "{}", stays.show(&["ports"]));
            }
            drop(traffic);
            self.net.delete("b");
            dies = self.net.run(&self.dies);
            self.reach_b(&a);
        }
        let last = idle_buffers(&stays);
        assert!(last <= first + 32, "{first} packet buffers in use before {ROUNDS} deaths, {last} after");
        // Where the two take more than a second to agree, it is opened once more.
        let reopened = stays.ask(&["ports"])[1]["reopened"].as_u64().unwrap();
        let least = if self.survivor == Survivor::Connects { ROUNDS as u64 } else { 0 };
        assert!(reopened >= least, "{reopened}: {}", stays.log());
        stays.stop();
        dies.stop();
    }

    /// A host behind the second router, which answers pings once all neighbours are known.
    fn reach_b(&self, a: &Host) {
        let _b = self.net.host_on_tap("b", "tb", "10.3.0.2/24", "10.3.0.1");
        let answered = || a.try_ping("10.3.0.2").contains("1 received");
        assert!(within(Duration::from_secs(60), answered), "host B does not answer");
        a.flood("10.3.0.2", 300);
    }
}

/// Waits until the router has received `count` more frames at its first port.
#[track_caller]
fn receives_more(router: &Router, count: u64) {
    let received = || router.ask(&["ports"])[0]["rx"].as_u64().unwrap();
    let wanted = received() + count;
    assert!(within(Duration::from_secs(20), || received() >= wanted), "it stands still: {}", router.log());
}

/// A path for the pair's socket.
fn socket() -> String {
    std::env::temp_dir().join(unique(".pair")).display().to_string()
}

fn vhost_and_virtio_user(survivor: Survivor) {
    let path = socket();
    let listens = format!("net_vhost0,iface={path},queues=2");
    let connects = format!("net_virtio_user0,path={path},queues=2,mrg_rxbuf=1");
    Pair::new(2, survivor, &listens, &connects).survives();
}

fn memif(survivor: Survivor) {
    let path = socket();
    let listens = format!("net_memif0,role=server,id=0,socket={path},socket-abstract=no");
    let connects = format!("net_memif0,role=client,id=0,socket={path},socket-abstract=no");
    Pair::new(1, survivor, &listens, &connects).survives();
}

#[test]
fn vhost_survives_virtio_user() {
    vhost_and_virtio_user(Survivor::Listens);
}

#[test]
fn virtio_user_survives_vhost() {
    vhost_and_virtio_user(Survivor::Connects);
}

#[test]
fn memif_survives_its_client() {
    memif(Survivor::Listens);
}

#[test]
fn memif_survives_its_server() {
    memif(Survivor::Connects);
}

const BESIDE_TESTPMD: &str = r#"
[workers]
cores = [0]
poll = "adaptive"
[[port]]
name = "outer"
device = "net_tap0,iface=ta"
addresses = ["10.1.0.1/24"]
[[port]]
name = "inner"
addresses = ["10.2.0.1/24"]
rx_descriptors = 256
tx_descriptors = 256
"#;

/// DPDK's own test program, which answers ARP and pings for any address.
#[test]
fn vhost_survives_testpmd() {
    let (net, path) = (Net::new(), socket());
    let router = net.run(&format!("{BESIDE_TESTPMD}device = \"net_vhost0,iface={path},queues=1\"\n"));
    let a = net.host_on_tap("a", "ta", "10.1.0.2/24", "10.1.0.1");
    // It ends when its standard input does.
    succeed("mkfifo", &format!("{path}.stdin"));
    let script = format!(
        "exec dpdk-testpmd --lcores '(0,1)@0,2@1' --no-pci --in-memory --single-file-segments -m 128 \
         --file-prefix {} --vdev net_virtio_user0,path={path},queues=1 -- \
         --forward-mode=icmpecho --auto-start --total-num-mbufs=2048 <>{path}.stdin",
        unique("")
    );
    let mut buffers = Vec::new();
    for _ in 0..ROUNDS {
        let testpmd = net.router().shell(&script);
        let answered = || a.try_ping("10.2.0.9").contains("1 received");
        assert!(within(Duration::from_secs(60), answered), "testpmd does not answer: {}", router.log());
        a.flood("10.2.0.9", 300);
        let traffic = a.shell("exec ping -n -q -f 10.2.0.9");
        receives_more(&router, 200);
        drop(testpmd);
        receives_more(&router, 50);
        drop(traffic);
        buffers.push(idle_buffers(&router));
    }
    assert!(buffers.iter().all(|&count| count <= buffers[0] + 32), "packet buffers in use: {buffers:?}");
    fs::remove_file(format!("{path}.stdin")).unwrap();
    router.stop();
}
