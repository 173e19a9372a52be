//! The Toeplitz hash by which a flow's owner is found: in software, as a NIC's RSS does it.

/// Bytes hashed of an IPv4 flow: source and destination address, source and destination port.
const INPUT_LEN: usize = 12;

/// A 40-byte secret, as NICs take it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RssKey(pub [u8; Self::LEN]);

impl RssKey {
    /// Bytes of a key.
    pub const LEN: usize = 40;

    /// A key of one repeated 16-bit word: the hash of a flow is that of its replies.
    ///
    /// Woo and Park, "Scalable TCP Session Monitoring with Symmetric Receive-side Scaling", 2012.
    pub const SYMMETRIC: RssKey = {
        let mut key = [0; Self::LEN];
        let mut i = 0;
        while i < Self::LEN {
            key[i] = if i % 2 == 0 { 0x6d } else { 0x5a };
            i += 1;
        }
        RssKey(key)
    };

    /// The 32 bits of the key that start at `bit` (0 is the highest of the first byte): what an input
    /// bit that is set adds to the hash. Bits past the key's end are zero.
    pub fn window(&self, bit: usize) -> u32 {
        let byte = |i: usize| u64::from(self.0.get(i).copied().unwrap_or(0));
        let at = bit / 8;
        let bits = (at..at + 5).fold(0, |bits, i| bits << 8 | byte(i));
        (bits >> (8 - bit % 8)) as u32
    }
}

/// A key made ready for hashing: for each byte of the input, what each of its values adds. 12 KiB.
#[derive(Clone, Debug)]
pub struct Toeplitz {
    tables: Box<[[u32; 256]; INPUT_LEN]>,
}

impl Toeplitz {
    /// Builds the tables of `key`.
    pub fn new(key: &RssKey) -> Self {
        let mut tables = Box::new([[0; 256]; INPUT_LEN]);
        for (position, table) in tables.iter_mut().enumerate() {
            for value in 1..256_usize {
                // The value without its lowest set bit was done before: add that bit's window.
                let low = value.trailing_zeros() as usize;
                table[value] = table[value & (value - 1)] ^ key.window(position * 8 + 7 - low);
            }
        }
        Toeplitz { tables }
    }

    /// The hash of two addresses, as NICs take it of fragments and of protocols without ports.
    /// Addresses in host order.
    #[inline]
    pub fn hash_v4(&self, src: u32, dst: u32) -> u32 {
        self.word(0, src) ^ self.word(4, dst)
    }

    /// The hash of a TCP or UDP flow. Addresses and ports in host order.
    #[inline]
    pub fn hash_v4_l4(&self, src: u32, dst: u32, src_port: u16, dst_port: u16) -> u32 {
        self.hash_v4(src, dst) ^ self.word(8, u32::from(src_port) << 16 | u32::from(dst_port))
    }

    /// What four bytes of the input from `position` on add.
    #[inline]
    fn word(&self, position: usize, word: u32) -> u32 {
        let [a, b, c, d] = word.to_be_bytes().map(usize::from);
        let t = &self.tables;
        t[position][a] ^ t[position + 1][b] ^ t[position + 2][c] ^ t[position + 3][d]
    }
}

/// The redirection table: which core owns the flows of a hash. Its size is a power of two.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Reta {
    entries: Box<[u16]>,
}

impl Reta {
    /// The largest table, as the largest of NICs.
    pub const MAX_SIZE: usize = 4096;

    /// A table of `size` entries that names the cores 0 to `cores - 1` in turn.
    ///
    /// # Panics
    /// If `size` is not a power of two up to [`Reta::MAX_SIZE`], or `cores` is zero.
    pub fn round_robin(size: usize, cores: u16) -> Self {
        assert!(cores > 0, "a flow has an owner");
        Self::from_entries((0..size).map(|i| (i % usize::from(cores)) as u16).collect())
    }

    /// A table of these entries.
    ///
    /// # Panics
    /// If their number is not a power of two up to [`Reta::MAX_SIZE`].
    pub fn from_entries(entries: Box<[u16]>) -> Self {
        assert!(
            entries.len().is_power_of_two() && entries.len() <= Self::MAX_SIZE,
            "a redirection table has a power of two of entries"
        );
        Reta { entries }
    }

    /// The core that owns flows of `hash`.
    #[inline]
    pub fn owner(&self, hash: u32) -> u16 {
        self.entries[hash as usize & (self.entries.len() - 1)]
    }

