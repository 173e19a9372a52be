//! Two routers back to back, each a process of its own, over shared memory: virtio-user with vhost, and memif. One is
//! killed under traffic and started again, several times: the other counts, goes on, and loses no packet buffer.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod common;

use std::process::{Command, Stdio};
use std::time::Duration;

use common::net::{Host, Net};
use common::{Home, Router, unique, within};

/// How often the second router is killed.
const ROUNDS: usize = 4;

/// ```text
/// host A -- TAP -- stays -- the pair -- dies -- TAP -- host B
///   10.1.0.2     .1     10.2.0.1  10.2.0.2   10.3.0.1   .2
/// ```
struct Pair {
    net: Net,
    stays: String,
    dies: String,
}

impl Pair {
    /// Two configurations; the pair's devices are `first` and `second`.
    fn new(first: &str, second: &str) -> Pair {
        let body = |core: u16, tap: &str, outer: &str, inner: &str, device: &str, far: &str, via: &str| {
            format!(
                "[workers]\ncores = [{core}]\npoll = \"adaptive\"\n\
                 [[port]]\nname = \"outer\"\ndevice = \"net_tap0,iface={tap}\"\naddresses = [\"{outer}/24\"]\n\
                 [[port]]\nname = \"inner\"\ndevice = \"{device}\"\naddresses = [\"{inner}/24\"]\n\
                 rx_descriptors = 256\ntx_descriptors = 256\n\
                 [[route]]\nprefix = \"{far}/24\"\nvia = \"{via}\"\n"
            )
        };
        Pair {
            net: Net::new(),
            stays: body(0, "ta", "10.1.0.1", "10.2.0.1", first, "10.3.0.0", "10.2.0.2"),
            dies: body(1, "tb", "10.3.0.1", "10.2.0.2", second, "10.1.0.0", "10.2.0.1"),
        }
    }

    fn launch(&self, body: &str) -> Router {
        Home::new().launch(body, Some(self.net.router().name()))
    }

    /// Has both start, which some drivers do only together, and kills the second again and again.
    fn survives(&self) {
        let (mut stays, mut dies) = (self.launch(&self.stays), self.launch(&self.dies));
        stays.wait_until_it_runs();
        dies.wait_until_it_runs();
        let a = self.net.host_on_tap("a", "ta", "10.1.0.2/24", "10.1.0.1");
        self.reach_b(&a);
        let first = idle_buffers(&stays);
        for round in 0..ROUNDS {
            let before = received(&stays, 0);
            let _traffic = a.shell("while :; do ping -n -q -f -c 100000 10.3.0.2 >/dev/null; done");
            assert!(within(Duration::from_secs(20), || received(&stays, 0) > before + 200), "no traffic");
            dies.signal("KILL");
            dies.wait(common::STOP);
            let at_death = received(&stays, 0);
            assert!(
                within(Duration::from_secs(20), || received(&stays, 0) > at_death + 20),
                "it goes on receiving, with nobody to send to: {}",
                stays.log()
            );
            drop(_traffic);
            self.net.delete("b");
            dies = self.launch(&self.dies);
            dies.wait_until_it_runs();
            self.reach_b(&a);
            println!("round {round}: {}", stays.show(&["ports"]));
        }
        let last = idle_buffers(&stays);
        assert!(last <= first + 256, "{first} packet buffers in use before {ROUNDS} deaths, {last} after");
        let end = stays.stop();
        println!("{end}");
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

/// Frames that a port's workers received.
fn received(router: &Router, port: usize) -> u64 {
    router.ask(&["ports"])[port]["rx"].as_u64().unwrap()
}

/// Packet buffers in use once nothing is under way: what is seen three times in a row.
fn idle_buffers(router: &Router) -> u64 {
    let count = || router.ask(&["ports"])[0]["status"]["buffers_in_use"].as_u64().unwrap();
    let (mut last, mut same) = (count(), 0);
    let settled = || {
        std::thread::sleep(Duration::from_millis(100));
        let now = count();
        same = if now == last { same + 1 } else { 0 };
        last = now;
        same == 3
    };
    assert!(within(Duration::from_secs(20), settled), "packet buffers come and go");
    last
}

/// A path for the pair's socket.
fn socket() -> String {
    std::env::temp_dir().join(unique(".pair")).display().to_string()
}

#[test]
fn vhost_survives_virtio_user() {
    let path = socket();
    Pair::new(
        &format!("net_vhost0,iface={path},queues=1"),
        &format!("net_virtio_user0,path={path},queues=1,mrg_rxbuf=1"),
    )
    .survives();
}

#[test]
fn virtio_user_survives_vhost() {
    let path = socket();
    Pair::new(
        &format!("net_virtio_user0,path={path},queues=1,mrg_rxbuf=1,server=1"),
        &format!("net_vhost0,iface={path},queues=1,client=1"),
    )
    .survives();
}

#[test]
fn memif_server_survives_its_client() {
    let path = socket();
    Pair::new(
        &format!("net_memif0,role=server,id=0,socket={path},socket-abstract=no"),
        &format!("net_memif0,role=client,id=0,socket={path},socket-abstract=no"),
    )
    .survives();
}

#[test]
fn memif_client_survives_its_server() {
    let path = socket();
    Pair::new(
        &format!("net_memif0,role=client,id=0,socket={path},socket-abstract=no"),
        &format!("net_memif0,role=server,id=0,socket={path},socket-abstract=no"),
    )
    .survives();
}
