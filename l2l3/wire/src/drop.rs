//! The one table of drop reasons. The enum, the counters' length, the names in the command line and
//! the metrics, and the documentation page all come from it.

use std::fmt;

/// Where in a packet's life it was dropped.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub enum Stage {
    /// Ethernet and VLAN.
    L2,
    /// ARP.
    Arp,
    /// IPv4 input checks (RFC 1812 section 5.2.2).
    Ipv4,
    /// Route lookup and forwarding.
    Route,
    /// Waiting for a neighbour.
    Hold,
    /// Delivery to this router itself.
    Local,
    /// Reassembly of fragments to this router.
    Reassembly,
    /// Hand-over between cores.
    Steer,
    /// Output.
    Tx,
}

impl Stage {
    /// The stable lower-case name.
    pub const fn name(self) -> &'static str {
        match self {
            Stage::L2 => "l2",
            Stage::Arp => "arp",
            Stage::Ipv4 => "ipv4",
            Stage::Route => "route",
            Stage::Hold => "hold",
            Stage::Local => "local",
            Stage::Reassembly => "reassembly",
            Stage::Steer => "steer",
            Stage::Tx => "tx",
        }
    }
}

/// What a count that grows means to an operator.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub enum Severity {
    /// Normal on a healthy network.
    Expected,
    /// A sender, or the configuration, does something wrong.
    Error,
    /// This router could not keep up: a limit was reached.
    Overload,
}

impl Severity {
    /// The stable lower-case name.
    pub const fn name(self) -> &'static str {
        match self {
            Severity::Expected => "expected",
            Severity::Error => "error",
            Severity::Overload => "overload",
        }
    }
}

macro_rules! drop_reasons {
    ($($variant:ident $name:literal $stage:ident $severity:ident $text:literal;)*) => {
        /// Why a frame left the pipeline without being sent or consumed.
        #[derive(Clone, Copy, PartialEq, Eq, Debug, Hash, PartialOrd, Ord)]
        #[repr(u8)]
        pub enum DropReason { $(#[doc = $text] $variant),* }

        impl DropReason {
            /// Every reason, in the order of the table.
            pub const ALL: &'static [DropReason] = &[$(DropReason::$variant),*];

            /// The stable name in the command line, in JSON and in metrics.
            pub const fn name(self) -> &'static str {
                match self { $(DropReason::$variant => $name),* }
            }

            /// The stage that drops for this reason.
            pub const fn stage(self) -> Stage {
                match self { $(DropReason::$variant => Stage::$stage),* }
            }

            /// What a growing count means.
            pub const fn severity(self) -> Severity {
                match self { $(DropReason::$variant => Severity::$severity),* }
            }

            /// One sentence for an operator.
            pub const fn text(self) -> &'static str {
                match self { $(DropReason::$variant => $text),* }
            }
        }
    };
}

