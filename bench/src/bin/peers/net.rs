//! Two network namespaces, servers in one and clients in the other, and the cables between them.

use std::net::Ipv4Addr;

use crate::Result;
use crate::program::tool;

/// Who has the kernel's stack at an end of a cable, and who a DPDK device.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ends {
    /// The kernel at both.
    Kernel,
    /// The kernel at both, and it cuts and sums up all segments itself.
    KernelWithoutOffloads,
    /// A device at the server's.
    ServerDevice,
    /// A device at the client's.
    ClientDevice,
}

/// Namespaces that go with it.
pub(crate) struct Net {
    pub(crate) server: String,
    pub(crate) client: String,
}

impl Net {
    pub(crate) fn new() -> Result<Net> {
        let name = |side| format!("peers{}-{side}", std::process::id());
        let net = Net { server: name("server"), client: name("client") };
        for namespace in [&net.server, &net.client] {
            tool(&format!("ip netns add {namespace}"))?;
            tool(&format!("ip -n {namespace} link set lo up"))?;
            // No neighbour discovery between the packets that are measured.
            for which in ["all", "default"] {
                tool(&format!("ip netns exec {namespace} sysctl -qw net.ipv6.conf.{which}.disable_ipv6=1"))?;
            }
        }
        Ok(net)
    }

    /// The server's network device of cable `n`, whose client's is `client_link(n)`.
    pub(crate) fn server_link(n: u8) -> String {
        format!("server{n}")
    }

    pub(crate) fn client_link(n: u8) -> String {
        format!("client{n}")
    }

    pub(crate) fn server_address(n: u8) -> Ipv4Addr {
        Ipv4Addr::new(10, 77, n, 1)
    }

    pub(crate) fn client_address(n: u8) -> Ipv4Addr {
        Ipv4Addr::new(10, 77, n, 2)
    }

    /// Lays cable `n`, a veth pair.
    pub(crate) fn cable(&self, n: u8, ends: Ends) -> Result<()> {
        let Net { server, client } = self;
        let (there, here) = (Self::server_link(n), Self::client_link(n));
        tool(&format!("ip -n {server} link add {there} type veth peer name {here} netns {client}"))?;
        let sides = [
            (server, &there, Self::server_address(n), ends != Ends::ServerDevice),
            (client, &here, Self::client_address(n), ends != Ends::ClientDevice),
        ];
        for (namespace, link, address, is_kernel) in sides {
            if is_kernel {
                tool(&format!("ip -n {namespace} addr add {address}/24 dev {link}"))?;
                tool(&format!("ip -n {namespace} link set {link} up"))?;
            } else {
                tool(&format!("ip -n {namespace} link set {link} arp off up"))?;
            }
            let off = match ends {
                Ends::Kernel => continue,
                Ends::KernelWithoutOffloads => "tx off tso off gso off gro off",
                // Nobody fills in at the other end what the kernel leaves to a device.
                _ => "tx off",
            };
            tool(&format!("ip netns exec {namespace} ethtool -K {link} {off}"))?;
        }
        Ok(())
    }

    /// Gives the client an end of the TAP that the server's program has made: a macvlan, for the TAP has to stay.
    pub(crate) fn tap(&self, n: u8) -> Result<()> {
        let Net { server, client } = self;
        let (tap, here) = (Self::server_link(n), Self::client_link(n));
        tool(&format!("ip -n {server} link set {tap} arp off txqueuelen 8192"))?;
        tool(&format!("ip -n {server} link add link {tap} name {here} type macvlan mode private"))?;
        tool(&format!("ip -n {server} link set {here} netns {client}"))?;
        tool(&format!("ip -n {client} addr add {}/24 dev {here}", Self::client_address(n)))?;
        tool(&format!("ip -n {client} link set {here} up"))
    }
}

impl Drop for Net {
    fn drop(&mut self) {
        for namespace in [&self.server, &self.client] {
            // Nothing can be done about what is left.
            let _ = tool(&format!("ip netns del {namespace}"));
        }
    }
}
