//! A test packet: how it is laid out, how it is written quickly, and how it is known again.
//!
//! ```text
//! Ethernet 14 | IPv4 20 | UDP or ICMP echo 8 | fill 0.. | trailer 18
//! trailer:  magic 2 | check 2 | stream 2 | sequence 6 | intended send time 6     (big endian)
//! ```
//!
//! The check makes the words of the trailer add up to 0xffff, which is nothing to an Internet checksum: so the
//! transport checksum hangs on flow and length alone, and nothing is summed up per packet. Sequence and time are
//! the low 48 bits of 64; the receiver knows the rest from what came before. The fill is the start of one fixed
//! pattern, so that a receiver compares all of it.

use std::sync::LazyLock;

use wire::{EthernetHeader, IntoBytes, Ipv4Header, MacAddr, UdpHeader};

use crate::flow::{Flow, Protocol, plain_sum};
use crate::size::{FCS_LEN, MAX_SIZE};

/// Bytes of the trailer.
pub(crate) const TRAILER_LEN: usize = 18;
/// Bits of sequence numbers and times that a packet carries.
pub(crate) const MARK_BITS: u32 = 48;

const L3: usize = EthernetHeader::LEN;
const IPV4_LEN: usize = Ipv4Header::LEN;
const L4: usize = L3 + IPV4_LEN;
const L4_LEN: usize = UdpHeader::LEN;
const VLAN_LEN: usize = 4;

/// The trailer's first word.
const MAGIC: u16 = 0x51ce;
/// The IPv4 identification of all test packets, which no device on the way changes: it may not be a fragment.
const IDENT: u16 = 0x5a1c;
const DONT_FRAGMENT: u16 = 0x4000;
const TTL: u8 = 64;
const ECHO_REQUEST: u8 = 8;
const LOW: u64 = (1 << MARK_BITS) - 1;

/// What a packet says of itself.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Mark {
    /// Which stream it is of.
    pub(crate) stream: u16,
    /// Its number in the stream: 48 bits.
    pub(crate) sequence: u64,
    /// When it was to be sent, in nanoseconds: 48 bits.
    pub(crate) intended: u64,
}

/// What a received frame is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Seen {
    /// A test packet as it was sent, but for what routers change.
    Good(Mark),
    /// A test packet with damage; its mark if that is whole.
    Corrupt(Option<Mark>),
    /// Something else.
    Foreign,
}

/// The bytes of the fill, and the sum of each start of them.
struct Pattern {
    bytes: Vec<u8>,
    sums: Vec<u16>,
}

static PATTERN: LazyLock<Pattern> = LazyLock::new(|| {
    // A linear congruential sequence: no two places look alike, so that bytes that moved are seen.
    let next = |state: &u32| Some(state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223));
    let bytes: Vec<u8> =
        std::iter::successors(Some(1), next).map(|state| (state >> 24) as u8).take(MAX_SIZE).collect();
    let mut sum = 0;
    let mut sums = vec![0];
    for (at, byte) in bytes.iter().enumerate() {
        sum = fold(u32::from(sum) + if at % 2 == 0 { u32::from(*byte) << 8 } else { u32::from(*byte) });
        sums.push(sum);
    }
    Pattern { bytes, sums }
});

/// All packets of one size, but for what differs between them.
pub(crate) struct Template {
    bytes: Vec<u8>,
    protocol: Protocol,
    ip_sum: u16,
    l4_sum: u16,
}

impl Template {
    /// Frames of `size` bytes, the check sequence included, from one station to another.
    pub(crate) fn new(size: usize, protocol: Protocol, src: MacAddr, dst: MacAddr) -> Self {
        let len = size - FCS_LEN;
        let fill = len - L4 - L4_LEN - TRAILER_LEN;
        let ethernet = EthernetHeader::new(dst, src, wire::ethernet::ethertype::IPV4);
        let mut bytes = ethernet.as_bytes().to_vec();
        let total_len = (len - L3) as u16;
        bytes.extend([0x45, 0]);
        bytes.extend([total_len, IDENT, DONT_FRAGMENT].map(u16::to_be_bytes).as_flattened());
        bytes.extend([TTL, protocol_number(protocol), 0, 0]);
        bytes.extend([0; 8]);
        let ip_sum = plain_sum(&bytes[L3..]);
        let l4_len = total_len - IPV4_LEN as u16;
        match protocol {
            Protocol::Udp => bytes.extend([0, 0, 0, 0, (l4_len >> 8) as u8, l4_len as u8, 0, 0]),
            Protocol::Echo => bytes.extend([ECHO_REQUEST, 0, 0, 0, 0, 0, 0, 0]),
        }
        let pattern = &*PATTERN;
        let l4_header_sum = plain_sum(&bytes[L4..]);
        let pseudo = pseudo_sum(protocol, l4_len);
        let l4_sum = fold(u32::from(l4_header_sum) + pseudo + u32::from(pattern.sums[fill]));
        bytes.extend(&pattern.bytes[..fill]);
        bytes.extend([0; TRAILER_LEN]);
        Template { bytes, protocol, ip_sum, l4_sum }
    }

