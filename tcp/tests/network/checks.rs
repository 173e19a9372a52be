//! What must be true of a world that has come to rest.

use wire::FramePool;

use sim::SimPool;
use tcp::connection::Error;

use crate::app::{Ending, Outcome};
use crate::world::World;

impl World {
    /// Checks all there is to check, and drops the world. Gives what was wrong.
    pub(crate) fn finish(mut self, pool: &SimPool) -> Vec<String> {
        for flow in 0..self.flows.len() {
            self.check_flow(flow);
        }
        for host in 0..self.hosts.len() {
            self.check_host(host);
        }
        self.check_damage();
        let vanished = self.hosts.iter().any(|host| host.vanished);
        if !vanished && self.ledger.live() > 0 {
            self.complain(format!("{} payloads are held, though all is closed", self.ledger.live()));
        }
        let World { mut complaints, ledger, hosts, links, endpoints, .. } = self;
        drop((hosts, links, endpoints));
        if ledger.live() > 0 {
            complaints.push(format!("{} payloads have leaked", ledger.live()));
        }
        if pool.available().0 != pool.available().1 {
            complaints.push("frames have leaked".to_owned());
        }
        complaints
    }

    /// Every byte arrived, or the connection failed and both ends know.
    fn check_flow(&mut self, flow: usize) {
        let [client, server] = [0, 1].map(|side| &self.endpoints[2 * flow + side]);
        let mut wrong = Vec::new();
        for (name, end, peer) in [("client", client, server), ("server", server, client)] {
            if end.id.is_some() && end.outcome.is_none() {
                wrong.push(format!(
                    "the {name} is not over: {} of {} bytes sent, {} read, closed {}, peer ended {}",
                    end.sent,
                    end.plan.total(),
                    end.read,
                    end.shut,
                    end.peer_ended
                ));
            }
            if end.read > peer.sent {
                wrong.push(format!("the {name} read {} bytes, of {} sent", end.read, peer.sent));
            }
            if end.peer_ended && end.read != peer.plan.total() {
                wrong.push(format!("the {name} saw the end after {} of {}", end.read, peer.plan.total()));
            }
            // An end that saw everything through is right about it: the peer has all the bytes, or gave
            // the connection up by itself.
            if end.outcome == Some(Outcome::Orderly)
                && (peer.read != end.plan.total() || peer.sent != peer.plan.total())
                && !self.hosts[peer.host].vanished
            {
                wrong.push(format!(
                    "the {name} ended in order, but its peer has {} of {} bytes, and {:?}",
                    peer.read,
                    end.plan.total(),
                    peer.outcome
                ));
            }
        }
        if self.must_succeed(flow) {
            for (name, end) in [("client", client), ("server", server)] {
                let done = end.shut && end.peer_ended && end.sent == end.plan.total();
                let succeeded = match end.outcome {
                    Some(Outcome::Orderly | Outcome::Left) => true,
                    // The last ACK was lost, and then the peer took its port for a new connection, or
                    // TIME-WAIT was over.
                    Some(Outcome::Failed(Some(Error::Reset))) => {
                        done && (self.has_successor(flow) || end.lost_at_end > 0)
                    }
                    _ => false,
                };
                if !succeeded {
                    wrong.push(format!(
                        "the {name} should have succeeded: {:?} at {:?}; {} lost at the end",
                        end.outcome,
                        end.over_at - self.scenario.start,
                        end.lost_at_end
                    ));
                }
            }
        }
        for text in wrong {
            self.complain(format!("flow {flow}: {text}"));
        }
    }

    /// Whether another connection between the same ports may have followed.
    fn has_successor(&self, flow: usize) -> bool {
        self.flows.iter().any(|next| next.plan.after == Some(flow) && next.plan.port != 0)
    }

    /// Whether there is no excuse for a flow to fail.
    fn must_succeed(&self, flow: usize) -> bool {
        let ends = [2 * flow, 2 * flow + 1].map(|number| &self.endpoints[number]);
        let started = ends[0].id.is_some();
        let no_abort = ends.iter().all(|end| !matches!(end.plan.ending, Ending::Abort(_)));
        let both_stay = ends.iter().all(|end| !self.scenario.vanishes(end.host));
        // Of a handshake that ends in a cookie, the server remembers nothing: somebody must speak.
        let remembered = !self.scenario.is_flooded(ends[1].host) || ends[0].plan.speaks_first();
        // So many losses in a row that an end may well give up.
        let unlucky =
            ends.iter().any(|end| end.lost_at_end >= 4 && matches!(end.outcome, Some(Outcome::Failed(_))));
        let disturbed = self.scenario.disturbed() > std::time::Duration::from_secs(3);
        started && no_abort && both_stay && remembered && !unlucky && !disturbed && !self.scenario.scarce
    }

    /// A host that is left with nothing to do holds nothing, and its books are right.
    fn check_host(&mut self, number: usize) {
        let host = &self.hosts[number];
        if host.vanished {
            return;
        }
        let counters = *host.shard.counters();
        let (population, held) = (host.shard.population(), host.shard.held());
        let sent = host.sent;
        let mut wrong = Vec::new();
        if (population, held) != ((0, 0, 0), (0, 0, 0)) {
            wrong.push(format!("still has {population:?} and holds {held:?}"));
        }
        if counters.segments_out != sent {
            wrong.push(format!("counted {} segments out, of {sent}", counters.segments_out));
        }
        let began = counters.active_opens + counters.passive_opens;
        let ended = counters.closed + counters.aborted + counters.failed_opens;
        if began > ended {
            wrong.push(format!("{began} connections began, {ended} ended"));
        }
        if counters.malformed > host.damaged {
            wrong.push(format!("{} malformed segments, {} damaged", counters.malformed, host.damaged));
        }
        for text in wrong {
            self.complain(format!("host {number}: {text}"));
        }
    }

    /// Every damaged packet was refused, and no other.
    fn check_damage(&mut self) {
        let stats = self.links.iter().map(sim::Link::stats);
        let (corrupted, doubled) =
            stats.fold((0, 0), |(a, b), stats| (a + stats.corrupted, b + stats.duplicated));
        let refused: u64 = self.hosts.iter().map(|host| host.damaged).sum();
        let vanished = self.hosts.iter().any(|host| host.vanished);
        if refused > corrupted + doubled || (!vanished && refused + self.nowhere < corrupted) {
            self.complain(format!("{corrupted} packets were damaged, {refused} refused"));
        }
    }
}
