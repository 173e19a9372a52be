//! Writes frames into a capture file that Wireshark and tcpdump read.
//!
//! The classic format with nanoseconds (draft-ietf-opsawg-pcap), Ethernet. The time in it is
//! the simulation's: it starts in 1970.

use std::io::{self, Write};

use wire::Instant;

use crate::frame::SimFrame;

const MAGIC_NANOSECONDS: u32 = 0xa1b2_3c4d;
const LINKTYPE_ETHERNET: u32 = 1;
const SNAP_LEN: u32 = 262_144;

/// A capture file being written.
#[derive(Debug)]
pub struct PcapWriter<W>(W);

impl<W: Write> PcapWriter<W> {
    /// Writes the file's header.
    pub fn new(mut to: W) -> io::Result<Self> {
        to.write_all(&MAGIC_NANOSECONDS.to_le_bytes())?;
        to.write_all(&2u16.to_le_bytes())?;
        to.write_all(&4u16.to_le_bytes())?;
        for word in [0, 0, SNAP_LEN, LINKTYPE_ETHERNET] {
            to.write_all(&word.to_le_bytes())?;
        }
        Ok(PcapWriter(to))
    }

    /// Writes one frame. Past 256 KiB it is cut off, and says so.
    pub fn write(&mut self, now: Instant, bytes: &[u8]) -> io::Result<()> {
        let kept = bytes.len().min(SNAP_LEN as usize);
        let nanos = now.as_nanos();
        // Seconds wrap in 2106, by the format.
        let words = [
            (nanos / 1_000_000_000) as u32,
            (nanos % 1_000_000_000) as u32,
            kept as u32,
            u32::try_from(bytes.len()).unwrap_or(u32::MAX),
        ];
        for word in words {
            self.0.write_all(&word.to_le_bytes())?;
        }
        self.0.write_all(&bytes[..kept])
    }

    /// Writes one frame, whole.
    pub fn write_frame(&mut self, now: Instant, frame: &SimFrame) -> io::Result<()> {
        self.write(now, &frame.to_vec())
    }

    /// Flushes, and gives back what was written to.
    pub fn finish(mut self) -> io::Result<W> {
        self.0.flush()?;
        Ok(self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frame::SimPool;

    #[test]
    fn bytes_of_the_format() {
        let pool = SimPool::new(2, 16);
        let mut pcap = PcapWriter::new(Vec::new()).unwrap();
        let frame = pool.frame_of(&[&[1, 2], &[3]]).unwrap();
        pcap.write_frame(Instant::from_nanos(2_000_000_003), &frame).unwrap();
        pcap.write(Instant::ZERO, &[]).unwrap();
        #[rustfmt::skip]
        let expected = [
            0x4d, 0x3c, 0xb2, 0xa1, 2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 4, 0, 1, 0, 0, 0,
            2, 0, 0, 0, 3, 0, 0, 0, 3, 0, 0, 0, 3, 0, 0, 0, 1, 2, 3,
            0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
        ];
        assert_eq!(pcap.finish().unwrap(), expected);
    }

    #[test]
    fn a_giant_is_cut_off() {
        let mut pcap = PcapWriter::new(Vec::new()).unwrap();
        pcap.write(Instant::ZERO, &vec![0; 300_000]).unwrap();
        let file = pcap.finish().unwrap();
        assert_eq!(file.len(), 24 + 16 + 262_144);
        assert_eq!(file[36..40], 300_000u32.to_le_bytes());
    }
}
