//! What happens to the network beside the links' own faults.

use std::net::SocketAddrV4;

use crate::forge::{Forgery, forge, spoofed_syn};
use crate::scenario::{Disturbance, PORT};
use crate::world::{Task, World, framed};

impl World {
    pub(crate) fn disturb(&mut self, what: Disturbance) {
        let now = self.now;
        match what {
            Disturbance::Blackout(host, len) => {
                let config = sim::LinkConfig { loss: 1.0, ..self.links[host].config().clone() };
                self.links[host].set_config(config);
                self.tasks.schedule(now + len, Task::EndBlackout(host));
            }
            Disturbance::NoFrames(host, len) => self.hosts[host].refuses_until = now + len,
            Disturbance::Vanish(host) => {
                let gone = &mut self.hosts[host];
                (gone.vanished, gone.deadline, gone.touched) = (true, None, false);
                self.endpoints.iter_mut().filter(|end| end.host == host).for_each(|end| end.vanish(now));
            }
            Disturbance::Flood(host, count, gap) => self.perform(Task::Flood(host, count, gap)),
            Disturbance::Forge(count, gap) => self.perform(Task::Forge(count, gap)),
        }
    }

    /// Sends a segment that was forged for one of the flows.
    pub(crate) fn forge(&mut self) {
        let flow = self.chance.index(self.flows.len());
        let Some((from, to)) = self.flows[flow].way else { return };
        let (way, victim) = if self.chance.chance(0.5) { ((from, to), 1) } else { ((to, from), 0) };
        // Any SYN with a later number, forged or not, ends TIME-WAIT (RFC 6191).
        if self.endpoints[2 * flow + victim].outcome.is_some() {
            return;
        }
        match forge(&mut self.chance, &self.tap, way) {
            None => {}
            Some(Forgery::Packet(packet)) => {
                if let Some(capture) = &mut self.capture {
                    capture.write(self.now, &framed(&packet)).expect("memory takes all");
                }
                self.deliver(packet);
            }
            Some(Forgery::Icmp(error)) => {
                let victim = self.hosts.iter_mut().find(|host| host.address == *error.local.ip());
                if let Some(victim) = victim.filter(|host| !host.vanished) {
                    victim.shard.handle_icmp(self.now, &error);
                    victim.touched = true;
                }
            }
        }
    }

    /// Sends a SYN of a host that does not exist.
    pub(crate) fn flood(&mut self, host: usize) {
        let to = SocketAddrV4::new(self.hosts[host].address, PORT);
        let syn = spoofed_syn(&mut self.chance, to);
        self.deliver(syn);
    }
}
