//! `ringfence run --learn`: what a program needs, found out in a run that changes nothing.

mod files;
mod view;

use std::fmt::Write as _;
use std::fs::OpenOptions;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use ringfence::manifest::section::{Mount, Stdio, Stream};
use ringfence::manifest::{
    ConnectRule, FilePermissions, HostPattern, HostRule, Kind, ListenRule, NetworkPermissions, PathRule, Permissions,
    Written,
};
use ringfence::{Manifest, Permission, Report, Resolved, Runtime, Spec, StreamIn, StreamOut};

use crate::events::Events;
use crate::failure::Failure;
use crate::held::Held;
use crate::instances::{self, Door};
use crate::run::{Ended, loaded, prepared, runtime, supervise};
use crate::scratch::{self, Scratch};
use crate::target::Target;
use crate::watchdog::Watchdog;

/// More uses of a permission right below one folder than this are granted as the folder.
const MANY: usize = 8;

/// Runs what `target` says in a scratch copy, and writes the manifest it needed into `file`.
pub(crate) fn learn(
    target: Target,
    tty: bool,
    file: &Path,
    door: Door,
    events: &Events,
    watchdog: &Watchdog,
) -> Result<Ended, Failure> {
    if file.exists() {
        return Err(Failure::wrong(format!("{} exists: name a new file to write the manifest to", file.display())));
    }
    let home = folder_of(file)?;
    let load = loaded(target, tty)?;
    let had_args = load.has_args();
    let written = load.merged()?;
    let runtime = runtime(events)?;
    let resolved = runtime.resolve(&load)?;
    let run = match resolved.spec.program.kind {
        Kind::Linux => learn_linux(resolved, &runtime, door, events, watchdog),
        _ => learn_wasm(resolved, &runtime, door, events, watchdog),
    };
    let Learned { ended, original, files } = run?;
    let before = &written.permissions.granted;
    let learned = granted(before, &ended.learned, files);
    let manifest = placed(written.with_permissions(learned), &original, &home);
    write(file, &text(&manifest, &ended.report, had_args))?;
    summarise(&manifest, file, &ended, events);
    Ok(ended)
}

/// A run that is over, and what was learned of it.
struct Learned {
    ended: Ended,
    /// The spec the manifest is written for.
    original: Spec,
    files: FilePermissions,
}

/// Learns from a run in a copy of the writable folders, which the program cannot tell from them.
fn learn_wasm(
    mut resolved: Resolved,
    runtime: &Runtime,
    door: Door,
    events: &Events,
    watchdog: &Watchdog,
) -> Result<Learned, Failure> {
    let original = resolved.spec.clone();
    // Nothing in it was granted, so it is not in the spec; what is there may be used now.
    let spec = &mut resolved.spec;
    spec.root = spec.root.take().or_else(|| runtime.folder_of(&spec.capsule));
    // Before it is copied: a copy does not tell what it is one of.
    instances::hide(spec)?;
    let scratch = runtime.block_on(Scratch::of(&mut resolved.spec, events, watchdog))?;
    resolved.spec.permissions.learn = true;
    let capsule = prepared(runtime, resolved, None)?;
    let ended = runtime.block_on(supervise(&capsule, door, events, watchdog))?;
    scratch.remove()?;
    watchdog.guard(None);
    let of = |permission| -> Vec<PathRule> {
        let used = ended.learned.iter().filter(|(used, _)| *used == permission);
        covering(used.map(|(_, path)| path.clone()).collect()).into_iter().map(PathRule).collect()
    };
    let files = FilePermissions {
        read: of(Permission::FsRead),
        write: of(Permission::FsWrite),
        create: of(Permission::FsCreate),
        delete: of(Permission::FsDelete),
        list: of(Permission::FsList),
    };
    Ok(Learned { ended, original, files })
}

