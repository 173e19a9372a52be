//! `TCP_INFO`: what a connection reports about itself, laid out as Linux's `struct tcp_info`.

use zerocopy::{Immutable, IntoBytes};

/// The start of Linux's `struct tcp_info`, up to `tcpi_total_retrans`, which tools of any age read.
/// Times are in us except where the field's name says ms; sizes in bytes, windows in segments.
#[derive(Clone, Copy, Default, Debug, IntoBytes, Immutable)]
#[repr(C)]
#[allow(missing_docs, reason = "the fields are Linux's, in Linux's order")]
pub(crate) struct Info {
    /// 1 ESTABLISHED, 2 SYN-SENT, 3 SYN-RECEIVED, 4 FIN-WAIT-1, 5 FIN-WAIT-2, 6 TIME-WAIT, 7 CLOSED,
    /// 8 CLOSE-WAIT, 9 LAST-ACK, 10 LISTEN, 11 CLOSING.
    pub(crate) state: u8,
    /// 0 open, 1 disorder, 2 window reduced by ECN, 3 recovery, 4 loss.
    pub(crate) ca_state: u8,
    pub(crate) retransmits: u8,
    pub(crate) probes: u8,
    pub(crate) backoff: u8,
    /// 1 timestamps, 2 SACK, 4 window scale, 8 ECN.
    pub(crate) options: u8,
    /// Ours in the high nibble, the peer's in the low one (on a little-endian machine).
    pub(crate) window_scales: u8,
    pub(crate) app_limited: u8,
    pub(crate) rto: u32,
    pub(crate) ato: u32,
    pub(crate) snd_mss: u32,
    pub(crate) rcv_mss: u32,
    pub(crate) unacked: u32,
    pub(crate) sacked: u32,
    pub(crate) lost: u32,
    pub(crate) retrans: u32,
    pub(crate) fackets: u32,
    pub(crate) last_data_sent_ms: u32,
    pub(crate) last_ack_sent_ms: u32,
    pub(crate) last_data_recv_ms: u32,
    pub(crate) last_ack_recv_ms: u32,
    pub(crate) pmtu: u32,
    pub(crate) rcv_ssthresh: u32,
    pub(crate) rtt: u32,
    pub(crate) rttvar: u32,
    pub(crate) snd_ssthresh: u32,
    pub(crate) snd_cwnd: u32,
    pub(crate) advmss: u32,
    pub(crate) reordering: u32,
    pub(crate) rcv_rtt: u32,
    pub(crate) rcv_space: u32,
    pub(crate) total_retrans: u32,
}

const _: () = assert!(size_of::<Info>() == 104);
