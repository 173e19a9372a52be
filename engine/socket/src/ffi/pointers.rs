//! Pointers to slices and back; results to return values and `errno`.

use std::os::fd::{FromRawFd, OwnedFd};
use std::ptr::NonNull;
use std::slice;

use libc::{c_int, c_void, iovec, socklen_t, ssize_t};

use crate::errno::{Errno, Result};

/// A descriptor of the kernel's for a socket of ours: the caller may close it without asking us.
pub(super) fn descriptor() -> Result<OwnedFd> {
    // SAFETY: the call takes no pointer.
    let fd = unsafe { libc::eventfd(0, libc::EFD_CLOEXEC) };
    if fd < 0 {
        return Err(Errno(std::io::Error::last_os_error().raw_os_error().unwrap_or(libc::EMFILE)));
    }
    // SAFETY: the descriptor has just been opened, and nobody else knows it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// A value as C returns it: itself, or -1 with `errno` set.
pub(super) fn status(result: Result<c_int>) -> c_int {
    result.unwrap_or_else(|errno| fail(errno) as c_int)
}

/// Zero, or -1 with `errno` set.
pub(super) fn done(result: Result<()>) -> c_int {
    status(result.map(|()| 0))
}

/// A number of bytes, or -1 with `errno` set.
pub(super) fn size(result: Result<usize>) -> ssize_t {
    match result {
        Ok(n) => n as ssize_t,
        Err(errno) => fail(errno),
    }
}

/// Sets `errno` and gives -1.
fn fail(errno: Errno) -> ssize_t {
    // SAFETY: the pointer is to the calling thread's own `errno`.
    unsafe { *libc::__errno_location() = errno.0 };
    -1
}

/// The caller's bytes to read. Fails with `EFAULT` if there should be some at null.
///
/// # Safety
///
/// `start` is null or valid for reads of `len` bytes, which nobody changes, for as long as `'a`.
pub(super) unsafe fn bytes<'a>(start: *const c_void, len: usize) -> Result<&'a [u8]> {
    if len == 0 {
        return Ok(&[]);
    }
    let start = NonNull::new(start.cast_mut().cast::<u8>()).ok_or(Errno::FAULT)?;
    // SAFETY: not null, and otherwise the caller's promise.
    Ok(unsafe { slice::from_raw_parts(start.as_ptr(), len) })
}

/// The caller's bytes to write. Fails with `EFAULT` if there should be some at null.
///
/// # Safety
///
/// `start` is null or valid for writes of `len` bytes, which nobody else touches, for as long as `'a`.
pub(super) unsafe fn bytes_mut<'a>(start: *mut c_void, len: usize) -> Result<&'a mut [u8]> {
    if len == 0 {
        return Ok(&mut []);
    }
    let start = NonNull::new(start.cast::<u8>()).ok_or(Errno::FAULT)?;
    // SAFETY: not null, and otherwise the caller's promise.
    Ok(unsafe { slice::from_raw_parts_mut(start.as_ptr(), len) })
}

/// The caller's scattered bytes to read.
///
/// # Safety
///
/// `vector` is null or valid for reads of `count` entries, each of which is as [`bytes`] asks.
pub(super) unsafe fn buffers<'a>(vector: *const iovec, count: usize) -> Result<Vec<&'a [u8]>> {
    // SAFETY: the caller's promise.
    unsafe { entries(vector, count)?.iter().map(|entry| bytes(entry.iov_base, entry.iov_len)).collect() }
}

/// The caller's scattered bytes to write.
///
/// # Safety
///
/// `vector` is null or valid for reads of `count` entries, each of which is as [`bytes_mut`] asks; no two
/// overlap.
pub(super) unsafe fn buffers_mut<'a>(vector: *const iovec, count: usize) -> Result<Vec<&'a mut [u8]>> {
    // SAFETY: the caller's promise.
    unsafe { entries(vector, count)?.iter().map(|entry| bytes_mut(entry.iov_base, entry.iov_len)).collect() }
}

/// The entries of a vector.
///
/// # Safety
///
/// `vector` is null or valid for reads of `count` entries.
unsafe fn entries<'a>(vector: *const iovec, count: usize) -> Result<&'a [iovec]> {
    if count == 0 {
        return Ok(&[]);
    }
    let vector = NonNull::new(vector.cast_mut()).ok_or(Errno::FAULT)?;
    // SAFETY: not null, and otherwise the caller's promise.
    Ok(unsafe { slice::from_raw_parts(vector.as_ptr(), count) })
}

/// Gives the caller a socket address, cut to the room there is; `len` becomes its whole length.
///
/// # Safety
///
/// `out` is null or valid for writes of `len` bytes.
pub(super) unsafe fn give(address: &[u8], out: *mut c_void, len: Option<&mut socklen_t>) {
    let Some(len) = len else {
        return;
    };
    let room = address.len().min(*len as usize);
    // SAFETY: no more than `len` bytes, and otherwise the caller's promise.
    if let Ok(out) = unsafe { bytes_mut(out, room) } {
        out.copy_from_slice(&address[..room]);
        *len = address.len() as socklen_t;
    }
}
