//! Request targets (RFC 9112 section 3.2) and their paths in one canonical form.

use crate::head::Method;
use crate::status::Status;

/// What a request is about.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Target<'a> {
    /// A resource: its path, which begins with `/`, and its query, which begins with `?` or is empty.
    /// Both as they were sent.
    Resource {
        /// The path.
        path: &'a [u8],
        /// The query.
        query: &'a [u8],
    },
    /// The server as a whole: `OPTIONS *`.
    Server,
    /// A tunnel's end: `CONNECT host:port`.
    Authority,
}

impl<'a> Target<'a> {
    /// Reads a target, which must have the form that the method asks for.
    ///
    /// # Errors
    /// The status of the refusal.
    pub fn parse(method: Method, target: &'a [u8]) -> Result<Self, Status> {
        match target {
            [b'/', ..] => Self::origin(target),
            b"*" if method == Method::Options => Ok(Target::Server),
            _ if method == Method::Connect => Ok(Target::Authority),
            _ => Self::absolute(target),
        }
    }

    /// A path and a query. A fragment is no part of a target.
    fn origin(target: &'a [u8]) -> Result<Self, Status> {
        let mut end = target.len();
        for (at, byte) in target.iter().enumerate() {
            match byte {
                b'?' if end == target.len() => end = at,
                b'!'..=b'~' if *byte != b'#' => {}
                _ => return Err(Status::BadRequest),
            }
        }
        let (path, query) = target.split_at(end);
        Ok(Target::Resource { path, query })
    }

    //= RFC 9112 section 3.2.2: a server accepts the absolute form, though clients send it to proxies only.
    #[cold]
    fn absolute(target: &'a [u8]) -> Result<Self, Status> {
        let rest = match target.split_at_checked(7) {
            Some((scheme, rest)) if scheme.eq_ignore_ascii_case(b"http://") => rest,
            //= RFC 9110 section 7.4: https is not for a connection that is not secured.
            Some((scheme, _)) if scheme.eq_ignore_ascii_case(b"https:/") => {
                return Err(Status::MisdirectedRequest);
            }
            _ => return Err(Status::BadRequest),
        };
        let end = rest.iter().position(|byte| matches!(byte, b'/' | b'?' | b'#')).unwrap_or(rest.len());
        let (authority, path) = rest.split_at(end);
        if authority.is_empty() || !is_authority(authority) {
            return Err(Status::BadRequest);
        }
        match Self::origin(path)? {
            //= RFC 9110 section 4.2.3: an empty path is the same as "/".
            Target::Resource { path: [], query } => Ok(Target::Resource { path: b"/", query }),
            target => Ok(target),
        }
    }
}

/// Whether this may be `host[:port]` (RFC 9110 section 7.2). Names are not looked up, so only what no
/// authority has is refused: user information among it.
pub fn is_authority(value: &[u8]) -> bool {
    value.iter().all(|byte| byte.is_ascii_alphanumeric() || b"-._~!$&'()*+,;=:[]%".contains(byte))
}

/// Why a path has no canonical form.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum PathError {
    /// A broken percent-encoding, a NUL, or a way out of the root.
    Bad,
    /// It is longer than the memory given.
    TooLong,
}

/// Writes the one form of a path that all its spellings share: what need not be encoded is not, what must be
/// is in upper-case hex, and dot segments are resolved (RFC 3986 section 6.2.2). An encoded slash stays one:
/// it is part of a name, and no file has such a name. Gives the length.
///
/// # Errors
/// [`PathError`].
pub fn canonical(path: &[u8], out: &mut [u8]) -> Result<usize, PathError> {
    let mut len = 0;
    let mut rest = path;
    while let Some((&first, tail)) = rest.split_first() {
        let (byte, encoded) = match (first, tail) {
            (b'%', [high, low, ..]) => (hex(*high)? << 4 | hex(*low)?, true),
            (b'%', _) => return Err(PathError::Bad),
            _ => (first, false),
        };
        rest = if encoded { &tail[2..] } else { tail };
        match byte {
            0 => return Err(PathError::Bad),
            b'/' if !encoded => {
                len = end_segment(out, len)?;
                push(out, &mut len, b"/")?;
            }
            _ if is_plain(byte) => push(out, &mut len, &[byte])?,
            _ => push_encoded(out, &mut len, byte)?,
        }
    }
    let kept = end_segment(out, len)?;
    if kept != len {
        len = kept;
        push(out, &mut len, b"/")?;
        return Ok(len);
    }
    Ok(len)
}

