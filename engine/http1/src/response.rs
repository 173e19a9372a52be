//! Heads of responses (RFC 9112 section 4).

use crate::date::HttpDate;
use crate::status::Status;

/// Writes a response's head into memory that is given. What there is no room for makes
/// [`finish`](Self::finish) fail.
#[derive(Debug)]
pub struct HeadWriter<'b> {
    out: &'b mut [u8],
    len: usize,
    fits: bool,
}

impl<'b> HeadWriter<'b> {
    /// Begins with the status line and the Date (RFC 9110 section 6.6.1).
    pub fn new(out: &'b mut [u8], status: Status, date: &HttpDate) -> Self {
        let mut head = HeadWriter { out, len: 0, fits: true };
        head.raw(b"HTTP/1.1 ").raw(status.text().as_bytes());
        head.raw(b"\r\nDate: ").raw(date.as_bytes()).raw(b"\r\n");
        head
    }

    /// Appends bytes as they are: whole fields that were made before, each with its line end.
    #[inline]
    pub fn raw(&mut self, bytes: &[u8]) -> &mut Self {
        match self.out.get_mut(self.len..self.len + bytes.len()) {
            Some(room) => {
                room.copy_from_slice(bytes);
                self.len += bytes.len();
            }
            None => self.fits = false,
        }
        self
    }

    /// Appends a field. `value` must not hold a line end.
    pub fn field(&mut self, name: &str, value: &[u8]) -> &mut Self {
        self.raw(name.as_bytes()).raw(b": ").raw(value).raw(b"\r\n")
    }

    /// Appends a field whose value is a number.
    pub fn number(&mut self, name: &str, value: u64) -> &mut Self {
        self.raw(name.as_bytes()).raw(b": ").digits(value).raw(b"\r\n")
    }

    //= RFC 9110 section 14.4: the first and the last byte's place, and the size of the whole.
    /// Appends the Content-Range of a part of `size` bytes; of none, if `len` is zero.
    pub fn content_range(&mut self, start: u64, len: u64, size: u64) -> &mut Self {
        self.raw(b"Content-Range: bytes ");
        if len == 0 {
            self.raw(b"*");
        } else {
            self.digits(start).raw(b"-").digits(start + len - 1);
        }
        self.raw(b"/").digits(size).raw(b"\r\n")
    }

    fn digits(&mut self, mut value: u64) -> &mut Self {
        let mut text = [0; 20];
        let mut at = text.len();
        loop {
            at -= 1;
            text[at] = b'0' + (value % 10) as u8;
            value /= 10;
            if value == 0 {
                return self.raw(&text[at..]);
            }
        }
    }

    /// Ends the head, and appends content that is to be copied. Gives the length of all, or `None` if there
    /// was no room for it.
    #[inline]
    pub fn finish(&mut self, content: &[u8]) -> Option<usize> {
        self.raw(b"\r\n").raw(content);
        self.fits.then_some(self.len)
    }
}

/// The interim response that asks for a body (RFC 9110 section 15.2.1).
pub const CONTINUE: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\n";

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use super::*;

    fn write(out: &mut [u8]) -> Option<usize> {
        let mut head = HeadWriter::new(out, Status::PartialContent, &HttpDate::new(SystemTime::UNIX_EPOCH));
        head.field("Server", b"x")
            .number("Content-Length", 10)
            .content_range(90, 10, 100)
            .content_range(0, 0, 7);
        head.finish(b"ab")
    }

    #[test]
    fn a_head() {
        let mut out = [0; 300];
        let len = write(&mut out).unwrap();
        let text = "HTTP/1.1 206 Partial Content\r\nDate: Thu, 01 Jan 1970 00:00:00 GMT\r\nServer: x\r\n\
                    Content-Length: 10\r\nContent-Range: bytes 90-99/100\r\nContent-Range: bytes */7\r\n\r\nab";
        assert_eq!(std::str::from_utf8(&out[..len]), Ok(text));
        // It fits exactly, and nowhere smaller.
        assert_eq!(write(&mut out[..len]), Some(len));
        assert!((0..len).all(|len| write(&mut out[..len]).is_none()));
    }
}
