//! ICMP: the echo reply, and the errors that a router sends (RFC 792, RFC 1812 section 4.3).

use std::net::Ipv4Addr;
use std::sync::Arc;

use wire::checksum::{Sum, checksum, update_u16};
use wire::icmp::{code, is_error, kind};
use wire::ipv4::protocol;
use wire::{Counter, DropReason, Frame, FramePool, IcmpHeader, Instant, Ipv4Header, Ipv4View, TokenBucket};
use wire::{FromBytes, IntoBytes, U16, U32};

/// The TTL of what we send.
const TTL: u8 = 64;
/// Bytes of the longest error: what every host can receive (RFC 1812 section 4.3.2.3).
const MAX_ERROR_LEN: usize = 576;
/// Precedence 6, internetwork control (RFC 1812 section 4.3.2.5): as a DSCP, CS6.
const TOS_CONTROL: u8 = 0xc0;

/// Turns an echo request to us into its reply, in place (RFC 1122 section 3.2.2.6).
///
/// The IPv4 header, which was checked, lies at `l3_offset` of the first segment; the message may go on
/// in further ones. The Ethernet header, and all before `l3_offset`, is the caller's. Padding is cut
/// off, the TTL is 64, and both checksums are right afterwards. The destination must be an address of
/// ours: it becomes the source.
///
/// # Errors
/// [`DropReason::IcmpMalformed`] if the message is cut short or its checksum is wrong,
/// [`DropReason::IcmpIgnored`] if it is no echo request, the reason of [`Ipv4View::parse`] if the IPv4
/// header is bad. The frame is then as it was.
pub fn echo_reply<F: Frame>(frame: &mut F, l3_offset: usize) -> Result<(), DropReason> {
    let packet = frame.data().get(l3_offset..).ok_or(DropReason::Ipv4TooShort)?;
    let view = Ipv4View::parse(packet, frame.len() - l3_offset)?;
    let (header_len, len) = (view.header.header_len(), view.payload_len());
    let (icmp, _) = IcmpHeader::read_from_prefix(view.payload).map_err(|_| DropReason::IcmpMalformed)?;
    if Sum::new().add_frame(frame, l3_offset + header_len, len).finish() != 0 {
        return Err(DropReason::IcmpMalformed);
    }
    if icmp.kind != kind::ECHO_REQUEST {
        return Err(DropReason::IcmpIgnored);
    }

    frame.truncate(l3_offset + header_len + len);
    frame.clear_flags();
    let packet = &mut frame.data_mut()[l3_offset..];
    let (header, rest) = Ipv4Header::mut_from_prefix(packet).map_err(|_| DropReason::Ipv4TooShort)?;
    // The swap leaves the header's sum as it was.
    std::mem::swap(&mut header.src_addr, &mut header.dst_addr);
    let word = |ttl| u16::from_be_bytes([ttl, protocol::ICMP]);
    header.checksum = U16::new(update_u16(header.checksum.get(), word(header.ttl), word(TTL)));
    header.ttl = TTL;
    let (message, _) = IcmpHeader::mut_from_prefix(&mut rest[header_len - Ipv4Header::LEN..])
        .map_err(|_| DropReason::IcmpMalformed)?;
    let word = |kind| u16::from_be_bytes([kind, icmp.code]);
    let sum = update_u16(icmp.checksum.get(), word(kind::ECHO_REQUEST), word(kind::ECHO_REPLY));
    message.kind = kind::ECHO_REPLY;
    // A message of zeros alone adds up to 0, which an update takes for the other zero of ones' complement.
    message.checksum = U16::new(if sum == 0 { 0xffff } else { sum });
    Ok(())
}

