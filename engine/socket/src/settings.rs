//! Socket options: a table of what `setsockopt` takes and `getsockopt` gives.

use std::ops::RangeInclusive;
use std::time::Duration;

use libc::c_int;
use tcp::congestion::Algorithm;

use crate::errno::{Errno, Result};

/// What a socket's owner has set. A connection that is accepted gets its listener's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Settings {
    /// `TCP_NODELAY`: no Nagle.
    pub(crate) nodelay: bool,
    /// `TCP_CORK`: only full segments.
    pub(crate) cork: bool,
    /// `TCP_USER_TIMEOUT`; zero: the stack's own bound.
    pub(crate) user_timeout: Duration,
    /// `TCP_MAXSEG`; zero: what the path gives.
    pub(crate) max_segment: u16,
    /// `TCP_LINGER2`: the longest stay in FIN-WAIT-2 without an owner; `None`: the stack's own bound.
    pub(crate) fin_wait: Option<Duration>,
    /// `TCP_DEFER_ACCEPT`: a connection is handed out when it has data, or after this.
    pub(crate) defer_accept: Duration,
    /// `TCP_CONGESTION`.
    pub(crate) algorithm: Algorithm,
    /// `TCP_NOTSENT_LOWAT` in bytes; zero: no bound.
    pub(crate) unsent_low_water: u32,
    /// `SO_KEEPALIVE`.
    pub(crate) keepalive: bool,
    /// `TCP_KEEPIDLE`.
    pub(crate) keepalive_idle: Duration,
    /// `TCP_KEEPINTVL`.
    pub(crate) keepalive_interval: Duration,
    /// `TCP_KEEPCNT`.
    pub(crate) keepalive_count: u8,
    /// `SO_LINGER`: how long `close` waits for the peer's acknowledgement; zero: reset.
    pub(crate) linger: Option<Duration>,
    /// `SO_RCVBUF` in bytes; zero: tuned by the stack.
    pub(crate) receive_buffer: u32,
    /// `SO_SNDBUF` in bytes; zero: tuned by the stack.
    pub(crate) send_buffer: u32,
    /// `SO_RCVTIMEO`.
    pub(crate) receive_timeout: Option<Duration>,
    /// `SO_SNDTIMEO`.
    pub(crate) send_timeout: Option<Duration>,
    /// `SO_REUSEADDR`.
    pub(crate) reuse_address: bool,
    /// `SO_REUSEPORT`.
    pub(crate) reuse_port: bool,
    /// `IP_TTL`.
    pub(crate) ttl: u8,
    /// `IP_MTU_DISCOVER`: packets must not be fragmented.
    pub(crate) dont_fragment: bool,
    /// `IP_TOS`; of its two ECN bits TCP makes no use.
    pub(crate) tos: u8,
}

impl Default for Settings {
    fn default() -> Self {
        Settings {
            nodelay: false,
            cork: false,
            user_timeout: Duration::ZERO,
            max_segment: 0,
            fin_wait: None,
            defer_accept: Duration::ZERO,
            algorithm: Algorithm::Cubic,
            unsent_low_water: 0,
            keepalive: false,
            keepalive_idle: Duration::from_secs(7200),
            keepalive_interval: Duration::from_secs(75),
            keepalive_count: 9,
            linger: None,
            receive_buffer: 0,
            send_buffer: 0,
            receive_timeout: None,
            send_timeout: None,
            reuse_address: false,
            reuse_port: false,
            ttl: 64,
            dont_fragment: true,
            tos: 0,
        }
    }
}

impl Settings {
    /// Sets an option. Fails with `ENOPROTOOPT` if there is none of that number, with `EINVAL` if the
    /// value is short or out of range, with `ENOENT` for an unknown congestion control.
    pub(crate) fn set(&mut self, level: c_int, name: c_int, value: &[u8]) -> Result<()> {
        match level {
            libc::IPPROTO_TCP => self.set_tcp(name, value),
            libc::SOL_SOCKET => self.set_socket(name, value),
            libc::IPPROTO_IP => self.set_ip(name, value),
            _ => Err(Errno::NOPROTOOPT),
        }
    }

