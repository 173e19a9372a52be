//! The server's address: as it was given, or looked up by UDP of our own before the load begins.

use std::net::{Ipv4Addr, SocketAddrV4};
use std::sync::{Arc, OnceLock};

use config::Config;
use engine::net::{DNS_PORT, Resolver};

use super::Error;
use super::url::{Host, Server};
use crate::Net;

/// Where a machine's DNS servers stand.
const RESOLV_CONF: &str = "/etc/resolv.conf";

/// A server that is to be found.
#[derive(Clone)]
pub(super) struct Lookup {
    name: String,
    port: u16,
    servers: Box<[SocketAddrV4]>,
    networks: Networks,
    /// Where it is.
    target: Arc<OnceLock<SocketAddrV4>>,
    /// Why it was not found.
    pub(super) failed: Arc<OnceLock<String>>,
}

/// What can be reached.
#[derive(Clone)]
struct Networks {
    near: Vec<wire::Ipv4Prefix>,
    has_gateway: bool,
}

impl Networks {
    fn new(config: &Config) -> Networks {
        let addresses = config.interfaces.iter().flat_map(|interface| &interface.addresses);
        Networks {
            near: addresses.map(|own| own.net).collect(),
            has_gateway: !config.routes.entries.is_empty(),
        }
    }

    fn check(&self, to: Ipv4Addr) -> Result<(), String> {
        if self.has_gateway || self.near.iter().any(|net| net.contains(to)) {
            return Ok(());
        }
        Err(format!("no route to {to}: it is in no network of --address, and there is no --gateway"))
    }
}

/// Sets `target`, if the server is given by its address; else gives how it is found.
pub(super) fn lookup(
    server: &Server,
    dns: &[SocketAddrV4],
    config: &Config,
    target: &Arc<OnceLock<SocketAddrV4>>,
) -> Result<Option<Lookup>, Error> {
    let networks = Networks::new(config);
    let name = match &server.host {
        Host::Address(address) => {
            networks.check(*address)?;
            target.get_or_init(|| SocketAddrV4::new(*address, server.port));
            return Ok(None);
        }
        Host::Name(name) => name.clone(),
    };
    let servers: Box<[SocketAddrV4]> = if dns.is_empty() {
        let text = std::fs::read_to_string(RESOLV_CONF).unwrap_or_default();
        name_servers(&text).filter(|server| networks.check(*server.ip()).is_ok()).collect()
    } else {
        dns.iter().try_for_each(|server| networks.check(*server.ip()))?;
        dns.into()
    };
    if servers.is_empty() {
        return Err(format!(
            "{name}: no DNS server of {RESOLV_CONF} can be reached from --address: give one by --dns"
        )
        .into());
    }
    let (target, failed) = (target.clone(), Arc::default());
    Ok(Some(Lookup { name, port: server.port, servers, networks, target, failed }))
}

/// The IPv4 servers that a `resolv.conf` names; but for this machine's own, which others do not reach.
fn name_servers(text: &str) -> impl Iterator<Item = SocketAddrV4> {
    let server = |line: &str| {
        let mut words = line.split_ascii_whitespace();
        words.next().filter(|word| *word == "nameserver")?;
        words.next()?.parse::<Ipv4Addr>().ok().filter(|ip| !ip.is_loopback() && !ip.is_unspecified())
    };
    text.lines().filter_map(server).map(|ip| SocketAddrV4::new(ip, DNS_PORT))
}

impl Lookup {
    /// Looks the name up, and tells what came of it.
    pub(super) async fn run(self, net: Net, seed: u64) -> std::io::Result<()> {
        let found = Resolver::new(&net, self.servers.clone(), seed).lookup(&self.name).await;
        let address = found.map_err(|error| error.to_string()).and_then(|addresses| {
            addresses.iter().try_for_each(|to| self.networks.check(*to))?;
            Ok(addresses[0])
        });
        match address {
            Ok(address) => {
                println!("{} is {address}", self.name);
                self.target.get_or_init(|| SocketAddrV4::new(address, self.port));
            }
            Err(why) => {
                let servers: Vec<String> = self.servers.iter().map(ToString::to_string).collect();
                self.failed.get_or_init(|| format!("{}: {why} (asked {})", self.name, servers.join(", ")));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn servers_of_a_resolv_conf() {
        let text = "# nameserver 1.2.3.4\nsearch example\nnameserver 10.0.0.53\n nameserver\t192.0.2.1 # x\n\
                    nameserver ::1\nnameserver 127.0.0.53\nnameserver\noptions ndots:2\n";
        let servers: Vec<String> = name_servers(text).map(|server| server.to_string()).collect();
        assert_eq!(servers, ["10.0.0.53:53", "192.0.2.1:53"]);
    }
}
