//! A request's head (RFC 9112 sections 3 and 5): what of it decides where the request ends and what happens to
//! the connection is read once; other fields are looked up when they matter.

use std::mem::MaybeUninit;

use crate::body::Framing;
use crate::status::Status;
use crate::target::{Target, is_authority};

/// Fields of a request, at most: past it, 431.
pub const MAX_FIELDS: usize = 64;

/// The methods of RFC 9110 section 9.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Method {
    /// GET.
    Get,
    /// HEAD.
    Head,
    /// OPTIONS.
    Options,
    /// CONNECT.
    Connect,
    /// One that is known but that no resource here allows: POST, PUT, DELETE, PATCH, TRACE.
    Known,
    /// Any other.
    Unknown,
}

impl Method {
    fn parse(name: &str) -> Method {
        match name {
            "GET" => Method::Get,
            "HEAD" => Method::Head,
            "OPTIONS" => Method::Options,
            "CONNECT" => Method::Connect,
            "POST" | "PUT" | "DELETE" | "PATCH" | "TRACE" => Method::Known,
            _ => Method::Unknown,
        }
    }
}

/// What the client expects before it sends the body (RFC 9110 section 10.1.1).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Expectation {
    /// Nothing.
    None,
    /// `100 Continue`.
    Continue,
    /// Something that nobody knows: 417.
    Unknown,
}

/// A field that is looked up in a [`Head`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Field {
    /// If-Match.
    IfMatch,
    /// If-None-Match.
    IfNoneMatch,
    /// If-Modified-Since.
    IfModifiedSince,
    /// If-Unmodified-Since.
    IfUnmodifiedSince,
    /// If-Range.
    IfRange,
    /// Range.
    Range,
}

impl Field {
    const ALL: [Field; 6] = [
        Field::IfMatch,
        Field::IfNoneMatch,
        Field::IfModifiedSince,
        Field::IfUnmodifiedSince,
        Field::IfRange,
        Field::Range,
    ];

    const fn name(self) -> &'static str {
        match self {
            Field::IfMatch => "if-match",
            Field::IfNoneMatch => "if-none-match",
            Field::IfModifiedSince => "if-modified-since",
            Field::IfUnmodifiedSince => "if-unmodified-since",
            Field::IfRange => "if-range",
            Field::Range => "range",
        }
    }

    const fn bit(self) -> u8 {
        1 << self as u8
    }
}

/// A request's head. It refers to the bytes that it was read from.
#[derive(Clone, Copy, Debug)]
pub struct Head<'a> {
    /// The method.
    pub method: Method,
    /// The target.
    pub target: Target<'a>,
    /// Whether the client speaks HTTP/1.0.
    pub is_http_1_0: bool,
    /// Whether the connection may go on after this request (RFC 9112 section 9.3).
    pub keep_alive: bool,
    /// What the client expects before it sends the body.
    pub expectation: Expectation,
    /// How long the body is.
    pub framing: Framing,
    /// Which fields there are, as bits of [`Field`].
    fields: u8,
    target_len: u32,
    /// All of the head.
    bytes: &'a [u8],
}

impl<'a> Head<'a> {
    /// Reads the head that `bytes` begin with. Gives it and its length, or `None` if there is more to come.
    ///
    /// # Errors
    /// The status of the refusal: the bytes cannot be a request of ours, and where the next one would begin
    /// nobody knows.
    #[inline]
    pub fn parse(bytes: &'a [u8]) -> Result<Option<(Self, usize)>, Status> {
        let mut fields = [const { MaybeUninit::uninit() }; MAX_FIELDS];
        let mut request = httparse::Request::new(&mut []);
        let parsed = request.parse_with_uninit_headers(bytes, &mut fields);
        let len = match parsed {
            Ok(httparse::Status::Complete(len)) => len,
            Ok(httparse::Status::Partial) => return Ok(None),
            Err(httparse::Error::Version) => return Head::parse_newer(&request, bytes),
            Err(error) => return Err(refusal(error)),
        };
        let head = Control::of(request.headers)?.head(&request, &bytes[..len])?;
        Ok(Some((head, len)))
    }

