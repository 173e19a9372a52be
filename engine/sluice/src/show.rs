//! `sluice show`: asks a running router over its control socket, and prints what it says.

use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::SystemTime;

use clap::{Args, Subcommand};
use engine::api::{
    DropReport, NeighbourReport, PortReport, PortState, Reply, Request, RouteReport, WorkerReport,
};

mod connection;
mod cycles;
mod pcapng;
mod tcp;

use crate::bench::units::Time;
use crate::router::Router;
use crate::table::table;

/// What to show, of whom, and how.
#[derive(Args)]
pub(crate) struct Show {
    #[command(subcommand)]
    what: What,
    #[command(flatten)]
    router: Router,
    /// As JSON.
    #[arg(long, global = true)]
    json: bool,
}

#[derive(Subcommand)]
enum What {
    /// Ports: driver, link, counters.
    Ports,
    /// Routes: all, or the one that an address takes.
    Routes {
        /// Show only the route that this address takes.
        address: Option<Ipv4Addr>,
        /// At most so many.
        #[arg(long, default_value_t = 1000)]
        limit: usize,
    },
    /// Neighbours: ARP entries and their states.
    Neighbours,
    /// Drops: how many frames were dropped, and why.
    Drops {
        /// Reasons that never occurred, too.
        #[arg(long)]
        all: bool,
    },
    /// Workers: how they spend their time, and their books.
    Workers,
    /// Cycles: where the workers' go, by stage of their loop.
    Cycles {
        /// Only of the time from now on, so long: 500ms, 10s, 5m.
        #[arg(long, value_name = "TIME")]
        over: Option<Time>,
    },
    /// Connections: TCP, with their windows and round-trip times, in pages of 1024.
    Connections {
        /// At most so many.
        #[arg(long, default_value_t = 1000)]
        limit: usize,
    },
    /// Connection: all that one TCP connection tells of itself.
    Connection {
        /// Our end and the peer's, as `show connections` has them: ADDRESS:PORT-ADDRESS:PORT.
        flow: connection::Flow,
        /// The last segments and timers, too.
        #[arg(long)]
        events: bool,
        /// Write the last segments to this file, headers only, for Wireshark and tcpdump.
        #[arg(long, value_name = "FILE")]
        pcapng: Option<PathBuf>,
    },
    /// Listeners: TCP, of each worker.
    Listeners,
    /// TCP: what it has, and what it has counted.
    Tcp {
        /// Counters that are zero, too.
        #[arg(long)]
        all: bool,
    },
    /// HTTP servers: what they have counted.
    Http {
        /// Counters that are zero, too.
        #[arg(long)]
        all: bool,
    },
}

pub(crate) fn show(show: &Show) -> ExitCode {
    let request = match &show.what {
        What::Ports => Request::Ports,
        What::Routes { address, limit } => Request::Routes { address: *address, limit: *limit },
        What::Neighbours => Request::Neighbours,
        What::Drops { .. } => Request::Drops,
        What::Workers => Request::Workers,
        What::Cycles { .. } => Request::Cycles,
        What::Connections { limit } => Request::Connections { limit: *limit, after: None },
        What::Connection { flow, .. } => Request::Connection { local: flow.local, remote: flow.remote },
        What::Listeners => Request::Listeners,
        What::Tcp { .. } => Request::Tcp,
        What::Http { .. } => Request::Http,
    };
    let shown = match show.what {
        What::Cycles { over: Some(Time(time)) } => cycles::over(time, show),
        _ => pages(request, show),
    };
    match shown {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => crate::fail(error),
    }
}

/// Asks, and prints the answer; page by page where there may be many.
fn pages(mut request: Request, show: &Show) -> Result<(), String> {
    loop {
        let (line, reply) = show.router.ask(&request)?;
        print(&line, &reply, show)?;
        match (&mut request, reply) {
            (Request::Connections { limit, after }, Reply::Connections(report)) if report.next.is_some() => {
                *limit = limit.saturating_sub(report.connections.len());
                *after = report.next;
                if *limit == 0 {
                    return Ok(());
                }
            }
            _ => return Ok(()),
        }
    }
}

fn print(line: &str, reply: &Reply, show: &Show) -> Result<(), String> {
    if let (Reply::Connection(detail), What::Connection { pcapng: Some(file), .. }) = (reply, &show.what) {
        pcapng::write(file, detail, SystemTime::now())
            .map_err(|error| format!("{}: {error}", file.display()))?;
    }
    let text = if show.json { line.to_owned() } else { render(reply, &show.what) };
    crate::print(&format!("{}\n", text.trim_end()))
}

