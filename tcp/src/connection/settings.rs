//! What an application sets of a connection, beyond the configuration that all share.

use std::time::Duration;

use wire::Payload;

use super::{Connection, Cx, Flags, State};
use crate::config::{Config, Keepalive};
use crate::congestion::Algorithm;
use crate::packet::IpFields;

/// What an application sets of a connection. Those of a listener start with what was set of it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Settings {
    /// Small segments are sent at once (no Nagle).
    pub nodelay: bool,
    /// What fills no segment is held back, for 200 ms at most.
    pub cork: bool,
    /// Silence is probed.
    pub keepalive: bool,
    /// How it is probed, in whole seconds below 65,536; zero: as configured.
    pub keepalive_idle: Duration,
    /// Between two probes, likewise.
    pub keepalive_interval: Duration,
    /// Probes without an answer before the end; zero: as configured.
    pub keepalive_probes: u8,
    /// How long data may go unacknowledged (RFC 5482); zero: as configured.
    pub user_timeout: Duration,
    /// The longest wait for the peer's FIN after the application has given the connection up, in whole
    /// seconds below 65,536; zero: as configured.
    pub fin_wait2: Duration,
    /// The MSS that is announced, and none larger is sent; zero: what the interface carries. To be set
    /// before the handshake.
    pub max_segment: u16,
    /// Bytes of the receive buffer, which is not tuned then; zero: as configured, and tuned.
    pub receive_buffer: u32,
    /// Bytes of the send queue; zero: as configured.
    pub send_buffer: u32,
    /// Bytes given but not sent, at which the send queue counts as full; zero: no bound.
    pub unsent_low_water: u32,
    /// Time to live; zero: as configured.
    pub ttl: u8,
    /// The DSCP of our packets, in the upper six bits.
    pub tos: u8,
    /// Our packets may be fragmented.
    pub may_fragment: bool,
    /// Congestion control; none: as configured.
    pub congestion: Option<Algorithm>,
    /// A handshake ends with the peer's first data, and not by its ACK alone until after this time, when the
    /// SYN-ACK asks once more; zero: at once. Of listeners only.
    pub defer_accept: Duration,
}

impl Settings {
    /// The MSS to announce, where the interface carries segments of `limit` bytes.
    pub(crate) fn mss(&self, limit: u16) -> u16 {
        match self.max_segment {
            0 => limit,
            max => max.clamp(Config::MIN_MSS, limit),
        }
    }

    /// The IP header's fields.
    pub(crate) const fn ip(&self, config: &Config) -> IpFields {
        IpFields {
            ttl: if self.ttl == 0 { config.ttl } else { self.ttl },
            tos: self.tos & 0xfc,
            dont_fragment: !self.may_fragment,
        }
    }
}

/// The rest of what is set of one connection, as small as can be: times in seconds; zero: as configured.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) struct Rare {
    pub(super) max_segment: u16,
    keepalive_idle: u16,
    keepalive_interval: u16,
    fin_wait2: u16,
    keepalive_probes: u8,
}

impl Rare {
    pub(super) fn keepalive(&self, config: &Config) -> Keepalive {
        let Keepalive { idle, interval, probes } = config.keepalive;
        Keepalive {
            idle: seconds_or(self.keepalive_idle, idle),
            interval: seconds_or(self.keepalive_interval, interval),
            probes: if self.keepalive_probes == 0 { probes } else { self.keepalive_probes },
        }
    }

    pub(super) fn fin_wait2(&self, config: &Config) -> Duration {
        seconds_or(self.fin_wait2, config.fin_wait2)
    }
}

impl From<&Settings> for Rare {
    fn from(settings: &Settings) -> Self {
        let seconds = |duration: Duration| u16::try_from(duration.as_secs()).unwrap_or(u16::MAX);
        Rare {
            max_segment: settings.max_segment,
            keepalive_idle: seconds(settings.keepalive_idle),
            keepalive_interval: seconds(settings.keepalive_interval),
            fin_wait2: seconds(settings.fin_wait2),
            keepalive_probes: settings.keepalive_probes,
        }
    }
}

fn seconds_or(seconds: u16, default: Duration) -> Duration {
    if seconds == 0 { default } else { Duration::from_secs(seconds.into()) }
}

impl Connection {
    /// Puts settings into effect.
    pub(crate) fn configure<B: Payload>(&mut self, cx: &mut Cx<'_, B>, settings: &Settings) {
        if settings.nodelay != self.flags.has(Flags::NODELAY) {
            self.set_nodelay(settings.nodelay);
        }
        self.set_cork(settings.cork);
        self.set_user_timeout(settings.user_timeout);
        let rare = Rare::from(settings);
        let timers_changed = rare != self.rare;
        self.rare = rare;
        if settings.keepalive != self.flags.has(Flags::KEEPALIVE) || (settings.keepalive && timers_changed) {
            self.set_keepalive(cx, settings.keepalive);
        }
        if timers_changed && self.state == State::FinWait2 {
            self.start_fin_wait2(cx);
        }
        self.send_buffer = settings.send_buffer;
        self.unsent_low_water = settings.unsent_low_water;
        self.ip = settings.ip(cx.config);
        if settings.receive_buffer != 0 {
            self.receiver.set_buffer(cx.receive.limits(), cx.budget, settings.receive_buffer);
        }
        let algorithm = settings.congestion.unwrap_or(cx.config.congestion);
        self.sending.change_algorithm(cx.senders, algorithm);
    }
}
