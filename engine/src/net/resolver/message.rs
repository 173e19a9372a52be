//! DNS messages (RFC 1035): a question for addresses, and what a reply says.

use std::net::Ipv4Addr;

use simple_dns::rdata::RData;
use simple_dns::{CLASS, Name, Packet, PacketFlag, QCLASS, QTYPE, Question, RCODE, TYPE, header_buffer};

/// Aliases that are followed within a reply.
const MOST_ALIASES: usize = 8;

/// What a server says of a name.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Reply {
    /// Its addresses, at least one, and for how many seconds they are good.
    Addresses(Box<[Ipv4Addr]>, u32),
    /// It is an alias of this name, for so many seconds; the server says nothing of that one.
    Alias(String, u32),
    /// There is such a name, but it has no address.
    NoAddress,
    NoSuchName,
    /// There is more than fits in a datagram.
    Truncated,
    /// The server cannot or does not want to say.
    Failed,
    Malformed,
}

/// A name as it is asked for; `None` if it is none. Names of hosts have letters, digits, hyphens, and, in practice,
/// underscores.
pub(super) fn canonical(name: &str) -> Option<String> {
    let name = name.strip_suffix('.').unwrap_or(name).to_ascii_lowercase();
    let is_label = |label: &str| {
        let fits = (1..=63).contains(&label.len());
        fits && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_')
    };
    //= RFC 1035 section 2.3.4: a label has up to 63 bytes, and a name 255 with the lengths of its labels.
    (name.len() <= 253 && name.split('.').all(is_label)).then_some(name)
}

/// Asks for the addresses of a name; `None` if it is none.
pub(super) fn question(id: u16, name: &str) -> Option<Vec<u8>> {
    let mut packet = Packet::new_query(id);
    packet.set_flags(PacketFlag::RECURSION_DESIRED);
    let (kind, class) = (QTYPE::TYPE(TYPE::A), QCLASS::CLASS(CLASS::IN));
    packet.questions.push(Question::new(Name::new(name).ok()?, kind, class, false));
    packet.build_bytes_vec().ok()
}

/// What `bytes` say in reply to the question `id` for the addresses of `name`; `None` if they are no reply to it.
pub(super) fn read(bytes: &[u8], id: u16, name: &str) -> Option<Reply> {
    let is_reply = header_buffer::id(bytes) == Ok(id)
        && header_buffer::has_flags(bytes, PacketFlag::RESPONSE) == Ok(true);
    if !is_reply {
        return None;
    }
    //= RFC 2181 section 9: what is truncated is not used; it may end in the middle of a record.
    if header_buffer::has_flags(bytes, PacketFlag::TRUNCATION) == Ok(true) {
        return Some(Reply::Truncated);
    }
    let (Ok(packet), Ok(name)) = (Packet::parse(bytes), Name::new(name)) else {
        return Some(Reply::Malformed);
    };
    //= RFC 5452 section 9.1: the question in a reply is the one that was asked.
    if packet.questions.len() != 1 || packet.questions[0].qname != name {
        return None;
    }
    Some(match packet.rcode() {
        RCODE::NoError => follow(&packet, name),
        RCODE::NameError => Reply::NoSuchName,
        _ => Reply::Failed,
    })
}

