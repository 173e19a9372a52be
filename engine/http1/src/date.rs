//! The Date field (RFC 9110 section 6.6.1), made once a second.

use std::io::Write;
use std::time::SystemTime;

/// Bytes of a date: `Sun, 06 Nov 1994 08:49:37 GMT`.
pub const LEN: usize = 29;

/// A date as HTTP writes it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct HttpDate([u8; LEN]);

impl HttpDate {
    /// Writes a date, of the years 1970 to 9999.
    pub fn new(time: SystemTime) -> Self {
        let last = SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(253_402_300_799);
        let mut text = [b' '; LEN];
        let date = httpdate::HttpDate::from(time.clamp(SystemTime::UNIX_EPOCH, last));
        // A date has as many bytes as there is room for.
        let _fits = write!(&mut text[..], "{date}");
        HttpDate(text)
    }

    /// The text.
    pub fn as_bytes(&self) -> &[u8; LEN] {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn dates() {
        let at = |seconds| SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
        for (seconds, text) in [
            (0, b"Thu, 01 Jan 1970 00:00:00 GMT"),
            (784_111_777, b"Sun, 06 Nov 1994 08:49:37 GMT"),
            (951_782_400, b"Tue, 29 Feb 2000 00:00:00 GMT"),
            (253_402_300_800, b"Fri, 31 Dec 9999 23:59:59 GMT"),
        ] {
            assert_eq!(HttpDate::new(at(seconds)).as_bytes(), text);
        }
        assert_eq!(HttpDate::new(SystemTime::UNIX_EPOCH - Duration::from_secs(9)), HttpDate::new(at(0)));
    }
}
