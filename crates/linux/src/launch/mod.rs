//! From a plan to a process that waits to become the program.
//!
//! ```text
//! supervisor ──clone3──▶ pid 1: namespaces, cgroup, tree, Landlock, capabilities, seccomp
//!     ▲                    └──clone──▶ pid 2: session, limits ──▶ waits at the gate ──streams──▶ execve
//!     └──── report: ready, or which step failed with which error; later how pid 2 ended ◀────┘
//! ```
//!
//! Everything the two need is made before the clone; after it nothing is allocated. Pid 1 stays: it
//! reaps, passes signals on, starts further commands (see [`order`]), and ends when the supervisor's end of its command pipe closes, however
//! that came about. With pid 1 the kernel ends every process of the place (`pid_namespaces(7)`).

mod command;
mod descriptors;
mod first;
mod gate;
mod order;
mod report;
mod second;
mod step;

pub(crate) use command::{Arguments, Confinement, Recipe, STREAMS, own_memory, resources};
pub(crate) use descriptors::{Ends, above_streams, line, pair};
pub(crate) use gate::{is_nothing, pass_network, pass_streams};
pub(crate) use order::{Order, order};
pub(crate) use report::{Message, Report};
pub(crate) use step::Step;

use std::fs::File;
use std::os::fd::OwnedFd;
use std::sync::atomic::AtomicI32;

use rustix::io::Errno;

use crate::sys::{self, CloneArguments, Stack};

/// What the child works from: the recipe, which instances share, and what is this instance's own.
struct Launch<'a> {
    recipe: &'a Recipe,
    ends: &'a Ends,
    stack: &'a Stack,
    /// Whether the network namespace comes through the gate.
    awaits_network: bool,
    /// The user's terminal, where pid 1 has it open; negative otherwise. Pid 1 writes it, whose memory that is.
    console: AtomicI32,
}

/// Pid 2 needs little: a few frames between the clone and `execve`.
const STACK: usize = 64 * 1024;

/// Starts pid 1; its number and pidfd. When it awaits its network, it waits at the gate until one is
/// passed through.
pub(crate) fn launch(
    recipe: &Recipe,
    ends: &Ends,
    cgroup: Option<&File>,
    awaits_network: bool,
) -> Result<(i32, OwnedFd), Errno> {
    use std::os::fd::AsFd;
    let stack = Stack::new(STACK);
    let launch = Launch { recipe, ends, stack: &stack, awaits_network, console: AtomicI32::new(-1) };
    let elsewhere = if awaits_network { libc::CLONE_NEWNET as u64 } else { 0 };
    let arguments = CloneArguments { flags: recipe.clone_flags & !elsewhere, cgroup: cgroup.map(AsFd::as_fd) };
    // The child begins with every signal blocked: no handler of the supervisor's runs in it.
    let mask = sys::block_all_signals()?;
    let cloned = sys::clone3(&arguments, first::run, &launch);
    sys::set_signal_mask(mask)?;
    cloned
}