/// As [`canonical`], for a path that is not percent-encoded and has no dot segments: that of a file.
///
/// # Errors
/// [`PathError::TooLong`].
pub fn encode(path: &[u8], out: &mut [u8]) -> Result<usize, PathError> {
    let mut len = 0;
    for byte in path {
        match byte {
            b'/' => push(out, &mut len, b"/")?,
            _ if is_plain(*byte) => push(out, &mut len, &[*byte])?,
            _ => push_encoded(out, &mut len, *byte)?,
        }
    }
    Ok(len)
}

/// Resolves the segment that ends here, if it is `.` or `..`. Gives the length of what is left: without the
/// slash that belongs there now.
fn end_segment(out: &[u8], len: usize) -> Result<usize, PathError> {
    let written = &out[..len];
    let Some(slash) = written.iter().rposition(|byte| *byte == b'/') else { return Ok(len) };
    match &written[slash + 1..] {
        b"." => Ok(slash),
        b".." => {
            let parent = written[..slash].iter().rposition(|byte| *byte == b'/');
            parent.ok_or(PathError::Bad)
        }
        _ => Ok(len),
    }
}

fn push(out: &mut [u8], len: &mut usize, bytes: &[u8]) -> Result<(), PathError> {
    let end = *len + bytes.len();
    out.get_mut(*len..end).ok_or(PathError::TooLong)?.copy_from_slice(bytes);
    *len = end;
    Ok(())
}

fn push_encoded(out: &mut [u8], len: &mut usize, byte: u8) -> Result<(), PathError> {
    const HEX: &[u8; 16] = b"0123456789ABCDEF";
    push(out, len, &[b'%', HEX[usize::from(byte >> 4)], HEX[usize::from(byte & 15)]])
}

/// What a path holds as it is (RFC 3986 section 3.3: pchar, less the percent sign).
fn is_plain(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-._~!$&'()*+,;=:@".contains(&byte)
}

fn hex(digit: u8) -> Result<u8, PathError> {
    char::from(digit).to_digit(16).map(|value| value as u8).ok_or(PathError::Bad)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn canonical_of(path: &str) -> Result<String, PathError> {
        let mut out = [0; 64];
        let len = canonical(path.as_bytes(), &mut out)?;
        Ok(String::from_utf8(out[..len].to_vec()).unwrap())
    }

    #[test]
    fn canonical_paths() {
        for (path, is) in [
            ("/", "/"),
            ("/a/b.html", "/a/b.html"),
            ("/%61", "/a"),
            ("/a%2fb", "/a%2Fb"),
            ("/a b", "/a%20b"),
            ("/a%20b", "/a%20b"),
            ("/a%2520b", "/a%2520b"),
            ("/%e4%F6", "/%E4%F6"),
            ("/a//b", "/a//b"),
            ("/a/./b", "/a/b"),
            ("/a/../b", "/b"),
            ("/a/b/../../c", "/c"),
            ("/a/%2e%2E/b", "/b"),
            ("/a/.", "/a/"),
            ("/a/b/..", "/a/"),
            ("/.", "/"),
            ("/...", "/..."),
            ("/.a/..b", "/.a/..b"),
            ("/..a", "/..a"),
            ("/%2e%2e%2fetc", "/..%2Fetc"),
            ("/a\\b", "/a%5Cb"),
            ("/a;v=1:2@3", "/a;v=1:2@3"),
            ("/\"<>^`{|}", "/%22%3C%3E%5E%60%7B%7C%7D"),
        ] {
            assert_eq!(canonical_of(path).as_deref(), Ok(is), "{path}");
        }
    }

    #[test]
    fn paths_without_a_form() {
        for path in
            ["/..", "/../a", "/a/../..", "/%2e%2e/a", "/a/../../b", "/%", "/%4", "/%4g", "/%00", "/a%00.html"]
        {
            assert_eq!(canonical_of(path), Err(PathError::Bad), "{path}");
        }
        assert_eq!(canonical_of(&"/a".repeat(33)), Err(PathError::TooLong));
    }

    #[test]
    fn names_and_paths_agree() {
        for name in ["/a/b", "a b", "100%", "ä", "a%20b", "x?y#z", "a\\b", "[1]"] {
            let mut out = [0; 64];
            let len = encode(name.as_bytes(), &mut out).unwrap();
            let mut again = [0; 64];
            let len_again = canonical(&out[..len], &mut again).unwrap();
            assert_eq!(out[..len], again[..len_again], "{name}");
        }
    }
}
