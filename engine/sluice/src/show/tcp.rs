//! TCP, as tables.

use engine::api::{ConnectionReport, ConnectionsReport, HttpReport, ListenerReport, TcpReport};

use crate::table::table;

pub(super) fn connections(report: &ConnectionsReport) -> String {
    let row = |c: &ConnectionReport| {
        let millis = |micros: u32| format!("{:.3}", f64::from(micros) / 1000.0);
        vec![
            c.core.to_string(),
            c.local.clone(),
            c.remote.clone(),
            c.state.clone(),
            millis(c.srtt_micros),
            millis(c.rto_micros),
            c.mss.to_string(),
            c.cwnd.to_string(),
            c.send_window.to_string(),
            c.receive_window.to_string(),
            c.in_flight.to_string(),
            c.queued.to_string(),
            c.unread.to_string(),
            c.retransmitted.to_string(),
        ]
    };
    let heading = [
        "core",
        "local",
        "remote",
        "state",
        "rtt ms",
        "rto ms",
        "mss",
        "cwnd",
        "snd wnd",
        "rcv wnd",
        "in flight",
        "queued",
        "unread",
        "resent",
    ];
    let numbers = [0, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13];
    let shown = report.connections.len();
    let text = table(&heading, &numbers, report.connections.iter().map(row));
    format!("{text}\n{shown} of {} connections", report.total)
}

pub(super) fn listeners(listeners: &[ListenerReport]) -> String {
    let row = |l: &ListenerReport| {
        vec![l.core.to_string(), l.address.clone(), l.waiting.to_string(), l.backlog.to_string()]
    };
    table(&["core", "address", "waiting", "backlog"], &[0, 2, 3], listeners.iter().map(row))
}

pub(super) fn counters(counters: &[TcpReport], all: bool) -> String {
    let shown = counters.iter().filter(|counter| all || counter.value > 0);
    let rows: Vec<_> = shown.map(|c| vec![c.value.to_string(), c.name.clone(), c.text.clone()]).collect();
    if rows.is_empty() {
        return "nothing has happened".into();
    }
    table(&["count", "name", "meaning"], &[0], rows)
}

pub(super) fn http(counters: &[HttpReport], all: bool) -> String {
    let shown = counters.iter().filter(|counter| all || counter.value > 0);
    let row = |c: &HttpReport| vec![c.server.clone(), c.value.to_string(), c.name.clone(), c.text.clone()];
    let rows: Vec<_> = shown.map(row).collect();
    if rows.is_empty() {
        return "nothing has happened".into();
    }
    table(&["server", "count", "name", "meaning"], &[1], rows)
}