    /// The entries, in order of the hash's low bits.
    pub fn entries(&self) -> &[u16] {
        &self.entries
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::net::Ipv4Addr;

    /// The key of Microsoft's "Verifying the RSS Hash Calculation".
    const MICROSOFT: RssKey = RssKey([
        0x6d, 0x5a, 0x56, 0xda, 0x25, 0x5b, 0x0e, 0xc2, 0x41, 0x67, 0x25, 0x3d, 0x43, 0xa3, 0x8f, 0xb0, 0xd0,
        0xca, 0x2b, 0xcb, 0xae, 0x7b, 0x30, 0xb4, 0x77, 0xcb, 0x2d, 0xa3, 0x80, 0x30, 0xf2, 0x0c, 0x6a, 0x42,
        0xb7, 0x3b, 0xbe, 0xac, 0x01, 0xfa,
    ]);

    /// The definition: the key slides along the input bit by bit.
    fn naive(key: &RssKey, input: &[u8]) -> u32 {
        let mut key: Vec<bool> =
            key.0.iter().flat_map(|b| (0..8).rev().map(move |i| b >> i & 1 == 1)).collect();
        let mut hash = 0;
        for bit in input.iter().flat_map(|b| (0..8).rev().map(move |i| b >> i & 1 == 1)) {
            if bit {
                hash ^= key[..32].iter().fold(0_u32, |word, bit| word << 1 | u32::from(*bit));
            }
            key.rotate_left(1);
        }
        hash
    }

    fn input(src: u32, dst: u32, src_port: u16, dst_port: u16) -> Vec<u8> {
        let (src, dst) = (src.to_be_bytes(), dst.to_be_bytes());
        [&src[..], &dst, &src_port.to_be_bytes(), &dst_port.to_be_bytes()].concat()
    }

    #[test]
    fn verification_suite_of_microsoft() {
        // As published: destination, source, hash of the addresses, hash with the ports.
        let cases = [
            ("161.142.100.80", 1766, "66.9.149.187", 2794, 0x323e_8fc2, 0x51cc_c178),
            ("65.69.140.83", 4739, "199.92.111.2", 14230, 0xd718_262a, 0xc626_b0ea),
            ("12.22.207.184", 38024, "24.19.198.95", 12898, 0xd2d0_a5de, 0x5c2b_394a),
            ("209.142.163.6", 2217, "38.27.205.30", 48228, 0x8298_9176, 0xafc7_327f),
            ("202.188.127.2", 1303, "153.39.163.191", 44251, 0x5d18_09c5, 0x10e8_28a2),
        ];
        let hash = Toeplitz::new(&MICROSOFT);
        for (i, (dst, dst_port, src, src_port, addresses, flow)) in cases.into_iter().enumerate() {
            let bits = |text: &str| text.parse::<Ipv4Addr>().unwrap().to_bits();
            let (src, dst) = (bits(src), bits(dst));
            assert_eq!(hash.hash_v4(src, dst), addresses, "row {i}");
            assert_eq!(hash.hash_v4_l4(src, dst, src_port, dst_port), flow, "row {i}");
        }
    }

    #[test]
    fn window_slides_off_the_end() {
        assert_eq!(MICROSOFT.window(0), 0x6d5a_56da);
        assert_eq!(MICROSOFT.window(4), 0xd5a5_6da2);
        assert_eq!(MICROSOFT.window(288), 0xbeac_01fa);
        assert_eq!(MICROSOFT.window(319), 0);
        assert_eq!(RssKey([0xff; 40]).window(319), 0x8000_0000);
    }

    #[test]
    fn owner_follows_the_low_bits() {
        let reta = Reta::round_robin(128, 3);
        assert_eq!((reta.owner(0), reta.owner(1), reta.owner(127), reta.owner(129)), (0, 1, 1, 1));
        assert_eq!(Reta::from_entries(Box::new([7])).owner(u32::MAX), 7);
    }

    #[test]
    #[should_panic(expected = "power of two")]
    fn empty_table_is_refused() {
        Reta::round_robin(0, 1);
    }

    proptest! {
        #[test]
        fn tables_are_the_naive_hash(
            key in proptest::array::uniform32(any::<u8>()), src: u32, dst: u32, src_port: u16, dst_port: u16,
        ) {
            let key = RssKey(std::array::from_fn(|i| key[i % 32]));
            let (hash, input) = (Toeplitz::new(&key), input(src, dst, src_port, dst_port));
            prop_assert_eq!(hash.hash_v4(src, dst), naive(&key, &input[..8]));
            prop_assert_eq!(hash.hash_v4_l4(src, dst, src_port, dst_port), naive(&key, &input));
        }

        #[test]
        fn symmetric_key_hashes_both_ways_alike(src: u32, dst: u32, src_port: u16, dst_port: u16) {
            let hash = Toeplitz::new(&RssKey::SYMMETRIC);
            prop_assert_eq!(hash.hash_v4(src, dst), hash.hash_v4(dst, src));
            prop_assert_eq!(
                hash.hash_v4_l4(src, dst, src_port, dst_port),
                hash.hash_v4_l4(dst, src, dst_port, src_port)
            );
        }
    }
}
