//! The exported interface: C's pointers to slices and back. The only module with `unsafe`.
//!
//! Every function of [`Interface`] is called by C, with the arguments that POSIX gives its namesake, the
//! world first. That contract is the root of each proof below: a pointer is null or valid for the length
//! that comes with it, for as long as the call lasts, and nobody else writes there meanwhile. The
//! world's pointer is the one that [`packetdrill_interface_init`] gave out, until `free`.

#![expect(unsafe_code, reason = "C calls in, with pointers")]

mod calls;
mod pointers;

use std::ffi::{CStr, c_char, c_longlong};
use std::mem::MaybeUninit;
use std::net::Ipv4Addr;
use std::ptr::NonNull;

use libc::{
    c_int, c_uint, c_ulong, c_void, epoll_event, iovec, msghdr, nfds_t, pollfd, size_t, socklen_t, ssize_t,
    timeval,
};

use crate::world::World;

// C calls `fcntl` and `ioctl` as variadic functions, which stable Rust cannot define. On these targets an
// integer or pointer that is passed as a variadic argument lies where a named third one would.
#[cfg(not(all(target_os = "linux", any(target_arch = "x86_64", target_arch = "aarch64"))))]
compile_error!("how this target passes variadic arguments has not been looked at");

/// The address that sockets bound to none send from, unless the flags say `local=<address>`.
const LOCAL: Ipv4Addr = Ipv4Addr::new(192, 168, 0, 1);

/// What the exported function fills in: `struct packetdrill_interface`, field by field.
#[repr(C)]
pub(crate) struct Interface {
    userdata: NonNull<World>,
    free: extern "C" fn(NonNull<World>),
    socket: extern "C" fn(&World, c_int, c_int, c_int) -> c_int,
    bind: extern "C" fn(&World, c_int, *const c_void, socklen_t) -> c_int,
    listen: extern "C" fn(&World, c_int, c_int) -> c_int,
    accept: extern "C" fn(&World, c_int, *mut c_void, Option<&mut socklen_t>) -> c_int,
    connect: extern "C" fn(&World, c_int, *const c_void, socklen_t) -> c_int,
    read: extern "C" fn(&World, c_int, *mut c_void, size_t) -> ssize_t,
    readv: extern "C" fn(&World, c_int, *const iovec, c_int) -> ssize_t,
    recv: extern "C" fn(&World, c_int, *mut c_void, size_t, c_int) -> ssize_t,
    recvfrom: extern "C" fn(
        &World,
        c_int,
        *mut c_void,
        size_t,
        c_int,
        *mut c_void,
        Option<&mut socklen_t>,
    ) -> ssize_t,
    recvmsg: extern "C" fn(&World, c_int, Option<&mut msghdr>, c_int) -> ssize_t,
    write: extern "C" fn(&World, c_int, *const c_void, size_t) -> ssize_t,
    writev: extern "C" fn(&World, c_int, *const iovec, c_int) -> ssize_t,
    send: extern "C" fn(&World, c_int, *const c_void, size_t, c_int) -> ssize_t,
    sendto: extern "C" fn(&World, c_int, *const c_void, size_t, c_int, *const c_void, socklen_t) -> ssize_t,
    sendmsg: extern "C" fn(&World, c_int, Option<&msghdr>, c_int) -> ssize_t,
    fcntl: extern "C" fn(&World, c_int, c_int, usize) -> c_int,
    ioctl: extern "C" fn(&World, c_int, c_ulong, usize) -> c_int,
    close: extern "C" fn(&World, c_int) -> c_int,
    shutdown: extern "C" fn(&World, c_int, c_int) -> c_int,
    getsockopt: extern "C" fn(&World, c_int, c_int, c_int, *mut c_void, Option<&mut socklen_t>) -> c_int,
    setsockopt: extern "C" fn(&World, c_int, c_int, c_int, *const c_void, socklen_t) -> c_int,
    poll: extern "C" fn(&World, *mut pollfd, nfds_t, c_int) -> c_int,
    netdev_send: extern "C" fn(&World, *const c_void, size_t) -> c_int,
    netdev_receive: extern "C" fn(&World, *mut c_void, &mut size_t, &mut c_longlong) -> c_int,
    usleep: extern "C" fn(&World, c_uint) -> c_int,
    gettimeofday: extern "C" fn(&World, Option<&mut timeval>, *mut c_void) -> c_int,
    epoll_create: extern "C" fn(&World, c_int) -> c_int,
    epoll_ctl: extern "C" fn(&World, c_int, c_int, c_int, *mut epoll_event) -> c_int,
    epoll_wait: extern "C" fn(&World, c_int, *mut epoll_event, c_int, c_int) -> c_int,
    pipe: extern "C" fn(&World, *mut c_int) -> c_int,
    splice: extern "C" fn(&World, c_int, *mut i64, c_int, *mut i64, size_t, c_uint) -> c_int,
}

