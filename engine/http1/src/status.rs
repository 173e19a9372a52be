//! Status codes (RFC 9110 section 15).

macro_rules! table {
    ($($name:ident $code:literal $reason:literal,)*) => {
        /// The statuses that this server gives.
        #[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
        #[repr(u16)]
        #[expect(missing_docs, reason = "named as in RFC 9110")]
        pub enum Status { $($name = $code,)* }

        impl Status {
            /// All of them.
            pub const ALL: &[Status] = &[$(Status::$name,)*];

            /// Code and reason phrase, as in a status line: `404 Not Found`.
            pub const fn text(self) -> &'static str {
                match self { $(Status::$name => concat!(stringify!($code), " ", $reason),)* }
            }
        }
    };
}

table! {
    Ok 200 "OK",
    PartialContent 206 "Partial Content",
    MovedPermanently 301 "Moved Permanently",
    NotModified 304 "Not Modified",
    BadRequest 400 "Bad Request",
    NotFound 404 "Not Found",
    MethodNotAllowed 405 "Method Not Allowed",
    RequestTimeout 408 "Request Timeout",
    PreconditionFailed 412 "Precondition Failed",
    ContentTooLarge 413 "Content Too Large",
    UriTooLong 414 "URI Too Long",
    RangeNotSatisfiable 416 "Range Not Satisfiable",
    ExpectationFailed 417 "Expectation Failed",
    MisdirectedRequest 421 "Misdirected Request",
    RequestHeaderFieldsTooLarge 431 "Request Header Fields Too Large",
    NotImplemented 501 "Not Implemented",
    ServiceUnavailable 503 "Service Unavailable",
    HttpVersionNotSupported 505 "HTTP Version Not Supported",
}

impl Status {
    /// The three digits.
    pub const fn code(self) -> u16 {
        self as u16
    }

    /// 2 for 2xx, and so on.
    pub const fn class(self) -> usize {
        (self as u16 / 100) as usize
    }

    /// Whether a response with it has content, unless it is one to HEAD (RFC 9110 section 6.4.1).
    pub const fn has_content(self) -> bool {
        !matches!(self, Status::NotModified)
    }
}