/// Learns from a run that sees the host's files in their places and whose changes are kept apart.
fn learn_linux(
    mut resolved: Resolved,
    runtime: &Runtime,
    door: Door,
    events: &Events,
    watchdog: &Watchdog,
) -> Result<Learned, Failure> {
    let mut original = resolved.spec.clone();
    let apart = Held::make(&std::env::temp_dir(), scratch::PREFIX)?;
    watchdog.guard(Some(apart.path().to_owned()));
    let spec = &mut resolved.spec;
    let shown = view::widen(spec, apart.path());
    let overlay = apart.path().join("overlay");
    std::fs::create_dir(&overlay)?;
    spec.session.overlay = Some(overlay);
    spec.permissions.learn = true;
    let mounts = spec.mounts.clone();
    events.note(
        "while it is learned what it needs, the program sees the files of this machine as you do, and \
                 reaches the network; what it changes is thrown away",
    );
    let capsule = prepared(runtime, resolved, None)?;
    let ended = runtime.block_on(supervise(&capsule, door, events, watchdog))?;
    apart.remove()?;
    watchdog.guard(None);
    let needed = files::needed(&mounts, &shown, &ended.learned);
    original.mounts = needed.mounts;
    Ok(Learned { ended, original, files: needed.files })
}

fn folder_of(file: &Path) -> Result<PathBuf, Failure> {
    let parent = file.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    parent.canonicalize().map_err(|error| Failure::wrong(format!("cannot write {}: {error}", file.display())))
}

/// The permissions that cover what was used, and of the rest what was granted anyway and does not
/// tell whether it was used.
fn granted(before: &Permissions, learned: &[(Permission, String)], files: FilePermissions) -> Permissions {
    let of = |permission| -> Vec<String> {
        let resources = learned.iter().filter(|(used, _)| *used == permission);
        resources.map(|(_, resource)| resource.clone()).collect()
    };
    let connect: Vec<ConnectRule> = parsed(of(Permission::NetConnect));
    let named = |name: &HostPattern| connect.iter().any(|rule| rule.host == HostRule::Name(name.clone()));
    let resolve = parsed(of(Permission::NetResolve)).into_iter().filter(|name| !named(name)).collect();
    let listen = of(Permission::NetListen).iter().filter_map(|text| ListenRule::parse(text).ok()).flatten().collect();
    Permissions {
        files,
        network: NetworkPermissions { connect, listen, resolve },
        // Those of the run are kept as the program's own.
        args: false,
        ..before.clone()
    }
}

fn parsed<T: std::str::FromStr>(texts: Vec<String>) -> Vec<T> {
    texts.iter().filter_map(|text| text.parse().ok()).collect()
}

/// Few paths that cover all of `paths`: many in one folder are granted as the folder, the top
/// excepted, and what lies below another is covered by it.
fn covering(mut paths: Vec<String>) -> Vec<String> {
    paths.sort_unstable();
    paths.dedup();
    let parent = |path: &str| path.rsplit_once('/').map(|(parent, _)| parent.to_owned()).unwrap_or_default();
    let siblings = |path: &str| paths.iter().filter(|other| parent(other) == parent(path)).count();
    let mut covering: Vec<String> = Vec::new();
    for path in &paths {
        let folder = parent(path);
        let rule = if folder.is_empty() || siblings(path) <= MANY { path.clone() } else { folder };
        covering.push(rule);
    }
    covering.sort_unstable();
    covering.dedup();
    let all = covering.clone();
    let below = |path: &String, other: &String| path != other && PathRule(other.clone()).covers(path.as_bytes());
    covering.retain(|path| !all.iter().any(|other| below(path, other)));
    covering
}

/// The manifest with its paths as they are seen from `home`, where it will be.
fn placed(mut manifest: Manifest, original: &Spec, home: &Path) -> Manifest {
    manifest.program.path = Written::nowhere(relative(home, &original.program.path));
    manifest.program.args = original.program.args.iter().cloned().map(Written::nowhere).collect();
    let from = |path: &Path| Written::nowhere(relative(home, path).to_string_lossy().into_owned());
    manifest.mounts = original
        .mounts
        .iter()
        .map(|mount| Mount { at: Written::nowhere(mount.name.clone()), from: from(&mount.from), mode: mount.mode })
        .collect();
    // A manifest may name no file outside of its folder as a stream: that stays the user's to say.
    let file = |path: &Path| {
        let path = relative(home, path);
        path.is_relative().then(|| Written::nowhere(Stream::File(path)))
    };
    let out = |stream: &StreamOut| match stream {
        StreamOut::Inherit | StreamOut::Capture => None,
        StreamOut::Null => Some(Written::nowhere(Stream::Null)),
        StreamOut::File(path) | StreamOut::OfFolder(path) => file(path),
    };
    let stdin = match &original.stdio.stdin {
        StreamIn::Inherit | StreamIn::Bytes(_) => None,
        StreamIn::Null => Some(Written::nowhere(Stream::Null)),
        StreamIn::File(path) | StreamIn::OfFolder(path) => file(path),
    };
    manifest.stdio = Stdio { stdin, stdout: out(&original.stdio.stdout), stderr: out(&original.stdio.stderr) };
    manifest
}

