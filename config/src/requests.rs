//! The requests of a load: a TOML file of its own.
//!
//! ```toml
//! [[request]]
//! weight = 3                          # 1, without it
//! method = "POST"                     # GET, without it
//! path = "/search?q=x"
//! headers = ["Accept: text/html"]
//! body = "x=1"
//! check = "first"                     # or sha256:HEX
//! ```

use std::path::Path;
use std::str::FromStr;

use toml::Spanned;

use crate::diag::{ConfigErrors, Errors};
use crate::reader::{self, Table, Value, read_root};

/// An HTTP request.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Request {
    /// How often it is made, in proportion to the others' weights.
    pub weight: u32,
    /// The method.
    pub method: String,
    /// The request target: path and query.
    pub target: String,
    /// Fields beside those that every request has.
    pub fields: Vec<(String, String)>,
    /// The content.
    pub body: String,
    /// What the answer's content is compared with.
    pub check: Option<Check>,
}

/// What the content of an answer is compared with.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Check {
    /// That of the first answer to the same request.
    First,
    /// A SHA-256 hash.
    Sha256([u8; 32]),
}

impl FromStr for Check {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let hash = |hex: &str| {
            let digits = hex.bytes().map(|byte| char::from(byte).to_digit(16)).collect::<Option<Vec<_>>>()?;
            let bytes: Vec<u8> = digits.chunks_exact(2).map(|pair| (pair[0] << 4 | pair[1]) as u8).collect();
            bytes.try_into().ok().filter(|_| hex.len() == 64)
        };
        match (text, text.strip_prefix("sha256:")) {
            ("first", _) => Some(Check::First),
            (_, hex) => hex.and_then(hash).map(Check::Sha256),
        }
        .ok_or_else(|| "write `first`, or `sha256:` and 64 hexadecimal digits".to_owned())
    }
}

impl Request {
    /// Requests of a file, at most.
    pub const MOST: usize = 1 << 16;

    /// A GET.
    pub fn get(target: impl Into<String>) -> Request {
        let (target, method) = (target.into(), "GET".into());
        Request { weight: 1, method, target, fields: Vec::new(), body: String::new(), check: None }
    }

    /// Reads the requests of a file; at least one.
    ///
    /// # Errors
    /// All that is wrong with it, or that it cannot be read.
    pub fn load(path: impl AsRef<Path>) -> Result<Vec<Request>, ConfigErrors> {
        let name = path.as_ref().display().to_string();
        match std::fs::read_to_string(path) {
            Ok(text) => Self::from_text(&name, &text),
            Err(error) => {
                let errors = Errors::new(&name, "");
                errors.add(errors.whole(format!("cannot be read: {error}")));
                errors.into_result(None)
            }
        }
    }

    fn from_text(name: &str, text: &str) -> Result<Vec<Request>, ConfigErrors> {
        let errors = Errors::new(name, text);
        let Some(root) = reader::parse(text, &errors) else { return errors.into_result(None) };
        let requests = read_root(&root, &errors, |t| t.tables("request", "[[request]]", request));
        let count = requests.len();
        if errors.count() == 0 && !(1..=Self::MOST).contains(&count) {
            let error = errors.whole(format!("{count} requests: there are from 1 to {}", Self::MOST));
            errors.add(error.help("each begins with [[request]], and has a path"));
        }
        errors.into_result(requests.into_iter().collect())
    }
}

/// Reads one; `None` if it has no path.
fn request(t: &Table<'_>) -> Option<Request> {
    fn of<T>(value: Option<Spanned<T>>, default: T) -> T {
        value.map_or(default, Spanned::into_inner)
    }
    let path = t.require("path", |v| v.parsed("a path", target));
    let headers = t.get("headers", |v| v.list(|v| v.parsed("a header", field)));
    let request = Request {
        weight: of(t.get("weight", |v| v.number(1..=65_535)), 1),
        method: of(t.get("method", |v| v.parsed("a method", method)), "GET".into()),
        target: String::new(),
        fields: of(headers, Vec::new()).into_iter().map(Spanned::into_inner).collect(),
        body: of(t.get("body", Value::text), String::new()),
        check: t.get("check", |v| v.parsed("a check", str::parse)).map(Spanned::into_inner),
    };
    Some(Request { target: path?.into_inner(), ..request })
}

/// RFC 9110 section 5.6.2.
fn is_token(text: &str) -> bool {
    let is_letter = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    !text.is_empty() && text.bytes().all(is_letter)
}

