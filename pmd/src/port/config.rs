//! What is asked of a port, what its device can do, and what comes of the two.

use dpdk_sys as sys;
use wire::MacAddr;

/// What is asked of a port. Offloads that the device lacks are not granted, without an error.
#[derive(Clone, Debug)]
pub struct PortConfig {
    /// Receive queues.
    pub rx_queues: u16,
    /// Transmit queues. Some drivers (`net_tap`) want as many as receive queues.
    pub tx_queues: u16,
    /// Descriptors of each receive queue; adjusted to what the device takes.
    pub rx_desc: u16,
    /// Descriptors of each transmit queue; adjusted to what the device takes.
    pub tx_desc: u16,
    /// Bytes of the largest packet, without the Ethernet header.
    pub mtu: u16,
    /// Whether frames for other stations are received.
    pub promiscuous: bool,
    /// The device's address; its own if `None`.
    pub mac: Option<MacAddr>,
    /// Toeplitz key for spreading flows over the queues; the driver's if `None`.
    pub rss_key: Option<[u8; 40]>,
    /// Whether the RSS hash is to come with each frame.
    pub rss_hash: bool,
    /// Whether the device is to check IPv4 header checksums.
    pub rx_ip_checksum: bool,
    /// Whether the device is to check TCP and UDP checksums.
    pub rx_l4_checksum: bool,
    /// Whether the device is to fill in open TCP and UDP checksums ([`wire::OpenChecksum`]). Those of IPv4 headers
    /// are a few instructions, and are always there.
    pub tx_l4_checksum: bool,
    /// Whether the device is to take VLAN tags off.
    pub vlan_strip: bool,
    /// VLANs whose frames are wanted, 1 to 4094. Most devices give those of all; virtio's gives no others.
    pub vlans: Vec<u16>,
    /// Whether frames of several segments may be sent.
    pub multi_segs: bool,
    /// Whether the device may free sent frames the fast way. Granted only where it is sound: frames of
    /// one segment (not with [`PortConfig::multi_segs`]) out of the only pool there is, and from then on
    /// no other pool can be made. References to payload never reach such a device: they lie behind a first
    /// segment, into which they are copied, and a first segment is never referred to.
    pub fast_free: bool,
}

impl Default for PortConfig {
    /// One queue each way of 1024 descriptors, MTU 1500, all offloads but fast free.
    fn default() -> Self {
        PortConfig {
            rx_queues: 1,
            tx_queues: 1,
            rx_desc: 1024,
            tx_desc: 1024,
            mtu: 1500,
            promiscuous: false,
            mac: None,
            rss_key: None,
            rss_hash: true,
            rx_ip_checksum: true,
            rx_l4_checksum: true,
            tx_l4_checksum: true,
            vlan_strip: true,
            vlans: Vec::new(),
            multi_segs: true,
            fast_free: false,
        }
    }
}

/// What a device can do.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Capabilities {
    /// The driver's name, such as "net_tap".
    pub driver: String,
    /// The device's address.
    pub mac: MacAddr,
    /// The NUMA node that it sits on, if known.
    pub node: Option<u32>,
    /// Receive queues that it has.
    pub max_rx_queues: u16,
    /// Transmit queues that it has.
    pub max_tx_queues: u16,
    /// The least MTU.
    pub min_mtu: u16,
    /// The greatest MTU.
    pub max_mtu: u16,
    /// Entries of its RSS table; 0 if it has none.
    pub reta_size: u16,
    /// Bytes of its RSS key; 0 if it does not say.
    pub rss_key_len: u8,
    /// Offloads that it has.
    pub offloads: Granted,
    /// The greatest MTU that the driver can be told.
    pub(super) driver_max_mtu: u16,
    pub(super) rx_offloads: u64,
    pub(super) tx_offloads: u64,
    pub(super) rss_types: u64,
    /// Bytes of a frame beyond its MTU.
    pub(super) overhead: u32,
}

/// Offloads that are on.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Granted {
    /// IPv4 header checksums are checked on receipt.
    pub rx_ip_checksum: bool,
    /// TCP and UDP checksums are checked on receipt.
    pub rx_l4_checksum: bool,
    /// The RSS hash comes with each frame.
    pub rss_hash: bool,
    /// VLAN tags are taken off.
    pub vlan_strip: bool,
    /// Only frames of [`PortConfig::vlans`], and untagged ones, are received.
    pub vlan_filter: bool,
    /// The device was told to spread frames over several segments. Some drivers do so untold.
    pub scatter: bool,
    /// Open TCP and UDP checksums are filled in.
    pub tx_l4_checksum: bool,
    /// Frames of several segments can be sent.
    pub multi_segs: bool,
    /// Sent frames are freed the fast way.
    pub fast_free: bool,
}

