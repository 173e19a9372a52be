//! What a shard counts: one table, from which come the struct and the names.

macro_rules! counters {
    ($($field:ident $name:literal $text:literal;)*) => {
        /// Events of a shard's life. One writer.
        #[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
        pub struct Counters { $(#[doc = $text] pub $field: u64,)* }

        impl Counters {
            /// Each counter's stable name, its value, and what it means.
            pub fn iter(&self) -> impl Iterator<Item = (&'static str, u64, &'static str)> {
                [$(($name, self.$field, $text)),*].into_iter()
            }
        }
    };
}

counters! {
    segments_in "segments-in" "Segments received, bad ones included.";
    segments_out "segments-out" "Segments sent, retransmissions included.";
    malformed "malformed" "Segments cut short or with a wrong checksum.";
    no_connection "no-connection" "Segments that no connection and no listener takes.";
    resets_in "resets-in" "Valid resets received.";
    resets_out "resets-out" "Resets sent.";
    resets_limited "resets-limited" "Resets not sent to segments that nobody takes: too many.";
    active_opens "active-opens" "Connections begun by us.";
    passive_opens "passive-opens" "Connections accepted from a peer.";
    failed_opens "failed-opens" "Connections that never came to be.";
    closed "closed" "Connections that both sides closed in order.";
    aborted "aborted" "Connections given up: reset, aborted, or timed out.";
    timed_out "timed-out" "Connections given up because the peer did not answer.";
    syn_cookies_out "syn-cookies-out" "SYNs answered with a cookie because the queue was full.";
    syn_cookies_in "syn-cookies-in" "Connections accepted by a cookie.";
    syn_cookies_bad "syn-cookies-bad" "Acknowledgments that carry no valid cookie.";
    accept_full "accept-full" "Handshakes not finished because the accept queue was full.";
    connections_full "connections-full" "Handshakes not finished because there is no room for a connection.";
    control_full "control-full" "Replies outside of connections that were not sent: too many at once.";
    retransmitted "retransmitted" "Segments sent again.";
    timeouts "timeouts" "Retransmission timeouts.";
    probes "probes" "Tail loss probes.";
    spurious "spurious" "Retransmission episodes found to have been needless, and undone.";
    paws_rejected "paws-rejected" "Segments dropped because their timestamp is old (RFC 7323).";
    challenge_acks "challenge-acks" "Challenge ACKs sent (RFC 5961).";
    challenge_limited "challenge-limited" "Challenge ACKs not sent: too many.";
    out_of_window "out-of-window" "Segments outside of the receive window.";
    out_of_order "out-of-order" "Segments received ahead of their turn.";
    duplicates "duplicates" "Segments that held nothing new.";
    payloads_shed "payloads-shed" "Payloads dropped because there was no room to hold them.";
    zero_window_probes "zero-window-probes" "Probes of a closed window.";
    keepalive_probes "keepalive-probes" "Keepalive probes.";
    time_wait_recycled "time-wait-recycled" "TIME-WAIT records forgotten early because their table was full.";
    no_frame "no-frame" "Times that sending stopped because there was no frame.";
    payload_bytes_in "payload-bytes-in" "Bytes delivered in order.";
    payload_bytes_out "payload-bytes-out" "Bytes of data sent, retransmissions included.";
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_of_the_fields() {
        let counters = Counters { timeouts: 3, ..Counters::default() };
        let timeouts: Vec<_> = counters.iter().filter(|(_, value, _)| *value > 0).collect();
        assert_eq!(timeouts, [("timeouts", 3, "Retransmission timeouts.")]);
        assert!(counters.iter().all(|(name, _, text)| !name.contains('_') && text.ends_with('.')));
    }
}
