//! `ringfence run --dry-run-fs`, and what becomes of the changes.

use std::collections::BTreeMap;
use std::os::unix::fs::{MetadataExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::lab::{Lab, Ran};

const GRANT: [&str; 4] =
    ["--mount", "./data:/data:rw", "--allow", "fs.read,fs.write,fs.create,fs.delete,fs.list=/data"];

/// A lab with some files, on a machine that has the level.
fn lab() -> Option<Lab> {
    let lab = Lab::new();
    if lab.lacks("sandbox").is_some() {
        return None;
    }
    furnish(&lab, "data");
    Some(lab)
}

fn furnish(lab: &Lab, folder: &str) {
    for (name, text) in [("a", "one\ntwo\n"), ("b", "gone"), ("sub/c", "c"), ("sub/deep/d", "d"), ("old/e", "e")] {
        lab.write(&format!("{folder}/{name}"), text);
    }
    symlink("a", lab.at(folder).join("link")).unwrap();
}

/// A run of `script` in /data that keeps its changes as `name`.
fn dry(lab: &Lab, name: &str, script: &str) -> Ran {
    let name = format!("--dry-run-fs={name}");
    let script = format!("cd /data && {{ {script}; }}");
    lab.ringfence(&[&["run", &name, "--json"], &GRANT[..], &["sh", "--", "-c", &script]].concat()).exits(0)
}

/// Kind, mode and content of everything in a folder.
fn tree(folder: &Path) -> BTreeMap<PathBuf, (u32, Vec<u8>)> {
    let mut found = BTreeMap::new();
    let mut waiting = vec![folder.to_owned()];
    while let Some(at) = waiting.pop() {
        let metadata = at.symlink_metadata().unwrap();
        let content = if metadata.is_dir() {
            // Some are closed to everybody but root.
            waiting.extend(std::fs::read_dir(&at).into_iter().flatten().map(|entry| entry.unwrap().path()));
            Vec::new()
        } else if metadata.is_symlink() {
            std::fs::read_link(&at).unwrap().into_os_string().into_encoded_bytes()
        } else {
            std::fs::read(&at).unwrap_or_default()
        };
        let mode = if metadata.is_symlink() { 0 } else { metadata.mode() };
        found.insert(at.strip_prefix(folder).unwrap().to_owned(), (mode, content));
    }
    found
}

/// Everything that can happen to a tree of files.
const SCRIPT: &str = "echo three >>a; rm b; echo new >n; chmod 600 sub/c; mkdir -p x/y; echo z >x/y/z; chmod 700 x; \
    mv sub/deep moved; rm link; ln -s ../elsewhere link; ln -s x into; rm -r old; mkdir old; echo f >old/f; \
    ln a hard; printf 'odd' >'a\nname'; mv n renamed; echo same >t; rm t; touch sub/c; rm -r sub/none 2>/dev/null; \
    mkdir -p closed/in; echo x >closed/in/file; chmod 0 closed/in/file; chmod 0 closed/in; chmod 500 closed; chmod 750 .";

#[test]
fn what_is_committed_is_what_the_run_would_have_done() {
    let Some(lab) = lab() else { return };
    furnish(&lab, "direct");
    let before = tree(&lab.at("data"));
    let ran = dry(&lab, "mine", SCRIPT);
    assert_eq!(tree(&lab.at("data")), before, "nothing was changed");
    let events = ran.events();
    let changes = events.iter().find(|event| event["event"] == "changes").unwrap();
    let of = |path: &str| {
        let all = changes["changes"].as_array().unwrap();
        all.iter().find(|change| change["path"] == path).unwrap_or_else(|| panic!("{path}: {changes:#}"))
    };
    assert_eq!((&of("/data/a")["change"], &of("/data/a")["diff"][3]), (&"changed".into(), &"+three".into()));
    assert_eq!((&of("/data/b")["change"], &of("/data/old/e")["change"]), (&"removed".into(), &"removed".into()));
    assert_eq!(of("/data/link")["target"], "../elsewhere");
    assert_eq!(
        (&of("/data/sub/c")["before"]["mode"], &of("/data/sub/c")["after"]["mode"]),
        (&"644".into(), &"600".into())
    );

    let shown = lab.ringfence(&["changes", "mine"]).exits(0).stdout;
    assert!(
        shown.contains("    | +three") && shown.contains("/data/a\\nname") && !shown.contains("a\nname"),
        "{shown}"
    );
    assert_eq!(lab.ringfence(&["changes"]).exits(0).stdout, "mine\n");
    let ran = lab.ringfence(&["commit", "mine"]);
    assert_eq!(ran.exits(0).stderr, "");
    let script = format!("umask 022; cd direct; {SCRIPT}");
    assert!(Command::new("sh").args(["-c", &script]).current_dir(lab.at(".")).status().unwrap().success());
    assert_eq!(tree(&lab.at("data")), tree(&lab.at("direct")));
    assert_eq!(lab.ringfence(&["changes"]).exits(0).stdout, "no changes are kept\n");
}

#[test]
fn nothing_is_left_of_what_is_discarded_or_of_a_run_without_changes() {
    let Some(lab) = lab() else { return };
    let before = tree(&lab.at("data"));
    dry(&lab, "first", "echo x >a");
    let ran = lab.ringfence(&["run", "--dry-run-fs=first", "sh", "--", "-c", "true"]).exits(120);
    assert!(ran.stderr.contains("already"), "{}", ran.stderr);
    lab.ringfence(&["discard", "first"]).exits(0);
    lab.ringfence(&["discard", "first"]).exits(120);
    lab.ringfence(&["commit", "../first"]).exits(120);
    assert!(dry(&lab, "second", "cat a >/dev/null; chmod 644 a").stderr.contains("nothing was changed"));
    assert_eq!(tree(&lab.at("data")), before);
    assert_eq!(lab.ringfence(&["changes", "--json"]).exits(0).json(), serde_json::json!([]));
    let ran = lab
        .ringfence(&[&["run", "--dry-run-fs"], &GRANT[..], &["sh", "--", "-c", "echo x >/data/a"]].concat())
        .exits(0);
    assert!(ran.stderr.contains("changes kept as sh-1"), "{}", ran.stderr);
}

#[test]
fn what_the_host_changed_meanwhile_is_not_overwritten() {
    let Some(lab) = lab() else { return };
    dry(&lab, "mine", "echo x >a; rm b; rm -r sub; echo new >n; echo e >old/e; mkdir m");
    lab.write("data/a", "the host's");
    lab.write("data/sub/deep/more", "the host's");
    lab.write("data/n", "the host's");
    let ran = lab.ringfence(&["commit", "mine", "--json"]).exits(116).json();
    let kept = ran["kept"].as_array().unwrap();
    let mut paths: Vec<&str> =
        kept.iter().map(|kept| kept["path"].as_str().unwrap().rsplit("/data/").next().unwrap()).collect();
    paths.sort_unstable();
    assert_eq!(paths, ["a", "n", "sub", "sub/deep"], "{ran:#}");
    assert_eq!((lab.read("data/a"), lab.read("data/n")), ("the host's".into(), "the host's".into()));
    assert_eq!((lab.read("data/sub/deep/more"), lab.read("data/old/e")), ("the host's".into(), "e\n".into()));
    assert!(!lab.at("data/b").exists() && !lab.at("data/sub/c").exists() && lab.at("data/m").is_dir());
    // What was in the way is gone: then it can be done.
    std::fs::remove_file(lab.at("data/n")).unwrap();
    std::fs::remove_file(lab.at("data/sub/deep/more")).unwrap();
    lab.ringfence(&["commit", "mine"]).exits(116);
    assert_eq!((lab.read("data/n"), lab.at("data/sub").exists()), ("new\n".into(), false));
    lab.ringfence(&["discard", "mine"]).exits(0);
}

#[test]
fn hostile_changes_stay_in_the_mount() {
    let Some(lab) = lab() else { return };
    let outside = lab.write("outside/file", "outside");
    let script = format!(
        "rm -r sub; ln -s {0} sub; ln -s {0}/file planted; rm a; ln -s ../outside/file a; mkfifo pipe; \
         mkdir 'd\n'; echo x >'d\n/\x1b[31m'; chmod 6755 b; rm -r old; echo now a file >old",
        lab.at("outside").display()
    );
    dry(&lab, "mine", &script);
    // A link in the place of a folder something is to be written into, on the host's side.
    let shown = lab.ringfence(&["changes", "mine"]).exits(0).stdout;
    assert!(!shown.contains('\x1b'), "{shown}");
    lab.ringfence(&["commit", "mine"]).exits(116);
    assert_eq!((std::fs::read_to_string(&outside).unwrap(), tree(&lab.at("outside")).len()), ("outside".into(), 2));
    assert!(!lab.at("data/pipe").exists() && lab.read("data/old") == "now a file\n");
    assert_eq!(lab.at("data/b").metadata().unwrap().mode() & 0o7000, 0, "no set-user-id bit is applied");
    assert!(lab.at("data/sub").is_symlink() && lab.at("data/a").is_symlink());
    lab.ringfence(&["discard", "mine"]).exits(0);

    furnish_again(&lab);
    dry(&lab, "second", "echo x >sub/deep/d; echo y >sub/new; rm sub/c");
    std::fs::rename(lab.at("data/sub"), lab.at("aside")).unwrap();
    std::fs::create_dir_all(lab.at("outside/deep")).unwrap();
    for name in ["c", "deep/d"] {
        std::fs::copy(lab.at("aside").join(name), lab.at("outside").join(name)).unwrap();
    }
    symlink(lab.at("outside"), lab.at("data/sub")).unwrap();
    let before = tree(&lab.at("outside"));
    lab.ringfence(&["commit", "second"]).exits(116);
    assert_eq!(tree(&lab.at("outside")), before);
}

fn furnish_again(lab: &Lab) {
    std::fs::remove_dir_all(lab.at("data")).unwrap();
    furnish(lab, "data");
}

#[test]
fn a_single_file_is_kept_apart_too() {
    let Some(lab) = lab() else { return };
    let mount =
        ["--mount", "./data/a:/own/a:rw", "--allow", "fs.read,fs.write=/own/a", "sh", "--", "-c", "echo x >>/own/a"];
    lab.ringfence(&[&["run", "--dry-run-fs=file"], &mount[..]].concat()).exits(0);
    assert_eq!(lab.read("data/a"), "one\ntwo\n");
    lab.ringfence(&["commit", "file"]).exits(0);
    assert_eq!(lab.read("data/a"), "one\ntwo\nx\n");
}

#[test]
fn changes_are_not_kept_within_what_they_change() {
    let Some(lab) = lab() else { return };
    let mut command = lab.command(&[&["run", "--dry-run-fs"], &GRANT[..], &["true"]].concat());
    let ran = Ran::from(command.env("XDG_STATE_HOME", lab.at("data")).output().unwrap()).exits(120);
    assert!(ran.stderr.contains("set XDG_STATE_HOME"), "{}", ran.stderr);
}

#[cfg(feature = "wasm")]
#[test]
fn level_wasm_refuses_a_dry_run() {
    let ran =
        Lab::new().ringfence(&["run", "--dry-run-fs", &crate::lab::program("probe.wasm"), "--", "args"]).exits(120);
    assert!(ran.stderr.contains("--dry-run-fs"), "{}", ran.stderr);
}

#[test]
fn what_is_below_a_folder_that_was_made_anew_is_gone() {
    let Some(lab) = lab() else { return };
    dry(&lab, "anew", "rm -r sub; mkdir -p sub/deep; echo n >sub/deep/n");
    let shown = lab.ringfence(&["changes", "anew"]).exits(0).stdout;
    assert!(shown.contains("sub/c") && shown.contains("sub/deep/d"), "{shown}");
    lab.ringfence(&["commit", "anew"]).exits(0);
    let found: Vec<PathBuf> = tree(&lab.at("data/sub")).into_keys().collect();
    assert_eq!(found, ["", "deep", "deep/n"].map(PathBuf::from));
}

#[test]
fn a_folder_that_became_a_link_meanwhile_is_not_followed() {
    let Some(lab) = lab() else { return };
    dry(&lab, "moved", "echo x >new; rm b");
    std::fs::create_dir(lab.at("victim")).unwrap();
    std::fs::rename(lab.at("data"), lab.at("elsewhere")).unwrap();
    symlink("victim", lab.at("data")).unwrap();
    lab.write("victim/b", "a secret");
    let shown = lab.ringfence(&["changes", "moved"]).exits(0).stdout;
    assert!(shown.contains("/data/b") && !shown.contains("secret"), "{shown}");
    std::fs::remove_file(lab.at("victim/b")).unwrap();
    let ran = lab.ringfence(&["commit", "moved"]).exits(116);
    assert!(ran.stdout.contains("another folder"), "{}", ran.stdout);
    assert_eq!(std::fs::read_dir(lab.at("victim")).unwrap().count(), 0);
    std::fs::remove_file(lab.at("data")).unwrap();
    std::fs::rename(lab.at("elsewhere"), lab.at("data")).unwrap();
    lab.ringfence(&["commit", "moved"]).exits(0);
    assert_eq!(lab.read("data/new"), "x\n");
}

#[test]
fn a_folder_that_the_host_made_meanwhile_keeps_its_mode() {
    use std::os::unix::fs::DirBuilderExt;
    let Some(lab) = lab() else { return };
    dry(&lab, "both", "mkdir -m 777 private; echo x >private/x; echo true >tool; chmod +x tool");
    let shown = lab.ringfence(&["changes", "both"]).exits(0).stdout;
    assert!(shown.contains("executable, mode 755") && shown.contains("mode 777"), "{shown}");
    std::fs::DirBuilder::new().mode(0o700).create(lab.at("data/private")).unwrap();
    lab.ringfence(&["commit", "both"]).exits(0);
    assert_eq!(lab.at("data/private").metadata().unwrap().mode() & 0o7777, 0o700);
    assert_eq!(lab.read("data/private/x"), "x\n");
}

#[test]
fn an_access_control_list_outlives_a_change() {
    let Some(lab) = lab() else { return };
    // user::rw- user:1234:rw- group::--- mask::rw- other::---, in the form of acl(5) for the attribute.
    let entry = |tag: u16, rights: u16, id: u32| {
        [&tag.to_le_bytes()[..], &rights.to_le_bytes()[..], &id.to_le_bytes()[..]].concat()
    };
    let nobody = u32::MAX;
    let entries =
        [entry(1, 6, nobody), entry(2, 6, 1234), entry(4, 0, nobody), entry(16, 6, nobody), entry(32, 0, nobody)];
    let list = [&2_u32.to_le_bytes()[..], &entries.concat()].concat();
    let name = c"system.posix_acl_access";
    if rustix::fs::setxattr(lab.at("data/a"), name, &list, rustix::fs::XattrFlags::empty()).is_err() {
        eprintln!("skipped: no access control lists on the file system of the temporary folder");
        return;
    }
    dry(&lab, "listed", "echo three >>a");
    lab.ringfence(&["commit", "listed"]).exits(0);
    assert_eq!(lab.read("data/a"), "one\ntwo\nthree\n");
    let mut found = [0; 256];
    let length = rustix::fs::getxattr(lab.at("data/a"), name, &mut found[..]).unwrap();
    assert_eq!(found[..length], list[..]);
}

#[test]
fn what_was_applied_before_is_no_conflict_and_a_sparse_file_stays_one() {
    let Some(lab) = lab() else { return };
    dry(&lab, "again", "echo new >n; rm b; truncate -s 1G big; printf end >>big; mkdir -m 1777 open");
    // As an earlier try that was interrupted left it.
    lab.write("data/n", "new\n");
    std::fs::remove_file(lab.at("data/b")).unwrap();
    lab.ringfence(&["commit", "again"]).exits(0);
    let big = lab.at("data/big").metadata().unwrap();
    assert_eq!(big.len(), (1 << 30) + 3);
    assert!(big.blocks() < 1024, "{} blocks", big.blocks());
    assert_eq!(lab.at("data/open").metadata().unwrap().mode() & 0o7777, 0o1777);
}

/// What the limit on the size of files ends (`SIGXFSZ`) has written a part of one.
#[test]
fn a_commit_that_is_killed_leaves_nothing_for_good() {
    let Some(lab) = lab() else { return };
    let before = tree(&lab.at("data"));
    dry(&lab, "cut", "mkdir x; head -c 4M /dev/zero >x/big; head -c 4M /dev/zero >a");
    let unplaced = || -> Vec<PathBuf> {
        let is_new = |path: &PathBuf| path.file_name().unwrap().to_string_lossy().starts_with(".ringfence-");
        tree(&lab.at("data")).into_keys().skip(1).filter(is_new).collect()
    };
    let killed = || {
        let mut command = Command::new("sh");
        let script = "ulimit -c 0; ulimit -f 1024; exec env --default-signal=XFSZ \"$0\" commit cut";
        let status = lab.prepare(&mut command).args(["-c", script, env!("CARGO_BIN_EXE_ringfence")]).status().unwrap();
        assert!(!status.success());
        assert_eq!(unplaced().len(), 1, "{status}");
    };
    killed();
    let place = lab.at("data").join(&unplaced()[0]).to_string_lossy().into_owned();
    let would = lab.ringfence(&["clean", "--dry-run"]).exits(0).stdout;
    assert!(would.contains(&place) && unplaced().len() == 1, "{would}");
    assert!(lab.ringfence(&["clean"]).exits(0).stdout.contains(&place) && unplaced().is_empty());
    killed();
    // Begun anew, and once more: what was left is gone, and what was done is done.
    killed();
    lab.ringfence(&["commit", "cut"]).exits(0);
    assert!(unplaced().is_empty() && lab.at("data/x/big").metadata().unwrap().len() == 4 << 20);
    assert_eq!(tree(&lab.at("data")).len(), before.len() + 2);

    dry(&lab, "cut", "head -c 4M /dev/zero >b");
    killed();
    lab.ringfence(&["discard", "cut"]).exits(0);
    assert!(unplaced().is_empty());
}

/// Makes folders in each other with a file in the last one, works from one to the next, and ends with 7.
fn dig(depth: u32, letters: u32) -> String {
    let dig = format!("$n = 'd' x {letters}; for (1..{depth}) {{ mkdir $n or die; chdir $n or die }}");
    format!("perl -e '{}; open(F, \">\", \"file\") or die; print F \"deep\"; exit 7'", dig.replace('\'', "\""))
}

/// What is in the file that [`dig`] made.
fn dug(folder: &Path, depth: u32, letters: usize) -> Option<String> {
    use rustix::fs::{CWD, Mode, OFlags, openat};
    let name = "d".repeat(letters);
    let open = |above: &std::os::fd::OwnedFd, name: &str, flags| openat(above, name, flags, Mode::empty()).ok();
    let flags = OFlags::RDONLY | OFlags::CLOEXEC;
    let top = openat(CWD, folder, flags, Mode::empty()).ok()?;
    let last = (0..depth).try_fold(top, |above, _| open(&above, &name, flags | OFlags::DIRECTORY))?;
    std::io::read_to_string(std::fs::File::from(open(&last, "file", flags)?)).ok()
}

#[test]
fn what_is_deeper_than_the_longest_path_is_listed_and_committed() {
    let Some(lab) = lab() else { return };
    let script = format!("cd /data; {}", dig(30, 200));
    let run = |name: &str, script: &str| {
        lab.ringfence(&[&["run", name, "--json"], &GRANT[..], &["sh", "--", "-c", script]].concat())
    };
    run("--dry-run-fs=deep", &script).exits(7);
    let shown = lab.ringfence(&["changes", "deep"]).exits(0).stdout;
    assert!(shown.contains("/file") && shown.contains("+deep"), "{shown}");
    lab.ringfence(&["commit", "deep"]).exits(0);
    assert_eq!(dug(&lab.at("data"), 30, 200).as_deref(), Some("deep"));
    // And what the host has of that kind.
    run("--dry-run-fs=flat", "cd /data && rm -r d*").exits(0);
    lab.ringfence(&["commit", "flat"]).exits(0);
    assert_eq!(tree(&lab.at("data")).len(), 10);
}

#[test]
fn a_run_whose_changes_cannot_be_listed_has_its_own_exit_code() {
    let Some(lab) = lab() else { return };
    let script = format!("cd /data; {}", dig(800, 250));
    let ran =
        lab.ringfence(&[&["run", "--dry-run-fs=vast", "--json"], &GRANT[..], &["sh", "--", "-c", &script]].concat());
    let ran = ran.exits(7);
    let told = ran.events().into_iter().find(|event| event["event"] == "unlisted");
    assert_eq!(told.unwrap_or_else(|| panic!("{}", ran.stderr))["name"], "vast");
    lab.ringfence(&["commit", "vast"]).exits(120);
    lab.ringfence(&["discard", "vast"]).exits(0);
    assert!(!lab.at("../data/ringfence/changes/vast").exists());
}

#[test]
fn a_failure_is_json_where_that_was_asked_for() {
    let lab = Lab::new();
    for command in ["changes", "commit", "discard"] {
        let ran = lab.ringfence(&[command, "no-such", "--json"]).exits(120);
        let shown: serde_json::Value = serde_json::from_str(&ran.stdout).unwrap();
        assert!(shown["failure"]["message"].as_str().unwrap().contains("no-such"), "{shown}");
    }
}
