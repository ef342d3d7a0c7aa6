//! Who the C library asks for names.

use std::ffi::{c_char, c_int};
use std::sync::Once;

unsafe extern "C" {
    /// From `nss.h` of glibc: sets what `nsswitch.conf(5)` says of a database.
    fn __nss_configure_lookup(database: *const c_char, services: *const c_char) -> c_int;
}

/// From now on `getaddrinfo(3)` asks `/etc/hosts` and the servers of `resolv.conf(5)`, whatever else
/// `nsswitch.conf(5)` names.
pub(crate) fn look_names_up_plainly() {
    static FIRST: Once = Once::new();
    FIRST.call_once(|| {
        // SAFETY: both are strings of C that live for ever. It fails only for want of memory or for names it does not
        // know, and changes nothing then.
        unsafe { __nss_configure_lookup(c"hosts".as_ptr(), c"files dns".as_ptr()) };
    });
}
