//! Looks at what the workers' TCP has: asked for by operators, noted down by the workers.
//!
//! A worker notes some connections at a time, into memory that was made here: it calls no allocator, and a
//! million connections do not make its packets wait.

use std::collections::HashMap;

use tcp::connection::info::Info;
use tcp::shard::Listening;
use tcp::trace::Event;
use wire::Instant;

use super::Control;
use crate::api::{
    ConnectionDetail, ConnectionReport, ConnectionsReport, EventReport, ListenerReport, Place, Reply, Request,
};
use crate::host::Gauge;
use crate::link::{Command, Look};

/// Connections that a worker notes at once.
const ROOM: usize = 256;
/// Listeners of one worker, at most.
const LISTENERS: usize = 1024;
/// Events of one connection, at most.
const EVENTS: usize = 64;

/// Questions under way.
#[derive(Default)]
pub(super) struct Looks {
    next: u64,
    open: HashMap<u64, Question>,
}

struct Question {
    request: Request,
    /// Connections that are wanted.
    limit: usize,
    /// Workers that have more to say.
    waiting: usize,
    /// Where the next page of connections begins. Workers are asked for them one after the other.
    next: Option<Place>,
    /// With the worker of each.
    connections: Vec<(usize, Info)>,
    listeners: Vec<(usize, Listening)>,
    /// Of the one connection that was asked for, newest first, as seen at `at`.
    events: Vec<Event>,
    at: Instant,
}

impl Control {
    /// Asks the workers what [`handle_request`](Self::handle_request) cannot answer by itself. Gives the
    /// question's number: [`answer`](Self::answer) has the reply, once they have answered.
    pub fn ask_workers(&mut self, request: Request) -> u64 {
        let (limit, of, next) = match request {
            Request::Connections { limit, after } => {
                let start = after.unwrap_or(Place { worker: 0, slot: 0 });
                (limit.min(ConnectionsReport::PAGE), None, Some(start))
            }
            Request::Connection { local, remote } => (1, Some((local, remote)), None),
            _ => (0, None, None),
        };
        let number = self.looks.next;
        self.looks.next += 1;
        let mut question = Question {
            request,
            limit,
            waiting: 0,
            next,
            connections: Vec::new(),
            listeners: Vec::new(),
            events: Vec::new(),
            at: Instant::ZERO,
        };
        let asked = match next {
            Some(place) => place.worker..(place.worker + 1).min(self.workers.len()),
            None => 0..self.workers.len(),
        };
        question.waiting = asked.len();
        for worker in asked {
            let look = Look {
                question: number,
                from: Some(next.map_or(0, |place| place.slot)),
                connections: Vec::with_capacity(ROOM.min(limit)),
                listeners: Vec::with_capacity(LISTENERS),
                of,
                events: Vec::with_capacity(if of.is_some() { EVENTS } else { 0 }),
                at: Instant::ZERO,
            };
            self.workers[worker].link.send(Command::Look(Box::new(look)));
        }
        self.looks.open.insert(number, question);
        number
    }

    /// The reply to a question, if all workers have answered.
    pub fn answer(&mut self, question: u64) -> Option<Reply> {
        if self.looks.open.get(&question)?.waiting > 0 {
            return None;
        }
        self.looks.open.remove(&question).map(|question| self.reply(question))
    }

    /// Gives a question up.
    pub fn forget(&mut self, question: u64) {
        self.looks.open.remove(&question);
    }

    pub(super) fn take_look(&mut self, worker: usize, mut look: Box<Look>) {
        let Some(question) = self.looks.open.get_mut(&look.question) else { return };
        question.connections.extend(look.connections.drain(..).map(|info| (worker, info)));
        question.listeners.extend(look.listeners.drain(..).map(|listening| (worker, listening)));
        if !look.events.is_empty() {
            (question.events, question.at) = (std::mem::take(&mut look.events), look.at);
        }
        let mut worker = worker;
        if let Some(place) = &mut question.next {
            // A worker that has no more is followed by the next.
            if look.from.is_none() {
                (worker, look.from) = (worker + 1, Some(0));
            }
            *place = Place { worker, slot: look.from.unwrap_or(0) };
            if worker == self.workers.len() {
                question.next = None;
            }
        }
        let left = question.limit.saturating_sub(question.connections.len());
        if question.next.is_some() && left > 0 {
            look.connections = Vec::with_capacity(ROOM.min(left));
            self.workers[worker].link.send(Command::Look(look));
        } else {
            question.waiting -= 1;
        }
    }

