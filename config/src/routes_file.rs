//! The routes file: one route a line, a million lines in a blink.
//!
//! ```text
//! PREFIX via GATEWAY[,GATEWAY...]
//! PREFIX blackhole
//! PREFIX unreachable
//! ```
//!
//! What follows a `#` is a comment. The parser knows nothing of interfaces: gateways are gathered
//! into distinct lists, and whoever knows the interfaces looks at each list once.

use std::collections::HashMap;
use std::net::Ipv4Addr;
use std::ops::Range;

use wire::Ipv4Prefix;

use crate::model::Route;

/// The most gateways that share one route's flows.
pub(crate) const MOST_GATEWAYS: usize = 64;
/// The most errors that are reported of one file.
const MOST_ERRORS: usize = 20;

/// [`Route::next_hop`] of a blackhole in [`FileRoutes::entries`].
pub(crate) const BLACKHOLE: u32 = 0;
/// [`Route::next_hop`] of an unreachable route in [`FileRoutes::entries`].
pub(crate) const UNREACHABLE: u32 = 1;
/// [`Route::next_hop`] of the first list of gateways in [`FileRoutes::entries`].
pub(crate) const FIRST_GATEWAYS: u32 = 2;

/// A routes file, read.
#[derive(Debug, Default)]
pub(crate) struct FileRoutes {
    /// The routes in the order of the file, one a line that is not blank.
    pub(crate) entries: Vec<Route>,
    /// The distinct lists of gateways.
    pub(crate) gateways: Vec<GatewayList>,
}

/// Gateways as some line lists them.
#[derive(Debug)]
pub(crate) struct GatewayList {
    pub(crate) addresses: Box<[Ipv4Addr]>,
    /// Where it stands first, in bytes.
    pub(crate) span: Range<usize>,
}

/// What is wrong with a line, and where (in bytes).
#[derive(Debug)]
pub(crate) struct LineError {
    pub(crate) span: Range<usize>,
    pub(crate) what: &'static str,
    pub(crate) help: &'static str,
}

/// Reads `text`. A wrong line is left out and reported; reading stops after [`MOST_ERRORS`] of them.
pub(crate) fn parse(text: &str) -> (FileRoutes, Vec<LineError>) {
    let mut parser =
        Parser { bytes: text.as_bytes(), at: 0, routes: FileRoutes::default(), known: HashMap::new() };
    // The shortest usual line ("1.0.0.0/8 via 1.1.1.1") has about 20 bytes.
    parser.routes.entries.reserve(text.len() / 20);
    let mut errors = Vec::new();
    while parser.at < parser.bytes.len() && errors.len() < MOST_ERRORS {
        if let Err(error) = parser.line() {
            errors.push(error);
            parser.skip_line();
        }
    }
    (parser.routes, errors)
}

/// Where the prefix of the `n`th route (from 0) stands, in a text that parses without error.
pub(crate) fn span_of_route(text: &str, n: usize) -> Range<usize> {
    let mut start = 0;
    let is_route = |line: &str| !matches!(line.trim_ascii_start().bytes().next(), None | Some(b'#'));
    let spans = text.split_inclusive('\n').filter_map(|line| {
        let prefix = line.split('#').next().unwrap_or("").split_ascii_whitespace().next().unwrap_or("");
        let at = start + line.len() - line.trim_ascii_start().len();
        start += line.len();
        is_route(line).then_some(at..at + prefix.len())
    });
    spans.into_iter().nth(n).unwrap_or(0..0)
}

struct Parser<'a> {
    bytes: &'a [u8],
    at: usize,
    routes: FileRoutes,
    /// The number of each list of gateways seen.
    known: HashMap<Box<[Ipv4Addr]>, u32>,
}

