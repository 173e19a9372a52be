//! Where a load goes: a server, and the `http` URL of what is asked of it.

use std::net::Ipv4Addr;
use std::str::FromStr;

/// A server, as it is written.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Server {
    pub(crate) host: Host,
    pub(crate) port: u16,
}

/// Who it is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Host {
    Address(Ipv4Addr),
    /// A name, which is to be looked up.
    Name(String),
}

impl Server {
    /// Reads `HOST[:PORT]`.
    fn parse(text: &str, default_port: Option<u16>) -> Result<Server, String> {
        let (host, port) =
            text.split_once(':').map_or((text, None), |(host, port)| (host, Some(port.parse().ok())));
        let port: Option<u16> = port.unwrap_or(default_port);
        let port = port.filter(|port| *port != 0).ok_or("the port is no number from 1 to 65535")?;
        Ok(Server { host: Host::parse(host)?, port })
    }
}

impl Host {
    fn parse(text: &str) -> Result<Host, String> {
        if let Ok(address) = text.parse() {
            return Ok(Host::Address(address));
        }
        // A last label of digits would be taken for a name and asked for all over the world.
        let last = text.trim_end_matches('.').rsplit('.').next().unwrap_or_default();
        let is_name = last.bytes().any(|byte| !byte.is_ascii_digit());
        if !is_name || !text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte)) {
            return Err(format!("{text:?} is neither an IPv4 address nor a host's name"));
        }
        Ok(Host::Name(text.into()))
    }
}

impl FromStr for Server {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Server::parse(text, None)
    }
}

impl std::fmt::Display for Server {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.host {
            Host::Address(address) => write!(f, "{address}:{}", self.port),
            Host::Name(name) => write!(f, "{name}:{}", self.port),
        }
    }
}

/// An `http` URL (RFC 9110 section 4.2.1).
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Url {
    pub(crate) server: Server,
    /// Host and port as they stand in the URL: what the Host field says.
    pub(crate) host: String,
    /// Path and query: the request target.
    pub(crate) target: String,
}

impl FromStr for Url {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let rest = text.strip_prefix("http://").ok_or("expected http://HOST[:PORT]/PATH")?;
        let rest = rest.split('#').next().unwrap_or_default();
        let (host, target) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
        let server = Server::parse(host, Some(80))?;
        if !target.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err("blanks and letters beyond ASCII are written as %XX".into());
        }
        let target = if target.starts_with('/') { target.into() } else { format!("/{target}") };
        Ok(Url { server, host: host.into(), target })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls() {
        for (text, server, host, target) in [
            ("http://10.0.0.1", "10.0.0.1:80", "10.0.0.1", "/"),
            ("http://10.0.0.1:8080/a/b?c=%20#d", "10.0.0.1:8080", "10.0.0.1:8080", "/a/b?c=%20"),
            ("http://10.0.0.1?q", "10.0.0.1:80", "10.0.0.1", "/?q"),
            ("http://www.Example.com/", "www.Example.com:80", "www.Example.com", "/"),
            ("http://web-1:81/x", "web-1:81", "web-1:81", "/x"),
        ] {
            let url: Url = text.parse().unwrap();
            let seen = (url.server.to_string(), &*url.host, &*url.target);
            assert_eq!(seen, (server.to_owned(), host, target), "{text}");
        }
        for (text, says) in [
            ("https://10.0.0.1/", "expected http://"),
            ("http:///x", "neither"),
            ("http://10.0.0/", "neither"),
            ("http://10.0.0.256/", "neither"),
            ("http://user@host/", "neither"),
            ("http://10.0.0.1:0/", "the port is"),
            ("http://10.0.0.1:http/", "the port is"),
            ("http://10.0.0.1/a b", "%XX"),
        ] {
            assert!(text.parse::<Url>().unwrap_err().contains(says), "{text}");
        }
    }

    #[test]
    fn servers() {
        let server: Server = "10.0.0.1:7".parse().unwrap();
        assert_eq!(server, Server { host: Host::Address(Ipv4Addr::new(10, 0, 0, 1)), port: 7 });
        assert_eq!("echo.example:7".parse::<Server>().unwrap().host, Host::Name("echo.example".into()));
        assert!("10.0.0.1".parse::<Server>().unwrap_err().contains("the port is"));
    }
}
