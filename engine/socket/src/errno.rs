//! Errors as C sees them.

use libc::c_int;

/// An `errno` value.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Errno(pub(crate) c_int);

/// What a call gives.
pub(crate) type Result<T> = std::result::Result<T, Errno>;

macro_rules! errnos {
    ($($name:ident = $value:ident),* $(,)?) => {
        impl Errno {
            $(pub(crate) const $name: Errno = Errno(libc::$value);)*
        }
    };
}

errnos! {
    ADDRINUSE = EADDRINUSE,
    ADDRNOTAVAIL = EADDRNOTAVAIL,
    AFNOSUPPORT = EAFNOSUPPORT,
    AGAIN = EAGAIN,
    ALREADY = EALREADY,
    BADF = EBADF,
    CONNABORTED = ECONNABORTED,
    CONNREFUSED = ECONNREFUSED,
    CONNRESET = ECONNRESET,
    DEADLK = EDEADLK,
    DESTADDRREQ = EDESTADDRREQ,
    FAULT = EFAULT,
    HOSTUNREACH = EHOSTUNREACH,
    INPROGRESS = EINPROGRESS,
    INVAL = EINVAL,
    ISCONN = EISCONN,
    MSGSIZE = EMSGSIZE,
    NETUNREACH = ENETUNREACH,
    NOBUFS = ENOBUFS,
    NOENT = ENOENT,
    NOPROTOOPT = ENOPROTOOPT,
    NOSYS = ENOSYS,
    NOTCONN = ENOTCONN,
    OPNOTSUPP = EOPNOTSUPP,
    PIPE = EPIPE,
    PROTONOSUPPORT = EPROTONOSUPPORT,
    TIMEDOUT = ETIMEDOUT,
}
