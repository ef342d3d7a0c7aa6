//! How names are looked up in a program without libraries.

/// Has the host's resolver ask `/etc/hosts` and the servers of `resolv.conf(5)` alone, whatever else
/// `nsswitch.conf(5)` names: a statically linked program would have to load those parts of another C library, which
/// is sound only where it is the very one the program was built with. A program with libraries goes on asking
/// all of them.
pub fn look_names_up_plainly() {
    #[cfg(all(target_env = "gnu", target_feature = "crt-static"))]
    crate::sys::look_names_up_plainly();
}