fn target(text: &str) -> Result<String, String> {
    let good = text.starts_with('/') && text.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'#');
    let help = "a path begins with `/`, as in \"/a?b=c\"; blanks and letters beyond ASCII are written as %XX";
    if good { Ok(text.to_owned()) } else { Err(help.to_owned()) }
}

fn method(text: &str) -> Result<String, String> {
    match text {
        "CONNECT" => Err("a tunnel has no answer that ends".to_owned()),
        text if is_token(text) => Ok(text.to_owned()),
        _ => Err("a method is a word like \"POST\"".to_owned()),
    }
}

fn field(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once(':').ok_or("write it like \"Accept: text/html\"")?;
    let value = value.trim();
    if !is_token(name) || !value.bytes().all(|byte| byte.is_ascii_graphic() || b" \t".contains(&byte)) {
        return Err("a header has a name, a colon, and visible letters".to_owned());
    }
    let ours = ["Connection", "Content-Length", "Transfer-Encoding"];
    match ours.iter().find(|our| our.eq_ignore_ascii_case(name)) {
        Some(our) => Err(format!("{our} follows from `body` and the command line")),
        None => Ok((name.to_owned(), value.to_owned())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Vec<Request>, Vec<String>> {
        let lines = |errors: ConfigErrors| errors.iter().map(|error| error.one_line().to_string()).collect();
        Request::from_text("mix.toml", text).map_err(lines)
    }

    #[test]
    fn all_that_a_request_may_have() {
        let text = r#"
            [[request]]
            path = "/"
            [[request]]
            weight = 3
            method = "POST"
            path = "/a?b=%20"
            headers = ["Accept: text/html", "X:"]
            body = "x=1"
            check = "first"
        "#;
        let post = Request {
            weight: 3,
            method: "POST".into(),
            fields: vec![("Accept".into(), "text/html".into()), ("X".into(), String::new())],
            body: "x=1".into(),
            check: Some(Check::First),
            ..Request::get("/a?b=%20")
        };
        assert_eq!(read(text), Ok(vec![Request::get("/"), post]));
    }

    #[test]
    fn checks() {
        let hex = "00".repeat(31) + "fF";
        let mut hash = [0; 32];
        hash[31] = 255;
        assert_eq!(format!("sha256:{hex}").parse(), Ok(Check::Sha256(hash)));
        assert_eq!("first".parse(), Ok(Check::First));
        for bad in [
            "",
            "last",
            "sha256:",
            "sha256:00",
            "md5:00",
            &format!("sha256:{hex}0"),
            &format!("sha256:g{}", &hex[1..]),
        ] {
            assert!(bad.parse::<Check>().is_err(), "{bad}");
        }
    }

    #[test]
    fn errors_say_where() {
        for (text, says) in [
            ("", "mix.toml: 0 requests"),
            ("[[request]]\n", "mix.toml:1:1: [[request]] lacks `path`"),
            (
                "[[request]]\npath = \"a\"",
                "mix.toml:2:8: `path`: \"a\" is not a path; a path begins with `/`",
            ),
            ("[[request]]\npath = \"/\"\nwieght = 2", "mix.toml:3:1: unknown key `wieght`"),
            (
                "[[request]]\npath = \"/\"\nweight = 0",
                "mix.toml:3:10: `weight`: 0 is not a whole number from 1",
            ),
            ("[[request]]\npath = \"/\"\nmethod = \"G T\"", "mix.toml:3:10: `method`"),
            ("[[request]]\npath = \"/\"\nheaders = [\"a: b\", \"c\"]", "mix.toml:3:20: `headers`: \"c\""),
            ("[[request]]\npath = \"/\"\nheaders = [\"content-length: 3\"]", "Content-Length follows from"),
            ("[[request]]\npath = \"/\"\nheaders = [\"a: b\\r\\nc: d\"]", "visible letters"),
            ("[[request]]\npath = \"/\"\ncheck = \"md5\"", "mix.toml:3:9: `check`"),
            ("request = 3", "a list of tables, each written [[request]]"),
            ("path = ", "this is not TOML"),
        ] {
            let errors = read(text).unwrap_err();
            assert!(errors.len() == 1 && errors[0].contains(says), "{text:?}: {errors:?}");
        }
        let two = read("[[request]]\npath = \"a\"\n[[request]]\ncheck = \"b\"").unwrap_err();
        assert_eq!(two.len(), 3, "all at once: {two:?}");
    }
}
