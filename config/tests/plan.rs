//! Plans, as they are printed and as they are refused.

use config::{Caps, Config, Machine, Plan, PlanError, TxAssignment};
use insta::assert_snapshot;
use proptest::prelude::*;

fn plan(text: &str, caps: impl Fn(usize) -> Caps) -> Result<Plan, PlanError> {
    let config = Config::from_str("r.toml", text, &Machine { cores: 64 }).expect("it is right");
    Plan::new(&config, caps)
}

const TWO_PORTS: &str = r#"
[[port]]
name = "lan"
device = "0000:01:00.0"
addresses = ["10.0.1.1/24"]
[[port]]
name = "wan"
device = "0000:01:00.1"
"#;

#[test]
fn one_worker() {
    let text = format!("{TWO_PORTS}mtu = 9000\n[workers]\ncores = [2]\n");
    assert_snapshot!(plan(&text, |_| Caps::UNLIMITED).expect("it fits"), @r"
    plan of sluice: 1 worker, busy polling, bursts of 128

    worker  core  receives from  sends by
    0       2     lan:0, wan:0   lan:0, wan:0

    port  receives by      sends by         mtu   device
    lan   1 queue of 1024  1 queue of 1024  1500  0000:01:00.0
    wan   1 queue of 1024  1 queue of 1024  9000  0000:01:00.1

         mbufs  where
          2048  receive descriptors
          2048  transmit descriptors
           768  mempool caches
          2560  bursts under way
             0  rings between workers
          5120  waiting for a neighbour
          6144  waiting for fragments
         19456  in the pool

        memory  what
        44 MiB  packet buffers (huge pages if there are any)
        64 MiB  route table, level 1
        27 MiB  route table, level 2
         1 MiB  adjacencies
       136 MiB  in all
    ");
}

#[test]
fn services_take_buffers_and_memory() {
    let limits = "[limits]\ntcp_connections = 1000000\ntcp_payloads = 20000\n";
    let text = format!("{TWO_PORTS}[workers]\ncores = [2, 3]\n[[service]]\nkind = \"echo\"\n{limits}");
    let plan = plan(&text, |_| Caps::UNLIMITED).expect("it fits");
    assert_eq!((plan.mbufs.sockets, plan.memory.sockets >> 20), (2 * 2 * (20_000 + 1024), 834));
    let printed = plan.to_string();
    assert!(printed.contains("84096  held by TCP and UDP"), "{printed}");
    assert!(printed.contains("MiB  connections, at most") && !printed.contains("files"), "{printed}");
    let printed = plan.with_contents(5 << 20).to_string();
    assert!(printed.contains("     5 MiB  files and pages\n"), "{printed}");
}

#[test]
fn several_workers_and_a_device_with_few_queues() {
    let text = format!("{TWO_PORTS}workers = [1, 2]\n[workers]\ncores = [2, 3, 4]\n[dpdk]\nhuge = \"on\"\n");
    let caps = |port| if port == 0 { Caps::UNLIMITED } else { Caps { rx_queues: 1, tx_queues: 2 } };
    assert_snapshot!(plan(&text, caps).expect("it fits"), @r"
    plan of sluice: 3 workers, busy polling, bursts of 128

    worker  core  receives from  sends by
    0       2     lan:0          lan:0, wan through worker 1
    1       3     lan:1, wan:0   lan:1, wan:0
    2       4     lan:2          lan:2, wan:1

    port  receives by       sends by          mtu   device
    lan   3 queues of 1024  3 queues of 1024  1500  0000:01:00.0
    wan   1 queue of 1024   2 queues of 1024  1500  0000:01:00.1

         mbufs  where
          4096  receive descriptors
          5120  transmit descriptors
          1536  mempool caches
          1536  bursts under way
          6144  rings between workers
          3072  waiting for a neighbour
         12288  waiting for fragments
         33792  in the pool

        memory  what
        77 MiB  packet buffers (huge pages)
        64 MiB  route table, level 1
        27 MiB  route table, level 2
         1 MiB  adjacencies
       168 MiB  in all
    ");
}

#[test]
fn what_does_not_fit() {
    let refused = |text: &str, rx_queues, tx_queues| {
        let caps = Caps { rx_queues, tx_queues };
        plan(&format!("{TWO_PORTS}{text}"), |_| caps).expect_err("it does not fit").to_string()
    };
    assert_snapshot!(refused("rx_queues = 4", 1, 1), @"port `wan` asks for rx_queues = 4, but its device `0000:01:00.1` allows 1: write rx_queues = 1, or leave it out");
    assert_snapshot!(refused("[workers]\ncores = [1]\n[limits]\nmbufs = 1024", 1, 1), @r#"mbufs = 1024 are too few: queues and caches alone hold 4864, and 10496 are counted in all; raise it, or write mbufs = "auto""#);
    assert_snapshot!(refused("[workers]\ncores = [1]\n[dpdk]\nmemory_mb = 64\n[limits]\nmbufs = 100_000", 1, 1), @"memory_mb = 64 is too little: 100000 mbufs alone take 226 MiB");
    assert_snapshot!(refused("[[port]]\nname = \"tap\"\ndevice = \"net_tap0\"\nrx_queues = 2\ntx_queues = 1", 8, 8), @"port `tap`: the driver of `net_tap0` wants as many rx_queues as tx_queues, not 2 and 1");
}

#[test]
fn a_tap_has_as_many_queues_each_way() {
    let text = "[[port]]\nname = \"t\"\ndevice = \"net_tap0\"\nworkers = [0]\n[workers]\ncores = [1, 2]\n";
    let plan = plan(text, |_| Caps::UNLIMITED).expect("it fits");
    assert_eq!((plan.ports[0].rx_queues, plan.ports[0].tx_queues), (1, 1));
    assert_eq!(plan.workers[1].tx, [TxAssignment::HandOver(0)]);
}

proptest! {
    /// Each receive queue is polled once, by a worker that may; each transmit queue is one worker's; and who
    /// hands over does so to a worker that has a queue.
    #[test]
    fn queues_are_given_out_once(
        cores in 1_u16..9, restricted in prop::collection::btree_set(0_u16..9, 1..9), queues in prop::option::of((1_u16..12, 1_u16..12)),
        (rx_most, tx_most) in (1_u16..12, 1_u16..12),
    ) {
        let list: Vec<u16> = (0..cores).collect();
        let mine: Vec<u16> = restricted.into_iter().filter(|worker| *worker < cores).collect();
        let mut text = TWO_PORTS.to_owned();
        if !mine.is_empty() {
            text += &format!("workers = {mine:?}\n");
        }
        let (rx_most, tx_most) = match queues {
            Some((rx, tx)) => {
                text += &format!("rx_queues = {rx}\ntx_queues = {tx}\n");
                (rx_most.max(rx), tx_most.max(tx))
            }
            None => (rx_most, tx_most),
        };
        text += &format!("[workers]\ncores = {list:?}\n");
        let plan = plan(&text, |_| Caps { rx_queues: rx_most, tx_queues: tx_most }).expect("it fits");
        for (at, port) in plan.ports.iter().enumerate() {
            let may = |worker: usize| at == 0 || mine.is_empty() || mine.contains(&(worker as u16));
            let mut polled = Vec::new();
            let mut sent = Vec::new();
            for (worker, tasks) in plan.workers.iter().enumerate() {
                let of_port = tasks.rx.iter().filter(|rx| usize::from(rx.port) == at);
                polled.extend(of_port.inspect(|_| assert!(may(worker))).map(|rx| rx.queue));
                match tasks.tx[at] {
                    TxAssignment::Queue(queue) => sent.push(queue),
                    TxAssignment::HandOver(to) => {
                        let owner = plan.workers[usize::from(to)].tx[at];
                        prop_assert!(matches!(owner, TxAssignment::Queue(_)));
                    }
                }
            }
            polled.sort_unstable();
            sent.sort_unstable();
            prop_assert_eq!(polled, (0..port.rx_queues).collect::<Vec<_>>());
            let used = port.tx_queues.min(cores);
            prop_assert_eq!(sent, (0..used).collect::<Vec<_>>());
        }
        let m = plan.mbufs;
        let sum = m.rx_descriptors + m.tx_descriptors + m.caches + m.bursts + m.rings + m.holds + m.reassembly;
        prop_assert!(m.total >= sum);
    }
}
