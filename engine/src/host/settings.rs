//! A worker's TCP and UDP, as the configuration has them.

use std::time::Duration;

use config::Config;
use l2l3::interface::Interfaces;
use l2l3::router::Steering;
use tcp::ports::SourcePorts;
use wire::Instant;

use super::UdpLimits;
use crate::run::Common;

/// What one worker's host part is made with.
pub struct Settings {
    /// TCP's bounds and tunables.
    pub tcp: tcp::Config,
    /// The source ports that bring answers to this worker.
    pub ports: SourcePorts,
    /// UDP's bounds.
    pub udp: UdpLimits,
    /// This worker, and how many there are.
    pub me: u16,
    /// How many workers there are.
    pub workers: u16,
    /// The time now.
    pub now: Instant,
}

impl Settings {
    /// Those of the worker that `steering` names. Without a program to run, the tables are as small as they
    /// can be.
    pub fn new(config: &Config, interfaces: &Interfaces, steering: &Steering, common: &Common) -> Self {
        let limits = &config.limits;
        let most = |limit: u32| if config.has_programs() { limit } else { 1 };
        let payloads = most(limits.tcp_payloads);
        let datagrams = most(limits.udp_datagrams) as usize;
        let seconds = |seconds: u32| Duration::from_secs(seconds.into());
        let mut keepalive = tcp::Config::default().keepalive;
        keepalive.idle = seconds(limits.tcp_keepalive_seconds);
        keepalive.interval = keepalive.interval.min(keepalive.idle);
        let tcp = tcp::Config {
            connections: most(limits.tcp_connections),
            half_open: most(limits.tcp_half_open),
            time_wait: most(limits.tcp_time_wait),
            chunks: payloads,
            // A piece given for sending may be of several segments.
            flights: payloads.saturating_mul(4),
            // As much as so many full Ethernet frames carry: buffers do not grow past what frames there are.
            memory: u64::from(payloads) * 1460,
            mtu: path_mtu(interfaces),
            give_up: seconds(limits.tcp_user_timeout_seconds),
            keepalive,
            secret: common.secret,
            ..tcp::Config::default()
        };
        let range = SourcePorts::DEFAULT_RANGE;
        Settings {
            tcp,
            ports: SourcePorts::new(&common.rss_key, &steering.reta, steering.me, range, common.secret),
            udp: UdpLimits {
                sockets: most(limits.udp_sockets) as usize,
                received: datagrams,
                unsent: datagrams,
                per_socket: datagrams,
            },
            me: steering.me,
            workers: config.workers.cores.len() as u16,
            now: common.now,
        }
    }
}

/// What every interface carries: connections may move from one to another when routes change. Links farther
/// away say so themselves (RFC 1191).
fn path_mtu(interfaces: &Interfaces) -> u16 {
    interfaces.iter().map(|iface| iface.mtu).min().unwrap_or(1500)
}
