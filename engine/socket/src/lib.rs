//! Sockets over Sluice's TCP and UDP for test suites written in C, in virtual time.
//!
//! The library exports one symbol, `packetdrill_interface_init`, as google/packetdrill's `--so_filename`
//! asks for it. Packets go in and out at the IP layer, time goes by only when the caller lets it, and a
//! script therefore always sees the same packets at the same microsecond.
//!
//! - [`ffi`][]: the exported functions: C's pointers to slices and back. All `unsafe` is here.
//! - [`world`][]: the lock, the threads that wait, virtual time, packets in and out.
//! - [`calls`][]: `socket`, `bind`, `listen`, `accept`, `connect`, `shutdown`, `close`, `fcntl`, `ioctl`.
//! - [`transfer`][]: the `read` and `write` families.
//! - [`poll`][]: `poll`.
//! - [`settings`][]: socket options.
//! - [`files`][]: file descriptors and what they stand for.
//! - [`stack`][]: the stack as sockets need it.
//!
//! Where Linux and FreeBSD differ, a call follows POSIX, then Linux.

mod addr;
mod calls;
mod errno;
mod ffi;
mod files;
mod info;
mod poll;
mod settings;
mod stack;
mod transfer;
mod world;
