//! A Linux personality: serves the system calls of programs, in safe Rust.
//!
//! A process is a space, descriptors and threads; a thread of a program is a processor of the machine
//! and a thread of the host. [`table`] lists every call that is served, each in the module of its family
//! with its manual page; what is not in the table answers `ENOSYS`.
//!
//! Everything outside comes from the scoped hal or, for the system's own files, from [`crate::tree`].

mod alarms;
mod asking;
mod attributes;
mod barriers;
mod busy;
mod capture;
mod causes;
mod commands;
mod configuration;
mod counter;
mod credentials;
mod desk;
mod ending;
mod epoll;
mod execute;
mod files;
mod folders;
mod futex;
mod identity;
mod inotify;
mod ipc;
mod limits;
mod links;
mod listing;
mod locks;
mod mapping;
mod memory_files;
mod moves;
mod notes;
mod open;
mod opening;
mod outside;
mod owners;
mod pi;
mod pidfd;
mod pinning;
mod pipe;
mod polling;
mod prctl;
mod proc;
mod process;
mod queues;
mod readiness;
mod reading;
mod resolve;
mod rest;
mod revive;
mod robust;
mod rseq;
mod scheduling;
mod segments;
mod semaphores;
mod shared;
mod signalfd;
mod signals;
mod socket;
mod special;
mod splicing;
mod stamps;
mod starting;
mod status;
mod stopping;
mod table;
mod terminal;
mod thread;
mod time;
mod timer;
mod transfer;
mod vectors;
mod waiting;
mod world;

use rustix::io::Errno;

pub use self::asking::ASK;
pub(crate) use self::commands::begin;
pub(crate) use self::table::{NUMBERS, name, system_calls};
pub(crate) use capture::{CaptureError, capture, file_is};
pub(crate) use revive::revive;
pub(crate) use starting::{First, attend, clear, first_thread, live, resize, signal_first};
pub(crate) use world::World;

/// How many threads an instance can have, those of all its processes together.
pub(crate) const MOST_THREADS: u32 = 1000;
/// For how many of them every KVM has processors. What it is to have for more is made before the thread is.
const THREADS_AT_ONCE: u64 = 128;

/// The six arguments of a system call.
pub(crate) type Arguments = [u64; 6];
/// What a system call answers.
pub(crate) type Answer = Result<u64, Errno>;

/// An argument that is an `int`.
fn int(argument: u64) -> i32 {
    argument as u32 as i32
}

/// The errno of a code of the hal.
fn errno(code: ringfence_abi::ErrorCode) -> Errno {
    Errno::from_raw_os_error(code.errno())
}
