//! Conditional requests (RFC 9110 section 13).

use std::time::SystemTime;

use crate::head::{Field, Head, Method};

/// What a representation is known by.
#[derive(Clone, Copy, Debug)]
pub struct Validators<'a> {
    /// A strong entity tag, with its quotes.
    pub etag: &'a [u8],
    /// When it was last changed, in whole seconds, if that is known.
    pub modified: Option<SystemTime>,
}

/// What the conditions of a request say.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Verdict {
    /// They hold.
    Proceed,
    /// The client has it already: 304.
    NotModified,
    /// 412.
    Failed,
}

//= RFC 9110 section 13.2.2: If-Match, else If-Unmodified-Since; then If-None-Match, else If-Modified-Since.
/// Evaluates the conditions of a request for a representation that would otherwise be sent.
pub fn evaluate(head: &Head<'_>, validators: &Validators<'_>) -> Verdict {
    if head.has(Field::IfMatch) {
        if !names(head, Field::IfMatch, validators.etag, Comparison::Strong) {
            return Verdict::Failed;
        }
    } else if let Some((modified, date)) = dates(head, Field::IfUnmodifiedSince, validators)
        && modified > date
    {
        return Verdict::Failed;
    }
    let reads = matches!(head.method, Method::Get | Method::Head);
    if head.has(Field::IfNoneMatch) {
        if names(head, Field::IfNoneMatch, validators.etag, Comparison::Weak) {
            return if reads { Verdict::NotModified } else { Verdict::Failed };
        }
    } else if reads
        && let Some((modified, date)) = dates(head, Field::IfModifiedSince, validators)
        && modified <= date
    {
        return Verdict::NotModified;
    }
    Verdict::Proceed
}

//= RFC 9110 section 13.1.5: If-Range holds for the same strong tag, or exactly the same date.
/// Whether the range of a request may be served: what the client has of the representation is of this one.
pub fn range_applies(head: &Head<'_>, validators: &Validators<'_>) -> bool {
    if !head.has(Field::IfRange) {
        return true;
    }
    match head.value(Field::IfRange) {
        Some(tag) if tag.contains(&b'"') => tag == validators.etag,
        _ => dates(head, Field::IfRange, validators).is_some_and(|(modified, date)| modified == date),
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Comparison {
    Strong,
    Weak,
}

/// Whether a list of entity tags names this one, or any.
fn names(head: &Head<'_>, field: Field, etag: &[u8], comparison: Comparison) -> bool {
    head.values(field).any(|value| value == b"*" || Tags(value).any(|tag| tag.is(etag, comparison)))
}

/// When the representation was changed, and the date in a field; `None` unless both are known.
fn dates(head: &Head<'_>, field: Field, validators: &Validators<'_>) -> Option<(SystemTime, SystemTime)> {
    if !head.has(field) {
        return None;
    }
    let text = std::str::from_utf8(head.value(field)?).ok()?;
    //= RFC 9110 section 13.1.3: a value that is no date is ignored.
    Some((validators.modified?, httpdate::parse_http_date(text).ok()?))
}

/// An entity tag in a list.
struct Tag<'a> {
    weak: bool,
    quoted: &'a [u8],
}

impl Tag<'_> {
    //= RFC 9110 section 8.8.3.2: a weak tag is never strongly the same.
    fn is(&self, etag: &[u8], comparison: Comparison) -> bool {
        self.quoted == etag && (comparison == Comparison::Weak || !self.weak)
    }
}

/// The tags of a list (RFC 9110 section 8.8.3). What is no tag ends it.
struct Tags<'a>(&'a [u8]);

impl<'a> Iterator for Tags<'a> {
    type Item = Tag<'a>;

    fn next(&mut self) -> Option<Tag<'a>> {
        let start = self.0.iter().position(|byte| !matches!(byte, b' ' | b'\t' | b','))?;
        let rest = &self.0[start..];
        let (weak, rest) = rest.strip_prefix(b"W/").map_or((false, rest), |rest| (true, rest));
        let inner = rest.strip_prefix(b"\"")?;
        // No quote can be inside a tag.
        let len = inner.iter().position(|byte| *byte == b'"')? + 2;
        let (quoted, rest) = rest.split_at(len);
        self.0 = rest;
        Some(Tag { weak, quoted })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CHANGED: &str = "Tue, 24 Nov 2026 10:00:00 GMT";
    const BEFORE: &str = "Tue, 24 Nov 2026 09:59:59 GMT";
    const AFTER: &str = "Tue, 24 Nov 2026 10:00:01 GMT";

