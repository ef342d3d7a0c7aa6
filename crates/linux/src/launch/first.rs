//! Pid 1. Runs after a clone: it allocates nothing, takes no lock and does not panic.

use std::ffi::{CStr, CString};
use std::os::fd::OwnedFd;
use std::sync::OnceLock;
use std::sync::atomic::Ordering::Relaxed;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{CWD, Mode, OFlags, openat, statfs};
use rustix::io::{Errno, read, write};
use rustix::process::{DumpableBehavior, Pid, WaitOptions, set_dumpable_behavior, setsid, wait, waitpid};
use rustix::system::sethostname;

use super::gate::{self, Command};
use super::order::{MOST, Orders};
use super::{Launch, Message, Step, second};
use crate::namespaces::{drop_capabilities, enter_network};
use crate::network::{Beside, Doors, Opening};
use crate::sys::Shared;
use crate::tree::PAGE;
use crate::{apparmor, console, landlock, sys, tree};

/// Puts the walls up around itself, starts pid 2 behind them, and stays as long as it lives.
pub(super) fn run(launch: &Launch<'_>) -> ! {
    match set_up(launch).and_then(|()| start_second(launch)) {
        Ok(program) => watch(launch, program),
        Err((step, errno)) => {
            Message::Failed(step, errno).send(&launch.ends.report);
            sys::exit(1)
        }
    }
}

fn set_up(launch: &Launch<'_>) -> Result<(), (Step, Errno)> {
    let at = |step: Step| move |errno: Errno| (step, errno);
    let Launch { recipe, ends, .. } = launch;
    for (first, last) in ends.others() {
        sys::close_range(first, last, false).map_err(at(Step::Descriptors))?;
    }
    recipe.identity.assume().map_err(at(Step::Identity))?;
    for list in &ends.cgroups {
        write(list, b"0").map_err(at(Step::Cgroup))?;
    }
    sys::unshare(libc::CLONE_NEWCGROUP).map_err(at(Step::CgroupNamespace))?;
    be_an_ordinary_victim().map_err(at(Step::Limits))?;
    // While the host's /proc is there.
    if let Some(profile) = &recipe.confinement.profile {
        apparmor::enter_at_exec(&profile.on_exec).map_err(at(Step::Profile))?;
    }
    tree::raise(&recipe.tree, ends.terminal.as_ref().map(|peer| &peer.source))?;
    // While this may be opened that is somebody else's, as after su(1).
    if recipe.tree.console.is_some() {
        launch.console.store(console::open_in_place(), Relaxed);
    }
    if launch.awaits_network {
        gate::take_network(&ends.gate).and_then(|made| enter_network(&made)).map_err(at(Step::Network))?;
    }
    // Never in the supervisor's own network.
    let opening = recipe.confinement.opening.as_ref().filter(|_| recipe.clone_flags & libc::CLONE_NEWNET as u64 != 0);
    let opened = opening.map(Opening::open).transpose().map_err(at(Step::Network))?;
    sethostname(&recipe.host_name).map_err(at(Step::HostName))?;
    // A copy of the supervisor's memory: nobody in the place may look into it.
    set_dumpable_behavior(DumpableBehavior::NotDumpable).map_err(at(Step::Dumpable))?;
    setsid().map_err(at(Step::Session))?;
    // Before the capabilities go: what the rules name may lie in folders only root may enter.
    rustix::thread::set_no_new_privs(true).map_err(at(Step::NoNewPrivileges))?;
    if let Some((attributes, size, grants)) = &recipe.confinement.landlock {
        landlock::confine(attributes, *size, grants).map_err(at(Step::Landlock))?;
    }
    drop_capabilities()?;
    if !recipe.confinement.asks {
        return sys::seccomp_filter(&recipe.confinement.filter).map_err(at(Step::Seccomp));
    }
    if recipe.confinement.counts {
        return confine_counted(launch, opened);
    }
    let listener = sys::seccomp_filter_with_listener(&recipe.confinement.filter).map_err(at(Step::Seccomp))?;
    Message::send_doors(&Doors::new(listener, opened), &ends.report).map_err(at(Step::Doors))
}

/// What passes between pid 1 and who sends its doors.
struct Handover<'a> {
    report: &'a OwnedFd,
    doors: OnceLock<Doors>,
}

/// Puts a filter up that asks about the very call by which the supervisor would get what it answers with. A
/// child without the filter, which shares memory and descriptors, makes that call, and is gone before anything goes on.
fn confine_counted(launch: &Launch<'_>, opened: Option<Beside>) -> Result<(), (Step, Errno)> {
    let doors = |errno: Errno| (Step::Doors, errno);
    let handover = Handover { report: &launch.ends.report, doors: OnceLock::new() };
    let sender = sys::clone_sharing_memory(send_doors, &handover, launch.stack, Shared::Descriptors).map_err(doors)?;
    // Should this fail, pid 1 ends, and the child with it.
    let listener = sys::seccomp_filter_with_listener(&launch.recipe.confinement.filter);
    let _ = handover.doors.set(Doors::new(listener.map_err(|errno| (Step::Seccomp, errno))?, opened));
    match waitpid(Pid::from_raw(sender), WaitOptions::empty()).map_err(doors)? {
        Some((_, status)) if status.exit_status() == Some(0) => Ok(()),
        _ => Err(doors(Errno::PIPE)),
    }
}