    fn set_tcp(&mut self, name: c_int, value: &[u8]) -> Result<()> {
        match name {
            libc::TCP_NODELAY => self.nodelay = int(value)? != 0,
            libc::TCP_CORK => self.cork = int(value)? != 0,
            libc::TCP_USER_TIMEOUT => self.user_timeout = Duration::from_millis(within(value, 0..=i32::MAX)?),
            libc::TCP_MAXSEG if int(value)? == 0 => self.max_segment = 0,
            libc::TCP_MAXSEG => self.max_segment = within(value, 88..=32767)? as u16,
            libc::TCP_LINGER2 => {
                self.fin_wait = u64::try_from(int(value)?).ok().filter(|&s| s > 0).map(Duration::from_secs);
            }
            libc::TCP_DEFER_ACCEPT => self.defer_accept = Duration::from_secs(int(value)?.max(0) as u64),
            // -1 stands for no bound.
            libc::TCP_NOTSENT_LOWAT => self.unsent_low_water = int(value)?.max(0) as u32,
            libc::TCP_KEEPIDLE => self.keepalive_idle = Duration::from_secs(within(value, 1..=32767)?),
            libc::TCP_KEEPINTVL => self.keepalive_interval = Duration::from_secs(within(value, 1..=32767)?),
            libc::TCP_KEEPCNT => self.keepalive_count = within(value, 1..=127)? as u8,
            libc::TCP_CONGESTION => {
                let name = value.split(|&byte| byte == 0).next().unwrap_or_default();
                let known = Algorithm::ALL.into_iter().find(|known| known.name().as_bytes() == name);
                self.algorithm = known.ok_or(Errno::NOENT)?;
            }
            _ => return Err(Errno::NOPROTOOPT),
        }
        Ok(())
    }

    fn set_socket(&mut self, name: c_int, value: &[u8]) -> Result<()> {
        match name {
            libc::SO_KEEPALIVE => self.keepalive = int(value)? != 0,
            libc::SO_REUSEADDR => self.reuse_address = int(value)? != 0,
            libc::SO_REUSEPORT => self.reuse_port = int(value)? != 0,
            libc::SO_RCVBUF => self.receive_buffer = int(value)?.max(0) as u32,
            libc::SO_SNDBUF => self.send_buffer = int(value)?.max(0) as u32,
            libc::SO_LINGER => {
                let [on, seconds] = pair(value)?;
                self.linger = (on != 0).then(|| Duration::from_secs(u64::from(seconds)));
            }
            libc::SO_RCVTIMEO => self.receive_timeout = timeout(value)?,
            libc::SO_SNDTIMEO => self.send_timeout = timeout(value)?,
            _ => return Err(Errno::NOPROTOOPT),
        }
        Ok(())
    }

    fn set_ip(&mut self, name: c_int, value: &[u8]) -> Result<()> {
        // At this level one byte is as good as an `int`.
        let widened = value.first().map_or([0; 4], |&byte| i32::from(byte).to_ne_bytes());
        let value = if value.len() == 1 { &widened } else { value };
        match name {
            libc::IP_TTL if int(value)? == -1 => self.ttl = Settings::default().ttl,
            libc::IP_TTL => self.ttl = within(value, 1..=255)? as u8,
            libc::IP_MTU_DISCOVER => self.dont_fragment = int(value)? != libc::IP_PMTUDISC_DONT,
            libc::IP_TOS => self.tos = int(value)? as u8,
            _ => return Err(Errno::NOPROTOOPT),
        }
        Ok(())
    }