impl Parser<'_> {
    /// One line, its newline included; blank lines and comments too.
    fn line(&mut self) -> Result<(), LineError> {
        self.skip_blanks();
        if !self.at_line_end() {
            let prefix = self.prefix()?;
            let next_hop = self.target()?;
            self.skip_blanks();
            if !self.at_line_end() {
                return Err(
                    self.error("there is more after the route", "one route a line; comments begin with #")
                );
            }
            self.routes.entries.push(Route { prefix, next_hop });
        }
        self.skip_line();
        Ok(())
    }

    fn prefix(&mut self) -> Result<Ipv4Prefix, LineError> {
        const WANT: &str = "a prefix is written like 10.1.0.0/16";
        let start = self.at;
        let addr = self.address().ok_or_else(|| self.error("this is not an IPv4 prefix", WANT))?;
        if self.peek() != Some(b'/') {
            return Err(self.error_at(start, "the prefix length is missing", WANT));
        }
        self.at += 1;
        let len = self.decimal(32).ok_or_else(|| self.error("this is not a prefix length", "0 to 32"))?;
        let prefix = Ipv4Prefix::new(Ipv4Addr::from_bits(addr), len as u8);
        if prefix.bits() != addr {
            let help = "the bits after the prefix length must be zero";
            return Err(self.error_at(start, "this is an address within a prefix", help));
        }
        Ok(prefix)
    }

    /// What follows the prefix; gives the number of the next hop.
    fn target(&mut self) -> Result<u32, LineError> {
        self.skip_blanks();
        let start = self.at;
        let length = self.bytes[start..].iter().take_while(|byte| byte.is_ascii_alphabetic()).count();
        self.at += length;
        match &self.bytes[start..self.at] {
            b"via" => self.gateways(),
            b"blackhole" => Ok(BLACKHOLE),
            b"unreachable" => Ok(UNREACHABLE),
            _ => {
                let help = "after the prefix comes `via GATEWAY`, `blackhole` or `unreachable`";
                Err(self.error_at(start, "this does not say where the route leads", help))
            }
        }
    }

    fn gateways(&mut self) -> Result<u32, LineError> {
        self.skip_blanks();
        let start = self.at;
        let mut list = [Ipv4Addr::UNSPECIFIED; MOST_GATEWAYS];
        let mut count = 0;
        loop {
            let want = "a gateway is written like 10.0.1.254; several are separated by commas without blanks";
            let addr = self.address().ok_or_else(|| self.error("this is not a gateway's address", want))?;
            let slot = list.get_mut(count);
            *slot.ok_or(LineError {
                span: start..self.at,
                what: "too many gateways",
                help: "64 at most",
            })? = Ipv4Addr::from_bits(addr);
            count += 1;
            if self.peek() != Some(b',') {
                break;
            }
            self.at += 1;
        }
        let list = &list[..count];
        if let Some(known) = self.known.get(list) {
            return Ok(*known);
        }
        let number = FIRST_GATEWAYS + self.routes.gateways.len() as u32;
        self.known.insert(list.into(), number);
        self.routes.gateways.push(GatewayList { addresses: list.into(), span: start..self.at });
        Ok(number)
    }

    /// A dotted quad, in host order. On `None` the position is where it stopped being one.
    fn address(&mut self) -> Option<u32> {
        let mut bits = self.decimal(255)?;
        for _ in 0..3 {
            if self.peek() != Some(b'.') {
                return None;
            }
            self.at += 1;
            bits = bits << 8 | self.decimal(255)?;
        }
        Some(bits)
    }

    /// A decimal number of at most three digits, without leading zeros, and at most `most`.
    fn decimal(&mut self, most: u32) -> Option<u32> {
        let start = self.at;
        let mut value = 0;
        while let Some(digit @ b'0'..=b'9') = self.peek() {
            value = value * 10 + u32::from(digit - b'0');
            self.at += 1;
            if self.at - start > 3 {
                break;
            }
        }
        let digits = self.at - start;
        let leading_zero = digits > 1 && self.bytes[start] == b'0';
        let good = (1..=3).contains(&digits) && !leading_zero && value <= most;
        if !good {
            self.at = start;
        }
        good.then_some(value)
    }

    fn peek(&self) -> Option<u8> {
        self.bytes.get(self.at).copied()
    }

    /// A carriage return counts as a blank, so that files with either line end are read.
    fn skip_blanks(&mut self) {
        while let Some(b' ' | b'\t' | b'\r') = self.peek() {
            self.at += 1;
        }
    }

    fn at_line_end(&self) -> bool {
        matches!(self.peek(), None | Some(b'\n' | b'#'))
    }

    fn skip_line(&mut self) {
        let rest = &self.bytes[self.at.min(self.bytes.len())..];
        let to_newline =
            rest.iter().position(|byte| *byte == b'\n').map_or(rest.len(), |newline| newline + 1);
        self.at += to_newline;
    }

    /// An error about the word at the present position.
    fn error(&self, what: &'static str, help: &'static str) -> LineError {
        self.error_at(self.at, what, help)
    }

    /// An error about the word at `start`.
    fn error_at(&self, start: usize, what: &'static str, help: &'static str) -> LineError {
        let rest = &self.bytes[start..];
        let length =
            rest.iter().take_while(|byte| !matches!(byte, b' ' | b'\t' | b'\r' | b'\n' | b'#')).count();
        LineError { span: start..start + length, what, help }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// What a line says, by the standard library's parsers; `None` if it is wrong, `Some(None)` if blank.
    fn naive(line: &str) -> Option<Option<(Ipv4Prefix, Vec<Ipv4Addr>)>> {
        let words: Vec<&str> = line.split('#').next()?.split_ascii_whitespace().collect();
        match words[..] {
            [] => Some(None),
            [prefix, "blackhole" | "unreachable"] => Some(Some((prefix.parse().ok()?, Vec::new()))),
            [prefix, "via", list] => {
                let gateways = list.split(',').map(|gateway| gateway.parse().ok()).collect::<Option<_>>()?;
                Some(Some((prefix.parse().ok()?, gateways)))
            }
            _ => None,
        }
    }

    fn word() -> impl Strategy<Value = String> {
        const ODD: &[&str] =
            &["via", "blackhole", "unreachable", "/", ",", "#", "x", "", "1.2.3", "1.2.3.4.5", "01.2.3.4"];
        prop_oneof![
            (0_u32..300, 0_u32..300, 0_u32..4).prop_map(|(a, b, c)| format!("{a}.{b}.{c}.0")),
            (any::<u32>(), 0_u8..34).prop_map(|(bits, len)| {
                let bits = bits & u32::MAX.checked_shl(32 - u32::from(len.min(32))).unwrap_or(0);
                format!("{}/{len}", Ipv4Addr::from_bits(bits))
            }),
            prop::collection::vec(any::<u32>(), 1..4).prop_map(|list| list
                .iter()
                .map(|bits| Ipv4Addr::from_bits(*bits).to_string())
                .collect::<Vec<_>>()
                .join(",")),
            prop::sample::select(ODD).prop_map(str::to_owned),
        ]
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2000))]

        #[test]
        fn agrees_with_the_standard_library(prefix in word(), verb in word(), target in word(), free in any::<bool>()) {
            let verb = if free { verb } else { "via".to_owned() };
            let line = format!(" {prefix} {verb}\t{target}");
            let (routes, errors) = parse(&line);
            match naive(&line) {
                None => prop_assert_eq!((routes.entries.len(), errors.len()), (0, 1), "{}", line),
                Some(None) => prop_assert_eq!((routes.entries.len(), errors.len()), (0, 0), "{}", line),
                Some(Some((prefix, gateways))) => {
                    prop_assert!(errors.is_empty(), "{line}: {errors:?}");
                    prop_assert_eq!(routes.entries[0].prefix, prefix);
                    let list = routes.gateways.first().map_or(&[][..], |list| &list.addresses);
                    prop_assert_eq!(list, &gateways[..]);
                }
            }
        }
    }

    #[test]
    fn the_place_of_a_route() {
        let text = "# x\n\n 1.0.0.0/8 blackhole\n2.0.0.0/8 blackhole # y\n\t# 3\n3.0.0.0/8#z";
        let found: Vec<&str> = (0..3).map(|n| &text[span_of_route(text, n)]).collect();
        assert_eq!(found, ["1.0.0.0/8", "2.0.0.0/8", "3.0.0.0/8"]);
    }
}