    fn reply(&self, mut question: Question) -> Reply {
        let core = |worker: usize| self.workers[worker].core;
        if question.request == Request::Listeners {
            question.listeners.sort_unstable_by_key(|(worker, listening)| (listening.address, *worker));
            let report = |(worker, listening): &(usize, Listening)| ListenerReport {
                core: core(*worker),
                address: listening.address.to_string(),
                backlog: listening.backlog,
                waiting: listening.waiting,
            };
            return Reply::Listeners(question.listeners.iter().map(report).collect());
        }
        if let Request::Connection { .. } = question.request {
            return match question.connections.first() {
                Some((worker, info)) => Reply::Connection(Box::new(detail(core(*worker), info, &question))),
                None => Reply::Error("there is no such connection, or no more".into()),
            };
        }
        let count: u64 = self.workers.iter().map(|worker| worker.host.gauge(Gauge::Connections)).sum();
        let report = |(worker, info): &(usize, Info)| connection_report(core(*worker), info);
        let connections: Vec<_> = question.connections.iter().map(report).collect();
        let shown = connections.len();
        // The count is a little old. Where all were seen it is not needed.
        let all =
            question.next.is_none() && matches!(question.request, Request::Connections { after: None, .. });
        let total = if all { shown as u64 } else { count.max(shown as u64) };
        Reply::Connections(ConnectionsReport { total, connections, next: question.next })
    }
}

fn connection_report(core: u16, info: &Info) -> ConnectionReport {
    ConnectionReport {
        core,
        local: info.local.to_string(),
        remote: info.remote.to_string(),
        state: info.state.name().into(),
        mss: info.mss,
        srtt_micros: info.srtt,
        rto_micros: info.rto,
        cwnd: info.cwnd,
        send_window: info.snd_wnd,
        receive_window: info.rcv_wnd,
        in_flight: info.in_flight,
        queued: info.queued,
        unread: info.unread,
        retransmitted: info.retransmitted,
    }
}

fn detail(core: u16, info: &Info, question: &Question) -> ConnectionDetail {
    let agreed =
        [("timestamps", info.timestamps), ("sack", info.sack), ("ecn", info.ecn), ("wscale", info.wscale)];
    ConnectionDetail {
        report: connection_report(core, info),
        options: agreed.into_iter().filter(|(_, on)| *on).map(|(name, _)| name.into()).collect(),
        snd_wscale: info.scales.0,
        rcv_wscale: info.scales.1,
        peer_mss: info.peer_mss,
        rcv_mss: info.rcv_mss,
        rttvar_micros: info.rttvar,
        min_rtt_micros: info.min_rtt,
        backoff: info.backoffs,
        congestion: info.congestion.name().into(),
        ssthresh: info.ssthresh,
        sacked: info.sacked,
        lost: info.lost,
        in_recovery: info.in_recovery,
        reordering: info.reordering,
        notsent: info.unsent,
        room: info.room,
        peer_closed: info.peer_closed,
        shut: info.shut,
        nodelay: info.nodelay,
        keepalive: info.keepalive,
        soft_error: info.soft_error.map(|error| format!("{error:?}")),
        events: question.events.iter().rev().map(|event| event_report(question.at, event)).collect(),
    }
}

fn event_report(at: Instant, event: &Event) -> EventReport {
    EventReport {
        nanos_ago: at.since(event.at).as_nanos() as u64,
        what: event.what.name().into(),
        seq: event.seq.get(),
        ack: event.ack.get(),
        len: event.len,
        flags: event.flags.0,
        window: event.window,
        cwnd: event.cwnd,
    }
}
