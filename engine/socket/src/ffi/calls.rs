//! The interface's functions, in its order. What each does is told where [`World`] has its namesake.

use std::ffi::c_longlong;
use std::ptr;
use std::slice;
use std::time::Duration;

use libc::{
    c_int, c_uint, c_ulong, c_void, epoll_event, iovec, msghdr, nfds_t, pollfd, size_t, socklen_t, ssize_t,
    timeval,
};

use super::pointers::{buffers, buffers_mut, bytes, bytes_mut, descriptor, done, give, size, status};
use crate::addr;
use crate::calls::Answer;
use crate::errno::Errno;
use crate::transfer::Received;
use crate::world::World;

pub(super) extern "C" fn socket(world: &World, domain: c_int, kind: c_int, protocol: c_int) -> c_int {
    status(descriptor().and_then(|fd| world.socket(domain, kind, protocol, fd)))
}

pub(super) extern "C" fn bind(world: &World, fd: c_int, address: *const c_void, len: socklen_t) -> c_int {
    // SAFETY: see the parent module's contract.
    let address = unsafe { bytes(address, len as usize) };
    done(address.and_then(|address| world.bind(fd, address)))
}

pub(super) extern "C" fn listen(world: &World, fd: c_int, backlog: c_int) -> c_int {
    done(world.listen(fd, backlog))
}

pub(super) extern "C" fn accept(
    world: &World,
    fd: c_int,
    address: *mut c_void,
    len: Option<&mut socklen_t>,
) -> c_int {
    let accepted = descriptor().and_then(|new| world.accept(fd, new));
    status(accepted.map(|(accepted, peer)| {
        // SAFETY: see the parent module's contract.
        unsafe { give(&addr::bytes(peer), address, len) };
        accepted
    }))
}

pub(super) extern "C" fn connect(world: &World, fd: c_int, address: *const c_void, len: socklen_t) -> c_int {
    // SAFETY: see the parent module's contract.
    let address = unsafe { bytes(address, len as usize) };
    done(address.and_then(|address| world.connect(fd, address)))
}

pub(super) extern "C" fn read(world: &World, fd: c_int, buffer: *mut c_void, len: size_t) -> ssize_t {
    recv(world, fd, buffer, len, 0)
}

pub(super) extern "C" fn readv(world: &World, fd: c_int, vector: *const iovec, count: c_int) -> ssize_t {
    // SAFETY: see the parent module's contract.
    let buffers = unsafe { buffers_mut(vector, usize::try_from(count).unwrap_or(0)) };
    size(buffers.and_then(|mut buffers| Ok(world.read(fd, &mut buffers, 0)?.len)))
}

pub(super) extern "C" fn recv(
    world: &World,
    fd: c_int,
    buffer: *mut c_void,
    len: size_t,
    flags: c_int,
) -> ssize_t {
    recvfrom(world, fd, buffer, len, flags, ptr::null_mut(), None)
}

pub(super) extern "C" fn recvfrom(
    world: &World,
    fd: c_int,
    buffer: *mut c_void,
    len: size_t,
    flags: c_int,
    address: *mut c_void,
    address_len: Option<&mut socklen_t>,
) -> ssize_t {
    // SAFETY: see the parent module's contract.
    let buffer = unsafe { bytes_mut(buffer, len) };
    let received = buffer.and_then(|buffer| world.read(fd, &mut [buffer], flags));
    size(received.map(|Received { len, from, .. }| {
        let from = from.map(addr::bytes);
        // SAFETY: see the parent module's contract.
        unsafe { give(from.as_ref().map_or(&[], |from| &from[..]), address, address_len) };
        len
    }))
}

