//! Errors of the host's kernel in the terms of the abi.

use std::io;

use ringfence_abi::ErrorCode;
use rustix::io::Errno;

/// The code for an error of the kernel. The numbers are the same; three that the abi has no code for
/// become the one that means the same to a program.
pub(super) fn code(errno: Errno) -> ErrorCode {
    match errno {
        Errno::DESTADDRREQ => ErrorCode::Invalid,
        Errno::HOSTDOWN => ErrorCode::HostUnreachable,
        Errno::NETRESET => ErrorCode::ConnectionReset,
        other => ErrorCode::from_errno(other.raw_os_error()),
    }
}

/// The code for an error of the standard library.
pub(super) fn code_of(error: &io::Error) -> ErrorCode {
    match (Errno::from_io_error(error), error.kind()) {
        (Some(errno), _) => code(errno),
        (None, io::ErrorKind::NotFound) => ErrorCode::NotFound,
        (None, io::ErrorKind::TimedOut) => ErrorCode::TimedOut,
        (None, io::ErrorKind::InvalidInput) => ErrorCode::Invalid,
        (None, _) => ErrorCode::Io,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_of_the_kernel_keeps_its_meaning() {
        assert_eq!(code(Errno::CONNREFUSED), ErrorCode::ConnectionRefused);
        assert_eq!(code(Errno::AGAIN), ErrorCode::WouldBlock);
        assert_eq!(code(Errno::PIPE), ErrorCode::BrokenPipe);
        assert_eq!(code(Errno::HOSTDOWN), ErrorCode::HostUnreachable);
        assert_eq!(code(Errno::XFULL), ErrorCode::Io);
    }

    #[test]
    fn an_error_without_a_number_is_told_by_its_kind() {
        assert_eq!(code_of(&io::Error::from_raw_os_error(111)), ErrorCode::ConnectionRefused);
        assert_eq!(code_of(&io::ErrorKind::NotFound.into()), ErrorCode::NotFound);
        assert_eq!(code_of(&io::ErrorKind::TimedOut.into()), ErrorCode::TimedOut);
        assert_eq!(code_of(&io::Error::other("the resolver is on fire")), ErrorCode::Io);
    }
}
