//! What counts as an answer, and where it ends.

use http1::body::{Body, Framing};
use http1::reader::Limits;

use super::exchange::{Exchange, Kind};
use super::tally::Failure;

/// Bytes of a response's head, and of its trailer section.
const HEAD: usize = 16 << 10;
/// Fields of a head.
const FIELDS: usize = 100;
/// Heads that may have come in part, on all connections of a worker together.
const MOST_HEADS: u32 = 65_536;

/// An answer that has come in whole.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Answer {
    /// Whether it is what was hoped for: a status of 2xx.
    pub(super) is_good: bool,
    /// Whether the server closes the connection after it.
    pub(super) closes: bool,
}

/// Memory for heads that come in pieces.
#[derive(Debug)]
pub(super) struct Heads {
    memory: Box<[u8]>,
    free: Vec<u32>,
}

impl Heads {
    /// For so many connections.
    pub(super) fn new(connections: u32) -> Self {
        let heads = connections.min(MOST_HEADS);
        // Zeroed memory is the kernel's until it is written to.
        Heads { memory: vec![0; heads as usize * HEAD].into_boxed_slice(), free: (0..heads).rev().collect() }
    }

    fn at(&mut self, slot: u32) -> &mut [u8] {
        let start = slot as usize * HEAD;
        &mut self.memory[start..start + HEAD]
    }
}

/// How far the answers of one connection were read.
#[derive(Clone, Copy, Default, Debug)]
pub(super) struct Reader {
    state: State,
    /// What is known of the answer that is being read.
    answer: Option<Answer>,
}

#[derive(Clone, Copy, Default, Debug)]
enum State {
    #[default]
    Start,
    /// So many bytes of the echo have come.
    Echo(usize),
    /// So many bytes of a head lie in a slot of the memory.
    Head {
        slot: u32,
        len: usize,
    },
    Body(Body),
    /// The body ends with the connection.
    UntilClose,
}

/// Bounds of responses; their bodies have none.
const LIMITS: Limits = Limits { target: 0, head: HEAD, body: u64::MAX };

impl Reader {
    /// Whether nothing of an answer has come that is incomplete.
    pub(super) fn is_between(&self) -> bool {
        matches!(self.state, State::Start)
    }

    /// Reads nothing any more, and gives back what it has of the memory.
    pub(super) fn stop(&mut self, heads: &mut Heads) {
        if let State::Head { slot, .. } = self.state {
            heads.free.push(slot);
        }
        *self = Reader::default();
    }

    /// Takes what belongs to the answer of `exchange` from the front of `input`; gives it if this was its end. What of
    /// it is content goes to `content`.
    pub(super) fn read(
        &mut self,
        exchange: &Exchange,
        heads: &mut Heads,
        input: &mut &[u8],
        mut content: impl FnMut(&[u8]),
    ) -> Result<Option<Answer>, Failure> {
        while !input.is_empty() {
            let ended = match (exchange.kind(), &mut self.state) {
                (Kind::Echo, State::Echo(at)) => {
                    let expected = &exchange.bytes()[*at..];
                    let count = expected.len().min(input.len());
                    if input[..count] != expected[..count] {
                        return Err(Failure::BadResponse);
                    }
                    *input = &input[count..];
                    *at += count;
                    *at == exchange.bytes().len()
                }
                (Kind::Echo, state) => {
                    *state = State::Echo(0);
                    self.answer = Some(Answer { is_good: true, closes: false });
                    false
                }
                (Kind::Http { .. }, State::Body(body)) => {
                    body.take(input, &LIMITS, &mut content).map_err(|_| Failure::BadResponse)?
                }
                (Kind::Http { .. }, State::UntilClose) => {
                    content(std::mem::take(input));
                    false
                }
                (Kind::Http { is_head, .. }, _) => self.head(is_head, heads, input)?,
            };
            if ended {
                self.state = State::Start;
                return Ok(self.answer.take());
            }
        }
        Ok(None)
    }

    /// The connection has ended in order: gives the answer whose end that is.
    pub(super) fn end(&mut self) -> Option<Answer> {
        let is_whole = matches!(self.state, State::UntilClose);
        self.answer.take().filter(|_| is_whole)
    }

