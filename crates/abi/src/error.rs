//! Why a call was not done, in the terms of POSIX.

use core::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

macro_rules! error_codes {
    ($($(#[$meta:meta])* $name:ident = $errno:literal, $posix:literal;)*) => {
        /// Why a call was not done. Each code has the number and name that Linux gives it
        /// (`errno(3)`, asm-generic numbering), so every level tells its program the same thing.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[non_exhaustive]
        pub enum ErrorCode { $($(#[$meta])* $name,)* }

        impl ErrorCode {
            /// Every code.
            pub const ALL: &'static [ErrorCode] = &[$(ErrorCode::$name,)*];

            /// The number Linux gives the error.
            pub const fn errno(self) -> i32 {
                match self { $(ErrorCode::$name => $errno,)* }
            }

            /// The name POSIX gives the error, such as `EACCES`.
            pub const fn posix_name(self) -> &'static str {
                match self { $(ErrorCode::$name => $posix,)* }
            }

            /// The code with the Linux number `errno`; [`ErrorCode::Io`] for one that has no code here.
            pub const fn from_errno(errno: i32) -> Self {
                match errno { $($errno => ErrorCode::$name,)* _ => ErrorCode::Io }
            }
        }
    };
}

error_codes! {
    /// The operation is not permitted for anyone with this handle.
    NotPermitted = 1, "EPERM";
    /// Nothing by that name.
    NotFound = 2, "ENOENT";
    /// Interrupted before it was done.
    Interrupted = 4, "EINTR";
    /// The device or the host failed.
    Io = 5, "EIO";
    /// The handle names nothing, is stale, or names another kind of thing.
    BadHandle = 9, "EBADF";
    /// Not ready: ask again after `Call::Ready`.
    WouldBlock = 11, "EAGAIN";
    /// The host is out of memory for it.
    OutOfMemory = 12, "ENOMEM";
    /// A permission of the manifest, or a right of the handle, does not allow it.
    Denied = 13, "EACCES";
    /// In use.
    Busy = 16, "EBUSY";
    /// The name is taken.
    Exists = 17, "EEXIST";
    /// Would cross from one mount into another, or gain rights by being renamed or linked.
    CrossDevice = 18, "EXDEV";
    /// A component of the path is not a folder.
    NotDirectory = 20, "ENOTDIR";
    /// It is a folder.
    IsDirectory = 21, "EISDIR";
    /// An argument makes no sense.
    Invalid = 22, "EINVAL";
    /// Too many open handles.
    TooManyHandles = 24, "EMFILE";
    /// Not a terminal, or the operation does not fit the kind of file.
    NotTerminal = 25, "ENOTTY";
    /// The file would become too large.
    TooLarge = 27, "EFBIG";
    /// No space left.
    NoSpace = 28, "ENOSPC";
    /// The resource cannot seek.
    IllegalSeek = 29, "ESPIPE";
    /// The mount is read-only.
    ReadOnly = 30, "EROFS";
    /// Too many links.
    TooManyLinks = 31, "EMLINK";
    /// The other end is gone.
    BrokenPipe = 32, "EPIPE";
    /// The number is out of range.
    OutOfRange = 34, "ERANGE";
    /// It would deadlock.
    Deadlock = 35, "EDEADLK";
    /// The name is too long.
    NameTooLong = 36, "ENAMETOOLONG";
    /// No such call.
    NotImplemented = 38, "ENOSYS";
    /// The folder is not empty.
    NotEmpty = 39, "ENOTEMPTY";
    /// Too many symbolic links.
    Loop = 40, "ELOOP";
    /// The value does not fit.
    Overflow = 75, "EOVERFLOW";
    /// Not text in the expected encoding.
    IllegalSequence = 84, "EILSEQ";
    /// The datagram is too long.
    MessageTooLong = 90, "EMSGSIZE";
    /// No such protocol option.
    NoProtocolOption = 92, "ENOPROTOOPT";
    /// No such protocol.
    NoProtocol = 93, "EPROTONOSUPPORT";
    /// The operation is not supported here.
    NotSupported = 95, "EOPNOTSUPP";
    /// No such address family.
    NoAddressFamily = 97, "EAFNOSUPPORT";
    /// The address is in use.
    AddressInUse = 98, "EADDRINUSE";
    /// The address cannot be had on this machine.
    AddressNotAvailable = 99, "EADDRNOTAVAIL";
    /// The network is down.
    NetworkDown = 100, "ENETDOWN";
    /// No route to the network.
    NetworkUnreachable = 101, "ENETUNREACH";
    /// The connection was aborted.
    ConnectionAborted = 103, "ECONNABORTED";
    /// The connection was reset.
    ConnectionReset = 104, "ECONNRESET";
    /// No buffer space.
    NoBufferSpace = 105, "ENOBUFS";
    /// The socket is connected.
    AlreadyConnected = 106, "EISCONN";
    /// The socket is not connected.
    NotConnected = 107, "ENOTCONN";
    /// The connection timed out.
    TimedOut = 110, "ETIMEDOUT";
    /// The connection was refused.
    ConnectionRefused = 111, "ECONNREFUSED";
    /// No route to the host.
    HostUnreachable = 113, "EHOSTUNREACH";
    /// The operation is already under way.
    AlreadyInProgress = 114, "EALREADY";
    /// The operation has begun.
    InProgress = 115, "EINPROGRESS";
    /// The disk quota is used up.
    QuotaExceeded = 122, "EDQUOT";
    /// The instance is being stopped: no further call is served.
    Stopping = 125, "ECANCELED";
}

/// Crosses as its Linux number.
impl Serialize for ErrorCode {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.errno().serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for ErrorCode {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        i32::deserialize(deserializer).map(ErrorCode::from_errno)
    }
}

impl fmt::Display for ErrorCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.posix_name())
    }
}

impl core::error::Error for ErrorCode {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_survives_its_number() {
        for &code in ErrorCode::ALL {
            assert_eq!(ErrorCode::from_errno(code.errno()), code);
        }
    }

    #[test]
    fn an_unknown_number_is_an_input_output_error() {
        assert_eq!(ErrorCode::from_errno(9999), ErrorCode::Io);
    }
}