    /// An option's value as C lays it out. Fails with `ENOPROTOOPT` if there is none of that number.
    pub(crate) fn get(&self, level: c_int, name: c_int) -> Result<Vec<u8>> {
        let value = match (level, name) {
            (libc::IPPROTO_TCP, libc::TCP_NODELAY) => i32::from(self.nodelay),
            (libc::IPPROTO_TCP, libc::TCP_CORK) => i32::from(self.cork),
            (libc::IPPROTO_TCP, libc::TCP_USER_TIMEOUT) => self.user_timeout.as_millis() as i32,
            (libc::IPPROTO_TCP, libc::TCP_LINGER2) => self.fin_wait.map_or(60, |t| t.as_secs() as i32),
            (libc::IPPROTO_TCP, libc::TCP_DEFER_ACCEPT) => self.defer_accept.as_secs() as i32,
            (libc::IPPROTO_TCP, libc::TCP_NOTSENT_LOWAT) => self.unsent_low_water as i32,
            (libc::IPPROTO_TCP, libc::TCP_KEEPIDLE) => self.keepalive_idle.as_secs() as i32,
            (libc::IPPROTO_TCP, libc::TCP_KEEPINTVL) => self.keepalive_interval.as_secs() as i32,
            (libc::IPPROTO_TCP, libc::TCP_KEEPCNT) => i32::from(self.keepalive_count),
            (libc::IPPROTO_TCP, libc::TCP_CONGESTION) => {
                let mut name = self.algorithm.name().as_bytes().to_vec();
                name.resize(16, 0);
                return Ok(name);
            }
            (libc::SOL_SOCKET, libc::SO_KEEPALIVE) => i32::from(self.keepalive),
            (libc::SOL_SOCKET, libc::SO_REUSEADDR) => i32::from(self.reuse_address),
            (libc::SOL_SOCKET, libc::SO_REUSEPORT) => i32::from(self.reuse_port),
            (libc::SOL_SOCKET, libc::SO_RCVBUF) => size(self.receive_buffer),
            (libc::SOL_SOCKET, libc::SO_SNDBUF) => size(self.send_buffer),
            (libc::SOL_SOCKET, libc::SO_LINGER) => {
                let seconds = self.linger.map_or(0, |t| t.as_secs() as u32);
                return Ok([u32::from(self.linger.is_some()), seconds].map(u32::to_ne_bytes).concat());
            }
            (libc::SOL_SOCKET, libc::SO_RCVTIMEO) => return Ok(timeval(self.receive_timeout)),
            (libc::SOL_SOCKET, libc::SO_SNDTIMEO) => return Ok(timeval(self.send_timeout)),
            (libc::IPPROTO_IP, libc::IP_TTL) => i32::from(self.ttl),
            (libc::IPPROTO_IP, libc::IP_MTU_DISCOVER) if self.dont_fragment => libc::IP_PMTUDISC_DO,
            (libc::IPPROTO_IP, libc::IP_MTU_DISCOVER) => libc::IP_PMTUDISC_DONT,
            (libc::IPPROTO_IP, libc::IP_TOS) => i32::from(self.tos),
            _ => return Err(Errno::NOPROTOOPT),
        };
        Ok(value.to_ne_bytes().to_vec())
    }
}

/// Bytes of a buffer, set or to begin with.
fn size(set: u32) -> i32 {
    const TO_BEGIN_WITH: u32 = 65536;
    i32::try_from(if set == 0 { TO_BEGIN_WITH } else { set }).unwrap_or(i32::MAX)
}

/// A C `int`.
fn int(value: &[u8]) -> Result<i32> {
    value.first_chunk().map(|&bytes| i32::from_ne_bytes(bytes)).ok_or(Errno::INVAL)
}

/// A C `int` within `range`, which has no negative number.
fn within(value: &[u8], range: RangeInclusive<i32>) -> Result<u64> {
    let value = int(value)?;
    if range.contains(&value) { Ok(value as u64) } else { Err(Errno::INVAL) }
}

/// Two C `int`s, as `struct linger` has them.
fn pair(value: &[u8]) -> Result<[u32; 2]> {
    let bytes: &[u8; 8] = value.first_chunk().ok_or(Errno::INVAL)?;
    let [a, b, c, d, e, f, g, h] = *bytes;
    Ok([u32::from_ne_bytes([a, b, c, d]), u32::from_ne_bytes([e, f, g, h])])
}

/// A `struct timeval`; zero is no time-out.
fn timeout(value: &[u8]) -> Result<Option<Duration>> {
    let (seconds, rest) = value.split_first_chunk().ok_or(Errno::INVAL)?;
    let micros = rest.first_chunk().ok_or(Errno::INVAL)?;
    let seconds = u64::try_from(i64::from_ne_bytes(*seconds)).map_err(|_| Errno::INVAL)?;
    let micros = u64::try_from(i64::from_ne_bytes(*micros)).map_err(|_| Errno::INVAL)?;
    let timeout = Duration::from_secs(seconds).saturating_add(Duration::from_micros(micros));
    Ok((!timeout.is_zero()).then_some(timeout))
}

