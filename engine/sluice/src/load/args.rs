//! The command line of `sluice load`.

use std::net::{Ipv4Addr, SocketAddrV4};
use std::path::PathBuf;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use clap::Args;
use config::{Check, Config, Request};
use engine::app::load::{Exchange, Mix, Pace, Think, Workload};
use engine::net::DNS_PORT;

use super::Error;
use super::url::{Server, Url};
use crate::bench::units::{Rate, Time};
use crate::place::Place;

/// What is loaded, how, and from where.
#[derive(Args)]
#[command(group = clap::ArgGroup::new("server").args(["url", "echo"]).required(true))]
#[command(group = clap::ArgGroup::new("timing").args(["rate", "think"]))]
pub(crate) struct Load {
    #[command(flatten)]
    pub(super) place: Place,

    /// What is asked for by GET: http://HOST[:PORT]/PATH
    url: Option<Url>,
    /// An echo server that messages are sent to and come back from, instead.
    #[arg(long, value_name = "HOST:PORT")]
    echo: Option<Server>,
    /// Bytes of a message to an echo server.
    #[arg(long, value_name = "BYTES", default_value_t = 64, value_parser = clap::value_parser!(u32).range(1..=1 << 24))]
    size: u32,
    /// A file of requests, of which each that starts is one by chance, instead of the URL's path.
    #[arg(long, value_name = "FILE", requires = "url")]
    requests: Option<PathBuf>,
    /// Compare the content of every answer: with that of the first (`first`), or with a hash (`sha256:HEX`).
    #[arg(long, requires = "url", conflicts_with = "requests")]
    check: Option<Check>,
    /// A DNS server to ask for the host's address, in place of those of /etc/resolv.conf; may be given again.
    #[arg(long, value_name = "ADDRESS[:PORT]", value_parser = dns_server)]
    pub(super) dns: Vec<SocketAddrV4>,

    /// Connections at a time.
    #[arg(short, long, default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub(super) connections: u32,
    /// Requests that a connection may owe answers for.
    #[arg(long, value_name = "REQUESTS", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=1024))]
    pipeline: u32,
    /// A connection for each request; opening it is part of the latency.
    #[arg(long, conflicts_with = "pipeline")]
    pub(super) close: bool,
    /// Requests a second, all connections together, however slow the answers are (open loop): 5000, 100k. Latency
    /// counts from when a request was meant to start. Without it, each answer starts the next request (closed loop).
    #[arg(long)]
    rate: Option<Rate>,
    /// How long a connection starts nothing after an answer (closed loop).
    #[arg(long, value_name = "TIME", conflicts_with_all = ["rate", "pipeline"])]
    think: Option<Time>,
    /// Requests start at random times, with that rate or after that time on average (a Poisson process).
    #[arg(long, requires = "timing")]
    poisson: bool,
    /// What is left to chance is the same with the same number.
    #[arg(long, value_name = "NUMBER", default_value_t = 1)]
    seed: u64,

    /// In what time connections and rate grow to what they are then.
    #[arg(long, value_name = "TIME", default_value = "0s")]
    ramp: Time,
    /// Connections a second that are opened at most, before the load is all there: 20k. It makes the ramp longer.
    #[arg(long, value_name = "RATE", conflicts_with = "close")]
    open_rate: Option<Rate>,
    /// How long the load runs after the ramp before it is measured.
    #[arg(long, value_name = "TIME", default_value = "1s")]
    warmup: Time,
    /// How long is measured.
    #[arg(short, long, value_name = "TIME", default_value = "10s")]
    pub(super) duration: Time,
    /// How long nothing may come on a connection that waits for something; and after the end, how long what is late
    /// may take to start.
    #[arg(long, value_name = "TIME", default_value = "5s")]
    timeout: Time,
    /// Write the result to this file; `sluice bench report` and `sluice bench diff` read it.
    #[arg(long, value_name = "FILE")]
    pub(super) json: Option<PathBuf>,
}

fn dns_server(text: &str) -> Result<SocketAddrV4, String> {
    let address = text.parse::<Ipv4Addr>().map(|ip| SocketAddrV4::new(ip, DNS_PORT));
    address.or_else(|_| text.parse()).map_err(|_| "expected ADDRESS[:PORT]".into())
}

impl Load {
    /// What is asked; of an echo server nothing.
    pub(super) fn requests(&self) -> Result<Vec<Request>, Error> {
        match (&self.url, &self.requests) {
            (None, _) => Ok(Vec::new()),
            (Some(url), None) => Ok(vec![Request { check: self.check, ..Request::get(&url.target) }]),
            (Some(_), Some(file)) => {
                let lines = |error: &config::ConfigError| error.one_line().to_string();
                let all =
                    |errors: config::ConfigErrors| errors.iter().map(lines).collect::<Vec<_>>().join("\n");
                Ok(Request::load(file).map_err(all)?)
            }
        }
    }

