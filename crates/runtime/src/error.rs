//! From the kernel's errors to those of a call.

use ringfence_abi::ErrorCode;
use rustix::io::Errno;

/// The code of an error number.
pub(crate) fn code(errno: Errno) -> ErrorCode {
    ErrorCode::from_errno(errno.raw_os_error())
}
