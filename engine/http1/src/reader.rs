//! Requests from bytes that arrive in pieces.

use crate::body::{Body, Framing};
use crate::head::Head;
use crate::status::Status;

/// Bounds of what a client may send.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Limits {
    /// Bytes of a request target: past it, 414.
    pub target: usize,
    /// Bytes of a head, and of a trailer section: past it, 431.
    pub head: usize,
    /// Bytes of a body: past it, 413.
    pub body: u64,
}

impl Limits {
    /// Bytes of a request line besides the target: a long method, the version, and what separates them.
    const LINE: usize = 64;
}

/// Memory for heads that span received buffers: so many of them at a time.
#[derive(Debug)]
pub struct HeadPool {
    memory: Box<[u8]>,
    size: usize,
    free: Vec<u32>,
}

impl HeadPool {
    /// Memory for `heads` heads of up to `size` bytes, [`Limits::head`].
    pub fn new(heads: u32, size: usize) -> Self {
        let memory = vec![0; heads as usize * size].into_boxed_slice();
        HeadPool { memory, size, free: (0..heads).rev().collect() }
    }

    /// How many more there is memory for.
    pub fn room(&self) -> usize {
        self.free.len()
    }

    fn at(&mut self, slot: u32) -> &mut [u8] {
        let start = slot as usize * self.size;
        &mut self.memory[start..start + self.size]
    }
}

/// What was read.
#[derive(Clone, Copy, Debug)]
pub enum Item<'a> {
    /// A request. If it has a body, that is read next.
    Head(Head<'a>),
    /// The end of the last request's body.
    BodyEnd,
}

/// Bytes that no request can be made of. Nothing more is read, and the connection is to be closed once the
/// client has been told.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Refusal {
    /// What to tell.
    pub status: Status,
    /// Whether the method was HEAD: the answer has no content.
    pub is_head: bool,
}

/// One connection's requests. It is small, and has memory from the pool only while a head is incomplete.
#[derive(Debug, Default)]
pub struct Reader {
    state: State,
}

#[derive(Clone, Copy, Debug, Default)]
enum State {
    /// A request may begin.
    #[default]
    Head,
    /// The CR of an empty line has come.
    Cr,
    /// It has begun: so many bytes of its head lie in a slot of the pool.
    Gather {
        slot: u32,
        len: u32,
    },
    Body(Body),
    /// Nothing can be read any more.
    Broken,
}

impl Reader {
    /// Whether a request has begun and its head is incomplete.
    pub fn is_in_head(&self) -> bool {
        matches!(self.state, State::Gather { .. })
    }

    /// Whether a body is being read.
    pub fn is_in_body(&self) -> bool {
        matches!(self.state, State::Body(_))
    }

    /// Reads no more, and gives back what it has of the pool. To be called before a reader is dropped.
    pub fn stop(&mut self, pool: &mut HeadPool) {
        if let State::Gather { slot, .. } = self.state {
            pool.free.push(slot);
        }
        self.state = State::Broken;
    }