    /// The load that the command line describes, with these requests, from these addresses. The server's address is
    /// not known yet.
    pub(super) fn workload(&self, requests: &[Request], config: &Config) -> Result<Workload, Error> {
        let (duration, timeout) = (self.duration.0, self.timeout.0);
        if duration < Duration::from_millis(100) || timeout < Duration::from_millis(10) {
            return Err("--duration is at least 100ms, and --timeout 10ms".into());
        }
        Ok(Workload {
            target: Arc::new(OnceLock::new()),
            sources: self.sources(config)?,
            mix: self.mix(requests).ok_or("the requests' weights are too large")?,
            connections: self.connections,
            pipeline: self.pipeline,
            close: self.close,
            pace: self.pace()?,
            think: match self.think {
                None => Think::None,
                Some(Time(time)) if self.poisson => Think::Exponential(time),
                Some(Time(time)) => Think::Constant(time),
            },
            ramp: self.ramp()?,
            warm_up: self.warmup.0,
            duration,
            timeout,
            seed: self.seed,
        })
    }

    fn mix(&self, requests: &[Request]) -> Option<Mix> {
        let Some(url) = &self.url else { return Some(Exchange::echo(self.size as usize).into()) };
        let exchange = |request: &Request| (request.weight, Exchange::http(request, &url.host, self.close));
        Mix::new(requests.iter().map(exchange).collect())
    }

    /// The addresses that connections are opened from in turn, if there is more than one. All must find a port.
    fn sources(&self, config: &Config) -> Result<Box<[Ipv4Addr]>, Error> {
        /// Ports from 32768 on.
        const PORTS: u32 = 1 << 15;
        let addresses = config.interfaces.iter().flat_map(|interface| &interface.addresses);
        let sources: Box<[Ipv4Addr]> = addresses.map(|address| address.addr).collect();
        let needed = self.connections.div_ceil(PORTS) as usize;
        if sources.len() < needed {
            return Err(format!(
                "{} connections to one server need {needed} addresses, for each has {PORTS} ports: give --address \
                 a range, as in 10.0.0.2-10.0.0.{}/24",
                self.connections,
                needed + 1
            )
            .into());
        }
        Ok(if sources.len() > 1 { sources } else { Box::default() })
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

    /// The ramp, as long as the rate makes it at which connections are opened.
    fn ramp(&self) -> Result<Duration, Error> {
        match self.open_rate {
            None => Ok(self.ramp.0),
            Some(Rate::Pps(rate)) if (1.0..=1e9).contains(&rate) => {
                Ok(self.ramp.0.max(Duration::from_secs_f64(f64::from(self.connections) / rate)))
            }
            Some(_) => Err("--open-rate is a number of connections a second, from 1 to 1000M".into()),
        }
    }

    /// How long nothing is measured.
    pub(super) fn before(&self) -> Result<Duration, Error> {
        Ok(self.ramp()? + self.warmup.0)
    }

    /// The bounds that so many connections need, as a configuration file has them.
    pub(super) fn limits(&self) -> String {
        /// What a file that says nothing allows.
        const CONNECTIONS: u32 = 16_384;
        /// Of those that answer at the same time; connections wait for each other past that.
        const PAYLOADS: std::ops::RangeInclusive<u32> = 8_192..=65_536;
        /// So few that ports do not run out: who closes first keeps the port for a minute, or until it is one of
        /// those that are forgotten.
        const TIME_WAIT: u32 = 2048;
        // Those that close take a place beside those that open.
        let spare = if self.close { self.connections } else { self.connections / 16 };
        let connections = CONNECTIONS.max(self.connections + spare);
        let payloads = (2 * self.connections).clamp(*PAYLOADS.start(), *PAYLOADS.end());
        format!(
            "[limits]\ntcp_connections = {connections}\ntcp_payloads = {payloads}\ntcp_time_wait = {TIME_WAIT}\n"
        )
    }

    /// The server.
    pub(super) fn server(&self) -> Result<&Server, Error> {
        let server = self.url.as_ref().map(|url| &url.server).or(self.echo.as_ref());
        server.ok_or_else(|| "expected a URL or --echo".into())
    }

    /// What is set, by name, as the result has it.
    pub(super) fn parameters(&self, workload: &Workload) -> Vec<(&'static str, String)> {
        let seconds = |time: Duration| format!("{} s", time.as_secs_f64());
        let server = match (&self.url, &self.requests, &self.echo) {
            (Some(url), None, _) => format!("http://{}{}", url.host, url.target),
            (Some(url), Some(file), _) => format!("http://{}, requests of {}", url.host, file.display()),
            (None, _, Some(echo)) => format!("echo {echo}, {} B", self.size),
            (None, _, None) => String::new(),
        };
        let how = if self.poisson { "Poisson" } else { "constant" };
        let pace = match (self.rate, self.think) {
            (Some(Rate::Pps(rate)), _) => format!("open loop, {rate} requests/s, {how}"),
            (_, Some(Time(time))) => format!("closed loop, {} between requests, {how}", seconds(time)),
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
            ("source addresses", workload.sources.len().max(1).to_string()),
            ("ramp", seconds(workload.ramp)),
            ("warm-up", seconds(workload.warm_up)),
            ("duration", seconds(workload.duration)),
            ("timeout", seconds(workload.timeout)),
            ("seed", self.seed.to_string()),
        ]
    }
}
