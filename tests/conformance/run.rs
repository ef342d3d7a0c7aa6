//! Running a case at a level and comparing what came of it.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr};
use std::os::fd::AsRawFd;
use std::path::Path;
use std::sync::Arc;

use ringfence::{
    BuildError, Exit, Guarantee, Held, Level, Load, LoadError, Manifest, Report, Resolver, Runtime, StreamIn, StreamOut,
};

use crate::{Case, Ends, Place, Probe, Stdin};

/// What came of a case; an error is what was not as expected.
pub type Outcome = Result<Result<Passed, Skipped>, String>;

/// It is as expected.
#[derive(Clone, Debug, Default)]
pub struct Passed {
    /// Why something else was expected at this level.
    pub differs: Option<&'static str>,
    /// Why some of its denial events were not looked for.
    pub unseen: Option<String>,
}

/// Nothing ran, because of what is missing.
#[derive(Clone, Debug)]
pub struct Skipped(pub String);

/// Where a case runs, and whose verdicts it must get there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Setting {
    /// The level of the manifest.
    pub level: Level,
    /// The level whose program runs and whose outcome is expected: at levels sandbox and microvm WebAssembly runs,
    /// too, and must not notice.
    pub as_at: Level,
}

impl fmt::Display for Setting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.level == self.as_at {
            true => self.level.fmt(f),
            false => write!(f, "{}-in-{}", self.as_at, self.level),
        }
    }
}

/// Runs `case` in a fresh place.
///
/// # Errors
/// What was not as expected.
pub fn run(case: &Case, setting: Setting, probe: &Probe) -> Outcome {
    let Setting { level, as_at } = setting;
    let program = match probe.at(as_at) {
        Ok(program) => program,
        Err(why) => return Ok(Err(Skipped(why))),
    };
    let refused = case.refused_at(as_at);
    let (case, differs) = case.at(as_at);
    let place = Place::new().map_err(|error| format!("no place: {error}"))?;
    (case.before)(&place);
    let before = open_descriptors();
    let report = match (report(&case, level, &place, program), refused) {
        (Ok(report), None) => report,
        (Ok(report), Some(_)) => return Err(format!("a refusal was expected: {}", report.exit)),
        (Err(failed), refused) => return skip(failed, refused).map(Err),
    };
    let unseen = compare(&case, &place, &report)?;
    place.untouched()?;
    (case.after)(&place);
    // What the case opened is closed; the servers of the place may have taken connections meanwhile.
    let after = open_descriptors();
    if after > before + 8 {
        return Err(format!("{before} descriptors were open before and {after} are now"));
    }
    Ok(Ok(Passed { differs, unseen }))
}

/// What was not run is skipped when the case expects that, or this machine lacks something.
fn skip(failed: Failed, expected: Option<&str>) -> Result<Skipped, String> {
    match (failed, expected) {
        (Failed::Refused { text, .. }, Some(words)) if text.contains(words) => Ok(Skipped(text)),
        (Failed::Refused { text, missing }, _) if !missing.is_empty() => {
            Ok(Skipped(format!("{text} ({})", missing.join("; "))))
        }
        (Failed::Refused { text, .. } | Failed::Otherwise(text), _) => Err(text),
    }
}

/// Why there is no report.
enum Failed {
    /// The level would not have it; the facts that are missing here.
    Refused {
        text: String,
        missing: Vec<String>,
    },
    Otherwise(String),
}

impl From<LoadError> for Failed {
    fn from(error: LoadError) -> Self {
        let text = error.to_string().replace('\n', " ");
        match error {
            LoadError::Build(BuildError::Refused(refusal)) => {
                let missing = refusal.facts.iter().filter(|fact| !fact.usable);
                Failed::Refused {
                    text,
                    missing: missing.map(|fact| format!("{}: {}", fact.name, fact.found)).collect(),
                }
            }
            LoadError::Build(BuildError::Program { .. }) => Failed::Refused { text, missing: Vec::new() },
            _ => Failed::Otherwise(format!("not loaded: {text}")),
        }
    }
}

fn open_descriptors() -> usize {
    std::fs::read_dir("/proc/self/fd").map_or(0, Iterator::count)
}

/// Names that point where no name may lead.
struct Names;

impl Resolver for Names {
    fn resolve(
        &self,
        name: String,
    ) -> std::pin::Pin<Box<dyn Future<Output = std::io::Result<Vec<IpAddr>>> + Send + 'static>> {
        Box::pin(async move {
            Ok(match name.as_str() {
                "loop.test" | "rebind.test" | "localhost" => vec![Ipv4Addr::LOCALHOST.into()],
                "meta.test" => vec![Ipv4Addr::new(169, 254, 169, 254).into()],
                "mapped.test" => vec![IpAddr::V6(Ipv4Addr::LOCALHOST.to_ipv6_mapped())],
                _ => Vec::new(),
            })
        })
    }
}