/// What went wrong with a packet, to be told to its sender.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ErrorKind {
    /// The TTL ran out here.
    TimeExceeded,
    /// A fragment did not arrive in time. Sent only about datagrams whose first fragment is there.
    ReassemblyTimeExceeded,
    /// No route.
    NetUnreachable,
    /// The last hop's host does not answer ARP.
    HostUnreachable,
    /// We do not speak the protocol.
    ProtocolUnreachable,
    /// Nobody listens on the UDP port here.
    PortUnreachable,
    /// The configuration forbids it.
    AdminProhibited,
    /// Too large for the next hop, and must not be fragmented.
    FragmentationNeeded {
        /// The next hop's MTU in bytes (RFC 1191 section 4).
        mtu: u16,
    },
    /// A byte of the header is bad.
    ParameterProblem {
        /// Which one.
        pointer: u8,
    },
}

impl ErrorKind {
    /// How many kinds there are.
    pub const COUNT: usize = 9;

    /// The stable names, in the order of [`ErrorKind::index`].
    pub const NAMES: [&'static str; Self::COUNT] = [
        "time-exceeded",
        "reassembly-time-exceeded",
        "net-unreachable",
        "host-unreachable",
        "protocol-unreachable",
        "port-unreachable",
        "admin-prohibited",
        "fragmentation-needed",
        "parameter-problem",
    ];

    /// The place in a table by kind, below [`ErrorKind::COUNT`].
    pub const fn index(self) -> usize {
        match self {
            ErrorKind::TimeExceeded => 0,
            ErrorKind::ReassemblyTimeExceeded => 1,
            ErrorKind::NetUnreachable => 2,
            ErrorKind::HostUnreachable => 3,
            ErrorKind::ProtocolUnreachable => 4,
            ErrorKind::PortUnreachable => 5,
            ErrorKind::AdminProhibited => 6,
            ErrorKind::FragmentationNeeded { .. } => 7,
            ErrorKind::ParameterProblem { .. } => 8,
        }
    }

    /// The message's header, its checksum zero.
    fn header(self) -> IcmpHeader {
        let (kind, code, rest) = match self {
            ErrorKind::TimeExceeded => (kind::TIME_EXCEEDED, code::TTL_IN_TRANSIT, 0),
            ErrorKind::ReassemblyTimeExceeded => (kind::TIME_EXCEEDED, code::REASSEMBLY, 0),
            ErrorKind::NetUnreachable => (kind::UNREACHABLE, code::NET_UNREACHABLE, 0),
            ErrorKind::HostUnreachable => (kind::UNREACHABLE, code::HOST_UNREACHABLE, 0),
            ErrorKind::ProtocolUnreachable => (kind::UNREACHABLE, code::PROTOCOL_UNREACHABLE, 0),
            ErrorKind::PortUnreachable => (kind::UNREACHABLE, code::PORT_UNREACHABLE, 0),
            ErrorKind::AdminProhibited => (kind::UNREACHABLE, code::ADMIN_PROHIBITED, 0),
            ErrorKind::FragmentationNeeded { mtu } => {
                (kind::UNREACHABLE, code::FRAGMENTATION_NEEDED, u32::from(mtu))
            }
            ErrorKind::ParameterProblem { pointer } => {
                (kind::PARAMETER_PROBLEM, code::POINTER, u32::from(pointer) << 24)
            }
        };
        IcmpHeader { kind, code, checksum: U16::ZERO, rest: U32::new(rest) }
    }
}

