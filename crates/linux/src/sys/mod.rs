//! System calls that `rustix` does not offer safely, one to one and without policy. The only place
//! of this crate with unsafe code.
#![allow(unsafe_code)]

mod call;
mod descriptors;
mod interruptible;
mod landlock;
#[cfg(all(target_env = "gnu", target_feature = "crt-static"))]
mod names;
mod network;
mod notify;
mod process;
mod seccomp;
mod signals;
mod terminal;
mod tree;

pub(crate) use descriptors::{close_range, duplicate};
pub(crate) use interruptible::Interruptible;
pub(crate) use landlock::{
    RulesetAttributes, landlock_abi, landlock_add_path, landlock_create, landlock_restrict_self,
};
#[cfg(all(target_env = "gnu", target_feature = "crt-static"))]
pub(crate) use names::look_names_up_plainly;
pub(crate) use network::{loopback_up, packet_bind, packet_send, set_socket_option, socket_option};
pub(crate) use notify::{
    Notification, notify_add_descriptor, notify_continue, notify_is_valid, notify_receive, notify_respond,
    notify_synchronously, read_memory, seccomp_filter_with_listener,
};
pub(crate) use process::{
    CloneArguments, Shared, Stack, Strings, Words, clone_copying_memory, clone_sharing_memory, clone3,
    compare_descriptors, drop_bounding_set, execve, execve_words, exit, is_within_root, kill, stop_tracing, unshare,
    unshare_descriptors, wait_for,
};
pub(crate) use seccomp::{Instruction, seccomp_filter, seccomp_has_action};
pub(crate) use signals::{block_all_signals, reset_signal_handlers, set_signal_mask, signal_descriptor};
pub(crate) use terminal::{terminal_number, terminal_peer, terminal_unlock};
pub(crate) use tree::{MountAttributes, mount_set_attributes};