/// Follows aliases from `name` to addresses, as far as the reply goes.
fn follow(packet: &Packet<'_>, name: Name<'_>) -> Reply {
    let (mut at, mut ttl, mut is_alias) = (&name, u32::MAX, false);
    for _ in 0..=MOST_ALIASES {
        let records = packet.answers.iter().filter(|record| record.class == CLASS::IN && record.name == *at);
        let (mut addresses, mut alias) = (Vec::new(), None);
        for record in records {
            //= RFC 2181 section 8: a time to live with its highest bit set is 0.
            let good_for = if record.ttl > i32::MAX as u32 { 0 } else { record.ttl };
            match &record.rdata {
                RData::A(a) => addresses.push(Ipv4Addr::from_bits(a.address)),
                RData::CNAME(to) => alias = Some(&to.0),
                _ => continue,
            }
            ttl = ttl.min(good_for);
        }
        if !addresses.is_empty() {
            return Reply::Addresses(addresses.into(), ttl);
        }
        let Some(to) = alias else { break };
        (at, is_alias) = (to, true);
    }
    if is_alias { Reply::Alias(at.to_string(), ttl) } else { Reply::NoAddress }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A reply to question 7 for `www.example`, with these flags and answers.
    fn reply(flags: u16, answers: &[&[u8]]) -> Vec<u8> {
        let mut bytes = vec![0, 7];
        bytes.extend(flags.to_be_bytes());
        bytes.extend([0, 1, 0, answers.len() as u8, 0, 0, 0, 0]);
        bytes.extend(b"\x03www\x07example\x00\x00\x01\x00\x01");
        answers.iter().for_each(|answer| bytes.extend(*answer));
        bytes
    }

    const WWW: &[u8] = b"\xc0\x0c";
    const GOOD: u16 = 0x8180;

    fn record(name: &[u8], kind: u8, ttl: u32, data: &[u8]) -> Vec<u8> {
        [name, &[0, kind, 0, 1], &ttl.to_be_bytes(), &(data.len() as u16).to_be_bytes(), data].concat()
    }

    fn says(bytes: &[u8]) -> Option<Reply> {
        read(bytes, 7, "www.example")
    }

    fn addresses(all: &[[u8; 4]], ttl: u32) -> Option<Reply> {
        Some(Reply::Addresses(all.iter().map(|address| (*address).into()).collect(), ttl))
    }

    #[test]
    fn a_question_is_what_a_server_expects() {
        let asked = question(0x1234, "www.example").unwrap();
        let text = b"\x12\x34\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00\x03www\x07example\x00\x00\x01\x00\x01";
        assert_eq!(asked, text);
    }

    #[test]
    fn names() {
        let label = "a".repeat(63);
        for good in ["a", "www.Example.", "_x.a-b.9", &label, &format!("{label}.{label}.{label}")] {
            assert!(canonical(good).is_some_and(|name| question(1, &name).is_some()), "{good}");
        }
        let long = [label.as_str(); 4].join(".");
        for bad in ["", ".", "a..b", ".a", "a b", "h\u{fc}tte.example", "a\\.b", &format!("{label}a"), &long]
        {
            assert_eq!(canonical(bad), None, "{bad}");
        }
        assert_eq!(canonical("WWW.Example.").as_deref(), Some("www.example"));
    }

    #[test]
    fn replies() {
        let a = |ttl, last| record(WWW, 1, ttl, &[10, 0, 0, last]);
        let to_b = record(WWW, 5, 30, b"\x01b\xc0\x10");
        let of_b = record(b"\x01b\xc0\x10", 1, 99, &[10, 0, 0, 9]);
        let circle = record(WWW, 5, 30, b"\xc0\x0c");
        assert_eq!(
            says(&reply(GOOD, &[&a(60, 1), &a(50, 2)])),
            addresses(&[[10, 0, 0, 1], [10, 0, 0, 2]], 50)
        );
        assert_eq!(says(&reply(GOOD, &[&a(0x8000_0000, 1)])), addresses(&[[10, 0, 0, 1]], 0));
        // In either order.
        assert_eq!(says(&reply(GOOD, &[&to_b, &of_b])), addresses(&[[10, 0, 0, 9]], 30));
        assert_eq!(says(&reply(GOOD, &[&of_b, &to_b])), addresses(&[[10, 0, 0, 9]], 30));
        assert_eq!(says(&reply(GOOD, &[&to_b])), Some(Reply::Alias("b.example".into(), 30)));
        assert_eq!(says(&reply(GOOD, &[&circle])), Some(Reply::Alias("www.example".into(), 30)));
        // Of somebody else.
        assert_eq!(says(&reply(GOOD, &[&of_b])), Some(Reply::NoAddress));
        assert_eq!(says(&reply(GOOD, &[])), Some(Reply::NoAddress));
        assert_eq!(says(&reply(0x8183, &[])), Some(Reply::NoSuchName));
        for code in [1, 2, 4, 5] {
            assert_eq!(says(&reply(0x8180 | code, &[])), Some(Reply::Failed));
        }
        // Truncated in the middle of a record.
        let cut = reply(0x8380, &[&a(60, 1)]);
        assert_eq!(says(&cut[..cut.len() - 3]), Some(Reply::Truncated));
        assert_eq!(read(&reply(GOOD, &[]), 7, "WWW.EXAMPLE"), Some(Reply::NoAddress));
    }

    #[test]
    fn what_is_no_reply_to_the_question() {
        let good = reply(GOOD, &[&record(WWW, 1, 60, &[10, 0, 0, 1])]);
        assert_eq!(read(&good, 8, "www.example"), None, "another id");
        assert_eq!(read(&good, 7, "www.example.org"), None, "another name");
        assert_eq!(says(&question(7, "www.example").unwrap()), None, "a question");
        let mut none = good.clone();
        none[5] = 0;
        assert_ne!(says(&none), addresses(&[[10, 0, 0, 1]], 60), "no question");
        assert!((0..12).all(|len| says(&good[..len]).is_none_or(|reply| reply == Reply::Malformed)));
    }

    #[test]
    fn what_is_malformed() {
        let a = record(WWW, 1, 60, &[10, 0, 0, 1]);
        let with = |answer: &[u8]| reply(GOOD, &[answer]);
        let pointer = |to: u8| record(&[0xc0, to], 1, 60, &[10, 0, 0, 1]);
        for (what, bytes) in [
            ("cut in a record", reply(GOOD, &[&a[..a.len() - 1]])),
            ("cut in a name", reply(GOOD, &[b"\x05ab"])),
            ("an answer too few", {
                let mut bytes = with(&a);
                bytes[7] = 2;
                bytes
            }),
            ("an address of three bytes", with(&record(WWW, 1, 60, &[10, 0, 0]))),
            ("a pointer to itself", with(&pointer(29))),
            ("a pointer beyond the end", with(&pointer(200))),
            ("pointers in a circle", with(&record(WWW, 5, 60, b"\x01b\xc0\x29"))),
            (
                "a label of 64 bytes",
                with(&record(&[&[64][..], &[b'a'; 64], &[0]].concat(), 1, 60, &[1, 2, 3, 4])),
            ),
            (
                "a name of 256 bytes",
                with(&record(&[b"\x3f".as_slice(), &[b'a'; 63]].concat().repeat(4), 1, 1, &[])),
            ),
        ] {
            let said = says(&bytes);
            assert!(matches!(said, Some(Reply::Malformed)), "{what}: {said:?}");
        }
    }

    proptest! {
        /// Whatever comes is read without a panic, in time; a message that was changed gives nothing that it does
        /// not hold.
        #[test]
        fn anything_may_come(
            noise in proptest::collection::vec(any::<u8>(), 0..600),
            changes in proptest::collection::vec((0..80_usize, any::<u8>()), 0..6),
        ) {
            let _any = read(&[&[0, 7, 0x81, 0x80], &*noise].concat(), 7, "www.example");
            let to_b = record(WWW, 5, 30, b"\x01b\xc0\x10");
            let mut bytes = reply(GOOD, &[&to_b, &record(b"\xc0\x29", 1, 60, &[10, 0, 0, 1])]);
            for (at, byte) in changes {
                let at = at % bytes.len();
                bytes[at] = byte;
            }
            if let Some(Reply::Addresses(all, _)) = says(&bytes) {
                let held = |address: &Ipv4Addr| bytes.windows(4).any(|four| four == address.octets());
                prop_assert!(all.iter().all(held));
            }
        }
    }
}
