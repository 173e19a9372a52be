//! Load generation: who gets the most out of the same server.

use report::Document;

use crate::Result;
use crate::clients;
use crate::measure::Plan;
use crate::net::{Ends, Net};
use crate::program::Place;
use crate::section::{Section, Trial};
use crate::servers::{self, Folders, PAGE};

const WRK: &str = "wrk";
const AF_PACKET: &str = "sluice load, af_packet";
const AF_XDP: &str = "sluice load, af_xdp";

const ABOUT: &str = "nginx (one worker) on Linux on core 0; `wrk -t1` on Linux, or `sluice load` on a DPDK device, on core 1, over a \
    veth pair: how much each gets out of the same server.";

/// Measures everything.
pub(crate) fn run(plan: &Plan, folders: &Folders) -> Result<(String, Document)> {
    let net = Net::new()?;
    let (server, client) = (
        Place { namespace: Some(&net.server), core: plan.cores.control },
        Place { namespace: Some(&net.client), core: plan.cores.worker },
    );
    let cables =
        [(0, WRK, Ends::Kernel), (1, AF_PACKET, Ends::ClientDevice), (2, AF_XDP, Ends::ClientDevice)];
    for (n, _, ends) in cables {
        net.cable(n, ends)?;
    }
    let _nginx = servers::nginx(folders, server)?;

    let (seconds, time) = (plan.window.as_secs_f64(), format!("{}ms", plan.window.as_millis()));
    let core = client.core.to_string();
    let mut section = Section::begin("Load generation", ABOUT, WRK);
    for (name, close) in
        [("64-byte page, 64 connections kept", false), ("a connection each, 64 at a time", true)]
    {
        let trial = Trial { name, subjects: cables.map(|(_, subject, _)| subject).to_vec() };
        section.rounds(plan.rounds, &trial, |subject| {
            let (n, ..) = cables.into_iter().find(|cable| cable.1 == subject).ok_or("there is none")?;
            let (to, link) = (Net::server_address(n), Net::client_link(n));
            let device = match subject {
                WRK => return clients::wrk(client, to, 64, close, seconds),
                AF_XDP => format!("net_af_xdp0,iface={link}"),
                _ => format!("net_af_packet0,iface={link},blocksz=65536,framecnt=2048"),
            };
            let (address, url) = (format!("{}/24", Net::client_address(n)), format!("http://{to}{PAGE}"));
            let mut more = vec!["--connections", "64", &url];
            if close {
                more.push("--close");
            }
            let words = clients::load(&device, &address, &core, &time, &more);
            clients::sluice(folders, client, &words, Some("completed rate"), seconds)
        })?;
    }
    section.finish([plan.cores.control, plan.cores.worker])
}