/// Drivers that carry frames of any size in chains of buffers, although they name an MTU.
const ANY_SIZE: &[&str] = &["net_memif"];

/// Drivers that send frames of several segments, although they do not say so.
const MULTI_SEGS: &[&str] = &["net_null", "net_pcap"];

/// Drivers that name more queues than their devices have: of the oldest (82540, 82545) the second transmit queue
/// leads nowhere, and none spreads flows over receive queues.
const ONE_QUEUE: &[&str] = &["net_e1000_em"];

/// Drivers that sum up in software what they say their devices do: slower than we.
const SUMS_IN_SOFTWARE: &[&str] = &["net_tap", "net_vhost"];

/// Drivers that, asked to check TCP and UDP checksums, give frames whose sender left them open. Such a frame cannot
/// be forwarded as it is.
const CHECKS_BY_TRUST: &[&str] = &["net_virtio", "net_virtio_user"];

/// Drivers that have their devices drop frames of VLANs that are not named to them.
const VLANS_BY_NAME: &[&str] = &["net_virtio"];

impl Capabilities {
    /// Puts right what the driver does not say of itself.
    pub(super) fn know_better(&mut self) {
        if ONE_QUEUE.contains(&self.driver.as_str()) {
            (self.max_rx_queues, self.max_tx_queues) = (1, 1);
        }
        if ANY_SIZE.contains(&self.driver.as_str()) {
            self.max_mtu = u16::MAX;
        }
        if SUMS_IN_SOFTWARE.contains(&self.driver.as_str()) {
            self.rx_offloads &= !RX_CHECKSUM;
            self.tx_offloads &= !TX_L4;
        }
        if CHECKS_BY_TRUST.contains(&self.driver.as_str()) {
            self.rx_offloads &= !RX_L4;
        }
        self.offloads = Granted::of(self.rx_offloads, self.tx_offloads);
        self.offloads.multi_segs |= MULTI_SEGS.contains(&self.driver.as_str());
    }

    /// What is on when these were asked for.
    pub(super) fn granted(&self, config: &PortConfig, offloads: Offloads) -> Granted {
        let multi_segs = config.multi_segs && self.offloads.multi_segs;
        Granted { multi_segs, ..Granted::of(offloads.rx, offloads.tx) }
    }
}

impl Granted {
    pub(super) const fn of(rx: u64, tx: u64) -> Self {
        Granted {
            rx_ip_checksum: rx & sys::SL_ETH_RX_OFFLOAD_IPV4_CKSUM != 0,
            rx_l4_checksum: rx & RX_L4 == RX_L4,
            rss_hash: rx & sys::SL_ETH_RX_OFFLOAD_RSS_HASH != 0,
            vlan_strip: rx & sys::SL_ETH_RX_OFFLOAD_VLAN_STRIP != 0,
            vlan_filter: rx & sys::SL_ETH_RX_OFFLOAD_VLAN_FILTER != 0,
            scatter: rx & sys::SL_ETH_RX_OFFLOAD_SCATTER != 0,
            tx_l4_checksum: tx & TX_L4 == TX_L4,
            multi_segs: tx & sys::SL_ETH_TX_OFFLOAD_MULTI_SEGS != 0,
            fast_free: tx & sys::SL_ETH_TX_OFFLOAD_MBUF_FAST_FREE != 0,
        }
    }
}

/// A configured port.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PortInfo {
    /// The device's name: its devargs up to the first comma.
    pub device: String,
    /// DPDK's number of the port, which received frames carry.
    pub port_id: u16,
    /// What the device can do. The address is the one in force.
    pub capabilities: Capabilities,
    /// Receive queues.
    pub rx_queues: u16,
    /// Transmit queues.
    pub tx_queues: u16,
    /// Descriptors of each receive queue.
    pub rx_desc: u16,
    /// Descriptors of each transmit queue.
    pub tx_desc: u16,
    /// The MTU.
    pub mtu: u16,
    /// The offloads that are on.
    pub granted: Granted,
}