    fn with_head<T>(method: &str, fields: &[(&str, &str)], test: impl FnOnce(&Head<'_>) -> T) -> T {
        let fields: String = fields.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
        let text = format!("{method} / HTTP/1.1\r\nHost: a\r\n{fields}\r\n");
        let (head, _) = Head::parse(text.as_bytes()).unwrap().unwrap();
        test(&head)
    }

    fn validators() -> Validators<'static> {
        Validators { etag: b"\"abc\"", modified: Some(httpdate::parse_http_date(CHANGED).unwrap()) }
    }

    #[test]
    fn precedence_and_comparison() {
        use Verdict::{Failed, NotModified, Proceed};
        let table: &[(&[(&str, &str)], Verdict)] = &[
            (&[], Proceed),
            (&[("If-None-Match", "\"abc\"")], NotModified),
            (&[("if-none-match", "W/\"abc\"")], NotModified),
            (&[("If-None-Match", "\"x\", W/\"y\" ,\"abc\"")], NotModified),
            (&[("If-None-Match", "\"a,b\",\"abc\"")], NotModified),
            (&[("If-None-Match", "\"x\""), ("If-None-Match", "\"abc\"")], NotModified),
            (&[("If-None-Match", "*")], NotModified),
            (&[("If-None-Match", "\"ABC\"")], Proceed),
            (&[("If-None-Match", "abc")], Proceed),
            (&[("If-None-Match", "\"abc")], Proceed),
            (&[("If-None-Match", "")], Proceed),
            // The tag says more than the date.
            (&[("If-None-Match", "\"x\""), ("If-Modified-Since", AFTER)], Proceed),
            (&[("If-Modified-Since", CHANGED)], NotModified),
            (&[("If-Modified-Since", AFTER)], NotModified),
            (&[("If-Modified-Since", BEFORE)], Proceed),
            (&[("If-Modified-Since", "Tuesday, 24-Nov-26 10:00:00 GMT")], NotModified),
            (&[("If-Modified-Since", "Tue Nov 24 10:00:00 2026")], NotModified),
            (&[("If-Modified-Since", "yesterday")], Proceed),
            (&[("If-Modified-Since", AFTER), ("If-Modified-Since", AFTER)], Proceed),
            (&[("If-Match", "\"abc\"")], Proceed),
            (&[("If-Match", "*")], Proceed),
            (&[("If-Match", "\"x\"")], Failed),
            (&[("If-Match", "W/\"abc\"")], Failed),
            (&[("If-Match", "\"abc\""), ("If-Unmodified-Since", BEFORE)], Proceed),
            (&[("If-Match", "\"abc\""), ("If-None-Match", "\"abc\"")], NotModified),
            (&[("If-Unmodified-Since", CHANGED)], Proceed),
            (&[("If-Unmodified-Since", BEFORE)], Failed),
            (&[("If-Unmodified-Since", "never")], Proceed),
            (&[("If-Unmodified-Since", BEFORE), ("If-None-Match", "\"abc\"")], Failed),
            (&[("If-Unmodified-Since", AFTER), ("If-Modified-Since", AFTER)], NotModified),
        ];
        for (fields, verdict) in table {
            for method in ["GET", "HEAD"] {
                let is = with_head(method, fields, |head| evaluate(head, &validators()));
                assert_eq!(is, *verdict, "{method} {fields:?}");
            }
        }
        let is = with_head("PUT", &[("If-None-Match", "*")], |head| evaluate(head, &validators()));
        assert_eq!(is, Failed);
    }

    #[test]
    fn without_a_date() {
        let undated = Validators { modified: None, ..validators() };
        for field in ["If-Modified-Since", "If-Unmodified-Since"] {
            let is = with_head("GET", &[(field, CHANGED)], |head| evaluate(head, &undated));
            assert_eq!(is, Verdict::Proceed, "{field}");
        }
        assert!(!with_head("GET", &[("If-Range", CHANGED)], |head| range_applies(head, &undated)));
    }

    #[test]
    fn if_range() {
        for (fields, applies) in [
            (&[][..], true),
            (&[("If-Range", "\"abc\"")], true),
            (&[("If-Range", "W/\"abc\"")], false),
            (&[("If-Range", "\"abd\"")], false),
            (&[("If-Range", CHANGED)], true),
            (&[("If-Range", AFTER)], false),
            (&[("If-Range", BEFORE)], false),
            (&[("If-Range", "soon")], false),
            (&[("If-Range", "\"abc\""), ("If-Range", "\"abc\"")], false),
        ] {
            assert_eq!(
                with_head("GET", fields, |head| range_applies(head, &validators())),
                applies,
                "{fields:?}"
            );
        }
    }
}
