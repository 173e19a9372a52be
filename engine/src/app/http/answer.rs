//! What a request is answered, and the response's head.

use http1::condition::{self, Validators, Verdict};
use http1::date::HttpDate;
use http1::head::{Expectation, Field};
use http1::range::{self, Extent};
use http1::response::HeadWriter;
use http1::target::Target;
use http1::{Head, Method, Refusal, Status};

use super::site::{Resource, Site};
use super::status;

/// An answer that was decided on. It can be written at any time, and again.
#[derive(Clone, Copy, Debug)]
pub(super) struct Answer {
    what: What,
    /// Whether the connection goes on after it.
    pub(super) keep_alive: bool,
    /// Whether it is to HEAD: without content.
    pub(super) is_head: bool,
    is_http_1_0: bool,
}

#[derive(Clone, Copy, Debug)]
enum What {
    /// Some or all of a content, by its number.
    Content(u32, Extent),
    NotModified(u32),
    Folder(u32),
    StatusPage,
    Options,
    Error(Status),
}

/// What this server does with resources (RFC 9110 section 10.2.1).
const ALLOW: &[u8] = b"Allow: GET, HEAD, OPTIONS\r\n";

impl Answer {
    /// Decides on the answer to a request.
    #[inline]
    pub(super) fn to(head: &Head<'_>, site: &Site, is_stopping: bool) -> Answer {
        let what = match (head.method, head.target) {
            (Method::Get | Method::Head, Target::Resource { path, .. })
                if head.expectation != Expectation::Unknown =>
            {
                match site.find(path) {
                    Ok(Some(Resource::Content(number))) if !head.has_any_field() => {
                        What::Content(number, Extent::Whole)
                    }
                    Ok(Some(Resource::Content(number))) => on_condition(head, site, number),
                    Ok(Some(Resource::Folder(number))) => What::Folder(number),
                    Ok(Some(Resource::Status)) => What::StatusPage,
                    Ok(None) => What::Error(Status::NotFound),
                    Err(_) => What::Error(Status::BadRequest),
                }
            }
            (Method::Known | Method::Connect, _) => What::Error(Status::MethodNotAllowed),
            (Method::Unknown, _) => What::Error(Status::NotImplemented),
            _ if head.expectation == Expectation::Unknown => What::Error(Status::ExpectationFailed),
            // Of GET and HEAD only these targets are left, and those the reader refuses.
            _ => What::Options,
        };
        let mut keep_alive = head.keep_alive && !is_stopping && head.method != Method::Connect;
        //= RFC 9110 section 10.1.1: a client that was refused may send its body or not: what comes next is
        //= not known.
        if head.expectation != Expectation::None && head.has_body() && matches!(what, What::Error(_)) {
            keep_alive = false;
        }
        Answer { what, keep_alive, is_head: head.method == Method::Head, is_http_1_0: head.is_http_1_0 }
    }

    /// The answer to what is no request, or to none in time.
    pub(super) fn refusal(refusal: Refusal) -> Answer {
        let Refusal { status, is_head } = refusal;
        Answer { what: What::Error(status), keep_alive: false, is_head, is_http_1_0: false }
    }

    pub(super) fn status(&self) -> Status {
        match self.what {
            What::Content(_, Extent::Whole) | What::StatusPage | What::Options => Status::Ok,
            What::Content(_, Extent::Part { .. }) => Status::PartialContent,
            What::Content(_, Extent::Unsatisfiable) => Status::RangeNotSatisfiable,
            What::NotModified(_) => Status::NotModified,
            What::Folder(_) => Status::MovedPermanently,
            What::Error(status) => status,
        }
    }

    /// Whether it says that the request was not accepted.
    pub(super) fn is_error(&self) -> bool {
        matches!(self.what, What::Error(_))
    }

    /// What is sent after the head, by reference.
    #[inline]
    pub(super) fn content(&self, site: &Site) -> &'static [u8] {
        match self.what {
            What::Content(number, extent) if !self.is_head => site.bytes(number, extent),
            _ => &[],
        }
    }

    /// Writes the head, and a short text that goes with it. Gives the length, or `None` if it does not fit.
    #[inline]
    pub(super) fn write(
        &self,
        out: &mut [u8],
        site: &Site,
        date: &HttpDate,
        page: &status::Page<'_>,
    ) -> Option<usize> {
        let mut head = HeadWriter::new(out, self.status(), date);
        head.raw(b"Server: sluice\r\n");
        //= RFC 9112 section 9.3: who closes says so; to HTTP/1.0, who does not.
        match (self.keep_alive, self.is_http_1_0) {
            (false, _) => head.raw(b"Connection: close\r\n"),
            (true, true) => head.raw(b"Connection: keep-alive\r\n"),
            (true, false) => &mut head,
        };
        match self.what {
            What::Content(number, Extent::Whole) => head.raw(&site.content(number).whole).finish(b""),
            _ => self.write_rest(&mut head, site, page),
        }
    }

    fn write_rest(&self, head: &mut HeadWriter<'_>, site: &Site, page: &status::Page<'_>) -> Option<usize> {
        match self.what {
            What::Content(number, Extent::Part { start, len }) => {
                let content = site.content(number);
                head.number("Content-Length", len).content_range(start, len, content.body.len() as u64);
                head.raw(&content.fields).finish(b"")
            }
            What::Content(number, _) => {
                head.content_range(0, 0, site.content(number).body.len() as u64);
                self.text(head, self.status().text())
            }
            //= RFC 9110 section 15.4.5: the entity tag and how long it holds, but nothing that describes content.
            What::NotModified(number) => {
                head.field("ETag", &site.content(number).etag).raw(site.cache_control()).finish(b"")
            }
            What::Folder(number) => {
                head.field("Location", site.location(number)).raw(site.cache_control());
                self.text(head, self.status().text())
            }
            What::StatusPage => {
                let mut memory = [0; status::MAX];
                let text = page.write(&mut memory);
                head.raw(b"Content-Type: text/plain; version=0.0.4\r\nCache-Control: no-store\r\n");
                head.number("Content-Length", text.len() as u64);
                head.finish(if self.is_head { b"" } else { text })
            }
            What::Options => head.raw(ALLOW).number("Content-Length", 0).finish(b""),
            What::Error(status) => {
                //= RFC 9110 section 15.5.6: 405 says what is allowed.
                if status == Status::MethodNotAllowed {
                    head.raw(ALLOW);
                }
                self.text(head, status.text())
            }
        }
    }

    /// A line of text as the content.
    fn text(&self, head: &mut HeadWriter<'_>, line: &str) -> Option<usize> {
        head.raw(b"Content-Type: text/plain\r\n").number("Content-Length", line.len() as u64);
        if self.is_head {
            return head.finish(b"");
        }
        head.finish(line.as_bytes())
    }
}

/// The answer to a request for a content, with conditions or a range.
#[cold]
fn on_condition(head: &Head<'_>, site: &Site, number: u32) -> What {
    let content = site.content(number);
    let validators = Validators { etag: &content.etag, modified: content.modified };
    match condition::evaluate(head, &validators) {
        Verdict::NotModified => What::NotModified(number),
        Verdict::Failed => What::Error(Status::PreconditionFailed),
        //= RFC 9110 section 14.2: a range is for GET, and comes after the conditions.
        Verdict::Proceed if head.method == Method::Get && condition::range_applies(head, &validators) => {
            let extent =
                head.value(Field::Range).map(|value| range::resolve(value, content.body.len() as u64));
            What::Content(number, extent.unwrap_or(Extent::Whole))
        }
        Verdict::Proceed => What::Content(number, Extent::Whole),
    }
}
