//! What the network says of the path: ICMP errors about our segments.

use wire::Payload;

use super::black_hole::SizeSearch;
use super::{Connection, Cx, Error, State};
use crate::SeqNumber;
use crate::config::Config;
use crate::congestion::CongestionControl;

impl Connection {
    //= RFC 5927 section 4.1: an error about a segment that is not in flight is forged, or stale.
    /// Whether a number was sent and is not acknowledged.
    pub(crate) fn has_in_flight(&self, seq: SeqNumber) -> bool {
        seq.is_within(self.snd_una, self.snd_nxt.distance_from(self.snd_una))
    }

    //= RFC 1191 section 6.4: the MSS follows, and what did not fit is sent again at once.
    /// A link on the path carries packets of `mtu` bytes only; 0 if it did not say.
    pub(crate) fn on_path_mtu<B: Payload>(&mut self, cx: &mut Cx<'_, B>, mtu: u16) {
        //= RFC 1191 section 5: a router that does not know of the field leaves it zero; then a likely value
        //= below the packet's size is taken.
        let sent = self.mss.saturating_add(HEADERS);
        let mtu = if mtu == 0 { plateau_below(sent) } else { mtu.max(MIN_PATH_MTU) };
        let before = self.mss;
        self.set_mss(mtu.saturating_sub(HEADERS).min(self.offered_mss(cx.config)));
        if self.mss >= before {
            // A path does not grow by an error.
            self.mss = before;
            return;
        }
        self.size_search = SizeSearch::Over;
        if let Some(sender) = self.sending.active(cx.senders) {
            sender.congestion.set_mss(self.mss);
            sender.recovery.lose_all(cx.flights);
        }
    }

    //= RFC 9293 section 3.9.2.2: what is unreachable now may be reached again: the connection goes on
    //= (MUST-56), and the error is told if it ends in a timeout. One that never was ends with it.
    /// The destination cannot be reached; `for_good` if the host itself says so.
    pub(crate) fn on_unreachable<B: Payload>(&mut self, cx: &mut Cx<'_, B>, error: Error, for_good: bool) {
        if self.state == State::SynSent && for_good {
            self.give_up(cx, error);
        } else {
            self.soft_error = Some(error);
        }
    }
}

/// Bytes of an IPv4 and a TCP header without options.
const HEADERS: u16 = 40;
/// An MTU below this is not believed: every link carries 576 byte packets, in fragments if need be, and a
/// forged error could make sending as dear as it likes.
const MIN_PATH_MTU: u16 = 552;
const _: () = assert!(MIN_PATH_MTU - HEADERS > Config::MIN_MSS);

/// Table 7-1 of RFC 1191, as far as TCP meets it.
fn plateau_below(size: u16) -> u16 {
    const PLATEAUS: [u16; 7] = [32_000, 17_914, 8166, 4352, 2002, 1492, 1006];
    PLATEAUS.into_iter().find(|plateau| *plateau < size).unwrap_or(MIN_PATH_MTU)
}
