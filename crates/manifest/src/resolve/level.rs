//! Which level a capsule runs at.

use std::collections::BTreeSet;

use super::{Rejected, Rejection, ResolveError};
use crate::diagnostic::{Problems, source};
use crate::manifest::Manifest;
use crate::{Guarantee, Level, Strength};

/// Reports a level that contradicts the minimum or the program.
pub(super) fn check(manifest: &Manifest, problems: &mut Problems<'_>) {
    let Some(written) = &manifest.isolation.level else { return };
    let Some(level) = written.value else { return };
    if let Some(minimum) = manifest.isolation.minimum.as_ref().filter(|minimum| level < minimum.value) {
        let message = format!("level `{level}` is below the minimum, `{}`", minimum.value);
        let help = format!("the minimum is written at {}", problems.source(&minimum.place));
        problems.report(&written.place, message, Some(help));
    }
    let kind = manifest.program.kind();
    if !level.runs(kind) {
        let able: Vec<_> = Level::ALL.into_iter().filter(|level| level.runs(kind)).map(Level::name).collect();
        let message = format!("level `{level}` does not run {kind} programs");
        problems.report(&written.place, message, Some(format!("levels that do: {}", able.join(", "))));
    }
}

/// The level that was asked for; or the weakest that is available and will do.
///
/// A level that was asked for by name is not judged by what it holds: its backend does that, and
/// refuses with the facts of this machine.
pub(super) fn choose(
    manifest: &Manifest,
    require: &BTreeSet<Guarantee>,
    available: &[Level],
) -> Result<Level, ResolveError> {
    if let Some(written) = &manifest.isolation.level
        && let Some(level) = written.value
    {
        if available.contains(&level) {
            return Ok(level);
        }
        let written = source(&manifest.file, &manifest.text, &written.place);
        return Err(ResolveError::Unavailable { level, written, available: available.to_vec() });
    }
    let kind = manifest.program.kind();
    let minimum = manifest.isolation.minimum.as_ref().map(|minimum| minimum.value);
    let mut rejected = Vec::new();
    for level in Level::ALL {
        let missing: Vec<_> =
            require.iter().copied().filter(|&guarantee| level.holds(guarantee) == Strength::No).collect();
        let why = match minimum {
            Some(minimum) if level < minimum => Rejection::BelowMinimum(minimum),
            _ if !level.runs(kind) => Rejection::DoesNotRun(kind),
            _ if !missing.is_empty() => Rejection::DoesNotHold(missing),
            _ if !available.contains(&level) => Rejection::Unavailable,
            _ => return Ok(level),
        };
        rejected.push(Rejected { level, why });
    }
    Err(ResolveError::NoLevel { capsule: manifest.capsule.name.value.clone(), kind, minimum, rejected })
}
