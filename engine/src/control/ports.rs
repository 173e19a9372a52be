//! Ports come and go: workers give their queues back between two bursts, the device is closed or reset on the control
//! thread, and the workers take new queues over. Frames to a port without a device are dropped, and counted; its
//! neighbours go when they do not answer any more, as behind a link that is down, or when it gets a device again.
//!
//! Opening a device takes the control thread milliseconds, at times a second. The workers run on.

use l2l3::interface::PortId;
use wire::{Instant, MacAddr};

use super::{Control, PortInfo, Then};
use crate::api::{PortRequest, PortState};
use crate::device::PortHandle;
use crate::link::Command;

/// A port, with or without a device.
pub(super) struct Port {
    /// As long as the process runs, whatever the device.
    pub(super) mac: MacAddr,
    pub(super) rx_queues: u16,
    pub(super) tx_queues: u16,
    /// The device.
    pub(super) handle: Option<Box<dyn PortHandle>>,
    stage: Stage,
    /// How often the device was opened again.
    pub(super) reopened: u64,
    /// How the last request ended, until somebody asks.
    answer: Option<Result<String, String>>,
}

/// Where a port is between having a device and having none.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Stage {
    Running,
    /// The workers give its queues back.
    Leaving(Why),
    /// The workers take its queues over.
    Coming,
    Removed,
    /// Its device is opened again once the peer is there.
    Waiting,
}

/// Why a port's queues are given back.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Why {
    Remove,
    Reset,
    /// The process at the other end is gone.
    PeerLost,
}

impl From<PortInfo> for Port {
    fn from(PortInfo { mac, rx_queues, tx_queues, handle }: PortInfo) -> Self {
        let (handle, stage) = (Some(handle), Stage::Running);
        Port { mac, rx_queues, tx_queues, handle, stage, reopened: 0, answer: None }
    }
}

impl Port {
    pub(super) fn state(&self) -> PortState {
        match self.stage {
            Stage::Running | Stage::Leaving(_) | Stage::Coming => PortState::Running,
            Stage::Removed => PortState::Removed,
            Stage::Waiting => PortState::Waiting,
        }
    }
}

impl Control {
    /// Begins to do what is asked of a port: [`port_answer`](Self::port_answer) says how it ended.
    ///
    /// # Errors
    /// One sentence, if the port does not lend itself to it.
    pub fn change_port(&mut self, now: Instant, request: &PortRequest) -> Result<PortId, String> {
        let name = request.name();
        let Some(at) = self.config.ports.iter().position(|port| port.name == name) else {
            let known: Vec<_> = self.config.ports.iter().map(|port| format!("`{}`", port.name)).collect();
            return Err(format!("there is no port `{name}`, but {}", known.join(", ")));
        };
        let (id, port) = (PortId(at as u16), &mut self.ports[at]);
        port.answer = None;
        let device = &self.config.ports[at].device;
        match (request, port.stage) {
            (_, Stage::Leaving(_) | Stage::Coming) => {
                return Err(format!("port `{name}` is being changed already"));
            }
            (PortRequest::Add { .. }, Stage::Running) => {
                return Err(format!("port `{name}` has a device already: {device}"));
            }
            (PortRequest::Remove { .. }, Stage::Removed) => {
                return Err(format!("port `{name}` is removed already"));
            }
            (PortRequest::Reset { .. }, Stage::Removed | Stage::Waiting) => {
                return Err(format!("port `{name}` has no device to be reset: it is removed"));
            }
            (PortRequest::Remove { .. }, Stage::Running) => self.leave(id, Why::Remove),
            (PortRequest::Reset { .. }, Stage::Running) => self.leave(id, Why::Reset),
            (PortRequest::Remove { .. }, Stage::Waiting) => self.is_removed(id),
            (PortRequest::Add { device: other, .. }, Stage::Removed | Stage::Waiting) => {
                let device = other.clone().unwrap_or_else(|| device.clone());
                self.come(now, id, &device)?;
                self.config.ports[at].device = device;
            }
        }
        Ok(id)
    }

    /// How the last request to change the port ended; once, and `None` before the end.
    pub fn port_answer(&mut self, port: PortId) -> Option<Result<String, String>> {
        self.ports[usize::from(port.0)].answer.take()
    }

