//! A connection's last segments as a pcapng file (draft-ietf-opsawg-pcapng): headers only, with comments.

use std::net::SocketAddrV4;
use std::path::Path;
use std::time::{Duration, SystemTime};

use engine::api::{ConnectionDetail, EventReport};
use wire::ipv4::protocol;
use wire::{IntoBytes, Ipv4Header, TcpFlags, TcpHeader, U16, U32};

const SECTION_HEADER: u32 = 0x0a0d_0d0a;
const INTERFACE: u32 = 1;
const ENHANCED_PACKET: u32 = 6;
/// LINKTYPE_RAW: packets begin with the IP header.
const LINKTYPE_RAW: u16 = 101;
const COMMENT: u16 = 1;
const USER_APPLICATION: u16 = 4;
const TIME_RESOLUTION: u16 = 9;

/// Writes what a connection's events say to `file`. `now` is when they were asked for.
pub(super) fn write(file: &Path, detail: &ConnectionDetail, now: SystemTime) -> std::io::Result<()> {
    let ends = (detail.report.local.parse(), detail.report.remote.parse());
    let (Ok(local), Ok(remote)) = ends else {
        return Err(std::io::Error::other("the router's answer has no addresses"));
    };
    std::fs::write(file, capture(local, remote, &detail.events, now))
}

fn capture(local: SocketAddrV4, remote: SocketAddrV4, events: &[EventReport], now: SystemTime) -> Vec<u8> {
    let mut out = Vec::new();
    let mut section = 0x1a2b_3c4d_u32.to_le_bytes().to_vec();
    section.extend([1_u16, 0].iter().flat_map(|version| version.to_le_bytes()));
    section.extend(u64::MAX.to_le_bytes());
    option(&mut section, USER_APPLICATION, b"sluice");
    block(&mut out, SECTION_HEADER, section);
    let mut interface = LINKTYPE_RAW.to_le_bytes().to_vec();
    interface.extend([0; 6]);
    option(&mut interface, TIME_RESOLUTION, &[9]);
    block(&mut out, INTERFACE, interface);

    let mut comments = Vec::new();
    for (at, event) in events.iter().enumerate() {
        let (src, dst) = match event.what.as_str() {
            "sent" => (local, remote),
            "received" => (remote, local),
            timer => {
                comments.push(format!("{timer}, {} ns ago", event.nanos_ago));
                continue;
            }
        };
        if event.cwnd > 0 {
            comments.push(format!("cwnd {}", event.cwnd));
        }
        // What follows the last segment has no other place.
        let is_segment = |event: &EventReport| event.what == "sent" || event.what == "received";
        let after = &events[at + 1..];
        if !after.iter().any(is_segment) {
            comments.extend(after.iter().map(|e| format!("then: {}, {} ns ago", e.what, e.nanos_ago)));
        }
        packet(
            &mut out,
            now - Duration::from_nanos(event.nanos_ago),
            &headers(src, dst, event),
            event.len,
            &comments,
        );
        comments.clear();
    }
    out
}

/// The IPv4 and TCP headers of a segment. Checksums of TCP are left out: they cover what is not there.
fn headers(src: SocketAddrV4, dst: SocketAddrV4, event: &EventReport) -> Vec<u8> {
    let mut ip =
        Ipv4Header::new(*src.ip(), *dst.ip(), protocol::TCP, size_of::<TcpHeader>() + usize::from(event.len));
    ip.fill_checksum();
    let tcp = TcpHeader {
        src_port: U16::new(src.port()),
        dst_port: U16::new(dst.port()),
        seq: U32::new(event.seq),
        ack: U32::new(event.ack),
        data_offset: 5 << 4,
        flags: TcpFlags(event.flags),
        window: U16::new(event.window),
        ..TcpHeader::default()
    };
    [ip.as_bytes(), tcp.as_bytes()].concat()
}

fn packet(out: &mut Vec<u8>, at: SystemTime, headers: &[u8], data: u16, comments: &[String]) {
    let nanos = at.duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_nanos() as u64);
    let captured = headers.len() as u32;
    let words = [0, (nanos >> 32) as u32, nanos as u32, captured, captured + u32::from(data)];
    let mut body: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
    padded(&mut body, headers);
    comments.iter().for_each(|comment| option(&mut body, COMMENT, comment.as_bytes()));
    block(out, ENHANCED_PACKET, body);
}

fn option(body: &mut Vec<u8>, code: u16, value: &[u8]) {
    body.extend(code.to_le_bytes());
    body.extend((value.len() as u16).to_le_bytes());
    padded(body, value);
}

fn padded(body: &mut Vec<u8>, bytes: &[u8]) {
    body.extend(bytes);
    body.resize(body.len().next_multiple_of(4), 0);
}

fn block(out: &mut Vec<u8>, kind: u32, body: Vec<u8>) {
    let len = (body.len() as u32 + 12).to_le_bytes();
    out.extend(kind.to_le_bytes());
    out.extend(len);
    out.extend(body);
    out.extend(len);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(what: &str, nanos_ago: u64, len: u16) -> EventReport {
        EventReport { nanos_ago, what: what.into(), seq: 1, ack: 2, len, flags: 0x10, window: 3, cwnd: 0 }
    }

    /// The blocks of a file: kind and body.
    fn blocks(mut file: &[u8]) -> Vec<(u32, &[u8])> {
        let word = |bytes: &[u8]| u32::from_le_bytes(bytes[..4].try_into().unwrap());
        let mut blocks = vec![];
        while !file.is_empty() {
            let len = word(&file[4..]) as usize;
            assert_eq!((len % 4, word(&file[len - 4..]) as usize), (0, len));
            blocks.push((word(file), &file[8..len - 4]));
            file = &file[len..];
        }
        blocks
    }

    #[test]
    fn each_segment_is_a_packet_and_timers_are_comments() {
        let events = [
            event("received", 5000, 100),
            event("retransmission timeout", 4000, 0),
            event("sent", 3000, 7),
            event("keepalive timeout", 2000, 0),
        ];
        let (local, remote) = ("10.0.0.2:7".parse().unwrap(), "10.0.0.1:999".parse().unwrap());
        let file = capture(local, remote, &events, SystemTime::UNIX_EPOCH + Duration::from_secs(3));
        let blocks = blocks(&file);
        let kinds: Vec<u32> = blocks.iter().map(|(kind, _)| *kind).collect();
        assert_eq!(kinds, [SECTION_HEADER, INTERFACE, ENHANCED_PACKET, ENHANCED_PACKET]);
        let (received, sent) = (blocks[2].1, blocks[3].1);
        // Captured and original length, and the first bytes of the IPv4 header.
        assert_eq!(received[12..24], [40, 0, 0, 0, 140, 0, 0, 0, 0x45, 0, 0, 140]);
        assert_eq!(received[32..44], [10, 0, 0, 1, 10, 0, 0, 2, 3, 231, 0, 7]);
        assert_eq!(received.len(), 60, "no comment");
        assert_eq!(sent[32..44], [10, 0, 0, 2, 10, 0, 0, 1, 0, 7, 3, 231]);
        let comments = String::from_utf8_lossy(&sent[60..]);
        for comment in ["retransmission timeout, 4000 ns ago", "then: keepalive timeout, 2000 ns ago"] {
            assert!(comments.contains(comment), "{comments}");
        }
    }
}
