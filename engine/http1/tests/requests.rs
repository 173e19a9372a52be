//! The table of cases, whatever pieces the bytes come in; and bytes that nobody should send.
#![allow(clippy::unwrap_used, reason = "a test that fails panics")]

mod cases;

use cases::{BODY, CASES, CHUNKED, HEAD, TARGET, long_cases};
use http1::head::Expectation;
use http1::target::{Target, canonical};
use http1::{Head, HeadPool, Item, Limits, Method, Reader};
use proptest::prelude::*;

const LIMITS: Limits = Limits { target: TARGET, head: HEAD, body: BODY as u64 };

/// A server in small: what it says, in words.
struct Server {
    reader: Reader,
    pool: HeadPool,
    /// What the request whose body is being read will be answered.
    answer: Option<(u16, bool)>,
    said: Vec<String>,
    closed: bool,
}

impl Server {
    fn new() -> Self {
        let pool = HeadPool::new(1, HEAD);
        Server { reader: Reader::default(), pool, answer: None, said: Vec::new(), closed: false }
    }

    fn receive(&mut self, mut input: &[u8]) {
        while !self.closed {
            match self.reader.next(&mut self.pool, &mut input, &LIMITS) {
                Ok(Some(Item::Head(head))) => {
                    let (answer, interim) = answer(&head, self.reader.is_in_body());
                    self.said.extend(interim.then(|| "100".to_owned()));
                    self.answer = Some(answer);
                    if !self.reader.is_in_body()
                        || !answer.1 && !interim && head.expectation != Expectation::None
                    {
                        self.say();
                    }
                }
                Ok(Some(Item::BodyEnd)) => self.say(),
                Ok(None) => {
                    assert!(input.is_empty());
                    break;
                }
                Err(refusal) => {
                    self.answer = Some((refusal.status.code(), false));
                    self.say();
                }
            }
        }
    }

    fn say(&mut self) {
        let (status, keep_alive) = self.answer.take().unwrap();
        self.said.push(status.to_string());
        self.closed = !keep_alive;
    }

    fn end(mut self) -> String {
        let state = match () {
            () if self.closed => "close",
            () if self.reader.is_in_head() => "head",
            () if self.reader.is_in_body() => "body",
            () => "open",
        };
        self.reader.stop(&mut self.pool);
        assert_eq!(self.pool.room(), 1, "memory for heads is back");
        self.said.push(state.to_owned());
        self.said.join(" ")
    }
}

/// The status, whether the connection goes on, and whether the client is to be told to send its body.
fn answer(head: &Head<'_>, has_body: bool) -> ((u16, bool), bool) {
    let status = match (head.method, head.target) {
        (Method::Known | Method::Connect, _) => 405,
        (Method::Unknown, _) => 501,
        _ if head.expectation == Expectation::Unknown => 417,
        (_, Target::Resource { path, .. }) if canonical(path, &mut [0; 3 * TARGET]).is_err() => 400,
        _ => 200,
    };
    let expects = has_body && head.expectation != Expectation::None;
    let go_on = head.keep_alive && head.method != Method::Connect && (!expects || status == 200);
    ((status, go_on), expects && status == 200)
}

