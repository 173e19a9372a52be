//! Looks at what the workers' TCP has: asked for by operators, noted down by the workers.
//!
//! A worker notes some connections at a time, into memory that was made here: it calls no allocator, and a
//! million connections do not make its packets wait.

use std::collections::HashMap;

use tcp::connection::info::Info;
use tcp::shard::Listening;

use super::Control;
use crate::api::{ConnectionReport, ConnectionsReport, ListenerReport, Reply, Request};
use crate::host::Gauge;
use crate::link::{Command, Look};

/// Connections that a worker notes at once.
const ROOM: usize = 256;
/// Listeners of one worker, at most.
const LISTENERS: usize = 1024;

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
    /// With the worker of each.
    connections: Vec<(usize, Info)>,
    listeners: Vec<(usize, Listening)>,
}

impl Control {
    /// Asks the workers what [`handle_request`](Self::handle_request) cannot answer by itself. Gives the
    /// question's number: [`answer`](Self::answer) has the reply, once they have answered.
    pub fn ask_workers(&mut self, request: Request) -> u64 {
        let limit = if let Request::Connections { limit } = request { limit } else { 0 };
        let number = self.looks.next;
        self.looks.next += 1;
        let question = Question {
            request,
            limit,
            waiting: self.workers.len(),
            connections: Vec::new(),
            listeners: Vec::new(),
        };
        for worker in &mut self.workers {
            let listeners = Vec::with_capacity(LISTENERS);
            let connections = Vec::with_capacity(ROOM.min(limit));
            let from = Some(0);
            worker.link.send(Command::Look(Box::new(Look {
                question: number,
                from,
                connections,
                listeners,
            })));
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
        if look.from.is_some() && question.connections.len() < question.limit {
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
        question.connections.truncate(question.limit);
        let count: u64 = self.workers.iter().map(|worker| worker.host.gauge(Gauge::Connections)).sum();
        let report = |(worker, info): &(usize, Info)| connection_report(core(*worker), info);
        let connections: Vec<_> = question.connections.iter().map(report).collect();
        let shown = connections.len();
        // The count is a little old. Where all were seen it is not needed.
        let total = if shown < question.limit { shown as u64 } else { count.max(shown as u64) };
        Reply::Connections(ConnectionsReport { total, connections })
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
