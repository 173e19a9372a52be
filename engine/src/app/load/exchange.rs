//! What is asked.

use std::sync::{Arc, OnceLock};

use config::{Check, Request};
use tcp::{Content, Produce, Pulled};

use super::bodies::Hash;

/// A request, and what answers it.
#[derive(Clone, Debug)]
pub struct Exchange {
    kind: Kind,
    message: Arc<Message>,
    /// What content each answer has; nothing until the first has come, if that one says it.
    expected: Option<Arc<OnceLock<Hash>>>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Kind {
    /// The same bytes come back.
    Echo,
    /// An HTTP/1.1 response comes.
    Http {
        /// Without content, whatever its head says.
        is_head: bool,
        /// The request may be repeated.
        is_idempotent: bool,
    },
}

/// The bytes of one request. As a stream they repeat without end.
#[derive(Debug)]
struct Message(Box<[u8]>);

impl Produce for Message {
    fn fill(&self, offset: u64, mut out: &mut [u8]) {
        let mut at = (offset % self.0.len() as u64) as usize;
        while !out.is_empty() {
            let part = &self.0[at..];
            let count = part.len().min(out.len());
            out[..count].copy_from_slice(&part[..count]);
            out = &mut out[count..];
            at = 0;
        }
    }
}

impl Exchange {
    fn new(kind: Kind, bytes: Vec<u8>) -> Exchange {
        Exchange { kind, message: Arc::new(Message(bytes.into())), expected: None }
    }

    /// A message of `size` bytes, at least 1, that comes back as it was sent.
    pub fn echo(size: usize) -> Exchange {
        Exchange::new(Kind::Echo, (0..size.max(1)).map(|at| (at ^ (at >> 8)) as u8).collect())
    }

    /// A request to `host`, the authority that the Host field names unless the request has a field of its own. With
    /// `close` the server is told that no other request follows.
    pub fn http(request: &Request, host: &str, close: bool) -> Exchange {
        let Request { method, target, fields, body, .. } = request;
        let mut text = format!("{method} {target} HTTP/1.1\r\n");
        let mut add = |name: &str, value: &str| text.extend([name, ": ", value, "\r\n"]);
        for (name, value) in [("Host", host), ("User-Agent", "sluice")] {
            if !fields.iter().any(|(own, _)| own.eq_ignore_ascii_case(name)) {
                add(name, value);
            }
        }
        fields.iter().for_each(|(name, value)| add(name, value));
        //= RFC 9110 section 8.6: a method that is made for content has a length even if that is 0.
        if !body.is_empty() || matches!(&**method, "POST" | "PUT" | "PATCH") {
            add("Content-Length", &body.len().to_string());
        }
        if close {
            add("Connection", "close");
        }
        text.extend(["\r\n", body]);
        //= RFC 9110 section 9.2.2: what idempotent methods are.
        let is_idempotent = matches!(&**method, "GET" | "HEAD" | "OPTIONS" | "TRACE" | "PUT" | "DELETE");
        let kind = Kind::Http { is_head: method == "HEAD", is_idempotent };
        let expected = request.check.map(|check| match check {
            Check::First => Arc::default(),
            Check::Sha256(hash) => Arc::new(OnceLock::from(hash)),
        });
        Exchange { expected, ..Exchange::new(kind, text.into_bytes()) }
    }

    /// Bytes of a request.
    pub(super) fn len(&self) -> u64 {
        self.message.0.len() as u64
    }

    pub(super) fn bytes(&self) -> &[u8] {
        &self.message.0
    }

    pub(super) fn kind(&self) -> Kind {
        self.kind
    }

    /// Whether it may be sent again when nobody knows what became of it.
    pub(super) fn may_be_repeated(&self) -> bool {
        !matches!(self.kind, Kind::Http { is_idempotent: false, .. })
    }

    pub(super) fn is_checked(&self) -> bool {
        self.expected.is_some()
    }

    /// Whether an answer may have the content with this hash.
    pub(super) fn expects(&self, hash: Hash) -> bool {
        self.expected.as_ref().is_none_or(|expected| *expected.get_or_init(|| hash) == hash)
    }

    /// The last `bytes` of a stream of whole requests. They are made as they are sent.
    pub(super) fn content<B>(&self, bytes: u64) -> Content<B> {
        let start = (self.len() - bytes % self.len()) % self.len();
        Content::Pulled(Pulled::new(Arc::clone(&self.message) as Arc<dyn Produce>, start..start + bytes))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(exchange: &Exchange) -> &str {
        std::str::from_utf8(exchange.bytes()).unwrap()
    }

    #[test]
    fn requests_as_they_are_sent() {
        assert_eq!(
            text(&Exchange::http(&Request::get("/x?y"), "a:81", true)),
            "GET /x?y HTTP/1.1\r\nHost: a:81\r\nUser-Agent: sluice\r\nConnection: close\r\n\r\n"
        );
        let fields = vec![("host".into(), "b".into()), ("Accept".into(), "*/*".into())];
        let mut request = Request { method: "POST".into(), fields, body: "x=1".into(), ..Request::get("/") };
        assert_eq!(
            text(&Exchange::http(&request, "a", false)),
            "POST / HTTP/1.1\r\nUser-Agent: sluice\r\nhost: b\r\nAccept: */*\r\nContent-Length: 3\r\n\r\nx=1"
        );
        request.body.clear();
        assert!(text(&Exchange::http(&request, "a", false)).contains("\r\nContent-Length: 0\r\n"));
        request.method = "DELETE".into();
        assert!(!text(&Exchange::http(&request, "a", false)).contains("Content-Length"));
    }

    #[test]
    fn what_may_be_repeated() {
        for (method, may) in [("GET", true), ("DELETE", true), ("POST", false), ("BREW", false)] {
            let request = Request { method: method.into(), ..Request::get("/") };
            assert_eq!(Exchange::http(&request, "a", false).may_be_repeated(), may, "{method}");
        }
        assert!(Exchange::echo(5).may_be_repeated());
    }

    #[test]
    fn contents_are_compared_with_a_hash_or_the_first() {
        let checked = |check| Exchange::http(&Request { check, ..Request::get("/") }, "a", false);
        let get = checked(None);
        assert!(get.expects([1; 32]) && get.expects([2; 32]));
        let hash = checked(Some(Check::Sha256([1; 32])));
        assert!(hash.expects([1; 32]) && !hash.expects([2; 32]));
        let first = checked(Some(Check::First));
        let elsewhere = first.clone();
        assert!(first.expects([2; 32]) && elsewhere.expects([2; 32]) && !elsewhere.expects([1; 32]));
    }

    #[test]
    fn the_rest_of_a_stream_is_its_end() {
        let echo = Exchange::echo(10);
        let whole: Vec<u8> = (0..10).cycle().take(40).collect();
        for rest in [1, 9, 10, 11, 25, 40] {
            let mut out = vec![0; rest];
            echo.content::<&[u8]>(rest as u64).copy_out(0, &mut out);
            assert_eq!(out, whole[40 - rest..]);
        }
    }
}