pub(super) extern "C" fn recvmsg(
    world: &World,
    fd: c_int,
    message: Option<&mut msghdr>,
    flags: c_int,
) -> ssize_t {
    let Some(message) = message else {
        return size(Err(Errno::FAULT));
    };
    // SAFETY: see the parent module's contract.
    let buffers = unsafe { buffers_mut(message.msg_iov, message.msg_iovlen) };
    let received = buffers.and_then(|mut buffers| world.read(fd, &mut buffers, flags));
    size(received.map(|Received { len, from, flags }| {
        let from = from.map(addr::bytes);
        let from = from.as_ref().map_or(&[][..], |from| &from[..]);
        // SAFETY: see the parent module's contract.
        unsafe { give(from, message.msg_name, Some(&mut message.msg_namelen)) };
        message.msg_controllen = 0;
        message.msg_flags = flags;
        len
    }))
}

pub(super) extern "C" fn write(world: &World, fd: c_int, buffer: *const c_void, len: size_t) -> ssize_t {
    send(world, fd, buffer, len, 0)
}

pub(super) extern "C" fn writev(world: &World, fd: c_int, vector: *const iovec, count: c_int) -> ssize_t {
    // SAFETY: see the parent module's contract.
    let buffers = unsafe { buffers(vector, usize::try_from(count).unwrap_or(0)) };
    size(buffers.and_then(|buffers| world.write(fd, &buffers, None, 0)))
}

pub(super) extern "C" fn send(
    world: &World,
    fd: c_int,
    buffer: *const c_void,
    len: size_t,
    flags: c_int,
) -> ssize_t {
    sendto(world, fd, buffer, len, flags, ptr::null(), 0)
}

pub(super) extern "C" fn sendto(
    world: &World,
    fd: c_int,
    buffer: *const c_void,
    len: size_t,
    flags: c_int,
    address: *const c_void,
    address_len: socklen_t,
) -> ssize_t {
    // SAFETY: see the parent module's contract.
    let (buffer, to) = unsafe { (bytes(buffer, len), bytes(address, address_len as usize)) };
    size(buffer.and_then(|buffer| {
        let to = to?;
        world.write(fd, &[buffer], (!to.is_empty()).then_some(to), flags)
    }))
}

pub(super) extern "C" fn sendmsg(
    world: &World,
    fd: c_int,
    message: Option<&msghdr>,
    flags: c_int,
) -> ssize_t {
    let Some(message) = message else {
        return size(Err(Errno::FAULT));
    };
    let name_len = if message.msg_name.is_null() { 0 } else { message.msg_namelen as usize };
    // SAFETY: see the parent module's contract.
    let (buffers, to) =
        unsafe { (buffers(message.msg_iov, message.msg_iovlen), bytes(message.msg_name, name_len)) };
    size(buffers.and_then(|buffers| {
        let to = to?;
        world.write(fd, &buffers, (!to.is_empty()).then_some(to), flags)
    }))
}

pub(super) extern "C" fn fcntl(world: &World, fd: c_int, command: c_int, argument: usize) -> c_int {
    // C passes an `int`; what stands above it in the register is nobody's.
    status(world.fcntl(fd, command, argument as c_int))
}

pub(super) extern "C" fn ioctl(world: &World, fd: c_int, request: c_ulong, argument: usize) -> c_int {
    // The caller's request may have been a signed `int`.
    let request = c_ulong::from(request as c_uint);
    let argument = ptr::with_exposed_provenance_mut::<c_int>(argument);
    let given = if request == libc::FIONBIO {
        // SAFETY: this request's argument is null or points to an `int`.
        unsafe { argument.as_ref() }.copied()
    } else {
        None
    };
    done(world.ioctl(fd, request, given).and_then(|answer| match answer {
        Answer::Done => Ok(()),
        Answer::Int(_) if argument.is_null() => Err(Errno::FAULT),
        Answer::Int(value) => {
            // SAFETY: the requests that answer with an `int` take a pointer to one; it is not null.
            unsafe { argument.write(value) };
            Ok(())
        }
    }))
}

pub(super) extern "C" fn close(world: &World, fd: c_int) -> c_int {
    done(world.close(fd))
}

pub(super) extern "C" fn shutdown(world: &World, fd: c_int, how: c_int) -> c_int {
    done(world.shutdown(fd, how))
}

