//! What a load asks for: an `http` URL.

use std::net::{Ipv4Addr, SocketAddrV4};
use std::str::FromStr;

/// An `http` URL whose host is an address (RFC 9110 section 4.2.1).
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Url {
    /// The server.
    pub(crate) address: SocketAddrV4,
    /// Host and port as they stand in the URL: what the Host field says.
    pub(crate) host: String,
    /// Path and query: the request target.
    pub(crate) target: String,
}

impl FromStr for Url {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let rest = text.strip_prefix("http://").ok_or("expected http://ADDRESS[:PORT]/PATH")?;
        let rest = rest.split('#').next().unwrap_or_default();
        let (host, target) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
        let (name, port) = host.split_once(':').unwrap_or((host, "80"));
        let ip: Ipv4Addr =
            name.parse().map_err(|_| format!("{name:?} is no IPv4 address: names are not looked up"))?;
        let port =
            port.parse().ok().filter(|port| *port != 0).ok_or("the port is no number from 1 to 65535")?;
        if !target.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err("blanks and letters beyond ASCII are written as %XX".into());
        }
        let target = if target.starts_with('/') { target.into() } else { format!("/{target}") };
        Ok(Url { address: SocketAddrV4::new(ip, port), host: host.into(), target })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls() {
        for (text, address, host, target) in [
            ("http://10.0.0.1", "10.0.0.1:80", "10.0.0.1", "/"),
            ("http://10.0.0.1:8080/a/b?c=%20#d", "10.0.0.1:8080", "10.0.0.1:8080", "/a/b?c=%20"),
            ("http://10.0.0.1?q", "10.0.0.1:80", "10.0.0.1", "/?q"),
        ] {
            let url: Url = text.parse().unwrap();
            let seen = (url.address.to_string(), &*url.host, &*url.target);
            assert_eq!(seen, (address.to_owned(), host, target), "{text}");
        }
        for (text, says) in [
            ("https://10.0.0.1/", "expected http://"),
            ("http://localhost/", "names are not looked up"),
            ("http://10.0.0.1:0/", "the port is"),
            ("http://10.0.0.1:http/", "the port is"),
            ("http://10.0.0.1/a b", "%XX"),
        ] {
            assert!(text.parse::<Url>().unwrap_err().contains(says), "{text}");
        }
    }
}
