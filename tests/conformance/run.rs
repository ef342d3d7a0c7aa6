//! Running a case at a level and comparing what came of it.

use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;
use std::sync::Arc;

use ringfence::{Exit, Level, Load, Manifest, Report, Resolver, Runtime, StreamIn, StreamOut};

use crate::{Case, Ends, Place};

/// What came of a case.
pub type Outcome = Result<(), String>;

/// Runs `case` at `level` in a fresh place.
///
/// # Errors
/// What was not as expected.
pub fn run(case: &Case, level: Level) -> Outcome {
    let place = Place::new().map_err(|error| format!("no place: {error}"))?;
    (case.before)(&place);
    let before = open_descriptors();
    let report = report(case, level, &place)?;
    compare(case, &place, &report)?;
    place.untouched()?;
    (case.after)(&place);
    // What the case opened is closed; the servers of the place may have taken connections meanwhile.
    let after = open_descriptors();
    if after > before + 8 {
        return Err(format!("{before} descriptors were open before and {after} are now"));
    }
    Ok(())
}

fn open_descriptors() -> usize {
    std::fs::read_dir("/proc/self/fd").map_or(0, Iterator::count)
}

/// The program that every case runs.
fn probe(_: Level) -> PathBuf {
    concat!(env!("CARGO_MANIFEST_DIR"), "/../programs/probe.wasm").into()
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

fn report(case: &Case, level: Level, place: &Place) -> Result<Report, String> {
    let text = place.fill(&format!(
        "[capsule]\nname = \"conformance\"\n[program]\npath = {:?}\n[isolation]\nlevel = \"{level}\"\n\
         [permissions]\nargs = true\n{}\n[mounts]\n\"/data\" = {{ from = \"data\", mode = \"rw\" }}\n\
         \"/fixed\" = {{ from = \"fixed\", mode = \"ro\" }}\n[limits]\n{}\n{}\n",
        probe(level).display().to_string(),
        case.permissions,
        case.limits,
        case.sections,
    ));
    let manifest = Manifest::parse("capsule.toml", &text).map_err(|error| error.to_string())?;
    let runtime = Runtime::builder()
        .data_home(place.path("home"))
        .cache(std::env::temp_dir().join("ringfence-conformance-cache"))
        .resolver(Arc::new(Names))
        .build()
        .map_err(|error| error.to_string())?;
    let probe = place.fill(case.probe);
    let load = Load::manifest(manifest)
        .directory(place.path(""))
        .args(probe.split_whitespace())
        .stdin(StreamIn::Bytes(case.stdin.as_bytes().to_vec()))
        .stdout(StreamOut::Capture)
        .stderr(StreamOut::Capture);
    let capsule = runtime.load_with(load).map_err(|error| format!("not loaded: {error}"))?;
    capsule.run_blocking().map_err(|error| format!("not started: {error}"))
}

fn compare(case: &Case, place: &Place, report: &Report) -> Outcome {
    let ended = match (&report.exit, case.ends) {
        (Exit::Returned(status), Ends::Status(wanted)) => *status == wanted,
        (Exit::Exceeded(limit), Ends::Exceeded(wanted)) => limit.limit.name() == wanted,
        (Exit::Trapped(trap), Ends::Trapped(wanted)) => trap.to_string().contains(wanted),
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
    for (permission, resource) in case.denies {
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
    Ok(())
}

/// Whether a line is as expected; `…` at the end stands for any rest.
fn matches(wanted: &str, found: &str) -> bool {
    wanted.strip_suffix('…').map_or(wanted == found, |start| found.starts_with(start))
}