pub(super) extern "C" fn getsockopt(
    world: &World,
    fd: c_int,
    level: c_int,
    name: c_int,
    value: *mut c_void,
    len: Option<&mut socklen_t>,
) -> c_int {
    done(world.getsockopt(fd, level, name).and_then(|option| {
        let len = len.ok_or(Errno::FAULT)?;
        let n = option.len().min(*len as usize);
        // SAFETY: see the parent module's contract; `n` is no more than `len`.
        unsafe { bytes_mut(value, n) }?.copy_from_slice(&option[..n]);
        *len = n as socklen_t;
        Ok(())
    }))
}

pub(super) extern "C" fn setsockopt(
    world: &World,
    fd: c_int,
    level: c_int,
    name: c_int,
    value: *const c_void,
    len: socklen_t,
) -> c_int {
    // SAFETY: see the parent module's contract.
    let value = unsafe { bytes(value, len as usize) };
    done(value.and_then(|value| world.setsockopt(fd, level, name, value)))
}

pub(super) extern "C" fn poll(world: &World, fds: *mut pollfd, count: nfds_t, timeout: c_int) -> c_int {
    let fds = if count == 0 {
        &mut []
    } else if fds.is_null() {
        return status(Err(Errno::FAULT));
    } else {
        // SAFETY: see the parent module's contract; the pointer is not null.
        unsafe { slice::from_raw_parts_mut(fds, count as usize) }
    };
    status(world.poll(fds, timeout).map(|ready| ready as c_int))
}

pub(super) extern "C" fn netdev_send(world: &World, packet: *const c_void, len: size_t) -> c_int {
    // SAFETY: see the parent module's contract.
    let packet = unsafe { bytes(packet, len) };
    done(packet.map(|packet| world.receive_packet(packet)))
}

pub(super) extern "C" fn netdev_receive(
    world: &World,
    buffer: *mut c_void,
    len: &mut size_t,
    time: &mut c_longlong,
) -> c_int {
    // SAFETY: see the parent module's contract.
    let buffer = unsafe { bytes_mut(buffer, *len) };
    done(buffer.map(|buffer| {
        // No bytes: no packet can come any more.
        let (n, at) = world.next_packet(buffer).unwrap_or_default();
        *len = n;
        *time = at;
    }))
}

pub(super) extern "C" fn usleep(world: &World, micros: c_uint) -> c_int {
    world.pause(Duration::from_micros(micros.into()));
    0
}

pub(super) extern "C" fn gettimeofday(
    world: &World,
    time: Option<&mut timeval>,
    _zone: *mut c_void,
) -> c_int {
    let micros = world.read_clock();
    if let Some(time) = time {
        *time = timeval { tv_sec: micros / 1_000_000, tv_usec: micros % 1_000_000 };
    }
    0
}

pub(super) extern "C" fn epoll_create(_world: &World, _size: c_int) -> c_int {
    done(Err(Errno::NOSYS))
}

pub(super) extern "C" fn epoll_ctl(
    _world: &World,
    _epoll: c_int,
    _operation: c_int,
    _fd: c_int,
    _event: *mut epoll_event,
) -> c_int {
    done(Err(Errno::NOSYS))
}

pub(super) extern "C" fn epoll_wait(
    _world: &World,
    _epoll: c_int,
    _events: *mut epoll_event,
    _count: c_int,
    _timeout: c_int,
) -> c_int {
    done(Err(Errno::NOSYS))
}

pub(super) extern "C" fn pipe(_world: &World, _fds: *mut c_int) -> c_int {
    done(Err(Errno::NOSYS))
}

pub(super) extern "C" fn splice(
    _world: &World,
    _from: c_int,
    _from_offset: *mut i64,
    _to: c_int,
    _to_offset: *mut i64,
    _len: size_t,
    _flags: c_uint,
) -> c_int {
    done(Err(Errno::NOSYS))
}
