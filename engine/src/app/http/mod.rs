//! An HTTP/1.1 server of files and pages (RFC 9110, RFC 9112). No byte of them is copied.
//!
//! - [`site`]: what is served, loaded before the workers run; `walk`: the files below a folder.
//! - `connection`: requests in, answers out, in order; what is read, and (`phase`) how long one waits, has
//!   bounds.
//! - `answer`: what a request is answered, and the head of the response, which is written into a frame of
//!   the worker's. The content follows by reference.
//! - [`counters`], and `status`, the page that shows them.

mod answer;
mod connection;
pub mod counters;
mod phase;
pub mod site;
mod status;
mod walk;

use std::collections::VecDeque;
use std::net::SocketAddrV4;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use config::HttpLimits;
use http1::date::HttpDate;
use http1::{HeadPool, Limits};
use tcp::connection::News;
use tcp::shard::ConnectionId;
use wire::{Frame, Instant};

use super::{App, Event, Sockets, StartError};
use connection::{Connection, Fate};
use counters::Counters;
use phase::Patience;
use site::Site;

/// Connections that may wait for this worker to look.
const BACKLOG: u32 = 1024;
/// How often some of the connections are looked at for what takes too long.
const SWEEP_EVERY: Duration = Duration::from_millis(125);
/// Sweeps that pass over all connections.
const SWEEPS: usize = 8;

/// What all connections of a worker share.
struct Desk {
    site: Arc<Site>,
    /// This worker's.
    counters: Arc<Counters>,
    /// All workers', for the status page.
    all_counters: Arc<[Arc<Counters>]>,
    limits: Limits,
    patience: Patience,
    pool: HeadPool,
    date: HttpDate,
    /// Until when that is the date.
    date_until: Instant,
    /// Answers so far: whether there were some.
    answered: u64,
    /// Whether every answer is its connection's last.
    is_stopping: bool,
}

impl Desk {
    fn page(&self) -> status::Page<'_> {
        status::Page(&self.all_counters)
    }

    /// Once a second: reading the clock, and writing a date, take longer than an answer.
    #[inline]
    fn refresh_date(&mut self, now: Instant) {
        if now >= self.date_until {
            self.date = HttpDate::new(SystemTime::now());
            self.date_until = now + Duration::from_secs(1);
        }
    }
}

/// One worker's share of an HTTP server.
pub struct Http<F: Frame> {
    address: SocketAddrV4,
    partial_heads: u32,
    desk: Desk,
    /// At the place that the connection's token says, less one.
    connections: Vec<Option<Connection<F>>>,
    free: Vec<u32>,
    /// Places of connections that wait for a buffer, each once.
    starved: VecDeque<u32>,
    /// When the next sweep is, and where it begins.
    sweep_at: Instant,
    sweep_from: usize,
}

impl<F: Frame> Http<F> {
    /// A server of `site` at `address`. `counters` are those of all workers, `worker` is the number of this
    /// one, of which there are as many.
    pub fn new(
        address: SocketAddrV4,
        limits: &HttpLimits,
        site: Arc<Site>,
        all_counters: Arc<[Arc<Counters>]>,
        worker: usize,
    ) -> Self {
        let seconds = |seconds: u32| Duration::from_secs(seconds.into());
        let desk = Desk {
            site,
            counters: all_counters[worker].clone(),
            all_counters,
            limits: Limits {
                target: limits.target_bytes as usize,
                head: limits.head_bytes as usize,
                body: limits.body_bytes.into(),
            },
            patience: Patience {
                idle: seconds(limits.idle_seconds),
                head: seconds(limits.head_seconds),
                body: seconds(limits.body_seconds),
                stall: seconds(limits.stall_seconds),
                linger: seconds(limits.linger_seconds),
            },
            pool: HeadPool::new(0, 0),
            date: HttpDate::new(SystemTime::UNIX_EPOCH),
            date_until: Instant::ZERO,
            answered: 0,
            is_stopping: false,
        };
        Http {
            address,
            partial_heads: limits.partial_heads,
            desk,
            connections: Vec::new(),
            free: Vec::new(),
            starved: VecDeque::new(),
            sweep_at: Instant::ZERO,
            sweep_from: 0,
        }
    }

    fn accept(&mut self, sockets: &mut Sockets<'_, F>, id: ConnectionId) {
        let connection = Some(Connection::new(id, sockets.now(), &self.desk.patience));
        let place = match self.free.pop() {
            Some(place) => {
                self.connections[place as usize] = connection;
                place
            }
            None => {
                self.connections.push(connection);
                self.connections.len() as u32 - 1
            }
        };
        self.desk.counters.connections.add(1);
        sockets.set_token(id, place + 1);
        sockets.set_nodelay(id, true);
        if self.desk.is_stopping {
            self.with(sockets, place, Connection::serve);
        }
    }