const RX_L4: u64 = sys::SL_ETH_RX_OFFLOAD_TCP_CKSUM | sys::SL_ETH_RX_OFFLOAD_UDP_CKSUM;
const TX_L4: u64 = sys::SL_ETH_TX_OFFLOAD_TCP_CKSUM | sys::SL_ETH_TX_OFFLOAD_UDP_CKSUM;
const RX_CHECKSUM: u64 = sys::SL_ETH_RX_OFFLOAD_IPV4_CKSUM | RX_L4;
/// Flows to spread: those whose hash the software can compute as well.
const RSS_TYPES: u64 = sys::SL_ETH_RSS_IPV4
    | sys::SL_ETH_RSS_FRAG_IPV4
    | sys::SL_ETH_RSS_NONFRAG_IPV4_TCP
    | sys::SL_ETH_RSS_NONFRAG_IPV4_UDP
    | sys::SL_ETH_RSS_NONFRAG_IPV4_OTHER;

/// What a device is configured with, as DPDK's bits.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Offloads {
    pub(super) rx: u64,
    pub(super) tx: u64,
    pub(super) rss_types: u64,
}

impl Offloads {
    /// The wanted that the device has, where buffers hold `data_room` bytes of a frame. `fast_free` says
    /// that it would be sound.
    pub(super) fn negotiate(
        config: &PortConfig,
        device: &Capabilities,
        data_room: u16,
        fast_free: bool,
    ) -> Self {
        let pick = |wanted: bool, bits: u64| if wanted { bits } else { 0 };
        let scatter = u32::from(config.mtu) + device.overhead > u32::from(data_room);
        let by_name = VLANS_BY_NAME.contains(&device.driver.as_str());
        let rss_types = device.rss_types & RSS_TYPES;
        let hash = config.rss_hash && rss_types != 0;
        let rx = device.rx_offloads
            & (pick(config.rx_ip_checksum, sys::SL_ETH_RX_OFFLOAD_IPV4_CKSUM)
                | pick(config.rx_l4_checksum, RX_L4)
                | pick(config.vlan_strip, sys::SL_ETH_RX_OFFLOAD_VLAN_STRIP)
                | pick(by_name && !config.vlans.is_empty(), sys::SL_ETH_RX_OFFLOAD_VLAN_FILTER)
                | pick(hash, sys::SL_ETH_RX_OFFLOAD_RSS_HASH)
                | pick(scatter, sys::SL_ETH_RX_OFFLOAD_SCATTER));
        let tx = device.tx_offloads
            & (pick(config.tx_l4_checksum, TX_L4)
                | pick(config.multi_segs, sys::SL_ETH_TX_OFFLOAD_MULTI_SEGS)
                | pick(fast_free, sys::SL_ETH_TX_OFFLOAD_MBUF_FAST_FREE));
        let spread = config.rx_queues > 1 || rx & sys::SL_ETH_RX_OFFLOAD_RSS_HASH != 0;
        Offloads { rx, tx, rss_types: pick(spread, rss_types) }
    }

