//! TCP and HTTP: the kernel's stack and ours serve the kernel's clients, over a cable each.

use std::net::Ipv4Addr;

use report::Document;

use crate::Result;
use crate::clients::{self, Numbers};
use crate::measure::Plan;
use crate::net::{Ends, Net};
use crate::program::{Place, Program, is_installed};
use crate::section::{Section, Trial};
use crate::servers::{self, Folders};

const LINUX: &str = "Linux";
const LINUX_PLAIN: &str = "Linux, no offloads";
const TAP: &str = "sluice, tap";
const AF_PACKET: &str = "sluice, af_packet";
const AF_XDP: &str = "sluice, af_xdp";

const ABOUT: &str = "nginx (one worker) and an epoll echo server on Linux, and `sluice` with both services on a DPDK device, on \
    core 0; the client (wrk -t1, or one on the kernel's sockets that never sleeps with one connection) on core 1, over a veth \
    pair or a TAP. Where the client is the limit, servers look alike.";

/// One column: who serves at the other end of cable `n`.
struct System {
    name: &'static str,
    n: u8,
    /// What is stopped between its turns: what polls.
    polls: Option<Program>,
}

/// Measures everything.
pub(crate) fn run(plan: &Plan, folders: &Folders) -> Result<(String, Document)> {
    let net = Net::new()?;
    let (server, client) = (
        Place { namespace: Some(&net.server), core: plan.cores.control },
        Place { namespace: Some(&net.client), core: plan.cores.worker },
    );
    net.cable(0, Ends::Kernel)?;
    net.cable(1, Ends::KernelWithoutOffloads)?;
    let _nginx = servers::nginx(folders, server)?;
    let _echo = servers::epoll_echo(folders, server)?;
    let mut systems =
        vec![System { name: LINUX, n: 0, polls: None }, System { name: LINUX_PLAIN, n: 1, polls: None }];
    for (n, name) in [(2, AF_PACKET), (3, AF_XDP), (4, TAP)] {
        eprintln!("peers: starting {name}");
        systems.push(System { name, n, polls: Some(start(folders, &net, server, n, name)?) });
    }
    let all: Vec<&'static str> = systems.iter().map(|system| system.name).collect();

    let mut section = Section::begin("TCP and HTTP", ABOUT, LINUX);
    let seconds = plan.window.as_secs_f64();
    let mut measure = |name, subjects: &[&'static str], each: &dyn Fn(Ipv4Addr) -> Result<Numbers>| {
        let trial = Trial { name, subjects: subjects.to_vec() };
        section.rounds(plan.rounds, &trial, |subject| {
            let system = systems.iter().find(|system| system.name == subject).ok_or("there is none")?;
            system.turn(|| each(Net::server_address(system.n)))
        })
    };
    measure("HTTP, 64-byte page, 64 connections kept", &all, &|to| {
        clients::wrk(client, to, 64, false, seconds)
    })?;
    measure("HTTP, a connection each, 64 at a time", &all, &|to| {
        clients::wrk(client, to, 64, true, seconds)
    })?;
    measure("echo of 64 bytes, 1 connection", &all, &|to| clients::echo(folders, client, to, 1, seconds))?;
    measure("echo of 64 bytes, 64 connections", &all, &|to| clients::echo(folders, client, to, 64, seconds))?;
    measure("HTTP, 16 MiB file, 1 connection", &all, &|to| clients::wrk_file(client, to, seconds))?;
    if is_installed("iperf3") {
        measure("iperf3, 1 flow", &[LINUX, LINUX_PLAIN], &|to| {
            clients::iperf3(client, server, to, folders.file("iperf3.log"), seconds)
        })?;
    } else {
        eprintln!("peers: no iperf3, so it is left out: apt-get install -y iperf3");
    }
    section.finish([plan.cores.control, plan.cores.worker])
}

fn start(folders: &Folders, net: &Net, server: Place<'_>, n: u8, name: &str) -> Result<Program> {
    let link = Net::server_link(n);
    let device = match name {
        TAP => format!("net_tap{n},iface={link}"),
        AF_XDP => format!("net_af_xdp{n},iface={link}"),
        _ => format!("net_af_packet{n},iface={link},blocksz=65536,framecnt=2048"),
    };
    if name != TAP {
        net.cable(n, Ends::ServerDevice)?;
    }
    let program = servers::sluice(folders, server, n, &device)?;
    if name == TAP {
        net.tap(n)?;
    }
    program.pause()?;
    Ok(program)
}

impl System {
    /// Does `each` while it runs.
    fn turn(&self, each: impl FnOnce() -> Result<Numbers>) -> Result<Numbers> {
        if let Some(program) = &self.polls {
            program.resume()?;
        }
        let numbers = each();
        if let Some(program) = &self.polls {
            program.pause()?;
        }
        numbers
    }
}
