//! Bodies: where they end (RFC 9112 sections 6 and 7). What they hold is not kept.

use crate::reader::Limits;
use crate::status::Status;

/// How long a request's body is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Framing {
    /// There is none.
    None,
    /// So many bytes, more than zero.
    Length(u64),
    /// Chunks.
    Chunked,
}

/// Bytes of a chunk's size line, at most: its extensions are not needed.
const MAX_SIZE_LINE: u32 = 256;
/// Digits of a chunk's size, at most.
const MAX_DIGITS: u32 = 16;

/// A body that is being read.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Body {
    state: State,
    /// Bytes of data still to come: of the body, or of the chunk.
    left: u64,
    /// Bytes of data in all chunks so far.
    total: u64,
    /// Bytes of this size line, or of the trailer section, so far.
    line: u32,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum State {
    Length,
    /// The digits of a chunk's size.
    Size,
    /// White space after them (RFC 9112 section 7.1.1: "bad" white space).
    SizeSpace,
    Extension,
    SizeLf,
    Data,
    DataCr,
    DataLf,
    TrailerStart,
    TrailerName,
    TrailerValue,
    TrailerLf,
    EndLf,
}

impl Body {
    /// A body of which nothing has been read; `None` if it is none.
    pub const fn new(framing: Framing) -> Option<Self> {
        let (state, left) = match framing {
            Framing::None => return None,
            Framing::Length(length) => (State::Length, length),
            Framing::Chunked => (State::Size, 0),
        };
        Some(Body { state, left, total: 0, line: 0 })
    }

    /// Takes what belongs to the body from the front of `input`, and gives `content` what of it is no framing. Gives
    /// whether this was its end.
    ///
    /// # Errors
    /// The status of the refusal: the framing is broken, or a bound is passed.
    pub fn take(
        &mut self,
        input: &mut &[u8],
        limits: &Limits,
        mut content: impl FnMut(&[u8]),
    ) -> Result<bool, Status> {
        while let Some((&byte, rest)) = input.split_first() {
            if matches!(self.state, State::Length | State::Data) {
                let count = self.left.min(input.len() as u64);
                let (data, rest) = input.split_at(count as usize);
                content(data);
                *input = rest;
                self.left -= count;
                if self.left == 0 {
                    if self.state == State::Length {
                        return Ok(true);
                    }
                    self.state = State::DataCr;
                }
                continue;
            }
            *input = rest;
            let end = self.state == State::EndLf;
            self.state = self.after(byte, limits)?;
            if end {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// The state after a byte of the framing. It is strict: what two readers may take for different things
    /// is refused.
    fn after(&mut self, byte: u8, limits: &Limits) -> Result<State, Status> {
        self.line += 1;
        match (self.state, byte) {
            (State::Size, _) if byte.is_ascii_hexdigit() => self.digit(byte),
            (State::Size, b'\r' | b';' | b' ' | b'\t') if self.line == 1 => Err(Status::BadRequest),
            (State::Size | State::SizeSpace | State::Extension, _) => self.size_line(byte),
            (State::SizeLf, b'\n') => self.chunk(limits),
            (State::DataCr, b'\r') => Ok(State::DataLf),
            (State::DataLf, b'\n') => {
                self.line = 0;
                Ok(State::Size)
            }
            (State::TrailerStart, b'\r') => Ok(State::EndLf),
            (State::TrailerLf, b'\n') => Ok(State::TrailerStart),
            // The caller knows that this was the end.
            (State::EndLf, b'\n') => Ok(State::EndLf),
            (State::TrailerStart | State::TrailerName | State::TrailerValue, _) => self.trailer(byte, limits),
            _ => Err(Status::BadRequest),
        }
    }

    fn digit(&mut self, byte: u8) -> Result<State, Status> {
        if self.line > MAX_DIGITS {
            return Err(Status::BadRequest);
        }
        self.left = self.left << 4 | u64::from(char::from(byte).to_digit(16).unwrap_or(0));
        Ok(State::Size)
    }

    //= RFC 9112 section 7.1.1: extensions that are not known are ignored; their length has a bound.
    fn size_line(&mut self, byte: u8) -> Result<State, Status> {
        if self.line > MAX_SIZE_LINE {
            return Err(Status::BadRequest);
        }
        match (self.state, byte) {
            (_, b'\r') => Ok(State::SizeLf),
            (State::Extension, _) if is_text(byte) => Ok(State::Extension),
            (State::Size | State::SizeSpace, b' ' | b'\t') => Ok(State::SizeSpace),
            (State::Size | State::SizeSpace, b';') => Ok(State::Extension),
            _ => Err(Status::BadRequest),
        }
    }

    fn chunk(&mut self, limits: &Limits) -> Result<State, Status> {
        if self.left == 0 {
            self.line = 0;
            return Ok(State::TrailerStart);
        }
        self.total = self.total.saturating_add(self.left);
        if self.total > limits.body { Err(Status::ContentTooLarge) } else { Ok(State::Data) }
    }

    /// Trailer fields are dropped, but they must be fields (RFC 9112 section 7.1.2).
    fn trailer(&mut self, byte: u8, limits: &Limits) -> Result<State, Status> {
        if self.line as usize > limits.head {
            return Err(Status::RequestHeaderFieldsTooLarge);
        }
        match (self.state, byte) {
            (State::TrailerName, b':') => Ok(State::TrailerValue),
            (State::TrailerStart | State::TrailerName, _) if is_token(byte) => Ok(State::TrailerName),
            (State::TrailerValue, b'\r') => Ok(State::TrailerLf),
            (State::TrailerValue, _) if is_text(byte) => Ok(State::TrailerValue),
            _ => Err(Status::BadRequest),
        }
    }
}

/// What a field's value may hold (RFC 9110 section 5.5).
fn is_text(byte: u8) -> bool {
    matches!(byte, b'\t' | b' '..=b'~' | 0x80..)
}

/// RFC 9110 section 5.6.2.
fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}