/// A time-out as a `struct timeval`.
fn timeval(timeout: Option<Duration>) -> Vec<u8> {
    let timeout = timeout.unwrap_or_default();
    [timeout.as_secs() as i64, i64::from(timeout.subsec_micros())].map(i64::to_ne_bytes).concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    const TCP: c_int = libc::IPPROTO_TCP;
    const SOCKET: c_int = libc::SOL_SOCKET;
    const IP: c_int = libc::IPPROTO_IP;

    #[test]
    fn what_is_set_is_given_back() {
        for (level, name, value) in [
            (TCP, libc::TCP_NODELAY, 1),
            (TCP, libc::TCP_CORK, 1),
            (TCP, libc::TCP_USER_TIMEOUT, 3000),
            (TCP, libc::TCP_LINGER2, 5),
            (TCP, libc::TCP_DEFER_ACCEPT, 7),
            (TCP, libc::TCP_NOTSENT_LOWAT, 4000),
            (TCP, libc::TCP_KEEPIDLE, 10),
            (TCP, libc::TCP_KEEPINTVL, 11),
            (TCP, libc::TCP_KEEPCNT, 12),
            (SOCKET, libc::SO_RCVBUF, 4096),
            (SOCKET, libc::SO_SNDBUF, 8192),
            (SOCKET, libc::SO_KEEPALIVE, 1),
            (SOCKET, libc::SO_REUSEADDR, 1),
            (SOCKET, libc::SO_REUSEPORT, 1),
            (IP, libc::IP_TTL, 9),
            (IP, libc::IP_TOS, 0x10),
            (IP, libc::IP_MTU_DISCOVER, libc::IP_PMTUDISC_DONT),
        ] {
            let mut settings = Settings::default();
            let bytes = i32::to_ne_bytes(value);
            assert_ne!(settings.get(level, name).expect("known"), bytes, "{level} {name}: not the default");
            settings.set(level, name, &bytes).expect("in range");
            assert_eq!(settings.get(level, name).expect("known"), bytes, "{level} {name}");
        }
    }

    #[test]
    fn one_byte_is_enough_for_ip() {
        let mut settings = Settings::default();
        settings.set(IP, libc::IP_TOS, &[0x20]).expect("in range");
        assert_eq!(settings.tos, 0x20);
    }

    #[test]
    fn structures_are_given_back() {
        let mut settings = Settings::default();
        for (name, value) in [
            (libc::SO_LINGER, [1u32, 30].map(u32::to_ne_bytes).concat()),
            (libc::SO_RCVTIMEO, [2i64, 500].map(i64::to_ne_bytes).concat()),
            (libc::SO_SNDTIMEO, [0i64, 1].map(i64::to_ne_bytes).concat()),
        ] {
            settings.set(SOCKET, name, &value).expect("well-formed");
            assert_eq!(settings.get(SOCKET, name).expect("known"), value);
        }
        settings.set(TCP, libc::TCP_CONGESTION, b"reno\0").expect("known");
        assert!(settings.get(TCP, libc::TCP_CONGESTION).expect("known").starts_with(b"reno\0"));
    }

    #[test]
    fn bad_values_are_refused_and_change_nothing() {
        for (level, name, value, errno) in [
            (TCP, libc::TCP_MAXSEG, &87i32.to_ne_bytes()[..], Errno::INVAL),
            (TCP, libc::TCP_KEEPCNT, &128i32.to_ne_bytes(), Errno::INVAL),
            (TCP, libc::TCP_USER_TIMEOUT, &(-1i32).to_ne_bytes(), Errno::INVAL),
            (TCP, libc::TCP_NODELAY, &[1], Errno::INVAL),
            (TCP, libc::TCP_CONGESTION, b"vegas", Errno::NOENT),
            (TCP, 9999, &1i32.to_ne_bytes(), Errno::NOPROTOOPT),
            (SOCKET, libc::SO_LINGER, &1i32.to_ne_bytes(), Errno::INVAL),
            (IP, libc::IP_TTL, &[0], Errno::INVAL),
            (IP, libc::IP_TTL, &256i32.to_ne_bytes(), Errno::INVAL),
            (IP, libc::IP_TTL, &0i32.to_ne_bytes(), Errno::INVAL),
            (4711, 1, &1i32.to_ne_bytes(), Errno::NOPROTOOPT),
        ] {
            let mut settings = Settings::default();
            assert_eq!(settings.set(level, name, value), Err(errno), "{level} {name}");
            assert_eq!(settings, Settings::default());
        }
    }
}
