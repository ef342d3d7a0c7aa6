//! `ringfence run --dry-run-fs`: a run whose changes are kept apart.

use crate::changes::Changes;
use crate::events::Events;
use crate::failure::Failure;
use crate::instances::Door;
use crate::run::{Ended, loaded, prepared, runtime, supervise};
use crate::target::Target;
use crate::watchdog::Watchdog;

/// Runs what `target` says and keeps what it changes under `name`, or under one that is free.
pub(crate) fn dry_run(
    target: Target,
    tty: bool,
    name: Option<&str>,
    door: Door,
    events: &Events,
    watchdog: &Watchdog,
) -> Result<Ended, Failure> {
    let load = loaded(target, tty)?;
    let runtime = runtime(events)?;
    let mut resolved = runtime.resolve(&load)?;
    let mut changes = Changes::begin(name, &resolved.spec.capsule.name)?;
    // Until it is known what was changed, there is nothing to be kept.
    watchdog.guard(Some(changes.folder().to_owned()));
    resolved.spec.session.overlay = Some(changes.overlay());
    let capsule = prepared(&runtime, resolved, None)?;
    let ended = runtime.block_on(supervise(&capsule, door, events, watchdog))?;
    let listed = changes.finish();
    watchdog.guard(None);
    if let Err(error) = listed {
        // The program came to its end, and that is what the caller asks for.
        events.unlisted(&changes.name, &error);
        changes.keep();
    } else if changes.is_empty() {
        events.note("nothing was changed");
        changes.remove()?;
    } else {
        events.changes(&changes);
        changes.keep();
    }
    Ok(ended)
}