drop_reasons! {
    FrameTooShort "frame-too-short" L2 Error "The frame ends before its Ethernet or VLAN header does.";
    NotOurMac "not-our-mac" L2 Expected "The destination Ethernet address is neither ours nor a group we listen to.";
    UnknownVlan "unknown-vlan" L2 Error "The VLAN tag names no sub-interface of the port.";
    UnknownEthertype "unknown-ethertype" L2 Expected "The ethertype is neither IPv4 nor ARP.";
    ArpMalformed "arp-malformed" Arp Error "The ARP message is cut short or is not Ethernet/IPv4 (RFC 826).";
    ArpBadSender "arp-bad-sender" Arp Error "The ARP sender address is a group address, ours, or not of the interface's networks.";
    Ipv4TooShort "ipv4-too-short" Ipv4 Error "The frame ends before the IPv4 header does.";
    Ipv4BadVersion "ipv4-bad-version" Ipv4 Error "The IP version is not 4.";
    Ipv4BadHeaderLength "ipv4-bad-header-length" Ipv4 Error "The IPv4 header length is below 20 bytes or past the packet's end.";
    Ipv4BadTotalLength "ipv4-bad-total-length" Ipv4 Error "The IPv4 total length is below the header's or past the frame's end.";
    Ipv4BadChecksum "ipv4-bad-checksum" Ipv4 Error "The IPv4 header checksum is wrong.";
    Ipv4BadOptions "ipv4-bad-options" Ipv4 Error "An IPv4 option is malformed, or asks for source routing, which is refused.";
    MartianSource "martian-source" Ipv4 Error "The source address cannot be a host's: 0/8, 127/8, 224/4, 240/4 (RFC 1812 section 5.3.7); or, in a packet to us, one of ours or a broadcast.";
    MartianDestination "martian-destination" Ipv4 Error "The destination address is never forwarded: 0/8, 127/8 or 240/4.";
    LinkBroadcast "link-broadcast" Ipv4 Expected "A frame sent to a group Ethernet address holds a unicast IPv4 destination (RFC 1812 section 5.3.4).";
    Multicast "multicast" Route Expected "Multicast routing is not supported.";
    Broadcast "broadcast" Route Expected "A broadcast that nothing here listens to; directed broadcasts are not forwarded (RFC 2644).";
    TtlExpired "ttl-expired" Route Expected "The time to live ran out here.";
    NoRoute "no-route" Route Error "No route to the destination.";
    Blackhole "blackhole" Route Expected "The route is a blackhole.";
    Unreachable "unreachable" Route Expected "The route is marked unreachable.";
    FragmentationNeeded "fragmentation-needed" Route Expected "Larger than the next hop's MTU, and the sender forbids fragmentation.";
    HoldFull "hold-full" Hold Overload "Too many packets wait for neighbours already.";
    NeighbourUnreachable "neighbour-unreachable" Hold Expected "The next hop did not answer ARP in time.";
    IcmpMalformed "icmp-malformed" Local Error "The ICMP message to us is cut short or its checksum is wrong.";
    IcmpIgnored "icmp-ignored" Local Expected "An ICMP message to us that asks for nothing.";
    UdpMalformed "udp-malformed" Local Error "The UDP datagram to us is cut short or its checksum is wrong.";
    UdpNoPort "udp-no-port" Local Expected "No socket listens on the UDP port.";
    UdpFull "udp-full" Local Overload "The queue of the UDP socket, or of all together, was full.";
    TcpMalformed "tcp-malformed" Local Error "The TCP segment to us is cut short or its checksum is wrong.";
    TcpNoPort "tcp-no-port" Local Expected "No socket listens on the TCP port.";
    UnknownProtocol "unknown-protocol" Local Expected "No protocol here takes the packet to us.";
    LocalFull "local-full" Local Overload "More packets to us at once than TCP and UDP take in one loop.";
    FragmentMalformed "fragment-malformed" Reassembly Error "A fragment is empty, ends off an 8-byte boundary, past 65,535 bytes or past its datagram's end, or cuts a TCP header (RFC 1858).";
    FragmentDuplicate "fragment-duplicate" Reassembly Expected "The same fragment was there already: the first to come is kept.";
    FragmentOverlap "fragment-overlap" Reassembly Error "Fragments of a datagram overlap (RFC 1858, RFC 5722): the whole datagram is dropped.";
    ReassemblyFull "reassembly-full" Reassembly Overload "Too many datagrams, or bytes, wait for reassembly.";
    ReassemblyTimeout "reassembly-timeout" Reassembly Expected "A fragment of the datagram did not arrive in time.";
    SteerFull "steer-full" Steer Overload "The ring to the core that owns the flow, or the port, was full.";
    TxFull "tx-full" Tx Overload "The port's transmit queue was full.";
    PortRemoved "port-removed" Tx Expected "The port has no device: it was removed, or waits for its peer to listen again.";
    NoFrame "no-frame" Tx Overload "The frame pool was empty when a fragment was to be made.";
}

impl DropReason {
    /// How many reasons there are: the length of a table of counters.
    pub const COUNT: usize = Self::ALL.len();
}

impl fmt::Display for DropReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_stable_identifiers_and_unique() {
        let mut names: Vec<_> = DropReason::ALL.iter().map(|r| r.name()).collect();
        assert!(
            names
                .iter()
                .all(|n| n.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-'))
        );
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), DropReason::COUNT);
    }

    #[test]
    fn index_is_position() {
        for (i, reason) in DropReason::ALL.iter().enumerate() {
            assert_eq!(*reason as usize, i);
            assert!(reason.text().ends_with('.'));
        }
    }
}