    /// The place of a connection; `None` if it is none of ours any more.
    fn place(&self, sockets: &mut Sockets<'_, F>, id: ConnectionId) -> Option<u32> {
        let place = sockets.token(id).checked_sub(1)?;
        let connection = self.connections.get(place as usize)?.as_ref()?;
        (connection.id == id).then_some(place)
    }

    /// Does something to the connection at a place, and what follows from its fate.
    #[inline]
    fn with(
        &mut self,
        sockets: &mut Sockets<'_, F>,
        place: u32,
        act: impl FnOnce(&mut Connection<F>, &mut Desk, &mut Sockets<'_, F>) -> Fate,
    ) {
        let Some(connection) = &mut self.connections[place as usize] else { return };
        match act(connection, &mut self.desk, sockets) {
            Fate::Open => {}
            Fate::Starved => {
                if !std::mem::replace(&mut connection.is_starved, true) {
                    self.starved.push_back(place);
                }
            }
            Fate::Over => {
                sockets.close(connection.id);
                if let Some(connection) = self.connections[place as usize].take() {
                    if connection.is_starved {
                        self.starved.retain(|waiting| *waiting != place);
                    }
                    connection.end(&mut self.desk);
                    self.free.push(place);
                }
            }
        }
    }

    /// Looks at some connections for what takes too long.
    fn sweep(&mut self, sockets: &mut Sockets<'_, F>) {
        let now = sockets.now();
        let end = (self.sweep_from + self.connections.len() / SWEEPS + 1).min(self.connections.len());
        for place in self.sweep_from..end {
            if self.connections[place].as_ref().is_some_and(|connection| connection.deadline() <= now) {
                self.with(sockets, place as u32, Connection::expire);
            }
        }
        self.sweep_from = if end == self.connections.len() { 0 } else { end };
        self.sweep_at = now + SWEEP_EVERY;
    }

    fn has_connections(&self) -> bool {
        self.connections.len() > self.free.len()
    }
}

impl<F: Frame> App<F> for Http<F> {
    fn start(&mut self, sockets: &mut Sockets<'_, F>) -> Result<(), StartError> {
        let address = self.address;
        sockets.listen(address, BACKLOG).map_err(|error| StartError(format!("http {address}: {error:?}")))?;
        self.desk.pool = HeadPool::new(self.partial_heads, self.desk.limits.head);
        let connections = sockets.tcp.config().connections as usize;
        self.connections.reserve(connections);
        self.free.reserve(connections);
        self.starved.reserve(connections);
        Ok(())
    }

    fn handle_events(&mut self, sockets: &mut Sockets<'_, F>, events: &[Event]) {
        self.desk.refresh_date(sockets.now());
        for event in events {
            match *event {
                Event::Accepted(_, id) => self.accept(sockets, id),
                Event::Connection(id, news) => {
                    let Some(place) = self.place(sockets, id) else { continue };
                    self.with(sockets, place, |connection, desk, sockets| match news.has(News::CLOSED) {
                        true => Fate::Over,
                        false => connection.serve(desk, sockets),
                    });
                }
                Event::Datagrams(_) => {}
            }
        }
    }

    fn stop(&mut self, _: &mut Sockets<'_, F>) {
        self.desk.is_stopping = true;
    }

    fn stop_connection(&mut self, sockets: &mut Sockets<'_, F>, id: ConnectionId) {
        self.desk.refresh_date(sockets.now());
        if let Some(place) = self.place(sockets, id) {
            self.with(sockets, place, Connection::serve);
        }
    }

    fn next_deadline(&self) -> Option<Instant> {
        match () {
            () if !self.starved.is_empty() => Some(Instant::ZERO),
            () if self.has_connections() => Some(self.sweep_at),
            () => None,
        }
    }

    fn poll(&mut self, sockets: &mut Sockets<'_, F>) {
        self.desk.refresh_date(sockets.now());
        // Those that find no buffer again come behind these.
        for _ in 0..self.starved.len() {
            let Some(place) = self.starved.pop_front() else { break };
            self.with(sockets, place, |connection, desk, sockets| {
                connection.is_starved = false;
                connection.serve(desk, sockets)
            });
        }
        if self.has_connections() && sockets.now() >= self.sweep_at {
            self.sweep(sockets);
        }
    }
}