    /// Bytes of a frame in memory: without the check sequence.
    pub(crate) fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Sends to another station from now on.
    pub(crate) fn set_destination(&mut self, dst: MacAddr) {
        self.bytes[..6].copy_from_slice(&dst.0);
    }

    /// Writes a packet of `flow` into `out`, which has [`Template::len`] bytes.
    #[inline]
    pub(crate) fn write(&self, out: &mut [u8], flow: &Flow, mark: &Mark) {
        out.copy_from_slice(&self.bytes);
        let ip_check = !fold(u32::from(self.ip_sum) + u32::from(flow.address_sum));
        let l4_sum = u32::from(self.l4_sum) + u32::from(flow.port_sum);
        let l4_sum =
            if self.protocol == Protocol::Udp { l4_sum + u32::from(flow.address_sum) } else { l4_sum };
        let l4_check = !fold(l4_sum);
        if let Some(header) = out.first_chunk_mut::<{ L4 + L4_LEN }>() {
            header[24..26].copy_from_slice(&ip_check.to_be_bytes());
            header[26..34].copy_from_slice(&flow.addresses);
            if self.protocol == Protocol::Udp {
                header[34..38].copy_from_slice(&flow.ports);
                //= RFC 768: a computed checksum of zero is sent as all ones
                let l4_check = if l4_check == 0 { 0xffff } else { l4_check };
                header[40..42].copy_from_slice(&l4_check.to_be_bytes());
            } else {
                header[36..38].copy_from_slice(&l4_check.to_be_bytes());
                header[38..42].copy_from_slice(&flow.ports);
            }
        }
        if let Some(trailer) = out.last_chunk_mut() {
            *trailer = mark.to_bytes();
        }
    }
}

impl Mark {
    #[inline]
    fn to_bytes(self) -> [u8; TRAILER_LEN] {
        let numbers = (u64::from(self.stream) << MARK_BITS) | (self.sequence & LOW);
        let time = self.intended & LOW;
        let sum = word_sum(numbers) + word_sum(time) + u32::from(MAGIC);
        let mut bytes = [0; TRAILER_LEN];
        bytes[..2].copy_from_slice(&MAGIC.to_be_bytes());
        bytes[2..4].copy_from_slice(&(!fold(sum)).to_be_bytes());
        bytes[4..12].copy_from_slice(&numbers.to_be_bytes());
        bytes[12..].copy_from_slice(&time.to_be_bytes()[2..]);
        bytes
    }

    /// Reads a trailer; `None` if it is damaged, or none.
    #[inline]
    fn from_bytes(bytes: &[u8; TRAILER_LEN]) -> Option<Mark> {
        let (head, rest) = bytes.split_first_chunk::<4>()?;
        let (numbers, time) = rest.split_first_chunk::<8>()?;
        let numbers = u64::from_be_bytes(*numbers);
        let mut wide = [0; 8];
        wide[2..].copy_from_slice(time);
        let time = u64::from_be_bytes(wide);
        let [magic, check] = [[head[0], head[1]], [head[2], head[3]]].map(u16::from_be_bytes);
        let sum = word_sum(numbers) + word_sum(time) + u32::from(magic) + u32::from(check);
        let whole = magic == MAGIC && fold(sum) == 0xffff;
        whole.then_some(Mark {
            stream: (numbers >> MARK_BITS) as u16,
            sequence: numbers & LOW,
            intended: time,
        })
    }
}