/// The child.
fn send_doors(handover: &Handover<'_>) -> ! {
    let sent = Message::send_doors(handover.doors.wait(), handover.report);
    sys::exit(i32::from(sent.is_err()))
}

/// A supervisor that is never to be ended when memory runs out does not pass that on: the limit on memory
/// would find nobody to end (`proc(5)`, oom_score_adj).
fn be_an_ordinary_victim() -> Result<(), Errno> {
    let file = openat(CWD, c"/proc/self/oom_score_adj", OFlags::WRONLY | OFlags::CLOEXEC, Mode::empty())?;
    match write(&file, b"0") {
        // It is ended sooner than others already, and stays so.
        Err(Errno::ACCESS) => Ok(()),
        written => written.map(drop),
    }
}

/// Starts pid 2 in the same memory, which pid 1 from now on only reads.
fn start_second(launch: &Launch<'_>) -> Result<i32, (Step, Errno)> {
    sys::clone_sharing_memory(second::run, launch, launch.stack, Shared::Memory).map_err(|errno| (Step::Clone, errno))
}

/// How often the folders in memory are looked at when what they hold is limited.
const LOOK: Timespec = Timespec { tv_sec: 0, tv_nsec: 50_000_000 };

/// Reaps, passes signals on, and ends with the program or with the supervisor.
fn watch(launch: &Launch<'_>, program: i32) -> ! {
    // What pid 2 has of these it has for itself.
    let _ = sys::close_range(0, 2, false);
    let Ok(children) = sys::signal_descriptor(1 << (libc::SIGCHLD - 1)) else { sys::exit(1) };
    let scratch = launch.recipe.disk.zip(launch.recipe.tree.scratch.first().map(CString::as_c_str));
    let timeout = scratch.map(|_| &LOOK);
    let mut orders = Orders::default();
    loop {
        let mut ready: [PollFd<'_>; 2 + MOST] = std::array::from_fn(|index| match index {
            0 => PollFd::new(&children, PollFlags::IN),
            1 => PollFd::new(&launch.ends.commands, PollFlags::IN),
            index => match orders.steering(index - 2) {
                Some(steering) => PollFd::new(steering, PollFlags::IN),
                None => PollFd::new(&children, PollFlags::empty()),
            },
        });
        match poll(&mut ready, timeout) {
            Ok(_) => {}
            Err(Errno::INTR) => continue,
            // Who does not see its children or its supervisor any more keeps nothing alive.
            Err(_) => sys::exit(1),
        }
        let ready = ready.map(|ready| !ready.revents().is_empty());
        if let Some(pages) = scratch.and_then(too_many_pages) {
            Message::Full(pages).send(&launch.ends.report);
            sys::exit(1);
        }
        // First of all: a command that begins below may take the place of one that ended.
        for (index, _) in ready[2..].iter().enumerate().filter(|(_, steered)| **steered) {
            orders.steer(index);
        }
        if ready[0] {
            let mut drained = [0; 128];
            let _ = read(&children, &mut drained);
            reap(&launch.ends.report, program, &mut orders);
        }
        if ready[1] {
            obey(launch, program, &mut orders);
        }
    }
}

/// How many pages the folders in memory hold, when that is more than `allowed` bytes.
fn too_many_pages((allowed, scratch): (u64, &CStr)) -> Option<u32> {
    let found = statfs(scratch).ok()?;
    let pages = found.f_blocks.saturating_sub(found.f_bfree);
    let most = allowed / PAGE;
    // An empty file takes a page's worth too, or the number of files would have no bound.
    let used = if found.f_ffree == 0 { pages.max(most + 1) } else { pages };
    (used > most).then(|| u32::try_from(used).unwrap_or(u32::MAX))
}

/// Takes every child that has ended; ends with the program, and everything left ends then.
fn reap(report: &OwnedFd, program: i32, orders: &mut Orders) {
    while let Ok(Some((pid, status))) = wait(WaitOptions::NOHANG) {
        let pid = pid.as_raw_nonzero().get();
        if let Some(signal) = status.stopping_signal() {
            // It asked its parent to trace it, which nobody does here: it gets what it was sent, and goes on.
            let _ = sys::stop_tracing(pid, if signal == libc::SIGTRAP { 0 } else { signal });
            continue;
        }
        if pid == program {
            Message::Ended(status.as_raw()).send(report);
            sys::exit(0);
        }
        orders.ended(pid, status.as_raw());
    }
}

/// Passes a signal on, or starts a command; without a supervisor, ends everything.
fn obey(launch: &Launch<'_>, program: i32, orders: &mut Orders) {
    match gate::take_command(&launch.ends.commands) {
        Ok(Command::Signal(signal)) => _ = sys::kill(program, signal),
        Ok(Command::Order(line, steering)) => orders.start(launch, line, steering),
        // Where the filter asks the supervisor about this very call, nobody is left to answer (`ENOSYS`).
        Ok(Command::End) | Err(Errno::NOSYS | Errno::CONNRESET | Errno::NOTCONN | Errno::BADF) => sys::exit(1),
        // A command that is none, or that there is no room for.
        Err(_) => {}
    }
}