    /// Reads on: takes from the front of `input` what belongs to the next item. `None`: all of `input` was
    /// taken, and there is more to come.
    ///
    /// # Errors
    /// [`Refusal`].
    #[inline]
    pub fn next<'a, 'i: 'a>(
        &mut self,
        pool: &'a mut HeadPool,
        input: &mut &'i [u8],
        limits: &Limits,
    ) -> Result<Option<Item<'a>>, Refusal> {
        if let State::Head = self.state {
            // What is usual: all of a head, and in one piece.
            let bytes: &'i [u8] = input;
            if let Ok(Some((head, len))) = Head::parse(bytes)
                && len <= limits.head
            {
                *input = &bytes[len..];
                return self.begin(head, limits).map(Some);
            }
        }
        self.next_in_pieces(pool, input, limits)
    }

    /// What follows a head.
    fn begin<'a>(&mut self, head: Head<'a>, limits: &Limits) -> Result<Item<'a>, Refusal> {
        let refuse = |status| Refusal { status, is_head: head.method == crate::Method::Head };
        self.state = match Body::new(head.framing) {
            _ if head.target_len() > limits.target => return Err(self.refuse(refuse(Status::UriTooLong))),
            _ if matches!(head.framing, Framing::Length(length) if length > limits.body) => {
                return Err(self.refuse(refuse(Status::ContentTooLarge)));
            }
            None => State::Head,
            Some(body) => State::Body(body),
        };
        Ok(Item::Head(head))
    }

    fn refuse(&mut self, refusal: Refusal) -> Refusal {
        self.state = State::Broken;
        refusal
    }

    #[cold]
    fn next_in_pieces<'a, 'i: 'a>(
        &mut self,
        pool: &'a mut HeadPool,
        input: &mut &'i [u8],
        limits: &Limits,
    ) -> Result<Option<Item<'a>>, Refusal> {
        match &mut self.state {
            State::Broken => {
                *input = &[];
                Ok(None)
            }
            State::Body(body) => match body.take(input, limits, |_| {}) {
                Ok(true) => {
                    self.state = State::Head;
                    Ok(Some(Item::BodyEnd))
                }
                Ok(false) => Ok(None),
                Err(status) => Err(self.refuse(Refusal { status, is_head: false })),
            },
            State::Head => {
                //= RFC 9112 section 2.2: empty lines before a request are ignored.
                while let [b'\r', b'\n', rest @ ..] | [b'\n', rest @ ..] = *input {
                    *input = rest;
                }
                match *input {
                    [] => return Ok(None),
                    // Neither time nor memory is given for it.
                    [b'\r'] => {
                        (*input, self.state) = (&[], State::Cr);
                        return Ok(None);
                    }
                    [b'\r', ..] => {
                        return Err(self.refuse(Refusal { status: Status::BadRequest, is_head: false }));
                    }
                    _ => {}
                }
                let Some(slot) = pool.free.pop() else {
                    return Err(self.refuse(Refusal { status: Status::ServiceUnavailable, is_head: false }));
                };
                self.gather(pool, (slot, 0), input, limits)
            }
            State::Cr if input.is_empty() => Ok(None),
            State::Cr => match input.strip_prefix(b"\n") {
                Some(rest) => {
                    (*input, self.state) = (rest, State::Head);
                    self.next(pool, input, limits)
                }
                None => Err(self.refuse(Refusal { status: Status::BadRequest, is_head: false })),
            },
            State::Gather { slot, len } => {
                let place = (*slot, *len as usize);
                self.gather(pool, place, input, limits)
            }
        }
    }

    /// Appends to what lies in a slot, and looks whether it is a head now.
    fn gather<'a, 'i: 'a>(
        &mut self,
        pool: &'a mut HeadPool,
        (slot, before): (u32, usize),
        input: &mut &'i [u8],
        limits: &Limits,
    ) -> Result<Option<Item<'a>>, Refusal> {
        let memory = pool.at(slot);
        let count = input.len().min(limits.head.min(memory.len()) - before);
        let len = before + count;
        memory[before..len].copy_from_slice(&input[..count]);
        // Nothing is decided before the end of a line: it is the same whatever the pieces are, and costs
        // little even if each is a byte.
        let is_line = input[..count].contains(&b'\n') || len == limits.head;
        if !is_line {
            *input = &input[count..];
            self.state = State::Gather { slot, len: len as u32 };
            return Ok(None);
        }
        let HeadPool { memory, size, free } = pool;
        let bytes: &'a [u8] = &memory[slot as usize * *size..][..len];
        match parse_lines(bytes, limits) {
            Ok(Some((head, head_len))) => {
                // Whoever comes next may have the slot: the head borrows the pool until then.
                free.push(slot);
                // Lines that were there before are no head, so it ends in what came now.
                *input = &input[head_len - before..];
                self.begin(head, limits).map(Some)
            }
            Ok(None) => {
                *input = &input[count..];
                self.state = State::Gather { slot, len: len as u32 };
                Ok(None)
            }
            Err(status) => {
                free.push(slot);
                Err(self.refuse(Refusal { status, is_head: bytes.starts_with(b"HEAD ") }))
            }
        }
    }
}

/// Reads a head of which the lines that are complete count.
fn parse_lines<'a>(bytes: &'a [u8], limits: &Limits) -> Result<Option<(Head<'a>, usize)>, Status> {
    let lines = bytes.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
    let first = bytes.iter().position(|byte| *byte == b'\n').unwrap_or(bytes.len());
    if first > limits.target + Limits::LINE {
        return Err(Status::UriTooLong);
    }
    if let Some(head) = Head::parse(&bytes[..lines])? {
        return Ok(Some(head));
    }
    match bytes.len() {
        len if len < limits.head => Ok(None),
        _ if lines == 0 => Err(Status::UriTooLong),
        _ => Err(Status::RequestHeaderFieldsTooLarge),
    }
}