    /// Reads on in a head, of the answer to a HEAD request if `is_head`. Gives whether it is all of an answer.
    fn head(&mut self, is_head: bool, heads: &mut Heads, input: &mut &[u8]) -> Result<bool, Failure> {
        let parsed = match self.state {
            State::Head { slot, len } => {
                let memory = heads.at(slot);
                let count = (HEAD - len).min(input.len());
                memory[len..len + count].copy_from_slice(&input[..count]);
                let parsed = parse(&memory[..len + count], is_head)?;
                // Of what was copied, only the head is taken.
                let taken = parsed.map_or(count, |(_, _, size)| size - len);
                *input = &input[taken..];
                if parsed.is_some() {
                    heads.free.push(slot);
                } else if len + count == HEAD {
                    return Err(Failure::BadResponse);
                } else {
                    self.state = State::Head { slot, len: len + count };
                }
                parsed
            }
            _ => {
                let parsed = parse(input, is_head)?;
                if let Some((_, _, size)) = parsed {
                    *input = &input[size..];
                } else {
                    // Read again, and gathered.
                    let slot = heads.free.pop().ok_or(Failure::Local)?;
                    self.state = State::Head { slot, len: 0 };
                }
                parsed
            }
        };
        let Some((answer, framing, _)) = parsed else { return Ok(false) };
        self.answer = answer;
        self.state = match framing {
            Some(framing) => Body::new(framing).map_or(State::Start, State::Body),
            None => State::UntilClose,
        };
        Ok(answer.is_some() && matches!(self.state, State::Start))
    }
}

/// A head: the answer, unless it is an interim response; how its body is framed, unless the connection's end
/// ends it; the head's length. `None`: it is incomplete.
type Head = (Option<Answer>, Option<Framing>, usize);

fn parse(bytes: &[u8], is_head: bool) -> Result<Option<Head>, Failure> {
    let mut fields = [httparse::EMPTY_HEADER; FIELDS];
    let mut response = httparse::Response::new(&mut fields);
    let size = match response.parse(bytes) {
        Ok(httparse::Status::Complete(size)) => size,
        Ok(httparse::Status::Partial) => return Ok(None),
        Err(_) => return Err(Failure::BadResponse),
    };
    let (status, version) = (response.code.unwrap_or(0), response.version.unwrap_or(0));
    if !(100..600).contains(&status) {
        return Err(Failure::BadResponse);
    }
    //= RFC 9110 section 15.2: interim responses come before the final one; 101 was not asked for.
    if status < 200 {
        return if status == 101 {
            Err(Failure::BadResponse)
        } else {
            Ok(Some((None, Some(Framing::None), size)))
        };
    }
    let framing = if is_head { Some(Framing::None) } else { framing(status, response.headers)? };
    //= RFC 9112 section 9.3: HTTP/1.1 persists unless it says "close", HTTP/1.0 if it says "keep-alive".
    let says =
        |option| tokens(response.headers, "connection").any(|token| token.eq_ignore_ascii_case(option));
    let closes = framing.is_none() || says(b"close") || (version == 0 && !says(b"keep-alive"));
    Ok(Some((Some(Answer { is_good: (200..300).contains(&status), closes }), framing, size)))
}

/// RFC 9112 section 6.3, for any request but HEAD, whose responses have no content.
fn framing(status: u16, fields: &[httparse::Header<'_>]) -> Result<Option<Framing>, Failure> {
    if matches!(status, 204 | 304) {
        return Ok(Some(Framing::None));
    }
    //= RFC 9112 section 6.3: Transfer-Encoding overrides Content-Length; not chunked at last, it ends with the connection.
    if let Some(last) = tokens(fields, "transfer-encoding").last() {
        return Ok(last.eq_ignore_ascii_case(b"chunked").then_some(Framing::Chunked));
    }
    let mut length = None;
    for value in tokens(fields, "content-length") {
        let number =
            std::str::from_utf8(value).ok().filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()));
        let number: u64 = number.and_then(|text| text.parse().ok()).ok_or(Failure::BadResponse)?;
        //= RFC 9112 section 6.3: lengths that differ are an error that cannot be mended.
        if length.replace(number).is_some_and(|before| before != number) {
            return Err(Failure::BadResponse);
        }
    }
    Ok(length.map(|length| if length == 0 { Framing::None } else { Framing::Length(length) }))
}

/// The members of a list field, of all its lines.
fn tokens<'a>(fields: &'a [httparse::Header<'a>], name: &'a str) -> impl Iterator<Item = &'a [u8]> {
    fields
        .iter()
        .filter(move |field| field.name.eq_ignore_ascii_case(name))
        .flat_map(|field| field.value.split(|byte| *byte == b',').map(<[u8]>::trim_ascii))
}

#[cfg(test)]
mod tests {
    use config::Request;

    use super::*;

    /// All answers in `stream`, given in pieces of `piece` bytes, and whether one ends with it.
    fn read(
        exchange: &Exchange,
        stream: &[u8],
        piece: usize,
    ) -> Result<(Vec<Answer>, Option<Answer>), Failure> {
        read_with(exchange, stream, piece, &mut vec![])
    }

