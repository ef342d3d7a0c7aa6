//! What a test did, and whether it did the same on both sides.

use std::fmt::Write;

use serde_json::{Value, json};

/// The words with which a test of the Linux Test Project tells of its parts.
const WORDS: [&str; 5] = ["TPASS", "TFAIL", "TBROK", "TCONF", "TWARN"];
/// The bit of a status that says that a test cannot be run here.
const UNFIT: i32 = 32;
/// How many lines of a difference are shown.
const SHOWN: usize = 6;

/// What a test did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Behaviour {
    /// How it ended: a status as a shell shows it, or what else there is to say.
    pub(crate) end: Result<i32, String>,
    pub(crate) stdout: Vec<u8>,
    pub(crate) stderr: Vec<u8>,
}

impl Behaviour {
    /// Why it says nothing about a level, if it does not.
    pub(crate) fn is_no_measure(&self) -> Option<String> {
        match &self.end {
            Err(reason) => Some(reason.clone()),
            Ok(status) if status & UNFIT != 0 && self.counts()[3] > 0 => {
                Some(self.line("TCONF").unwrap_or("TCONF").to_owned())
            }
            Ok(_) => None,
        }
    }

    /// How often each of the words is there, at most once in a line.
    fn counts(&self) -> [usize; WORDS.len()] {
        let text = self.text();
        WORDS.map(|word| {
            text.lines().filter(|line| line.split(|c: char| !c.is_alphanumeric()).any(|w| w == word)).count()
        })
    }

    fn text(&self) -> String {
        [&self.stdout, &self.stderr].map(|bytes| String::from_utf8_lossy(bytes).into_owned()).join("\n")
    }

    fn line(&self, word: &str) -> Option<&str> {
        let lines = [&self.stdout, &self.stderr].into_iter().filter_map(|bytes| std::str::from_utf8(bytes).ok());
        lines.flat_map(str::lines).find(|line| line.contains(word))
    }

    fn end_text(&self) -> String {
        match &self.end {
            Ok(status) => format!("status {status}"),
            Err(reason) => reason.clone(),
        }
    }

    fn json(&self) -> Value {
        let counts = self.counts();
        let words: serde_json::Map<_, _> = WORDS
            .iter()
            .zip(counts)
            .filter(|(_, count)| *count > 0)
            .map(|(word, n)| ((*word).into(), n.into()))
            .collect();
        json!({ "end": self.end_text(), "parts": words })
    }
}

/// What is said of a test.
#[derive(Debug)]
pub(crate) struct Verdict {
    word: &'static str,
    reasons: Vec<String>,
    host: Option<Behaviour>,
    level: Option<Behaviour>,
}

impl Verdict {
    /// It was not run at the level.
    pub(crate) fn skipped(reason: String) -> Self {
        Verdict { word: "skipped", reasons: vec![reason], host: None, level: None }
    }

    /// The level did not run it at all.
    pub(crate) fn failed(host: Behaviour, reason: String) -> Self {
        Verdict { word: "failed", reasons: vec![reason], host: Some(host), level: None }
    }

    /// It passed when it ended the same, with the same parts passed and failed.
    pub(crate) fn compare(host: Behaviour, level: Behaviour, stdout: bool) -> Self {
        let mut reasons = Vec::new();
        if host.end != level.end {
            reasons.push(format!("{} here, {} on the host", level.end_text(), host.end_text()));
        }
        for ((word, here), there) in WORDS.iter().zip(level.counts()).zip(host.counts()) {
            if here != there {
                reasons.push(format!("{here} {word} here, {there} on the host"));
            }
        }
        if !reasons.is_empty() {
            let telling = ["TFAIL", "TBROK", "TCONF"].into_iter().filter_map(|word| level.line(word));
            reasons.extend(telling.take(3).map(str::to_owned));
        }
        if stdout && host.stdout != level.stdout {
            reasons.extend(difference(&host.stdout, &level.stdout));
        }
        if !reasons.is_empty()
            && let Some(line) = String::from_utf8_lossy(&level.stderr).lines().last()
        {
            reasons.push(format!("standard error: {line}"));
        }
        let word = if reasons.is_empty() { "passed" } else { "failed" };
        Verdict { word, reasons, host: Some(host), level: Some(level) }
    }

