//! What is said about an instance when it is over.

use std::collections::BTreeMap;
use std::time::Duration;

use ringfence_isolation::{
    Activity, Denial, Enforcement, Exit, Guarantee, Held, Level, Limit, LostReason, Spec, Usage,
};
use ringfence_manifest::Identity;
use serde::{Serialize, Serializer};

/// Everything that is known about an instance when it is over. Its JSON form has the names of the
/// fields as keys; keys are added, never renamed.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Report {
    /// Which capsule.
    pub capsule: Identity,
    /// Behind which boundary it ran.
    pub level: Level,
    /// How it ended.
    pub exit: Exit,
    /// The limit that ended it, if one did.
    pub tripped: Option<Limit>,
    /// Each guarantee that concerned it, and what held it.
    pub enforced: Enforcement,
    /// The guarantees that were not held in full, and what was missing.
    pub not_held: Vec<NotHeld>,
    /// What it used.
    pub usage: Usage,
    /// What it asked of its level, for a level that counts that.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub activity: Option<Activity>,
    /// What it was denied, each distinct denial once.
    pub denials: Vec<Denied>,
    /// How many denials are missing from `denials`, because there were too many different ones.
    pub denials_dropped: u64,
    /// How long each step took.
    pub timings: Timings,
    /// What it printed, when standard output is kept (in JSON as text, with U+FFFD for what is none).
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "text")]
    pub stdout: Option<Vec<u8>>,
    /// The same of standard error.
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "text")]
    pub stderr: Option<Vec<u8>>,
}

/// A denial and how often it happened.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Denied {
    /// What was denied, why, and what would grant it.
    #[serde(flatten)]
    pub denial: Denial,
    /// How often.
    pub count: u64,
}

/// A guarantee that was not held in full.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct NotHeld {
    /// Which.
    pub guarantee: Guarantee,
    /// What was missing.
    pub why: String,
}

/// How long each step took, in seconds in JSON.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Timings {
    /// From the manifest to a spec.
    #[serde(serialize_with = "seconds")]
    pub resolve: Duration,
    /// From the spec to a program ready to build: reading and compiling it.
    #[serde(serialize_with = "seconds")]
    pub prepare: Duration,
    /// Building the place.
    #[serde(serialize_with = "seconds")]
    pub build: Duration,
    /// From the start to the exit.
    #[serde(serialize_with = "seconds")]
    pub run: Duration,
}

impl Report {
    /// The report of an instance whose task is gone without one, because of `why`.
    pub fn lost(spec: &Spec, why: &str) -> Self {
        Report {
            capsule: spec.capsule.clone(),
            level: spec.isolation.level,
            exit: Exit::Lost(LostReason::Backend(why.to_owned())),
            tripped: None,
            enforced: Enforcement::new(),
            not_held: Vec::new(),
            usage: Usage::default(),
            activity: None,
            denials: Vec::new(),
            denials_dropped: 0,
            timings: Timings::default(),
            stdout: None,
            stderr: None,
        }
    }

    /// What was not held in full for `spec`: of what is recorded in `enforced` and of what was
    /// required, and what a learning run gives up.
    pub(super) fn not_held(spec: &Spec, enforced: &Enforcement) -> Vec<NotHeld> {
        let mut missing = BTreeMap::new();
        let concerned = enforced.iter().map(|(guarantee, _)| guarantee).chain(spec.isolation.require.iter().copied());
        for guarantee in concerned {
            match enforced.get(guarantee) {
                Held::By { .. } => {}
                Held::Partly { missing: what, .. } => drop(missing.insert(guarantee, what)),
                Held::Not { why } => drop(missing.insert(guarantee, why)),
            }
        }
        if spec.permissions.learn {
            let files = "learning: every file operation in its own tree and its mounts was granted";
            let network =
                "learning: every network operation was granted, but to link-local addresses and metadata services";
            missing.insert(Guarantee::FilesystemConfined, files.to_string());
            missing.insert(Guarantee::NetworkConfined, network.to_string());
        }
        missing.into_iter().map(|(guarantee, why)| NotHeld { guarantee, why }).collect()
    }
}

fn seconds<S: Serializer>(duration: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_f64(duration.as_secs_f64())
}

fn text<S: Serializer>(bytes: &Option<Vec<u8>>, serializer: S) -> Result<S::Ok, S::Error> {
    match bytes {
        Some(bytes) => serializer.serialize_str(&String::from_utf8_lossy(bytes)),
        None => serializer.serialize_none(),
    }
}