/// Makes the error about the packet at `l3_offset` of `offending`, from our address `source` to the
/// packet's sender. The frame starts at its IPv4 header; the pool's headroom is left for Ethernet.
///
/// It quotes as much of the packet as fits into 576 bytes. Whether it may be sent at all,
/// [`IcmpErrors::permit`] says.
///
/// `None` if the pool is empty, its frames are too small, or `offending` holds no IPv4 header.
pub fn error<F, P>(
    pool: &mut P,
    offending: &F,
    l3_offset: usize,
    kind: ErrorKind,
    source: Ipv4Addr,
) -> Option<F>
where
    F: Frame,
    P: FramePool<Frame = F>,
{
    const HEADERS: usize = Ipv4Header::LEN + IcmpHeader::LEN;
    let (about, _) = Ipv4Header::ref_from_prefix(offending.data().get(l3_offset..)?).ok()?;
    let packet_len = usize::from(about.total_length.get()).min(offending.len() - l3_offset);
    let quote_len = packet_len.min(MAX_ERROR_LEN - HEADERS);

    let mut frame = pool.alloc()?;
    let packet = frame.append(HEADERS + quote_len).ok()?;
    let (header_bytes, message) = packet.split_at_mut(Ipv4Header::LEN);
    let mut header = Ipv4Header::new(source, about.src(), protocol::ICMP, IcmpHeader::LEN + quote_len);
    header.tos = TOS_CONTROL;
    header.ttl = TTL;
    // Never fragmented, so the identification may be zero (RFC 6864 section 4.1).
    header.flags_fragment = U16::new(Ipv4Header::DF);
    header.fill_checksum();
    header_bytes.copy_from_slice(header.as_bytes());

    let (icmp_bytes, quote) = message.split_at_mut(IcmpHeader::LEN);
    icmp_bytes.copy_from_slice(kind.header().as_bytes());
    offending.copy_out(l3_offset, quote);
    let sum = checksum(message);
    message[2..4].copy_from_slice(&sum.to_be_bytes());
    Some(frame)
}

/// Whether an error may be sent about `packet`, which starts at an IPv4 header that was checked
/// (RFC 1122 section 3.2.2, RFC 1812 section 4.3.2.7).
///
/// `group` tells whether the frame came to a group Ethernet address, or is for a directed broadcast
/// address. Not so about ICMP errors, packets to groups, later fragments, and packets whose source is
/// not one host.
pub fn may_answer(packet: &[u8], group: bool) -> bool {
    let Ok(view) = Ipv4View::parse(packet, usize::MAX) else { return false };
    let (src, dst) = (view.header.src(), view.header.dst());
    let to_group = group || dst.is_multicast() || dst.is_broadcast();
    // 0/8, 127/8, and 224/4 with the class E and the broadcast above it.
    let from_one_host = !matches!(src.octets()[0], 0 | 127 | 224..);
    let first_fragment = view.header.fragment_offset() == 0;
    // An ICMP message too short to have a type might be an error.
    let about_error =
        view.header.protocol == protocol::ICMP && view.payload.first().is_none_or(|kind| is_error(*kind));
    !to_group && from_one_host && first_fragment && !about_error
}

/// What became of the errors of one kind that there was cause for.
#[derive(Default, Debug)]
pub struct ErrorCounters {
    /// Let through, to be sent.
    pub sent: Counter,
    /// Held back by the rate limit.
    pub limited: Counter,
    /// Never to be sent: [`may_answer`] said no.
    pub suppressed: Counter,
}

/// [`ErrorCounters`] by [`ErrorKind::index`].
pub type IcmpCounters = [ErrorCounters; ErrorKind::COUNT];

/// Decides which errors one worker sends, and counts.
#[derive(Debug)]
pub struct IcmpErrors {
    bucket: TokenBucket,
    counters: Arc<IcmpCounters>,
}

impl IcmpErrors {
    /// A limiter of `rate` errors a second, with bursts of up to `burst` (RFC 1812 section 4.3.2.8).
    pub fn new(rate: u32, burst: u32) -> Self {
        IcmpErrors { bucket: TokenBucket::new(rate, burst), counters: Arc::default() }
    }

    /// The counters, for anybody to read.
    pub fn counters(&self) -> Arc<IcmpCounters> {
        Arc::clone(&self.counters)
    }