    /// The same without RSS.
    pub(super) fn without_rss(self) -> Self {
        Offloads { rx: self.rx & !sys::SL_ETH_RX_OFFLOAD_RSS_HASH, rss_types: 0, ..self }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn device(rx_offloads: u64, tx_offloads: u64, rss_types: u64) -> Capabilities {
        Capabilities {
            driver: "net_test".into(),
            mac: MacAddr([2, 0, 0, 0, 0, 1]),
            node: None,
            max_rx_queues: 8,
            max_tx_queues: 8,
            min_mtu: 68,
            max_mtu: 9000,
            reta_size: 128,
            rss_key_len: 40,
            offloads: Granted::of(rx_offloads, tx_offloads),
            driver_max_mtu: 9000,
            rx_offloads,
            tx_offloads,
            rss_types,
            overhead: 18,
        }
    }

    fn granted(config: &PortConfig, device: &Capabilities) -> Granted {
        let offloads = Offloads::negotiate(config, device, 2048, config.fast_free);
        device.granted(config, offloads)
    }

    #[test]
    fn drivers_are_known_better() {
        for (driver, queues, max_mtu, multi_segs) in [
            ("net_memif", 8, u16::MAX, false),
            ("net_pcap", 8, 9000, true),
            ("net_tap", 8, 9000, false),
            ("net_e1000_em", 1, 9000, false),
        ] {
            let mut device = Capabilities { driver: driver.into(), ..device(0, 0, 0) };
            device.know_better();
            assert_eq!((device.max_rx_queues, device.max_tx_queues), (queues, queues), "{driver}");
            assert_eq!((device.max_mtu, device.driver_max_mtu), (max_mtu, 9000), "{driver}");
            assert_eq!(granted(&PortConfig::default(), &device).multi_segs, multi_segs, "{driver}");
            let single = PortConfig { multi_segs: false, ..Default::default() };
            assert!(!granted(&single, &device).multi_segs, "{driver}");
        }
    }

    #[test]
    fn checksums_are_asked_of_devices_that_do_them() {
        for (driver, rx_ip, rx_l4, tx_l4) in [
            ("net_e1000_em", true, true, true),
            ("net_virtio", true, false, true),
            ("net_tap", false, false, false),
        ] {
            let mut device = Capabilities { driver: driver.into(), ..device(u64::MAX, u64::MAX, 0) };
            device.know_better();
            let granted = granted(&PortConfig::default(), &device);
            let found = (granted.rx_ip_checksum, granted.rx_l4_checksum, granted.tx_l4_checksum);
            assert_eq!(found, (rx_ip, rx_l4, tx_l4), "{driver}");
            assert_eq!(device.offloads.tx_l4_checksum, tx_l4, "{driver}");
        }
    }

    #[test]
    fn nothing_is_granted_that_the_device_lacks() {
        assert_eq!(granted(&PortConfig::default(), &device(0, 0, 0)), Granted::default());
    }

    #[test]
    fn nothing_is_granted_that_was_not_asked_for() {
        let all = device(u64::MAX, u64::MAX, u64::MAX);
        let none = PortConfig {
            rss_hash: false,
            rx_ip_checksum: false,
            rx_l4_checksum: false,
            tx_l4_checksum: false,
            vlan_strip: false,
            multi_segs: false,
            fast_free: false,
            ..Default::default()
        };
        assert_eq!(granted(&none, &all), Granted::default());
        let some = PortConfig { rx_l4_checksum: true, ..none };
        assert_eq!(granted(&some, &all), Granted { rx_l4_checksum: true, ..Default::default() });
    }

    #[test]
    fn scatter_is_for_frames_larger_than_a_buffer() {
        let all = device(u64::MAX, u64::MAX, 0);
        for (mtu, scatter) in [(1500, false), (2030, false), (2031, true), (9000, true)] {
            assert_eq!(granted(&PortConfig { mtu, ..Default::default() }, &all).scatter, scatter, "{mtu}");
        }
    }

    #[test]
    fn vlans_are_named_to_drivers_that_want_it() {
        let tagged = PortConfig { vlans: vec![30], ..Default::default() };
        for (driver, config, filter) in [
            ("net_virtio", &tagged, true),
            ("net_virtio", &PortConfig::default(), false),
            ("net_e1000_em", &tagged, false),
        ] {
            let device = Capabilities { driver: driver.into(), ..device(u64::MAX, 0, 0) };
            assert_eq!(granted(config, &device).vlan_filter, filter, "{driver} {config:?}");
        }
    }

    #[test]
    fn hash_needs_flow_types() {
        let hash = sys::SL_ETH_RX_OFFLOAD_RSS_HASH;
        let config = PortConfig::default();
        assert!(!granted(&config, &device(hash, 0, 0)).rss_hash);
        let offloads =
            Offloads::negotiate(&config, &device(hash, 0, sys::SL_ETH_RSS_IPV4 | 1 << 60), 2048, false);
        assert_eq!((offloads.rx, offloads.rss_types), (hash, sys::SL_ETH_RSS_IPV4));
        assert_eq!(offloads.without_rss(), Offloads { rx: 0, tx: 0, rss_types: 0 });
    }

    #[test]
    fn flows_are_spread_when_there_is_more_than_one_queue() {
        let device = device(0, 0, sys::SL_ETH_RSS_IPV4);
        for (rx_queues, types) in [(1, 0), (2, sys::SL_ETH_RSS_IPV4)] {
            let config = PortConfig { rx_queues, ..Default::default() };
            assert_eq!(Offloads::negotiate(&config, &device, 2048, false).rss_types, types);
        }
    }
}
