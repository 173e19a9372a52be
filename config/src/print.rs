//! The plan as a table, for people.

use std::fmt;

use crate::model::{Huge, Poll};
use crate::plan::{MbufPlan, MemoryPlan, Plan, PortPlan, TxAssignment, WorkerPlan};

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let poll = match self.poll {
            Poll::Busy => "busy",
            Poll::Adaptive => "adaptive",
        };
        let plural = if self.workers.len() == 1 { "" } else { "s" };
        let workers = self.workers.len();
        writeln!(
            f,
            "plan of {}: {workers} worker{plural}, {poll} polling, bursts of {}",
            self.name, self.burst
        )?;
        writeln!(f)?;
        let rows =
            self.workers.iter().enumerate().map(|(at, worker)| worker_row(at, worker, &self.ports)).collect();
        table(f, ["worker", "core", "receives from", "sends by"], rows)?;
        writeln!(f)?;
        table(
            f,
            ["port", "receives by", "sends by", "mtu", "device"],
            self.ports.iter().map(port_row).collect(),
        )?;
        writeln!(f)?;
        table(f, ["     mbufs", "where"], mbuf_rows(&self.mbufs))?;
        writeln!(f)?;
        table(f, ["    memory", "what"], memory_rows(&self.memory))
    }
}

fn worker_row(at: usize, worker: &WorkerPlan, ports: &[PortPlan]) -> [String; 4] {
    let name = |port: usize| ports.get(port).map_or("?", |port| &port.name);
    let rx = worker.rx.iter().map(|rx| format!("{}:{}", name(usize::from(rx.port)), rx.queue));
    let tx = worker.tx.iter().enumerate().map(|(port, tx)| match tx {
        TxAssignment::Queue(queue) => format!("{}:{queue}", name(port)),
        TxAssignment::HandOver(owner) => format!("{} through worker {owner}", name(port)),
    });
    [at.to_string(), worker.core.to_string(), list(rx), list(tx)]
}

fn list(items: impl Iterator<Item = String>) -> String {
    let items: Vec<String> = items.collect();
    if items.is_empty() { "-".to_owned() } else { items.join(", ") }
}

fn port_row(port: &PortPlan) -> [String; 5] {
    let queues = |count: u16, descriptors: u16| {
        let plural = if count == 1 { "" } else { "s" };
        format!("{count} queue{plural} of {descriptors}")
    };
    [
        port.name.clone(),
        queues(port.rx_queues, port.rx_descriptors),
        queues(port.tx_queues, port.tx_descriptors),
        port.mtu.to_string(),
        port.device.clone(),
    ]
}

fn mbuf_rows(mbufs: &MbufPlan) -> Vec<[String; 2]> {
    let row = |count: u32, what: &str| [format!("{count:>10}"), what.to_owned()];
    let sockets = (mbufs.sockets > 0).then_some((mbufs.sockets, "held by TCP and UDP"));
    let parts = [
        (mbufs.rx_descriptors, "receive descriptors"),
        (mbufs.tx_descriptors, "transmit descriptors"),
        (mbufs.caches, "mempool caches"),
        (mbufs.bursts, "bursts under way"),
        (mbufs.rings, "rings between workers"),
        (mbufs.holds, "waiting for a neighbour"),
        (mbufs.reassembly, "waiting for fragments"),
    ];
    let parts = parts.into_iter().chain(sockets).chain([(mbufs.total, "in the pool")]);
    parts.map(|(count, what)| row(count, what)).collect()
}

fn memory_rows(memory: &MemoryPlan) -> Vec<[String; 2]> {
    let pages = match memory.huge {
        Huge::Auto => "packet buffers (huge pages if there are any)",
        Huge::On => "packet buffers (huge pages)",
        Huge::Off => "packet buffers (no huge pages)",
    };
    let row = |bytes: u64, what: &str| [format!("{:>6} MiB", bytes.div_ceil(1 << 20)), what.to_owned()];
    let all = memory.mbuf_pool
        + memory.route_level1
        + memory.route_level2
        + memory.contents
        + memory.adjacencies
        + memory.sockets;
    let contents = (memory.contents > 0).then(|| row(memory.contents, "files and pages"));
    let sockets = (memory.sockets > 0).then(|| row(memory.sockets, "connections, at most"));
    let rows = [
        row(memory.mbuf_pool, pages),
        row(memory.route_level1, "route table, level 1"),
        row(memory.route_level2, "route table, level 2"),
        row(memory.adjacencies, "adjacencies"),
    ];
    rows.into_iter().chain(contents).chain(sockets).chain([row(all, "in all")]).collect()
}

/// Prints rows under their heads, each column as wide as its widest cell.
fn table<const N: usize>(
    f: &mut fmt::Formatter<'_>,
    heads: [&str; N],
    rows: Vec<[String; N]>,
) -> fmt::Result {
    let width = |at: usize| {
        let cells = rows.iter().map(|row| row[at].chars().count());
        cells.chain([heads[at].len()]).max().unwrap_or(0)
    };
    let widths: [usize; N] = std::array::from_fn(width);
    let mut line = |cells: [&str; N]| {
        let padded: Vec<String> =
            cells.iter().zip(widths).map(|(cell, width)| format!("{cell:width$}")).collect();
        writeln!(f, "{}", padded.join("  ").trim_end())
    };
    line(heads)?;
    rows.iter().try_for_each(|row| line(std::array::from_fn(|at| row[at].as_str())))
}
