//! What a load does.

use std::net::{Ipv4Addr, SocketAddrV4};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use super::arrivals::Pace;
use super::mix::Mix;
use crate::chance::Chance;

/// What is to be loaded, and how: by all workers together.
#[derive(Clone, Debug)]
pub struct Workload {
    /// The server. The load begins when it is known.
    pub target: Arc<OnceLock<SocketAddrV4>>,
    /// Our addresses that connections are opened from, in turn; without any, the one that the route starts from.
    pub sources: Box<[Ipv4Addr]>,
    /// What is asked.
    pub mix: Mix,
    /// Connections at a time, at least 1.
    pub connections: u32,
    /// Requests that a connection may owe answers for, at least 1.
    pub pipeline: u32,
    /// Whether each request has a connection of its own; opening it is part of its latency.
    pub close: bool,
    /// When requests start.
    pub pace: Pace,
    /// How long a connection starts nothing after an answer.
    pub think: Think,
    /// In what time connections, and the rate of an open loop, grow from nothing to what they are then.
    pub ramp: Duration,
    /// How long the load runs after that before it counts.
    pub warm_up: Duration,
    /// How long it counts.
    pub duration: Duration,
    /// How long nothing may come on a connection that waits for something; and after the end, how long what is late
    /// may take to start.
    pub timeout: Duration,
    /// Of all that is left to chance.
    pub seed: u64,
}

/// Time between an answer and the next request of a connection.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Think {
    /// None.
    None,
    /// Always the same.
    Constant(Duration),
    /// Exponentially distributed, so long on average.
    Exponential(Duration),
}

impl Think {
    pub(super) fn next(self, chance: &mut Chance) -> Option<Duration> {
        match self {
            Think::None => None,
            Think::Constant(time) => Some(time),
            Think::Exponential(mean) => Some(mean.mul_f64(chance.exponential())),
        }
    }
}

/// Which part of the load is a worker's.
#[derive(Clone, Copy, Debug)]
pub(super) struct Share {
    pub(super) connections: u32,
    /// Of the pace.
    pub(super) part: f64,
    /// What of the distance between two requests has gone by when it begins.
    pub(super) phase: f64,
    /// The worker's number.
    pub(super) worker: u32,
}

impl Share {
    pub(super) fn new(workload: &Workload, worker: u32, workers: u32) -> Share {
        let all = workload.connections;
        let connections = all / workers + u32::from(worker < all % workers);
        // Workers without a connection have no part, and take no place among the others.
        let others = workers.min(all);
        Share {
            connections,
            part: f64::from(connections) / f64::from(all),
            phase: f64::from(worker) / f64::from(others),
            worker,
        }
    }

    /// How many connections are opened in `time` of a ramp; none, if there is no ramp.
    pub(super) fn opened_in(&self, time: Duration, ramp: Duration) -> u32 {
        let part = if ramp.is_zero() { 0.0 } else { time.div_duration_f64(ramp).min(1.0) };
        (f64::from(self.connections) * part) as u32
    }
}