    /// Whether an error of `kind` is to be made about `packet` now; `packet` and `group` as for
    /// [`may_answer`].
    pub fn permit(&mut self, now: Instant, packet: &[u8], group: bool, kind: ErrorKind) -> bool {
        let counters = &self.counters[kind.index()];
        if !may_answer(packet, group) {
            counters.suppressed.add(1);
            return false;
        }
        let permit = self.bucket.take(now);
        if permit { &counters.sent } else { &counters.limited }.add(1);
        permit
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use sim::{SimFrame, SimPool};

    const US: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);
    const HOST: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 7);
    const L2: usize = 14;

    /// An Ethernet header of 0xee, then an IPv4 packet with `options` around `message`.
    fn packet(proto: u8, options: &[u8], message: &[u8]) -> Vec<u8> {
        let mut header = Ipv4Header::new(HOST, US, proto, options.len() + message.len());
        header.version_ihl = 0x45 + (options.len() / 4) as u8;
        header.ttl = 3;
        let sum = Sum::new().add_bytes(header.as_bytes()).add_bytes(options);
        header.checksum = U16::new(sum.finish());
        [&[0xee; L2][..], header.as_bytes(), options, message].concat()
    }

    fn message(kind: u8, data: &[u8]) -> Vec<u8> {
        let mut bytes = [&[kind, 0, 0, 0, 0x12, 0x34, 0, 1], data].concat();
        let sum = checksum(&bytes);
        bytes[2..4].copy_from_slice(&sum.to_be_bytes());
        bytes
    }

    /// Checks both checksums of an ICMP packet and gives its header and message.
    fn check(packet: &[u8]) -> (Ipv4Header, IcmpHeader, &[u8]) {
        let view = Ipv4View::parse(packet, packet.len()).unwrap();
        assert!(view.checksum_ok(), "header checksum");
        assert_eq!(checksum(view.payload), 0, "message checksum");
        let (icmp, data) = IcmpHeader::read_from_prefix(view.payload).unwrap();
        (*view.header, icmp, data)
    }

    fn chain(pool: &SimPool, bytes: &[u8], cuts: &[usize]) -> SimFrame {
        let mut cuts = [&[0], cuts, &[bytes.len()]].concat();
        cuts.sort_unstable();
        let parts: Vec<_> = cuts.windows(2).map(|w| &bytes[w[0]..w[1]]).collect();
        pool.frame_of(&parts).unwrap()
    }

    proptest! {
        #[test]
        fn echo_request_becomes_its_reply(
            data in proptest::collection::vec(any::<u8>(), 0..3000),
            cuts in proptest::collection::vec(0..3000_usize, 0..5),
            options in prop_oneof![Just(&[][..]), Just(&[148_u8, 4, 0, 0][..])],
            padding in 0..20_usize,
        ) {
            let pool = SimPool::new(10, 4096);
            let mut bytes = packet(protocol::ICMP, options, &message(kind::ECHO_REQUEST, &data));
            let len = bytes.len();
            bytes.resize(len + padding, 0x77);
            let headers = L2 + Ipv4Header::LEN + options.len() + IcmpHeader::LEN;
            let cuts: Vec<_> = cuts.iter().map(|c| (headers + c).min(bytes.len())).collect();
            let mut frame = chain(&pool, &bytes, &cuts);
            prop_assert_eq!(echo_reply(&mut frame, L2), Ok(()));

            let reply = frame.to_vec();
            prop_assert_eq!((reply.len(), &reply[..L2]), (len, &bytes[..L2]));
            let (header, icmp, answer) = check(&reply[L2..]);
            prop_assert_eq!((header.src(), header.dst(), header.ttl), (US, HOST, 64));
            prop_assert_eq!((icmp.kind, icmp.rest.get()), (kind::ECHO_REPLY, 0x1234_0001));
            prop_assert_eq!(answer, &data[..]);
        }
    }

    #[test]
    fn a_reply_of_zeros_has_a_checksum() {
        let pool = SimPool::new(1, 256);
        // An echo request without data, with identifier and sequence number 0.
        let mut frame = chain(&pool, &packet(protocol::ICMP, &[], &[8, 0, 0xf7, 0xff, 0, 0, 0, 0]), &[]);
        assert_eq!(echo_reply(&mut frame, L2), Ok(()));
        assert!(frame.to_vec().ends_with(&[0, 0, 0xff, 0xff, 0, 0, 0, 0]), "{:x?}", frame.to_vec());
    }

    #[test]
    fn what_is_no_echo_request_is_left_alone() {
        let pool = SimPool::new(4, 256);
        let request = message(kind::ECHO_REQUEST, b"data");
        let mut spoilt = request.clone();
        spoilt[9] ^= 1;
        let cases = [
            (message(kind::ECHO_REPLY, b""), DropReason::IcmpIgnored),
            (message(kind::TIMESTAMP_REQUEST, &[0; 12]), DropReason::IcmpIgnored),
            (message(kind::UNREACHABLE, &[0; 28]), DropReason::IcmpIgnored),
            (message(200, b""), DropReason::IcmpIgnored),
            (spoilt, DropReason::IcmpMalformed),
            (request[..7].to_vec(), DropReason::IcmpMalformed),
            (vec![], DropReason::IcmpMalformed),
        ];
        for (message, want) in cases {
            let bytes = packet(protocol::ICMP, &[], &message);
            let mut frame = pool.frame_from(&bytes).unwrap();
            assert_eq!(echo_reply(&mut frame, L2), Err(want), "{message:?}");
            assert_eq!(frame.to_vec(), bytes);
        }
    }

    #[test]
    fn truncation_at_every_length() {
        let mut pool = SimPool::new(4, 256);
        let bytes = packet(protocol::ICMP, &[1, 1, 1, 0], &message(kind::ECHO_REQUEST, b"data"));
        for len in 0..bytes.len() {
            let mut frame = pool.frame_from(&bytes[..len]).unwrap();
            assert!(echo_reply(&mut frame, L2).is_err(), "{len}");
            let made = error(&mut pool, &frame, L2, ErrorKind::TimeExceeded, US);
            assert_eq!(made.is_some(), len >= L2 + Ipv4Header::LEN, "{len}");
            if let Some(made) = made {
                assert_eq!(check(made.data()).2, &bytes[L2..len], "quotes what there is");
            }
            // Enough for the type, which is no error's.
            let answered = may_answer(bytes.get(L2..len).unwrap_or_default(), false);
            assert_eq!(answered, len > L2 + Ipv4Header::LEN + 4, "{len}");
        }
    }

    #[test]
    fn errors_quote_what_fits() {
        let mut pool = SimPool::new(8, 1024);
        let data: Vec<u8> = (0..2000).map(|i| i as u8).collect();
        // (bytes of the packet, bytes of the error)
        for (len, want) in [(20, 48), (21, 49), (547, 575), (548, 576), (549, 576), (1500, 576)] {
            let mut bytes = packet(protocol::UDP, &[], &data[..len - Ipv4Header::LEN]);
            bytes.extend([0x77; 30]);
            let offending = pool.frame_from(&bytes).unwrap();
            let frame = error(&mut pool, &offending, L2, ErrorKind::TimeExceeded, US).unwrap();
            let made = frame.to_vec();
            assert_eq!((made.len(), frame.headroom()), (want, sim::frame::HEADROOM));
            let (header, _, quote) = check(&made);
            assert_eq!((header.src(), header.dst(), header.ttl), (US, HOST, 64));
            assert_eq!((header.tos, usize::from(header.total_length.get())), (0xc0, want));
            assert_eq!(quote, &bytes[L2..L2 + want - 28]);
        }
        assert_eq!(pool.available().0, 8);
    }

    #[test]
    fn kinds_on_the_wire() {
        let cases = [
            (ErrorKind::TimeExceeded, 11, 0, 0),
            (ErrorKind::ReassemblyTimeExceeded, 11, 1, 0),
            (ErrorKind::NetUnreachable, 3, 0, 0),
            (ErrorKind::HostUnreachable, 3, 1, 0),
            (ErrorKind::ProtocolUnreachable, 3, 2, 0),
            (ErrorKind::PortUnreachable, 3, 3, 0),
            (ErrorKind::AdminProhibited, 3, 13, 0),
            (ErrorKind::FragmentationNeeded { mtu: 1400 }, 3, 4, 0x0000_0578),
            (ErrorKind::ParameterProblem { pointer: 21 }, 12, 0, 0x1500_0000),
        ];
        let mut pool = SimPool::new(2, 1024);
        let offending = pool.frame_from(&packet(protocol::UDP, &[], b"12345678")).unwrap();
        for (i, (error_kind, kind, code, rest)) in cases.into_iter().enumerate() {
            assert_eq!(error_kind.index(), i);
            let frame = error(&mut pool, &offending, L2, error_kind, US).unwrap();
            let (_, icmp, _) = check(frame.data());
            assert_eq!((icmp.kind, icmp.code, icmp.rest.get()), (kind, code, rest));
        }
        assert_eq!(cases.len(), ErrorKind::COUNT);
    }

    #[test]
    fn no_error_without_a_frame() {
        let mut pool = SimPool::new(1, 1024);
        let offending = pool.frame_from(&packet(protocol::UDP, &[], b"")).unwrap();
        assert!(error(&mut pool, &offending, L2, ErrorKind::TimeExceeded, US).is_none());
        let mut small = SimPool::new(1, 40);
        assert!(error(&mut small, &offending, L2, ErrorKind::TimeExceeded, US).is_none());
        assert_eq!(small.available().0, 1);
    }

    #[test]
    fn some_packets_are_never_answered() {
        type Change = fn(&mut Ipv4Header);
        let cases: [(&str, Change, bool); 15] = [
            ("plain", |_| (), true),
            ("first fragment", |h| h.flags_fragment = U16::new(Ipv4Header::MF), true),
            ("later fragment", |h| h.flags_fragment = U16::new(Ipv4Header::MF | 1), false),
            ("last fragment", |h| h.flags_fragment = U16::new(5), false),
            ("to broadcast", |h| h.dst_addr = [255; 4], false),
            ("to multicast", |h| h.dst_addr = [224, 0, 0, 5], false),
            ("from nobody", |h| h.src_addr = [0; 4], false),
            ("from this network", |h| h.src_addr = [0, 1, 2, 3], false),
            ("from loopback", |h| h.src_addr = [127, 0, 0, 1], false),
            ("from multicast", |h| h.src_addr = [239, 1, 2, 3], false),
            ("from class E", |h| h.src_addr = [240, 1, 2, 3], false),
            ("from broadcast", |h| h.src_addr = [255; 4], false),
            ("from below multicast", |h| h.src_addr = [223, 255, 255, 255], true),
            ("from above loopback", |h| h.src_addr = [128, 0, 0, 1], true),
            ("an ICMP message without a type", |h| h.protocol = protocol::ICMP, false),
        ];
        for (name, change, want) in cases {
            let mut header = Ipv4Header::new(HOST, US, protocol::UDP, 0);
            change(&mut header);
            assert_eq!(may_answer(header.as_bytes(), false), want, "{name}");
            assert!(!may_answer(header.as_bytes(), true), "{name}, to a group");
        }
        for icmp in 0..=255 {
            let bytes = packet(protocol::ICMP, &[], &message(icmp, b""));
            let error = matches!(icmp, 3 | 4 | 5 | 11 | 12);
            assert_eq!(may_answer(&bytes[L2..], false), !error, "type {icmp}");
        }
    }

    #[test]
    fn permits_are_limited_and_counted() {
        let mut errors = IcmpErrors::new(10, 2);
        let counters = errors.counters();
        let bytes = packet(protocol::UDP, &[], b"");
        let now = Instant::from_millis(1000);
        let mut permit = |group| errors.permit(now, &bytes[L2..], group, ErrorKind::NetUnreachable);
        assert_eq!([permit(false), permit(true), permit(false), permit(false)], [true, false, true, false]);
        let count = &counters[ErrorKind::NetUnreachable.index()];
        assert_eq!((count.sent.get(), count.limited.get(), count.suppressed.get()), (2, 1, 1));
        let all: u64 = counters.iter().map(|c| c.sent.get() + c.limited.get() + c.suppressed.get()).sum();
        assert_eq!(all, 4);
    }
}
