//! One TCP connection, as text.

use std::net::SocketAddrV4;
use std::str::FromStr;

use engine::api::{ConnectionDetail, EventReport};
use wire::TcpFlags;

use crate::table::table;

/// A connection, as `show connections` names it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Flow {
    pub(super) local: SocketAddrV4,
    pub(super) remote: SocketAddrV4,
}

impl FromStr for Flow {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let ends = text.split_once('-').and_then(|(local, remote)| {
            Some(Flow { local: local.parse().ok()?, remote: remote.parse().ok()? })
        });
        ends.ok_or_else(|| "a connection is written 10.0.0.2:7-10.0.0.1:40000, our end first".into())
    }
}

pub(super) fn detail(c: &ConnectionDetail, events: bool) -> String {
    let report = &c.report;
    let millis = |micros: u32| format!("{:.3} ms", f64::from(micros) / 1000.0);
    let yes = |on: bool| if on { "yes" } else { "no" }.to_owned();
    let options = if c.options.is_empty() { "none".into() } else { c.options.join(", ") };
    let rows = [
        ("local", report.local.clone()),
        ("remote", report.remote.clone()),
        ("core", report.core.to_string()),
        ("state", report.state.clone()),
        ("options", options),
        ("wscale", format!("{} of the peer, {} of ours", c.snd_wscale, c.rcv_wscale)),
        ("mss", format!("{} (the peer's: {}, received of late: {})", report.mss, c.peer_mss, c.rcv_mss)),
        ("rtt", format!("{} +- {}", millis(report.srtt_micros), millis(c.rttvar_micros))),
        ("min rtt", millis(c.min_rtt_micros)),
        ("rto", format!("{}, {} timeouts in a row", millis(report.rto_micros), c.backoff)),
        ("congestion", c.congestion.clone()),
        ("cwnd", report.cwnd.to_string()),
        ("ssthresh", if c.ssthresh == u32::MAX { "-".into() } else { c.ssthresh.to_string() }),
        ("send window", report.send_window.to_string()),
        ("receive window", report.receive_window.to_string()),
        ("in flight", format!("{}, of which {} sacked, {} lost", report.in_flight, c.sacked, c.lost)),
        ("queued", format!("{}, of which {} never sent", report.queued, c.notsent)),
        ("room", c.room.to_string()),
        ("unread", report.unread.to_string()),
        ("resent", format!("{} segments", report.retransmitted)),
        ("in recovery", yes(c.in_recovery)),
        ("reordering", yes(c.reordering)),
        ("closed", format!("by the peer: {}, by us: {}", yes(c.peer_closed), yes(c.shut))),
        ("nodelay", yes(c.nodelay)),
        ("keepalive", yes(c.keepalive)),
        ("soft error", c.soft_error.clone().unwrap_or_else(|| "none".into())),
    ];
    let rows = rows.into_iter().map(|(name, value)| vec![name.to_owned(), value]);
    let text = table(&["what", "value"], &[], rows);
    if !events {
        return text;
    }
    let heading = ["ago", "event", "flags", "seq", "ack", "len", "window", "cwnd"];
    format!("{text}\n\n{}", table(&heading, &[0, 3, 4, 5, 6, 7], c.events.iter().map(event)))
}

fn event(event: &EventReport) -> Vec<String> {
    vec![
        format!("{:.6} s", event.nanos_ago as f64 / 1e9),
        event.what.clone(),
        flags(event.flags),
        event.seq.to_string(),
        event.ack.to_string(),
        event.len.to_string(),
        event.window.to_string(),
        if event.cwnd == 0 { "-".into() } else { event.cwnd.to_string() },
    ]
}

/// The flags by their names, `SYN ACK`.
fn flags(bits: u8) -> String {
    const NAMES: [(TcpFlags, &str); 8] = [
        (TcpFlags::SYN, "SYN"),
        (TcpFlags::FIN, "FIN"),
        (TcpFlags::RST, "RST"),
        (TcpFlags::PSH, "PSH"),
        (TcpFlags::ACK, "ACK"),
        (TcpFlags::URG, "URG"),
        (TcpFlags::ECE, "ECE"),
        (TcpFlags::CWR, "CWR"),
    ];
    let on: Vec<_> =
        NAMES.iter().filter(|(flag, _)| TcpFlags(bits).contains(*flag)).map(|(_, n)| *n).collect();
    on.join(" ")
}