fn report(case: &Case, level: Level, place: &Place, program: &Path) -> Result<Report, Failed> {
    let text = place.fill(&format!(
        "[capsule]\nname = \"conformance\"\n[program]\npath = {:?}\n[isolation]\nlevel = \"{level}\"\n\
         [permissions]\nargs = true\n{}\n[mounts]\n\"/data\" = {{ from = \"data\", mode = \"rw\" }}\n\
         \"/fixed\" = {{ from = \"fixed\", mode = \"ro\" }}\n[limits]\n{}\n{}\n",
        program.display().to_string(),
        case.permissions,
        case.limits,
        case.sections,
    ));
    let manifest = Manifest::parse("capsule.toml", &text).map_err(|error| Failed::Otherwise(error.to_string()))?;
    let runtime = Runtime::builder()
        .data_home(place.path("home"))
        .cache(std::env::temp_dir().join("ringfence-conformance-cache"))
        .resolver(Arc::new(Names))
        .runner(std::env::current_exe().map_err(|error| Failed::Otherwise(error.to_string()))?)
        .build()
        .map_err(|error| Failed::Otherwise(error.to_string()))?;
    let probe = place.fill(case.probe);
    let (silent, _held) = std::io::pipe().map_err(|error| Failed::Otherwise(error.to_string()))?;
    let stdin = match case.stdin {
        Stdin::Text(text) => StreamIn::Bytes(text.as_bytes().to_vec()),
        Stdin::Silent => StreamIn::File(format!("/proc/self/fd/{}", silent.as_raw_fd()).into()),
    };
    let load = Load::manifest(manifest)
        .directory(place.path(""))
        .args(probe.split_whitespace())
        .stdin(stdin)
        .stdout(StreamOut::Capture)
        .stderr(StreamOut::Capture);
    let capsule = runtime.load_with(load)?;
    capsule.run_blocking().map_err(|error| Failed::Otherwise(format!("not started: {error}")))
}

/// Why some denials were not looked for, when all else is as expected.
fn compare(case: &Case, place: &Place, report: &Report) -> Result<Option<String>, String> {
    let ended = match (&report.exit, case.ends) {
        (Exit::Returned(status), Ends::Status(wanted)) => *status == wanted,
        (Exit::Exceeded(limit), Ends::Exceeded(wanted)) => limit.limit.name() == wanted,
        (Exit::Trapped(trap), Ends::Trapped(wanted)) => trap.to_string().contains(wanted),
        // SIGILL, SIGTRAP, SIGABRT, SIGBUS, SIGFPE, SIGSEGV.
        (Exit::Returned(status), Ends::Signalled) => [132, 133, 134, 135, 136, 139].contains(status),
        (Exit::Denied(_), Ends::Denied) => true,
        _ => false,
    };
    let printed = report.stdout.as_deref().map(String::from_utf8_lossy).unwrap_or_default();
    let all = || format!("{} after {printed:?}, denials {:?}", report.exit, report.denials);
    if !ended {
        return Err(format!("{:?} was expected: {}", case.ends, all()));
    }
    let wanted: Vec<_> = case.prints.iter().map(|line| place.fill(line)).collect();
    let lines: Vec<_> = printed.lines().collect();
    let open_ended = wanted.last().is_some_and(|line| line == "…");
    if (lines.len() != wanted.len() && !open_ended)
        || !wanted.iter().zip(&lines).all(|(line, found)| matches(line, found))
    {
        return Err(format!("{wanted:?} was expected: {}", all()));
    }
    // A level may see a part of the denials only: then it says so, and must say so.
    let unseen = match report.enforced.get(Guarantee::DenialsReported) {
        Held::By { .. } => None,
        Held::Partly { missing, .. } => Some(missing),
        Held::Not { why } => return Err(format!("no denial is reported: {why}")),
    };
    let is_looked_for = |permission: &str| unseen.is_none() || permission.starts_with("net.");
    for (permission, resource) in case.denies.iter().filter(|(permission, _)| is_looked_for(permission)) {
        let resource = place.fill(resource);
        let there = report.denials.iter().any(|denied| {
            let name = denied.denial.permission.map_or_else(|| "-".to_owned(), |permission| permission.to_string());
            matches(permission, &name) && matches(&resource, &denied.denial.resource)
        });
        if !there {
            return Err(format!("no denial of {permission} on {resource}: {}", all()));
        }
    }
    if case.denies.is_empty() && !report.denials.is_empty() {
        return Err(format!("no denial was expected: {}", all()));
    }
    let some_were_not = case.denies.iter().any(|(permission, _)| !is_looked_for(permission));
    Ok(unseen.filter(|_| some_were_not))
}

/// Whether a line is as expected; `…` stands for anything.
fn matches(wanted: &str, found: &str) -> bool {
    let Some((start, mut rest)) = wanted.split_once('…') else { return wanted == found };
    let Some(mut found) = found.strip_prefix(start) else { return false };
    while let Some((part, after)) = rest.split_once('…') {
        let Some(at) = found.find(part) else { return false };
        found = &found[at + part.len()..];
        rest = after;
    }
    found.ends_with(rest)
}

#[cfg(test)]
mod tests {
    use super::matches;

    #[test]
    fn dots_stand_for_anything_and_nothing_else_does() {
        for (wanted, found) in [("ok", "ok"), ("ok …", "ok 1"), ("…", ""), ("a…b…c", "a1bb2c"), ("…c", "abc")]
        {
            assert!(matches(wanted, found), "{wanted} {found}");
        }
        for (wanted, found) in [("ok", "ok 1"), ("ok …", "err"), ("a…b…c", "acb"), ("a…bc", "ab"), ("…c", "cd")]
        {
            assert!(!matches(wanted, found), "{wanted} {found}");
        }
    }
}