fn all_cases() -> impl Iterator<Item = (String, &'static str)> {
    let of_group = |(group, cases): &(&str, &'static [cases::Case])| {
        let start = if group.contains("chunks") { CHUNKED } else { "" };
        cases.iter().map(move |(bytes, said)| (format!("{start}{bytes}"), *said))
    };
    CASES.iter().flat_map(of_group).chain(long_cases())
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[test]
fn every_case_in_every_two_pieces() {
    assert!(all_cases().count() > 150);
    let mut wrong = Vec::new();
    for (bytes, said) in all_cases() {
        for at in 0..=bytes.len() {
            let (one, two) = bytes.as_bytes().split_at(at);
            let mut server = Server::new();
            server.receive(one);
            server.receive(two);
            let is = server.end();
            if is != said {
                wrong.push(format!("{said}, but {is}: {one:?} {two:?}", one = text(one), two = text(two)));
                break;
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn every_case_byte_by_byte() {
    for (bytes, said) in all_cases() {
        let mut server = Server::new();
        bytes.as_bytes().chunks(1).for_each(|byte| server.receive(byte));
        assert_eq!(server.end(), said, "{bytes:?}");
    }
}

#[test]
fn no_memory_for_heads() {
    let mut pool = HeadPool::new(1, HEAD);
    let (mut one, mut two) = (Reader::default(), Reader::default());
    assert!(one.next(&mut pool, &mut &b"GET /"[..], &LIMITS).unwrap().is_none());
    // Whole heads need none.
    let whole = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n";
    assert!(two.next(&mut pool, &mut &whole[..], &LIMITS).unwrap().is_some());
    let refusal = two.next(&mut pool, &mut &b"GET /"[..], &LIMITS).unwrap_err();
    assert_eq!(refusal.status, http1::Status::ServiceUnavailable);
    one.stop(&mut pool);
    assert_eq!(pool.room(), 1);
}

#[test]
fn refusals_of_head_say_so() {
    for (text, is_head) in [("HEAD / HTTP/1.1\r\n\r\n", true), ("GET / HTTP/1.1\r\n\r\n", false)] {
        let refusal =
            Reader::default().next(&mut HeadPool::new(1, HEAD), &mut text.as_bytes(), &LIMITS).unwrap_err();
        assert_eq!(refusal.is_head, is_head);
    }
}

/// Bytes that look like requests, more or less.
fn soup() -> impl Strategy<Value = Vec<u8>> {
    let words = [
        "GET ",
        "HEAD",
        "POST / HTTP/1.1\r\n",
        "/",
        "a",
        " HTTP/1.1",
        "\r\n",
        "\r",
        "\n",
        "Host: a\r\n",
        ": ",
        " ",
        "Content-Length: ",
        "Transfer-Encoding: chunked\r\n",
        "5",
        "0\r\n\r\n",
        "\0",
        "Range: bytes=1-2\r\n",
    ];
    let word = prop_oneof![
        proptest::sample::select(words.map(|word| word.as_bytes().to_vec()).to_vec()),
        proptest::collection::vec(any::<u8>(), 0..4),
    ];
    proptest::collection::vec(word, 0..60).prop_map(|words| words.concat())
}

proptest! {
    #[test]
    fn pieces_change_nothing(bytes in soup(), cuts in proptest::collection::vec(0..400_usize, 0..6)) {
        let mut whole = Server::new();
        whole.receive(&bytes);
        let mut cuts: Vec<_> = cuts.into_iter().map(|cut| cut.min(bytes.len())).collect();
        cuts.extend([0, bytes.len()]);
        cuts.sort_unstable();
        let mut pieces = Server::new();
        cuts.windows(2).for_each(|cut| pieces.receive(&bytes[cut[0]..cut[1]]));
        prop_assert_eq!(pieces.end(), whole.end());
    }
}

proptest! {
    #[test]
    fn any_bytes_are_read(bytes in proptest::collection::vec(any::<u8>(), 0..200), size in any::<u64>()) {
        let _path = canonical(&bytes, &mut [0; 64]);
        if let http1::range::Extent::Part { start, len } = http1::range::resolve(&bytes, size) {
            prop_assert!(len > 0 && start.checked_add(len).is_some_and(|end| end <= size));
        }
    }

    /// A canonical path is its own canonical form.
    #[test]
    fn canonical_paths_stay(path in "/[a-c/.%2e0-9F ]{0,30}") {
        let (mut one, mut two) = ([0; 200], [0; 200]);
        if let Ok(len) = canonical(path.as_bytes(), &mut one) {
            prop_assert_eq!(canonical(&one[..len], &mut two), Ok(len));
            prop_assert_eq!(&one[..len], &two[..len]);
            prop_assert!(!one[..len].split(|byte| *byte == b'/').any(|name| name == b".." || name == b"."));
        }
    }
}