/// Tells what a frame is. A frame is a test packet if its IPv4 header or its trailer is whole and says so; it is
/// damaged if any byte is not as sent, of those behind the Ethernet header that a router leaves alone.
pub(crate) fn inspect(frame: &[u8]) -> Seen {
    let tagged = frame.get(12..14) == Some(&wire::ethernet::ethertype::VLAN.to_be_bytes());
    let l3 = if tagged { L3 + VLAN_LEN } else { L3 };
    let packet = frame.get(l3..).unwrap_or_default();
    let header_len = header(packet);
    let end = header_len.filter(|len| *len <= packet.len()).unwrap_or(packet.len());
    let Some((body, trailer)) = packet[..end].split_last_chunk::<TRAILER_LEN>() else {
        return if header_len.is_some() { Seen::Corrupt(None) } else { Seen::Foreign };
    };
    let mark = Mark::from_bytes(trailer);
    let ethertype = frame.get(l3 - 2..l3) == Some(&wire::ethernet::ethertype::IPV4.to_be_bytes());
    match mark {
        Some(mark) if ethertype && header_len == Some(end) && body_is_whole(body) => Seen::Good(mark),
        None if header_len.is_none() => Seen::Foreign,
        mark => Seen::Corrupt(mark),
    }
}

/// The packet's length, by its header; `None` if that is damaged, or not of a test packet.
#[inline]
fn header(packet: &[u8]) -> Option<usize> {
    let (words, _) = packet.first_chunk::<IPV4_LEN>()?.as_chunks::<2>();
    let words: [u16; IPV4_LEN / 2] = std::array::from_fn(|at| u16::from_be_bytes(words[at]));
    let sum: u32 = words.iter().map(|word| u32::from(*word)).sum();
    let ours = packet[0] == 0x45 && words[2] == IDENT && words[3] == DONT_FRAGMENT && fold(sum) == 0xffff;
    ours.then_some(usize::from(words[1]))
}

/// Whether the transport header and the fill are as they were sent; the IPv4 header is.
#[inline]
fn body_is_whole(body: &[u8]) -> bool {
    let Some((header, fill)) = body.split_first_chunk::<{ IPV4_LEN + L4_LEN }>() else { return false };
    let pattern = &*PATTERN;
    if pattern.bytes.get(..fill.len()) != Some(fill) {
        return false;
    }
    let protocol = match header[9] {
        wire::ipv4::protocol::UDP => Protocol::Udp,
        wire::ipv4::protocol::ICMP => Protocol::Echo,
        _ => return false,
    };
    let l4_len = (L4_LEN + fill.len() + TRAILER_LEN) as u16;
    let word = |at: usize| u32::from(header[at]) << 8 | u32::from(header[at + 1]);
    let words = |from: usize, to: usize| (from..to).step_by(2).map(word).sum::<u32>();
    let mut sum = words(IPV4_LEN, IPV4_LEN + L4_LEN) + u32::from(pattern.sums[fill.len()]);
    if protocol == Protocol::Udp {
        sum += pseudo_sum(protocol, l4_len) + words(12, IPV4_LEN);
        if word(IPV4_LEN + 4) != u32::from(l4_len) {
            return false;
        }
    }
    fold(sum) == 0xffff
}

/// The pseudo header's protocol and length; ICMP has none.
fn pseudo_sum(protocol: Protocol, l4_len: u16) -> u32 {
    match protocol {
        Protocol::Udp => u32::from(wire::ipv4::protocol::UDP) + u32::from(l4_len),
        Protocol::Echo => 0,
    }
}

fn protocol_number(protocol: Protocol) -> u8 {
    match protocol {
        Protocol::Udp => wire::ipv4::protocol::UDP,
        Protocol::Echo => wire::ipv4::protocol::ICMP,
    }
}

#[inline(always)]
fn word_sum(words: u64) -> u32 {
    // Two at a time: the sums of the four 16-bit words fit 18 bits.
    let pairs = (words & 0x0000_ffff_0000_ffff) + ((words >> 16) & 0x0000_ffff_0000_ffff);
    (pairs as u32) + (pairs >> 32) as u32
}

