//! The command line of `sluice load`.

use std::net::SocketAddrV4;
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use engine::app::load::{Exchange, Pace, Workload};

use super::Error;
use super::url::Url;
use crate::bench::units::{Rate, Time};
use crate::place::Place;

/// What is loaded, how, and from where.
#[derive(Args)]
#[command(group = clap::ArgGroup::new("server").args(["url", "echo"]).required(true))]
pub(crate) struct Load {
    #[command(flatten)]
    pub(super) place: Place,

    /// What is asked for by GET: http://ADDRESS[:PORT]/PATH
    url: Option<Url>,
    /// An echo server that messages are sent to and come back from, instead.
    #[arg(long, value_name = "ADDRESS:PORT")]
    echo: Option<SocketAddrV4>,
    /// Bytes of a message to an echo server.
    #[arg(long, value_name = "BYTES", default_value_t = 64, value_parser = clap::value_parser!(u32).range(1..=1 << 24))]
    size: u32,

    /// Connections at a time.
    #[arg(short, long, default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    connections: u32,
    /// Requests that a connection may owe answers for.
    #[arg(long, value_name = "REQUESTS", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=1024))]
    pipeline: u32,
    /// A connection for each request; opening it is part of the latency.
    #[arg(long, conflicts_with = "pipeline")]
    close: bool,
    /// Requests a second, all connections together, however slow the answers are (open loop): 5000, 100k. Latency
    /// counts from when a request was meant to start. Without it, each answer starts the next request (closed loop).
    #[arg(long)]
    rate: Option<Rate>,
    /// Requests start at random times, with that rate on average, instead of in equal distances.
    #[arg(long, requires = "rate")]
    poisson: bool,

    /// How long is measured.
    #[arg(short, long, value_name = "TIME", default_value = "10s")]
    duration: Time,
    /// How long the load runs before that.
    #[arg(long, value_name = "TIME", default_value = "1s")]
    pub(super) warmup: Time,
    /// How long nothing may come on a connection that waits for something.
    #[arg(long, value_name = "TIME", default_value = "5s")]
    timeout: Time,
    /// Write the result to this file; `sluice bench report` and `sluice bench diff` read it.
    #[arg(long, value_name = "FILE")]
    pub(super) json: Option<PathBuf>,
}

impl Load {
    /// The load that the command line describes.
    pub(super) fn workload(&self) -> Result<Workload, Error> {
        let (target, exchange) = match (&self.url, self.echo) {
            (Some(url), _) => (url.address, Exchange::get(&url.host, &url.target, self.close)),
            (None, Some(echo)) => (echo, Exchange::echo(self.size as usize)),
            (None, None) => return Err("expected a URL or --echo".into()),
        };
        let (duration, timeout) = (self.duration.0, self.timeout.0);
        if duration < Duration::from_millis(100) || timeout < Duration::from_millis(10) {
            return Err("--duration is at least 100ms, and --timeout 10ms".into());
        }
        Ok(Workload {
            target,
            exchange,
            connections: self.connections,
            pipeline: self.pipeline,
            close: self.close,
            pace: self.pace()?,
            warm_up: self.warmup.0,
            duration,
            timeout,
        })
    }

    fn pace(&self) -> Result<Pace, Error> {
        match self.rate {
            None => Ok(Pace::Closed),
            Some(Rate::Pps(rate)) if (0.001..=1e9).contains(&rate) => {
                Ok(if self.poisson { Pace::Poisson(rate) } else { Pace::Constant(rate) })
            }
            Some(_) => Err("--rate is a number of requests a second, from 0.001 to 1000M".into()),
        }
    }

    /// The bounds that so many connections need, as a configuration file has them.
    pub(super) fn limits(&self) -> String {
        /// What a file that says nothing allows.
        const CONNECTIONS: u32 = 16_384;
        const PAYLOADS: u32 = 8_192;
        /// So few that ports do not run out: who closes first keeps the port for a minute, or until it is one of
        /// those that are forgotten.
        const TIME_WAIT: u32 = 2048;
        let connections = CONNECTIONS.max(self.connections.saturating_mul(2));
        let payloads = PAYLOADS.max(self.connections.saturating_mul(2)).min(4_000_000);
        format!(
            "[limits]\ntcp_connections = {connections}\ntcp_payloads = {payloads}\ntcp_time_wait = {TIME_WAIT}\n"
        )
    }

    /// What is set, by name, as the result has it.
    pub(super) fn parameters(&self) -> Vec<(&'static str, String)> {
        let seconds = |time: Time| format!("{} s", time.0.as_secs_f64());
        let server = match (&self.url, self.echo) {
            (Some(url), _) => format!("http://{}{}", url.host, url.target),
            (None, Some(echo)) => format!("echo {echo}, {} B", self.size),
            (None, None) => String::new(),
        };
        let pace = match self.rate {
            Some(Rate::Pps(rate)) => {
                format!("open loop, {rate} requests/s, {}", if self.poisson { "Poisson" } else { "constant" })
            }
            _ => "closed loop".into(),
        };
        let use_of = match (self.close, self.pipeline) {
            (true, _) => "one for each request".into(),
            (false, 1) => "kept".into(),
            (false, depth) => format!("kept, {depth} requests pipelined"),
        };
        vec![
            ("server", server),
            ("pace", pace),
            ("connections", format!("{}, {use_of}", self.connections)),
            ("duration", seconds(self.duration)),
            ("warm-up", seconds(self.warmup)),
            ("timeout", seconds(self.timeout)),
        ]
    }
}