    /// Reads a head whose version the parser does not know, from where it has read the method and the target.
    #[cold]
    fn parse_newer(
        request: &httparse::Request<'_, 'a>,
        bytes: &'a [u8],
    ) -> Result<Option<(Self, usize)>, Status> {
        let start = bytes.iter().position(|byte| !byte.is_ascii_whitespace()).unwrap_or(0);
        let Some(end) = bytes[start..].iter().position(|byte| *byte == b'\n') else { return Ok(None) };
        let fields_at = start + end + 1;
        let line = &bytes[start..start + end];
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        match line.splitn(3, |byte| *byte == b' ').nth(2).unwrap_or_default() {
            //= RFC 9110 section 2.5: a minor version higher than ours is read as the highest that we know.
            [b'H', b'T', b'T', b'P', b'/', b'1', b'.', minor] if minor.is_ascii_digit() => {}
            [b'H', b'T', b'T', b'P', b'/', major, b'.', minor]
                if major.is_ascii_digit() && minor.is_ascii_digit() =>
            {
                return Err(Status::HttpVersionNotSupported);
            }
            _ => return Err(Status::BadRequest),
        }
        let mut fields = [httparse::EMPTY_HEADER; MAX_FIELDS];
        match httparse::parse_headers(&bytes[fields_at..], &mut fields) {
            Ok(httparse::Status::Complete((len, fields))) => {
                let len = fields_at + len;
                let head = Control::of(fields)?.head(request, &bytes[..len])?;
                Ok(Some((head, len)))
            }
            Ok(httparse::Status::Partial) => Ok(None),
            Err(error) => Err(refusal(error)),
        }
    }

    /// Whether a body follows.
    pub fn has_body(&self) -> bool {
        self.framing != Framing::None
    }

    /// Whether the client waits to be told to send its body.
    pub fn expects_continue(&self) -> bool {
        self.expectation == Expectation::Continue && self.has_body()
    }

    /// Bytes of the target as it was sent.
    pub fn target_len(&self) -> usize {
        self.target_len as usize
    }

    /// Whether there is such a field.
    #[inline]
    pub fn has(&self, field: Field) -> bool {
        self.fields & field.bit() != 0
    }

    /// Whether there is any field that the answer to a plain GET depends on.
    #[inline]
    pub fn has_any_field(&self) -> bool {
        self.fields != 0
    }

    /// The values of a field, a line each, without the space around them.
    pub fn values(&self, field: Field) -> impl Iterator<Item = &'a [u8]> {
        // The request line has no colon before its first space, so no field's name.
        let lines = self.bytes.split(|byte| *byte == b'\n');
        lines.filter_map(move |line| {
            let colon = line.iter().position(|byte| *byte == b':')?;
            let (name, value) = line.split_at(colon);
            name.eq_ignore_ascii_case(field.name().as_bytes()).then(|| value[1..].trim_ascii())
        })
    }

    /// The value of a field of which there is one.
    pub fn value(&self, field: Field) -> Option<&'a [u8]> {
        let mut values = self.values(field);
        let first = values.next()?;
        values.next().is_none().then_some(first)
    }
}

/// What the parser's error means.
fn refusal(error: httparse::Error) -> Status {
    match error {
        httparse::Error::TooManyHeaders => Status::RequestHeaderFieldsTooLarge,
        _ => Status::BadRequest,
    }
}

/// The fields that decide about the connection, as they are seen one by one.
#[derive(Default)]
struct Control {
    fields: u8,
    hosts: u8,
    length: Option<u64>,
    chunked: bool,
    close: bool,
    keep_alive: bool,
    expectation: Option<Expectation>,
}

