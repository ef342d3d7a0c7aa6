//! What holds each guarantee, and the refusal when nothing does.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use ringfence_manifest::{Guarantee, Level, Spec};
use serde::{Serialize, Serializer};

use crate::Fact;

/// What holds one guarantee for one capsule on one backend.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase", tag = "held")]
pub enum Held {
    /// Held, by this mechanism.
    By {
        /// The mechanism: `cgroup memory.max`.
        by: &'static str,
    },
    /// Held in part. It does not satisfy a requirement.
    Partly {
        /// The mechanism.
        by: &'static str,
        /// What it leaves open.
        missing: String,
    },
    /// Not held.
    Not {
        /// Why not, in the user's terms.
        why: String,
    },
}

impl Held {
    /// Held by `mechanism`.
    pub const fn by(mechanism: &'static str) -> Self {
        Held::By { by: mechanism }
    }

    /// Not held, because of `why`.
    pub fn not(why: impl Into<String>) -> Self {
        Held::Not { why: why.into() }
    }
}

impl fmt::Display for Held {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Held::By { by } => write!(f, "by {by}"),
            Held::Partly { by, missing } => write!(f, "partly by {by}; {missing}"),
            Held::Not { why } => write!(f, "not held: {why}"),
        }
    }
}

/// For one capsule on one backend: each guarantee that concerns it, and what holds it. Cloning it is
/// cheap: every instance, and every report, has one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Enforcement(Arc<BTreeMap<Guarantee, Held>>);

impl Serialize for Enforcement {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.as_ref().serialize(serializer)
    }
}

/// A guarantee that was promised and is held by something weaker now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shortfall {
    /// Which.
    pub guarantee: Guarantee,
    /// What was promised.
    pub promised: Held,
    /// What is enforced.
    pub enforced: Held,
}

impl Enforcement {
    /// Nothing known yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Records what holds a guarantee.
    pub fn set(&mut self, guarantee: Guarantee, held: Held) -> &mut Self {
        Arc::make_mut(&mut self.0).insert(guarantee, held);
        self
    }

    /// What holds a guarantee; [`Held::Not`] when nothing was recorded.
    pub fn get(&self, guarantee: Guarantee) -> Held {
        self.0.get(&guarantee).cloned().unwrap_or_else(|| Held::not("nothing on this level holds it"))
    }

    /// Every guarantee recorded, in order.
    pub fn iter(&self) -> impl Iterator<Item = (Guarantee, &Held)> {
        self.0.iter().map(|(&guarantee, held)| (guarantee, held))
    }

    /// The first promise of `self` that `enforced` does not keep to the letter.
    pub fn shortfall(&self, enforced: &Enforcement) -> Option<Shortfall> {
        if Arc::ptr_eq(&self.0, &enforced.0) {
            return None;
        }
        self.iter().find_map(|(guarantee, promised)| {
            let now = enforced.get(guarantee);
            let kept = *promised == now || matches!(promised, Held::Not { .. });
            (!kept).then(|| Shortfall { guarantee, promised: promised.clone(), enforced: now })
        })
    }

    /// The refusal for the first requirement of `spec` that is not held in full.
    pub fn check(&self, spec: &Spec) -> Result<(), Refusal> {
        for &guarantee in &spec.isolation.require {
            match self.0.get(&guarantee) {
                Some(Held::By { .. }) => {}
                _ => {
                    let held = self.get(guarantee);
                    return Err(Refusal {
                        level: spec.isolation.level,
                        guarantee,
                        found: held.to_string(),
                        remedy: format!(
                            "choose a level that holds it (`ringfence levels` lists them), or do not ask for {guarantee}"
                        ),
                        facts: Vec::new(),
                    });
                }
            }
        }
        Ok(())
    }
}

/// Why a capsule will not run: which guarantee, what was found, and the remedy.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, thiserror::Error)]
#[error("level {level} cannot hold {guarantee} here: {found}\n  remedy: {remedy}")]
pub struct Refusal {
    /// The level that was asked.
    pub level: Level,
    /// What it cannot hold.
    pub guarantee: Guarantee,
    /// What was found instead.
    pub found: String,
    /// What to do about it.
    pub remedy: String,
    /// The facts of this machine that led to it.
    pub facts: Vec<Fact>,
}
