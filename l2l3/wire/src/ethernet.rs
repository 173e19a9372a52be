//! Ethernet II frames and the 802.1Q tag (IEEE 802.3 section 3, IEEE 802.1Q section 9).

use zerocopy::network_endian::U16;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use crate::MacAddr;

/// Values of the ethertype field, in host order.
pub mod ethertype {
    /// IPv4.
    pub const IPV4: u16 = 0x0800;
    /// ARP.
    pub const ARP: u16 = 0x0806;
    /// An 802.1Q customer tag follows.
    pub const VLAN: u16 = 0x8100;
    /// An 802.1ad service tag follows.
    pub const QINQ: u16 = 0x88a8;
    /// IPv6.
    pub const IPV6: u16 = 0x86dd;
}

/// The fewest bytes a frame has on the wire, the frame check sequence not counted; shorter ones are padded.
pub const MIN_FRAME_LEN: usize = 60;

/// The header of an Ethernet II frame.
#[derive(
    Clone, Copy, PartialEq, Eq, Debug, Default, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned,
)]
#[repr(C)]
pub struct EthernetHeader {
    /// Whom the frame is for.
    pub dst: MacAddr,
    /// Who sent it.
    pub src: MacAddr,
    /// What follows: one of [`ethertype`].
    pub ethertype: U16,
}

impl EthernetHeader {
    /// Bytes on the wire.
    pub const LEN: usize = 14;

    /// A header; `ethertype` in host order.
    pub fn new(dst: MacAddr, src: MacAddr, ethertype: u16) -> Self {
        EthernetHeader { dst, src, ethertype: U16::new(ethertype) }
    }
}

/// What follows an [`EthernetHeader`] whose ethertype is [`ethertype::VLAN`].
#[derive(
    Clone, Copy, PartialEq, Eq, Debug, Default, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned,
)]
#[repr(C)]
pub struct VlanTag {
    /// Tag control information: priority (3 bits), drop eligible (1 bit), VLAN identifier (12 bits).
    pub tci: U16,
    /// What follows: one of [`ethertype`].
    pub ethertype: U16,
}

impl VlanTag {
    /// Bytes on the wire.
    pub const LEN: usize = 4;
    /// The bits of [`VlanTag::tci`] that are the VLAN identifier.
    pub const ID_MASK: u16 = 0x0fff;

    /// A tag of VLAN `id` with priority 0; bits of `id` past the twelfth are ignored. Host order.
    pub fn new(id: u16, ethertype: u16) -> Self {
        VlanTag { tci: U16::new(id & Self::ID_MASK), ethertype: U16::new(ethertype) }
    }

    /// The VLAN identifier, 0 (priority tag only) to 4095 (reserved).
    pub fn id(&self) -> u16 {
        self.tci.get() & Self::ID_MASK
    }

    /// The priority code point, 0 to 7.
    pub fn priority(&self) -> u8 {
        (self.tci.get() >> 13) as u8
    }
}

const _: () = assert!(size_of::<EthernetHeader>() == EthernetHeader::LEN);
const _: () = assert!(size_of::<VlanTag>() == VlanTag::LEN);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tagged_frame_as_on_the_wire() {
        let bytes =
            [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 2, 0, 0, 0, 0, 1, 0x81, 0x00, 0xa0, 0x64, 0x08, 0x06];
        let (ethernet, rest) = EthernetHeader::ref_from_prefix(&bytes).unwrap();
        let source = MacAddr([2, 0, 0, 0, 0, 1]);
        assert_eq!(*ethernet, EthernetHeader::new(MacAddr::BROADCAST, source, ethertype::VLAN));
        let tag = VlanTag::read_from_bytes(rest).unwrap();
        assert_eq!((tag.id(), tag.priority(), tag.ethertype.get()), (100, 5, ethertype::ARP));
        assert_eq!(VlanTag::new(0xf064, ethertype::ARP).as_bytes(), [0x00, 0x64, 0x08, 0x06]);
    }

    #[test]
    fn truncated_headers_are_refused() {
        let bytes = [0; EthernetHeader::LEN];
        for len in 0..EthernetHeader::LEN {
            assert!(EthernetHeader::ref_from_prefix(&bytes[..len]).is_err(), "{len}");
        }
        for len in 0..VlanTag::LEN {
            assert!(VlanTag::ref_from_prefix(&bytes[..len]).is_err(), "{len}");
        }
    }
}