    pub(crate) fn lines(&self, name: &str) -> String {
        let mut lines = format!("{:7} {name}\n", self.word);
        for reason in &self.reasons {
            let _ = writeln!(lines, "        {}", reason.escape_debug());
        }
        lines
    }

    fn json(&self, name: &str) -> Value {
        let side = |side: &Option<Behaviour>| side.as_ref().map(Behaviour::json);
        json!({
            "name": name,
            "outcome": self.word,
            "reasons": self.reasons,
            "host": side(&self.host),
            "level": side(&self.level),
        })
    }
}

/// The first lines that differ.
fn difference(host: &[u8], level: &[u8]) -> Vec<String> {
    let [host, level] = [host, level].map(|bytes| String::from_utf8_lossy(bytes).into_owned());
    let (mut host, mut level) = (host.lines(), level.lines());
    let mut shown = Vec::new();
    loop {
        let (there, here) = match (host.next(), level.next()) {
            (None, None) => return shown,
            (there, here) if there == here => continue,
            (there, here) => (there.unwrap_or("(nothing)"), here.unwrap_or("(nothing)")),
        };
        if shown.len() == SHOWN {
            shown.push("…".into());
            return shown;
        }
        shown.push(format!("prints {here} and on the host {there}"));
    }
}

/// How many tests came to what.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Total {
    pub(crate) passed: usize,
    pub(crate) failed: usize,
    pub(crate) skipped: usize,
}

impl Total {
    pub(crate) fn of(verdicts: &[(String, Verdict)]) -> Self {
        let count = |word: &str| verdicts.iter().filter(|(_, verdict)| verdict.word == word).count();
        Total { passed: count("passed"), failed: count("failed"), skipped: count("skipped") }
    }

    pub(crate) fn line(&self, level: &str) -> String {
        let Total { passed, failed, skipped } = self;
        format!("level {level}: {passed} passed, {failed} failed, {skipped} skipped")
    }

    pub(crate) fn json(&self, level: &str, verdicts: &[(String, Verdict)]) -> Value {
        let tests: Vec<_> = verdicts.iter().map(|(name, verdict)| verdict.json(name)).collect();
        let Total { passed, failed, skipped } = self;
        json!({ "level": level, "passed": passed, "failed": failed, "skipped": skipped, "tests": tests })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn behaviour(status: i32, stdout: &str) -> Behaviour {
        Behaviour { end: Ok(status), stdout: stdout.into(), stderr: Vec::new() }
    }

    #[test]
    fn the_same_parts_have_to_pass() {
        let one = || behaviour(0, "a.c:1: TPASS: x\nb 1 TPASS : y\n");
        assert_eq!(Verdict::compare(one(), one(), false).word, "passed");
        let other = behaviour(0, "a.c:1: TPASS: x\nb 1 TFAIL : y\n");
        let verdict = Verdict::compare(one(), other, false);
        assert_eq!(verdict.reasons.len(), 3, "{verdict:?}");
    }

    #[test]
    fn output_counts_when_it_is_to() {
        let (host, level) = (behaviour(0, "1\n2\n"), behaviour(0, "1\n3\n"));
        assert_eq!(Verdict::compare(host.clone(), level.clone(), false).word, "passed");
        assert_eq!(Verdict::compare(host, level, true).reasons, ["prints 3 and on the host 2"]);
    }

    #[test]
    fn what_cannot_be_run_on_the_host_measures_nothing() {
        assert!(behaviour(32, "x.c:9: TCONF: no such module\n").is_no_measure().is_some());
        assert!(behaviour(32, "").is_no_measure().is_none());
        assert!(behaviour(1, "x.c:9: TFAIL: broken\n").is_no_measure().is_none());
    }
}