#[inline(always)]
fn fold(sum: u32) -> u16 {
    let sum = (sum & 0xffff) + (sum >> 16);
    ((sum & 0xffff) + (sum >> 16)) as u16
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flow::FlowSpec;
    use crate::flow::tests::spec;
    use sim::dissect::Packet;

    const SRC: MacAddr = MacAddr([2, 0, 0, 0, 0, 1]);
    const DST: MacAddr = MacAddr([2, 0, 0, 0, 0, 2]);

    fn frame(size: usize, protocol: Protocol, mark: Mark) -> Vec<u8> {
        let flow = FlowSpec { protocol, ..spec(7) }.flows().unwrap()[6];
        let template = Template::new(size, protocol, SRC, DST);
        let mut out = vec![0; template.len()];
        template.write(&mut out, &flow, &mark);
        out
    }

    const MARKS: [Mark; 4] = [
        Mark { stream: 0, sequence: 0, intended: 0 },
        Mark { stream: 1, sequence: 2, intended: 3 },
        Mark { stream: 0xffff, sequence: LOW, intended: LOW },
        Mark { stream: 0x1234, sequence: 0x0000_5678_9abc_def0, intended: 0x0000_1111_2222_3333 },
    ];

    #[test]
    fn every_size_is_known_again_and_has_right_checksums() {
        for protocol in [Protocol::Udp, Protocol::Echo] {
            for size in [64, 65, 66, 67, 128, 129, 1518, 9000] {
                for mark in MARKS {
                    let bytes = frame(size, protocol, mark);
                    assert_eq!(bytes.len(), size - FCS_LEN);
                    assert_eq!(inspect(&bytes), Seen::Good(mark), "{protocol:?} {size}");
                    Packet::parse(&bytes[L3..]).unwrap().body().unwrap();
                }
            }
        }
    }

    #[test]
    fn no_inverted_bit_goes_unseen() {
        for protocol in [Protocol::Udp, Protocol::Echo] {
            for size in [64, 65, 200] {
                let whole = frame(size, protocol, MARKS[3]);
                for bit in 12 * 8..whole.len() * 8 {
                    let mut bytes = whole.clone();
                    bytes[bit / 8] ^= 1 << (bit % 8);
                    assert!(matches!(inspect(&bytes), Seen::Corrupt(_)), "{protocol:?} {size}: bit {bit}");
                }
                for len in 46 + L3..whole.len() {
                    assert!(matches!(inspect(&whole[..len]), Seen::Corrupt(_)), "{len}");
                }
            }
        }
    }

    #[test]
    fn a_mark_survives_damage_elsewhere() {
        let mut bytes = frame(200, Protocol::Udp, MARKS[3]);
        bytes[100] ^= 1;
        assert_eq!(inspect(&bytes), Seen::Corrupt(Some(MARKS[3])));
        let last = bytes.len() - 1;
        bytes[last] ^= 1;
        assert_eq!(inspect(&bytes), Seen::Corrupt(None));
    }

    /// Words that change places leave every Internet checksum right.
    #[test]
    fn moved_words_are_seen() {
        let mut bytes = frame(200, Protocol::Udp, MARKS[1]);
        bytes.swap(60, 80);
        bytes.swap(61, 81);
        Packet::parse(&bytes[L3..]).unwrap().body().unwrap();
        assert_eq!(inspect(&bytes), Seen::Corrupt(Some(MARKS[1])));
    }

    #[test]
    fn what_devices_change_is_no_damage() {
        let mut bytes = frame(64, Protocol::Udp, MARKS[3]);
        bytes[..12].fill(7);
        let mut header: Ipv4Header = wire::FromBytes::read_from_bytes(&bytes[L3..L4]).unwrap();
        wire::checksum::ttl_decrement(&mut header);
        bytes[L3..L4].copy_from_slice(header.as_bytes());
        assert_eq!(inspect(&bytes), Seen::Good(MARKS[3]));
        assert_eq!(inspect(&sim::builder::tagged(&bytes, 100)), Seen::Good(MARKS[3]));
        bytes.extend([0; 9]);
        assert_eq!(inspect(&bytes), Seen::Good(MARKS[3]), "padding");
    }

    #[test]
    fn an_echo_reply_is_the_request() {
        let mut bytes = frame(64, Protocol::Echo, MARKS[3]);
        let (src, dst) = (L3 + 12, L3 + 16);
        for at in 0..4 {
            bytes.swap(src + at, dst + at);
        }
        bytes[L4] = 0;
        bytes[L4 + 2..L4 + 4].fill(0);
        let check = wire::checksum::checksum(&bytes[L4..]);
        bytes[L4 + 2..L4 + 4].copy_from_slice(&check.to_be_bytes());
        assert_eq!(inspect(&bytes), Seen::Good(MARKS[3]));
    }

    #[test]
    fn others_are_foreign() {
        let addrs = [[10, 0, 0, 1], [10, 0, 0, 2]].map(std::net::Ipv4Addr::from);
        let udp = sim::builder::udp(addrs[0], addrs[1], 1, 2, &[0; 100]);
        let packet = sim::builder::Ipv4::new(addrs[0], addrs[1], 17).packet(&udp);
        for bytes in [
            vec![],
            vec![0; 13],
            vec![0; 60],
            vec![0xff; 1514],
            sim::builder::arp_request(SRC, addrs[0], addrs[1]),
            sim::builder::ethernet(DST, SRC, 0x0800, &packet),
        ] {
            assert_eq!(inspect(&bytes), Seen::Foreign, "{bytes:02x?}");
        }
    }
}
