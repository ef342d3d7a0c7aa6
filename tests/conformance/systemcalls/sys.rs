//! `close_range(2)`.

use std::io::{Error, Result};

/// Marks the descriptors that this program was started with, standard ones aside, to be closed in
/// programs that it starts: a test finds the same descriptors free on the host as at a level.
///
/// # Errors
/// What `close_range(2)` answers: Linux has it since 5.9 and this flag since 5.11.
pub(crate) fn keep_descriptors() -> Result<()> {
    let flags = libc::c_int::try_from(libc::CLOSE_RANGE_CLOEXEC).unwrap_or_default();
    // SAFETY: no memory is passed, and with this flag no descriptor is closed here.
    match unsafe { libc::close_range(3, libc::c_uint::MAX, flags) } {
        0 => Ok(()),
        _ => Err(Error::last_os_error()),
    }
}
