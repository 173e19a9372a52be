//! What a program fills by itself: headers, answers.

use std::io;

use wire::{Frame, NoRoom};

/// A frame of this worker's pool, to be filled and then sent. It has one owner; once it is
/// [frozen](Self::freeze), nobody writes to it any more.
#[derive(Debug)]
pub struct TxBuf<F> {
    frame: F,
}

impl<F: Frame> TxBuf<F> {
    pub(super) fn new(frame: F) -> Self {
        TxBuf { frame }
    }

    /// What is in it.
    pub fn bytes(&self) -> &[u8] {
        self.frame.data()
    }

    /// What is in it, to be changed.
    pub fn bytes_mut(&mut self) -> &mut [u8] {
        self.frame.data_mut()
    }

    /// Bytes that still fit.
    pub fn room(&self) -> usize {
        self.frame.tailroom()
    }

    /// Grows by `n` bytes at the end and gives them. Their content is unspecified.
    ///
    /// # Errors
    /// [`NoRoom`]; it is as it was then.
    pub fn append(&mut self, n: usize) -> Result<&mut [u8], NoRoom> {
        self.frame.append(n)
    }

    /// Cuts it down to `len` bytes. No effect if it is shorter.
    pub fn truncate(&mut self, len: usize) {
        self.frame.truncate(len);
    }

    /// What can be sent: no byte of it changes any more.
    pub fn freeze(self) -> F::Payload {
        self.frame.into_payload(0, usize::MAX)
    }
}

/// Writes at the end, as much as there is room for. Never waits.
impl<F: Frame> io::Write for TxBuf<F> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let n = bytes.len().min(self.room());
        self.frame.append(n).map_err(io::Error::other)?.copy_from_slice(&bytes[..n]);
        Ok(n)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
