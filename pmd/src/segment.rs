//! One mbuf: its fields, read and written where the C compiler said that they lie.

use dpdk_sys as sys;
use std::ptr::NonNull;
use std::slice;

/// A pointer to one mbuf. Whoever holds one vouches that the mbuf is alive, and belongs to the frame
/// that is being worked on: the methods rely on it.
#[derive(Clone, Copy)]
#[repr(transparent)]
pub(crate) struct Segment(NonNull<sys::rte_mbuf>);

/// A getter and a setter for each field, whose type is checked against the size in C.
macro_rules! fields {
    ($($get:ident $set:ident $type:ty, $offset:ident, $size:ident;)*) => {
        $(const _: () = assert!(size_of::<$type>() == sys::$size && sys::$offset % align_of::<$type>() == 0);)*

        #[allow(dead_code, reason = "some fields are only read, some only written")]
        impl Segment {
            $(
                #[inline(always)]
                pub(crate) fn $get(self) -> $type {
                    // SAFETY: the mbuf is alive, and has a field of this size and alignment there.
                    unsafe { self.0.byte_add(sys::$offset).cast::<$type>().read() }
                }

                #[inline(always)]
                pub(crate) fn $set(&mut self, value: $type) {
                    // SAFETY: the mbuf is alive and ours, and has a field of this size and alignment there.
                    unsafe { self.0.byte_add(sys::$offset).cast::<$type>().write(value) }
                }
            )*
        }
    };
}

fields! {
    buf_addr set_buf_addr NonNull<u8>, SL_MBUF_BUF_ADDR, SL_MBUF_BUF_ADDR_SIZE;
    data_off set_data_off u16, SL_MBUF_DATA_OFF, SL_MBUF_DATA_OFF_SIZE;
    refcnt set_refcnt u16, SL_MBUF_REFCNT, SL_MBUF_REFCNT_SIZE;
    nb_segs set_nb_segs u16, SL_MBUF_NB_SEGS, SL_MBUF_NB_SEGS_SIZE;
    port set_port u16, SL_MBUF_PORT, SL_MBUF_PORT_SIZE;
    ol_flags set_ol_flags u64, SL_MBUF_OL_FLAGS, SL_MBUF_OL_FLAGS_SIZE;
    pkt_len set_pkt_len u32, SL_MBUF_PKT_LEN, SL_MBUF_PKT_LEN_SIZE;
    data_len set_data_len u16, SL_MBUF_DATA_LEN, SL_MBUF_DATA_LEN_SIZE;
    vlan_tci set_vlan_tci u16, SL_MBUF_VLAN_TCI, SL_MBUF_VLAN_TCI_SIZE;
    rss set_rss u32, SL_MBUF_RSS, SL_MBUF_RSS_SIZE;
    buf_len set_buf_len u16, SL_MBUF_BUF_LEN, SL_MBUF_BUF_LEN_SIZE;
    next set_next Option<Segment>, SL_MBUF_NEXT, SL_MBUF_NEXT_SIZE;
    tx_offload set_tx_offload u64, SL_MBUF_TX_OFFLOAD, SL_MBUF_TX_OFFLOAD_SIZE;
}

impl Segment {
    /// For C.
    #[inline(always)]
    pub(crate) fn as_ptr(self) -> *mut sys::rte_mbuf {
        self.0.as_ptr()
    }

    /// The bytes that the segment holds.
    ///
    /// # Safety
    /// The segment's frame must be borrowed for `'a`.
    #[inline(always)]
    pub(crate) unsafe fn bytes<'a>(self) -> &'a [u8] {
        // SAFETY: DPDK and the setters keep data_off + data_len within the buffer, which is initialised
        // memory; the borrow is the caller's word.
        unsafe { slice::from_raw_parts(self.start(), usize::from(self.data_len())) }
    }

    /// The bytes that the segment holds, to be changed.
    ///
    /// # Safety
    /// The segment's frame must be borrowed mutably for `'a`.
    #[inline(always)]
    pub(crate) unsafe fn bytes_mut<'a>(self) -> &'a mut [u8] {
        // SAFETY: as of `bytes`.
        unsafe { slice::from_raw_parts_mut(self.start(), usize::from(self.data_len())) }
    }

    /// Bytes free behind the data.
    #[inline(always)]
    pub(crate) fn tailroom(self) -> usize {
        usize::from(self.buf_len())
            .saturating_sub(usize::from(self.data_off()) + usize::from(self.data_len()))
    }

    #[inline(always)]
    fn start(self) -> *mut u8 {
        // SAFETY: data_off is within the buffer, or at its end.
        unsafe { self.buf_addr().as_ptr().add(usize::from(self.data_off())) }
    }
}
