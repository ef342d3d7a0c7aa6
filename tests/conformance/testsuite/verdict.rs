//! What came of the tests.

use std::fmt::Write;

use serde_json::{Value, json};

use crate::behaviour::Behaviour;
use crate::test::Test;

/// What came of a test.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    Passed,
    /// Each thing that was not as expected.
    Failed(Vec<String>),
    /// Why it was not run.
    Skipped(String),
}

impl Outcome {
    pub(crate) fn word(&self) -> &'static str {
        match self {
            Outcome::Passed => "passed",
            Outcome::Failed(_) => "failed",
            Outcome::Skipped(_) => "skipped",
        }
    }

    fn reasons(&self) -> &[String] {
        match self {
            Outcome::Passed => &[],
            Outcome::Failed(reasons) => reasons,
            Outcome::Skipped(reason) => std::slice::from_ref(reason),
        }
    }
}

/// What is said of a test.
pub(crate) struct Verdict {
    pub(crate) outcome: Outcome,
    /// What is different with the peer.
    pub(crate) differs: Vec<String>,
}

impl Verdict {
    /// Of a test that was not run.
    pub(crate) fn of(outcome: Outcome) -> Self {
        Verdict { outcome, differs: Vec::new() }
    }

    pub(crate) fn lines(&self, name: &str) -> String {
        let mut lines = format!("{:7} {name}\n", self.outcome.word());
        for reason in self.outcome.reasons() {
            let _ = writeln!(lines, "        {reason}");
        }
        for difference in &self.differs {
            let _ = writeln!(lines, "        differs: {difference}");
        }
        lines
    }

    fn json(&self, name: &str) -> Value {
        json!({
            "name": name,
            "outcome": self.outcome.word(),
            "reasons": self.outcome.reasons(),
            "differs": self.differs,
        })
    }
}

/// What is different with the peer: the outcome, the end, standard output. What a program prints on
/// standard error is mixed with what its host says of it, and counts as far as the test says.
pub(crate) fn differences(test: &Test, (here, outcome): (&Behaviour, &Outcome), there: &Behaviour) -> Vec<String> {
    let mut differences = Vec::new();
    let peer = test.judge(there);
    if peer.word() != outcome.word() {
        differences.push(format!("{} here, {} there", outcome.word(), peer.word()));
    }
    if here.end != there.end {
        differences.push(format!("{} here, {} there", here.end, there.end));
    }
    if here.stdout != there.stdout {
        let [here, there] = [here, there].map(|behaviour| String::from_utf8_lossy(&behaviour.stdout));
        differences.push(format!("stdout is {here:?} here, {there:?} there"));
    }
    differences
}

/// How many tests came to what.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Total {
    pub(crate) passed: usize,
    pub(crate) failed: usize,
    pub(crate) skipped: usize,
    pub(crate) differ: usize,
}

impl Total {
    pub(crate) fn of<'a>(verdicts: impl Iterator<Item = &'a Verdict>) -> Self {
        let mut total = Total::default();
        for verdict in verdicts {
            match verdict.outcome {
                Outcome::Passed => total.passed += 1,
                Outcome::Failed(_) => total.failed += 1,
                Outcome::Skipped(_) => total.skipped += 1,
            }
            total.differ += usize::from(!verdict.differs.is_empty());
        }
        total
    }

    pub(crate) fn line(&self, compared: bool) -> String {
        let Total { passed, failed, skipped, differ } = self;
        let mut line = format!("{passed} passed, {failed} failed, {skipped} skipped");
        if compared {
            let _ = write!(line, ", {differ} differ from wasmtime");
        }
        line
    }

    pub(crate) fn json(&self, verdicts: &[(String, Verdict)], compared: bool) -> Value {
        let tests: Vec<_> = verdicts.iter().map(|(name, verdict)| verdict.json(name)).collect();
        let mut all = json!({
            "passed": self.passed,
            "failed": self.failed,
            "skipped": self.skipped,
            "tests": tests,
        });
        if compared {
            all["differ"] = self.differ.into();
        }
        all
    }
}