impl Control {
    #[inline]
    fn of(fields: &[httparse::Header<'_>]) -> Result<Control, Status> {
        let mut control = Control::default();
        for field in fields {
            control.see(field.name, field.value)?;
        }
        Ok(control)
    }

    #[inline]
    fn see(&mut self, name: &str, value: &[u8]) -> Result<(), Status> {
        // Most fields are told apart by their length.
        match name.len() {
            4 if name.eq_ignore_ascii_case("host") => self.host(value),
            6 if name.eq_ignore_ascii_case("expect") => {
                self.expect(value);
                Ok(())
            }
            10 if name.eq_ignore_ascii_case("connection") => {
                self.connection(value);
                Ok(())
            }
            14 if name.eq_ignore_ascii_case("content-length") => self.content_length(value),
            17 if name.eq_ignore_ascii_case("transfer-encoding") => self.transfer_encoding(value),
            5 | 8 | 13 | 17 | 19 => {
                let field = Field::ALL.into_iter().find(|field| name.eq_ignore_ascii_case(field.name()));
                self.fields |= field.map_or(0, Field::bit);
                Ok(())
            }
            _ => Ok(()),
        }
    }

    //= RFC 9112 section 3.2: 400 to a request with several Host fields, or a value that is none.
    fn host(&mut self, value: &[u8]) -> Result<(), Status> {
        self.hosts += 1;
        if self.hosts > 1 || !is_authority(value) { Err(Status::BadRequest) } else { Ok(()) }
    }

    fn connection(&mut self, value: &[u8]) {
        for option in value.split(|byte| *byte == b',').map(<[u8]>::trim_ascii) {
            self.close |= option.eq_ignore_ascii_case(b"close");
            self.keep_alive |= option.eq_ignore_ascii_case(b"keep-alive");
        }
    }

    fn expect(&mut self, value: &[u8]) {
        let known = value.eq_ignore_ascii_case(b"100-continue");
        let expectation = if known { Expectation::Continue } else { Expectation::Unknown };
        if self.expectation != Some(Expectation::Unknown) {
            self.expectation = Some(expectation);
        }
    }

    //= RFC 9110 section 8.6: several lengths, or one that is no number, are refused, even if they agree.
    fn content_length(&mut self, value: &[u8]) -> Result<(), Status> {
        if self.length.is_some() || value.is_empty() || !value.iter().all(u8::is_ascii_digit) {
            return Err(Status::BadRequest);
        }
        let add = |sum: u64, digit: &u8| sum.saturating_mul(10).saturating_add(u64::from(digit - b'0'));
        self.length = Some(value.iter().fold(0, add));
        Ok(())
    }

    //= RFC 9112 section 6.1: 501 to a transfer coding that is not known; chunked comes once, and last.
    fn transfer_encoding(&mut self, value: &[u8]) -> Result<(), Status> {
        for coding in value.split(|byte| *byte == b',').map(<[u8]>::trim_ascii) {
            if coding.is_empty() || self.chunked {
                return Err(Status::BadRequest);
            }
            if !coding.eq_ignore_ascii_case(b"chunked") {
                return Err(Status::NotImplemented);
            }
            self.chunked = true;
        }
        Ok(())
    }

    #[inline]
    fn head<'a>(&self, request: &httparse::Request<'_, 'a>, bytes: &'a [u8]) -> Result<Head<'a>, Status> {
        let method = Method::parse(request.method.unwrap_or_default());
        let target = request.path.unwrap_or_default().as_bytes();
        let is_http_1_0 = request.version == Some(0);
        let target_len = target.len() as u32;
        let target = Target::parse(method, target)?;
        //= RFC 9112 section 3.2: 400 to an HTTP/1.1 request without Host.
        let no_host = self.hosts == 0 && !is_http_1_0;
        //= RFC 9112 section 6.1: both framings, or a transfer coding in HTTP/1.0, are an attempt to have two
        //= readers disagree.
        if no_host || (self.chunked && (self.length.is_some() || is_http_1_0)) {
            return Err(Status::BadRequest);
        }
        let framing = match self.length {
            _ if self.chunked => Framing::Chunked,
            None | Some(0) => Framing::None,
            Some(length) => Framing::Length(length),
        };
        //= RFC 9110 section 10.1.1: an HTTP/1.0 client expects nothing.
        let expectation = self.expectation.filter(|_| !is_http_1_0).unwrap_or(Expectation::None);
        //= RFC 9112 section 9.3: close; else persistent, in HTTP/1.0 only if it asks for it.
        let keep_alive = !self.close && (!is_http_1_0 || self.keep_alive);
        let fields = self.fields;
        Ok(Head { method, target, is_http_1_0, keep_alive, expectation, framing, fields, target_len, bytes })
    }
}
