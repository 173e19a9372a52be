//! Two processes, a core each, with shared memory (memif) between them: our stack at both ends, and next to it what the
//! same way costs frames that nobody looks at.

use std::cell::Cell;

use report::Document;

use crate::Result;
use crate::clients::{self, REQUESTS};
use crate::measure::Plan;
use crate::net::Net;
use crate::program::Place;
use crate::section::{Section, Trial};
use crate::servers::{self, ECHO, Folders, PAGE};

const SLUICE: &str = "sluice";
const REFLECT: &str = "testpmd macswap";

const ABOUT: &str = "`sluice load` on core 1 and `sluice` on core 0, over memif with 64-byte pages and messages, checksums in \
    software. Next to it raw frames: `sluice bench forward` at 10,000 a second, sent back by `dpdk-testpmd`.";

/// The number of the network.
const N: u8 = 9;

/// Measures everything.
pub(crate) fn run(plan: &Plan, folders: &Folders) -> Result<(String, Document)> {
    let (server, client) = (
        Place { namespace: None, core: plan.cores.control },
        Place { namespace: None, core: plan.cores.worker },
    );
    let seconds = plan.window.as_secs_f64();
    let cables = Cell::new(0);
    let device = |role: &str| {
        let socket = folders.file(&format!("memif{}", cables.get())).display().to_string();
        format!("net_memif0,role={role},socket={socket},socket-abstract=no,bsize=2048,rsize=10")
    };
    let time = format!("{}ms", plan.window.as_millis());
    let (to, address, core) =
        (Net::server_address(N), format!("{}/24", Net::client_address(N)), client.core.to_string());
    let (page, echo) = (format!("http://{to}{PAGE}"), format!("{to}:{ECHO}"));
    let load = |more: &[&str]| {
        // A memif client cannot come again to the same server: each turn has its own, and its own cable.
        cables.set(cables.get() + 1);
        let _server = servers::sluice(folders, server, N, &device("server"))?;
        let own = device("client");
        let words = clients::load(&own, &address, &core, &time, more);
        clients::sluice(folders, client, &words, Some("completed rate"), seconds)
    };
    let mut section = Section::begin("Over shared memory", ABOUT, REFLECT);
    let mut measure = |name, more: &[&str]| {
        let trial = Trial { name, subjects: vec![SLUICE] };
        section.rounds(plan.rounds, &trial, |_| load(more))
    };
    measure("HTTP, 64-byte page, 64 connections kept", &["--connections", "64", &page])?;
    measure("HTTP, the same, 16 requests pipelined", &["--connections", "64", "--pipeline", "16", &page])?;
    measure("HTTP, a connection each, 64 at a time", &["--connections", "64", "--close", &page])?;
    measure("echo of 64 bytes, 64 connections", &["--connections", "64", "--echo", &echo])?;

    let trial = Trial { name: "64 bytes there and back, one under way", subjects: vec![REFLECT, SLUICE] };
    let (tester, dut) = (client.core.to_string(), server.core.to_string());
    section.rounds(plan.rounds, &trial, |subject| {
        let numbers = match subject {
            SLUICE => load(&["--connections", "1", "--echo", &echo])?,
            _ => {
                let words = [
                    "bench",
                    "forward",
                    "--dut",
                    "testpmd:macswap",
                    "--rate",
                    "10k",
                    "--duration",
                    &time,
                    "--core",
                    &tester,
                    "--dut-core",
                    &dut,
                ];
                clients::sluice(folders, client, &words, None, seconds)?
            }
        };
        Ok(numbers.into_iter().filter(|(measure, _)| *measure != REQUESTS).collect())
    })?;
    section.finish([plan.cores.control, plan.cores.worker])
}