const _: () = assert!(size_of::<Interface>() == 33 * size_of::<usize>());
// Calls come from several threads.
const _: () = {
    const fn shared<T: Sync>() {}
    shared::<World>();
};

/// Makes a world and fills in `interface`. The calling thread drives the world's time. `flags` is null or
/// a list of words; `local=<address>` sets the address that sockets bound to none send from.
#[unsafe(no_mangle)]
pub(crate) extern "C" fn packetdrill_interface_init(
    flags: *const c_char,
    interface: Option<&mut MaybeUninit<Interface>>,
) {
    let local = if flags.is_null() {
        LOCAL
    } else {
        // SAFETY: the caller gives a string that ends in a zero byte.
        local_address(unsafe { CStr::from_ptr(flags) }).unwrap_or(LOCAL)
    };
    let Some(interface) = interface else {
        return;
    };
    interface.write(Interface {
        userdata: NonNull::from(Box::leak(Box::new(World::new(local)))),
        free,
        socket: calls::socket,
        bind: calls::bind,
        listen: calls::listen,
        accept: calls::accept,
        connect: calls::connect,
        read: calls::read,
        readv: calls::readv,
        recv: calls::recv,
        recvfrom: calls::recvfrom,
        recvmsg: calls::recvmsg,
        write: calls::write,
        writev: calls::writev,
        send: calls::send,
        sendto: calls::sendto,
        sendmsg: calls::sendmsg,
        fcntl: calls::fcntl,
        ioctl: calls::ioctl,
        close: calls::close,
        shutdown: calls::shutdown,
        getsockopt: calls::getsockopt,
        setsockopt: calls::setsockopt,
        poll: calls::poll,
        netdev_send: calls::netdev_send,
        netdev_receive: calls::netdev_receive,
        usleep: calls::usleep,
        gettimeofday: calls::gettimeofday,
        epoll_create: calls::epoll_create,
        epoll_ctl: calls::epoll_ctl,
        epoll_wait: calls::epoll_wait,
        pipe: calls::pipe,
        splice: calls::splice,
    });
}

/// The address after `local=`.
fn local_address(flags: &CStr) -> Option<Ipv4Addr> {
    flags.to_str().ok()?.split_whitespace().find_map(|word| word.strip_prefix("local=")?.parse().ok())
}

extern "C" fn free(world: NonNull<World>) {
    // SAFETY: `packetdrill_interface_init` leaked this box; the caller gives it back once, with no call
    // in progress and none to come.
    drop(unsafe { Box::from_raw(world.as_ptr()) });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_flags_may_name_an_address() {
        for (flags, address) in [
            (c"", None),
            (c"verbose local=192.0.2.7", Some(Ipv4Addr::new(192, 0, 2, 7))),
            (c"local=nonsense", None),
            (c"nonlocal=192.0.2.7", None),
        ] {
            assert_eq!(local_address(flags), address, "{flags:?}");
        }
    }
}
