//! Environment variables: those with values, and those of the host that are passed on.

use std::collections::BTreeMap;

use super::Surroundings;
use crate::diagnostic::Problems;
use crate::manifest::Manifest;
use crate::permissions::EnvironmentRule;
use crate::text::quoted;
use crate::{Permission, Place};

/// All variables of the capsule. A variable that the host does not have is not passed on.
pub(super) fn resolve(
    manifest: &Manifest,
    surroundings: &Surroundings<'_>,
    problems: &mut Problems<'_>,
) -> BTreeMap<String, String> {
    let mut environment: BTreeMap<String, String> = BTreeMap::new();
    let passed_on = &manifest.permissions.granted.environment;
    for EnvironmentRule(name) in passed_on {
        if let Some(value) = (surroundings.host_environment)(name).filter(|value| !value.contains('\0')) {
            environment.insert(name.clone(), value);
        }
    }
    for (name, value) in &manifest.environment {
        if passed_on.iter().any(|EnvironmentRule(passed_on)| passed_on == name) {
            let places = manifest.permissions.places.get(&Permission::Env);
            let place = places.and_then(|places| places.first()).unwrap_or(&Place::Nowhere);
            let help = format!("it has a value at {}", problems.source(&value.place));
            problems.report(place, format!("the variable {} is both passed on and set", quoted(name)), Some(help));
        }
        environment.insert(name.clone(), value.value.clone());
    }
    environment
}