    /// The same; all contents, in a row, go to `content`.
    fn read_with(
        exchange: &Exchange,
        stream: &[u8],
        piece: usize,
        content: &mut Vec<u8>,
    ) -> Result<(Vec<Answer>, Option<Answer>), Failure> {
        let (mut heads, mut reader, mut answers) = (Heads::new(1), Reader::default(), vec![]);
        for mut input in stream.chunks(piece) {
            while !input.is_empty() {
                let add = |bytes: &[u8]| content.extend_from_slice(bytes);
                answers.extend(reader.read(exchange, &mut heads, &mut input, add)?);
            }
        }
        let last = reader.end();
        reader.stop(&mut heads);
        assert_eq!(heads.free.len(), 1, "memory is lost");
        Ok((answers, last))
    }

    fn get() -> Exchange {
        Exchange::http(&Request::get("/"), "a", false)
    }

    const OK: Answer = Answer { is_good: true, closes: false };

    #[test]
    fn responses_end_where_they_say() {
        let last = Answer { closes: true, ..OK };
        let bad = Answer { is_good: false, ..OK };
        let cases: [(&str, &[Answer], Option<Answer>); 12] = [
            (
                "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabcHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
                &[OK, OK],
                None,
            ),
            (
                "HTTP/1.1 200 OK\r\ntransfer-encoding: gzip, Chunked\r\n\r\n3;x=y\r\nabc\r\n10\r\n0123456789abcdef\r\n0\r\nA: b\r\n\r\n",
                &[OK],
                None,
            ),
            ("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 204 No\r\n\r\n", &[OK], None),
            ("HTTP/1.1 304 Not\r\nContent-Length: 9\r\n\r\n", &[bad], None),
            (
                "HTTP/1.1 404 Not\r\nContent-Length: 1\r\nConnection: x, close\r\n\r\n!",
                &[Answer { closes: true, ..bad }],
                None,
            ),
            ("HTTP/1.0 200 OK\r\nContent-Length: 1\r\n\r\n!", &[last], None),
            ("HTTP/1.0 200 OK\r\nContent-Length: 1\r\nConnection: keep-alive\r\n\r\n!", &[OK], None),
            ("HTTP/1.1 200 OK\r\n\r\nuntil the end", &[], Some(last)),
            ("HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\nx", &[], Some(last)),
            ("HTTP/1.1 200 OK\r\nContent-Length: 5, 5\r\n\r\nabcde", &[OK], None),
            ("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nabc", &[], None),
            ("HTTP/1.1 200 OK\r\nContent-Le", &[], None),
        ];
        let get = get();
        for (stream, answers, end) in cases {
            for piece in [1, 2, 7, 64, 1000] {
                let (got, last) = read(&get, stream.as_bytes(), piece).unwrap();
                assert_eq!((&*got, last), (answers, end), "{stream:?} by {piece}");
            }
        }
    }

    #[test]
    fn what_is_no_response_is_refused() {
        let long = format!("HTTP/1.1 200 OK\r\nA: {}\r\n\r\n", "x".repeat(HEAD));
        for stream in [
            "SSH-2.0-x\r\n",
            "HTTP/1.1 099 OK\r\n\r\n",
            "HTTP/1.1 101 Switching\r\n\r\n",
            "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nabcde",
            "HTTP/1.1 200 OK\r\nContent-Length: +5\r\n\r\nabcde",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n",
            &long,
        ] {
            for piece in [1, 9, 500] {
                let got = read(&get(), stream.as_bytes(), piece);
                assert_eq!(got, Err(Failure::BadResponse), "{stream:?} by {piece}");
            }
        }
    }

    #[test]
    fn echoes_are_compared() {
        let echo = Exchange::echo(300);
        let mut stream = vec![0; 900];
        stream.chunks_mut(300).for_each(|part| part.copy_from_slice(echo.bytes()));
        for piece in [1, 299, 300, 301, 900] {
            assert_eq!(read(&echo, &stream, piece), Ok((vec![OK; 3], None)));
        }
        stream[650] ^= 1;
        assert_eq!(read(&echo, &stream, 64), Err(Failure::BadResponse));
    }

    #[test]
    fn contents_are_what_the_framing_is_not() {
        let get = get();
        for stream in [
            "HTTP/1.1 200 OK\r\nContent-Length: 11\r\n\r\nhello world",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n6\r\nhello \r\n5;a\r\nworld\r\n0\r\nA: b\r\n\r\n",
            "HTTP/1.1 200 OK\r\n\r\nhello world",
        ] {
            for piece in [1, 4, 1000] {
                let mut content = vec![];
                read_with(&get, stream.as_bytes(), piece, &mut content).unwrap();
                assert_eq!(content, b"hello world", "{stream:?} by {piece}");
            }
        }
    }

    #[test]
    fn answers_to_head_have_no_content() {
        let head = Exchange::http(&Request { method: "HEAD".into(), ..Request::get("/") }, "a", false);
        let answer = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n".repeat(2);
        assert_eq!(read(&head, answer.as_bytes(), 1000), Ok((vec![OK; 2], None)));
    }
}
