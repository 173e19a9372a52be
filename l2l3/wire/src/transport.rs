//! TCP and UDP checksums that are left open until it is known by which device a frame leaves.
//!
//! The field of an open checksum holds the sum of the pseudo header, not inverted: so DPDK wants it, and then the
//! sum over the segment as it stands is the checksum. Most devices fill it in as they send; for those that do
//! not, it is filled in here, by their queue.

use zerocopy::network_endian::U16;

use crate::checksum::Sum;
use crate::frame::Frame;

/// A protocol whose checksum has a pseudo header.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Transport {
    /// TCP.
    Tcp,
    /// UDP.
    Udp,
}

impl Transport {
    /// Where the checksum lies in the header.
    const fn field(self) -> usize {
        match self {
            Transport::Tcp => 16,
            Transport::Udp => 6,
        }
    }

    /// Fills in the open checksum of `segment`, which begins at the header. No effect on less than a header.
    pub fn fill(self, segment: &mut [u8]) {
        let sum = Sum::new().add_bytes(segment);
        self.write(segment, sum);
    }

    fn write(self, segment: &mut [u8], sum: Sum) {
        let Some(field) = segment.get_mut(self.field()..self.field() + 2) else { return };
        let checksum = match (self, sum.finish()) {
            //= RFC 768: a checksum that comes out as zero is sent as all ones, for zero says that there is none.
            (Transport::Udp, 0) => 0xffff,
            (_, checksum) => checksum,
        };
        field.copy_from_slice(U16::new(checksum).as_ref());
    }
}

/// A frame's open checksum, and where its headers lie: all in the first segment.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct OpenChecksum {
    /// Whose it is.
    pub transport: Transport,
    /// Bytes of the Ethernet header with its tags, below 128; 0 while the frame begins at its IPv4 header.
    pub l2_len: u8,
    /// Bytes of the IPv4 header, at most 60.
    pub l3_len: u8,
    /// Bytes of the TCP or UDP header.
    pub l4_len: u8,
}

impl OpenChecksum {
    /// Fills it in. The packet must end where the frame does.
    pub fn fill<F: Frame>(self, frame: &mut F) {
        let at = usize::from(self.l2_len) + usize::from(self.l3_len);
        let sum = Sum::new().add_frame(frame, at, usize::MAX);
        if let Some(segment) = frame.data_mut().get_mut(at..) {
            self.transport.write(segment, sum);
        }
    }
}

/// Fills in a frame's checksum if it is open, for a device that does not.
#[inline]
pub fn fill_open_checksum<F: Frame>(frame: &mut F) {
    if let Some(open) = frame.open_checksum() {
        open.fill(frame);
        frame.clear_flags();
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use proptest::prelude::*;

    use super::*;
    use crate::checksum::pseudo_header;
    use crate::ipv4::protocol;

    const SRC: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);
    const DST: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 7);

    fn pseudo(transport: Transport, len: usize) -> Sum {
        let number = if transport == Transport::Tcp { protocol::TCP } else { protocol::UDP };
        pseudo_header(SRC, DST, number, len as u16)
    }

    proptest! {
        #[test]
        fn what_is_filled_in_is_right(mut segment in proptest::collection::vec(any::<u8>(), 20..200)) {
            for transport in [Transport::Tcp, Transport::Udp] {
                let (sum, at) = (pseudo(transport, segment.len()), transport.field());
                segment[at..at + 2].copy_from_slice(&sum.partial().to_be_bytes());
                transport.fill(&mut segment);
                prop_assert_eq!(sum.add_bytes(&segment).finish(), 0);
            }
        }
    }

    #[test]
    fn udp_sends_a_sum_of_zero_as_ones() {
        for (transport, want) in [(Transport::Udp, [0xff, 0xff]), (Transport::Tcp, [0, 0])] {
            let at = transport.field();
            let mut segment = vec![0; 22];
            segment[at..at + 2].copy_from_slice(&pseudo(transport, 22).partial().to_be_bytes());
            // The checksum of the same with two zero bytes, in their place, makes the sum zero.
            let mut zeros = segment.clone();
            transport.fill(&mut zeros);
            segment[20..].copy_from_slice(&zeros[at..at + 2]);
            transport.fill(&mut segment);
            assert_eq!(segment[at..at + 2], want, "{transport:?}");
        }
    }

    #[test]
    fn less_than_a_header_is_left_alone() {
        let mut short = [1; 7];
        Transport::Udp.fill(&mut short);
        Transport::Tcp.fill(&mut short);
        assert_eq!(short, [1; 7]);
    }
}
