//! Pid 2, up to the moment it becomes the program. Runs in the memory of pid 1 and changes nothing
//! there: it allocates nothing, takes no lock and does not panic.

use std::sync::atomic::Ordering::Relaxed;

use rustix::fs::Mode;
use rustix::io::Errno;
use rustix::process::{chdir, setrlimit, setsid, umask};

use super::{Launch, Message, Step, gate};
use crate::{apparmor, sys, terminal};

pub(super) fn run(launch: &Launch<'_>) -> ! {
    let (step, errno) = match become_ready(launch) {
        Err(failed) => failed,
        Ok(()) => {
            Message::Ready.send(&launch.ends.report);
            match gate::take_streams(&launch.ends.gate, launch.console.load(Relaxed)) {
                Ok(true) => match launch.ends.terminal.as_ref().map_or(Ok(()), terminal::take) {
                    Ok(()) => (Step::Execute, execute(launch)),
                    Err(errno) => (Step::Terminal, errno),
                },
                // The supervisor changed its mind, or is gone.
                Ok(false) => sys::exit(1),
                Err(errno) => (Step::Streams, errno),
            }
        }
    };
    Message::Failed(step, errno).send(&launch.ends.report);
    sys::exit(127)
}

/// Everything that does not wait for anything, up to the streams.
pub(super) fn become_ready(launch: &Launch<'_>) -> Result<(), (Step, Errno)> {
    let at = |step: Step| move |errno: Errno| (step, errno);
    let recipe = launch.recipe;
    // From pid 1, which asked for it; nobody else is shown whether that came to be.
    if recipe.confinement.profile.as_ref().is_some_and(|profile| profile.enforces) {
        match apparmor::is_entered_at_exec() {
            Ok(true) => {}
            Ok(false) => return Err((Step::Profile, Errno::ACCESS)),
            Err(errno) => return Err((Step::Profile, errno)),
        }
    }
    setsid().map_err(at(Step::Session))?;
    chdir(recipe.arguments.working_directory.as_c_str()).map_err(at(Step::WorkingDirectory))?;
    sys::close_range(3, u32::MAX, true).map_err(at(Step::Descriptors))?;
    umask(Mode::from_raw_mode(0o022));
    for (resource, limit) in &recipe.resources {
        setrlimit(*resource, *limit).map_err(at(Step::Limits))?;
    }
    sys::reset_signal_handlers();
    sys::set_signal_mask(0).map_err(at(Step::Signals))
}

fn execute(launch: &Launch<'_>) -> Errno {
    let arguments = &launch.recipe.arguments;
    if let Err(errno) = launch.recipe.confinement.close() {
        return errno;
    }
    sys::execve(&launch.recipe.tree.program, &arguments.arguments, &arguments.environment)
}
