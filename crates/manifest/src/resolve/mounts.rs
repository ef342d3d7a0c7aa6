//! Mounts: normal paths on one side, paths that exist on the other.

use std::collections::BTreeMap;

use super::Surroundings;
use crate::diagnostic::Problems;
use crate::manifest::Manifest;
use crate::permissions::normal_path;
use crate::section;
use crate::text::quoted;
use crate::{Mount, RuleError};

/// The mounts in their order; two at one path are refused.
pub(super) fn resolve(manifest: &Manifest, surroundings: &Surroundings<'_>, problems: &mut Problems<'_>) -> Vec<Mount> {
    let cwd = manifest.program.working_directory();
    let mut places = BTreeMap::new();
    let mut mounts = Vec::new();
    for section::Mount { at, from, mode } in &manifest.mounts {
        let path = surroundings.mounted(from, problems);
        let normal = if at.value.is_empty() {
            Err(RuleError::RelativePath(String::new()))
        } else {
            normal_path(&cwd, &at.value)
        };
        let Some(normal) = section::parsed(at, normal, RuleError::help, problems) else { continue };
        if let Some(first) = places.insert(normal.clone(), at.place.clone()) {
            let help = format!("the other is written at {}", problems.source(&first));
            let message = format!("two mounts are at {}", quoted(&normal));
            problems.report(&at.place, message, Some(help));
        }
        mounts.push(Mount { at: normal, name: at.value.clone(), from: path, mode: *mode });
    }
    mounts
}