    /// Looks after the devices, once a second: ports that have lost their peers are opened again as soon as these are
    /// there. Gives the first port whose device is gone for good.
    pub fn look_after_ports(&mut self, now: Instant) -> Option<&str> {
        for at in 0..self.ports.len() {
            let (id, port) = (PortId(at as u16), &self.ports[at]);
            match (port.stage, &port.handle) {
                (Stage::Running, Some(handle)) if handle.is_removed() => {
                    return Some(&self.config.ports[at].name);
                }
                (Stage::Running, Some(handle)) if handle.has_lost_peer() => {
                    self.leave(id, Why::PeerLost);
                }
                (Stage::Waiting, _) => {
                    let device = self.config.ports[at].device.clone();
                    // Until somebody listens it is refused, which is no news.
                    let _refused = self.come(now, id, &device);
                }
                _ => {}
            }
        }
        None
    }

    /// Has the workers give the port's queues back.
    fn leave(&mut self, port: PortId, why: Why) {
        self.port(port).stage = Stage::Leaving(why);
        self.send_all(|| Command::GiveBack(port));
        self.once_done(Then::Left(port));
    }

    /// No worker has a queue of the port any more.
    pub(super) fn has_left(&mut self, id: PortId) {
        let port = &mut self.ports[usize::from(id.0)];
        let (mac, stage) = (port.mac, port.stage);
        port.handle = None;
        let Some(plug) = &mut self.plug else { return };
        if stage == Stage::Leaving(Why::Reset) {
            match plug.reset(id, mac) {
                Ok(handle) => return self.comes(id, handle),
                Err(why) => {
                    plug.close(id);
                    port.stage = Stage::Removed;
                    self.conclude(id, Err(format!("{why} It is removed now.")));
                    return;
                }
            }
        }
        plug.close(id);
        if stage == Stage::Leaving(Why::PeerLost) {
            port.stage = Stage::Waiting;
            let name = self.name(id);
            self.log.push(format!(
                "port `{name}`: nobody is at the other end; it is opened again when somebody is"
            ));
        } else {
            self.is_removed(id);
        }
    }

    fn is_removed(&mut self, port: PortId) {
        self.port(port).stage = Stage::Removed;
        let name = self.name(port);
        self.conclude(port, Ok(format!("port `{name}` is removed")));
    }

    /// Opens a device for the port. Whoever is behind it now has to be asked for.
    fn come(&mut self, now: Instant, id: PortId, device: &str) -> Result<(), String> {
        let mac = self.port(id).mac;
        let Some(plug) = &mut self.plug else { return Err("the workers do not run yet".into()) };
        let handle = plug.open(id, device, mac)?;
        self.comes(id, handle);
        for iface in self.interfaces.iter().filter(|iface| iface.port == id) {
            self.neighbours.remove_learned(now, iface.id);
        }
        self.act();
        Ok(())
    }

    /// Has the workers take the port's new queues over.
    fn comes(&mut self, id: PortId, handle: Box<dyn PortHandle>) {
        let port = self.port(id);
        port.handle = Some(handle);
        port.stage = Stage::Coming;
        self.send_all(|| Command::TakeOver);
        self.announce(id);
        self.once_done(Then::Came(id));
    }

    /// All workers have their queues of the port.
    pub(super) fn has_come(&mut self, id: PortId) {
        let port = self.port(id);
        port.stage = Stage::Running;
        port.reopened += 1;
        let name = self.name(id);
        self.conclude(id, Ok(format!("port `{name}` runs")));
    }

    /// Announces our addresses through the port.
    pub(super) fn announce(&mut self, port: PortId) {
        for iface in self.interfaces.clone().iter().filter(|iface| iface.port == port) {
            for address in &iface.addresses {
                self.send_one(Command::ArpAnnounce(iface.id, address.addr));
            }
        }
    }

    fn conclude(&mut self, id: PortId, answer: Result<String, String>) {
        let (Ok(line) | Err(line)) = &answer;
        self.log.push(line.clone());
        self.port(id).answer = Some(answer);
    }

    fn port(&mut self, id: PortId) -> &mut Port {
        &mut self.ports[usize::from(id.0)]
    }

    fn name(&self, id: PortId) -> String {
        self.config.ports[usize::from(id.0)].name.clone()
    }
}