/// `path` as it is seen from `home`, when it lies below it; else as it is.
pub(crate) fn relative(home: &Path, path: &Path) -> PathBuf {
    let real = path.canonicalize().unwrap_or_else(|_| path.to_owned());
    match real.strip_prefix(home) {
        Ok(below) if below.as_os_str().is_empty() => ".".into(),
        Ok(below) => below.to_owned(),
        Err(_) => path.to_owned(),
    }
}

fn text(manifest: &Manifest, report: &Report, had_args: bool) -> String {
    let usage = &report.usage;
    let mut text = String::from(
        "# Learned from one run in a scratch copy: what the program used, and nothing else. Another run\n\
         # may need more; what it is denied then says which line would grant it. Read before you trust.\n#\n",
    );
    if had_args {
        text.push_str(
            "# The arguments of that run are kept. To give others each time, take them out of [program] and write\n\
             # args = true below [permissions].\n#\n",
        );
    }
    // Writing to a string cannot fail.
    let _ = writeln!(
        text,
        "# That run used {} of memory, {:.2?} of processor time, {:.2?} of time, {} open handles,\n\
         # {} operations on {} of data. Limits a little above that would hold it to what it does.\n",
        ringfence::manifest::Bytes(usage.memory_peak),
        usage.cpu_time,
        usage.wall_time,
        usage.open_files_peak,
        usage.io_operations,
        ringfence::manifest::Bytes(usage.io_bytes),
    );
    text + &manifest.to_toml()
}

fn write(file: &Path, text: &str) -> Result<(), Failure> {
    let written = OpenOptions::new().write(true).create_new(true).open(file);
    let written = written.and_then(|mut opened| opened.write_all(text.as_bytes()));
    written.map_err(|error| Failure::wrong(format!("cannot write {}: {error}", file.display())))
}

fn summarise(manifest: &Manifest, file: &Path, ended: &Ended, events: &Events) {
    let granted = &manifest.permissions.granted;
    let mut summary = format!("learned {} from a run that {}:", file.display(), ended.report.exit);
    let before = summary.len();
    for &permission in Permission::ALL {
        let rules = granted.texts(permission);
        if !rules.is_empty() {
            let _ = write!(summary, "\n  {permission} = {}", rules.join(", "));
        }
    }
    if summary.len() == before {
        summary.push_str(" it needs nothing that has to be granted");
    }
    for missing in &ended.report.not_held {
        if matches!(missing.guarantee, ringfence::Guarantee::FilesystemConfined | ringfence::Guarantee::NetworkConfined)
        {
            let _ = write!(summary, "\n  did not hold while learning: {}: {}", missing.guarantee, missing.why);
        }
    }
    events.note(&summary);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn covered(paths: &[&str]) -> Vec<String> {
        covering(paths.iter().map(|path| (*path).to_owned()).collect())
    }

    #[test]
    fn few_paths_are_granted_as_they_are() {
        assert_eq!(covered(&["/b", "/a", "/a"]), ["/a", "/b"]);
    }

    #[test]
    fn what_lies_below_another_is_covered_by_it() {
        assert_eq!(covered(&["/data/x", "/data", "/data2"]), ["/data", "/data2"]);
    }

    #[test]
    fn many_in_one_folder_are_granted_as_the_folder_but_never_as_the_top() {
        let names = |folder: &str| (0..20).map(|number| format!("{folder}/{number}")).collect::<Vec<_>>();
        assert_eq!(covering(names("/data")), ["/data"]);
        assert_eq!(covering(names("")).len(), 20);
    }
}