fn render(reply: &Reply, what: &What) -> String {
    match reply {
        Reply::Ports(ports) => self::ports(ports),
        Reply::Routes(report) => routes(report),
        Reply::Neighbours(neighbours) => self::neighbours(neighbours),
        Reply::Drops(drops) => self::drops(drops, matches!(what, What::Drops { all: true })),
        Reply::Workers(workers) => self::workers(workers),
        Reply::Cycles(reports) => cycles::render(reports),
        Reply::Connections(report) => tcp::connections(report),
        Reply::Connection(detail) => {
            connection::detail(detail, matches!(what, What::Connection { events: true, .. }))
        }
        Reply::Listeners(listeners) => tcp::listeners(listeners),
        Reply::Tcp(counters) => tcp::counters(counters, matches!(what, What::Tcp { all: true })),
        Reply::Http(counters) => tcp::http(counters, matches!(what, What::Http { all: true })),
        Reply::Done(line) | Reply::Error(line) => line.clone(),
    }
}

pub(crate) fn ports(ports: &[PortReport]) -> String {
    let row = |port: &PortReport| {
        let status = &port.status;
        let speed = status.speed_mbps.map_or_else(String::new, |mbps| format!(" {} Mbit/s", mbps));
        vec![
            port.name.clone(),
            if port.state == PortState::Running { status.driver.clone() } else { "-".into() },
            match port.state {
                PortState::Running if status.link_up => format!("up{speed}"),
                PortState::Running => "down".into(),
                PortState::Removed => "removed".into(),
                PortState::Waiting => "waiting".into(),
            },
            port.mac.clone(),
            port.mtu.to_string(),
            format!("{}/{}", port.rx_queues, port.tx_queues),
            port.rx.to_string(),
            port.tx.to_string(),
            (status.rx_missed + status.rx_nombuf).to_string(),
            (status.rx_errors + status.tx_errors).to_string(),
            format!("{}/{}", status.buffers_in_use, status.buffers),
            port.addresses.join(", "),
        ]
    };
    let heading = [
        "port",
        "driver",
        "link",
        "mac",
        "mtu",
        "queues",
        "rx",
        "tx",
        "missed",
        "errors",
        "buffers",
        "addresses",
    ];
    let in_use = ports.iter().filter(|port| !port.status.offloads.is_empty());
    let offloads =
        in_use.map(|port| format!("\noffloads of {}: {}", port.name, port.status.offloads.join(" ")));
    table(&heading, &[4, 6, 7, 8, 9, 10], ports.iter().map(row)) + &offloads.collect::<String>()
}

fn routes(report: &RouteReport) -> String {
    let rows = report.routes.iter().map(|r| vec![r.prefix.clone(), r.kind.clone(), r.via.join(", ")]);
    let shown = report.routes.len();
    format!("{}\n{shown} of {} routes", table(&["prefix", "kind", "to"], &[], rows), report.total)
}

fn neighbours(neighbours: &[NeighbourReport]) -> String {
    let row = |n: &NeighbourReport| {
        vec![
            n.address.clone(),
            n.interface.clone(),
            n.mac.clone().unwrap_or_else(|| "-".into()),
            n.state.clone(),
            format!("{:.0} s", n.age_seconds),
        ]
    };
    table(&["address", "interface", "mac", "state", "age"], &[4], neighbours.iter().map(row))
}

pub(crate) fn drops(drops: &[DropReport], all: bool) -> String {
    let rows: Vec<_> = drops
        .iter()
        .filter(|drop| all || drop.count > 0)
        .map(|d| {
            vec![d.count.to_string(), d.reason.clone(), d.stage.clone(), d.severity.clone(), d.text.clone()]
        })
        .collect();
    if rows.is_empty() {
        return "nothing was dropped".into();
    }
    table(&["frames", "reason", "stage", "severity", "meaning"], &[0], rows)
}

pub(crate) fn workers(workers: &[WorkerReport]) -> String {
    let row = |(at, worker): (usize, &WorkerReport)| {
        let books = &worker.books;
        vec![
            at.to_string(),
            worker.core.to_string(),
            worker.isa.clone(),
            format!("{:.1} %", worker.idle_share * 100.0),
            format!("{:.1}", worker.nanos_per_frame),
            books.rx.to_string(),
            books.originated.to_string(),
            books.tx.to_string(),
            books.dropped.to_string(),
            books.consumed.to_string(),
            books.held.to_string(),
            format!("{}/{}", books.handed_in, books.handed_out),
        ]
    };
    let heading = [
        "worker",
        "core",
        "isa",
        "idle",
        "ns/frame",
        "rx",
        "originated",
        "tx",
        "dropped",
        "consumed",
        "held",
        "handed in/out",
    ];
    table(&heading, &[0, 1, 3, 4, 5, 6, 7, 8, 9, 10, 11], workers.iter().enumerate().map(row))
}
