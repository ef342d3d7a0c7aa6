//! Where two walls stop something, one is taken away, and the other holds.

use std::collections::BTreeMap;
use std::ffi::CStr;
use std::net::TcpListener;
use std::path::Path;
use std::sync::Arc;

use ringfence_isolation::{Exit, Prepared, StartError};
use ringfence_manifest::{MountMode, Permission};

use crate::facts::{Facts, Missing};
use crate::prepared::Ready;
use crate::seccomp::permissive;
use crate::support::{Keeper, Lab, executor, explain, here, wait};
use crate::tree::{Operation, Root, Source};
use crate::{Linux, launch::Recipe};

use Permission::{FsCreate, FsDelete, FsList, FsRead, FsWrite};

fn ready(lab: &Lab) -> Ready {
    Linux::new(executor().handle().clone()).ready(&lab.spec).unwrap_or_else(|error| panic!("{}", explain(&error)))
}

/// On a kernel that has no Landlock.
fn without_landlock(lab: &Lab) -> Ready {
    let missing = Missing { found: "taken away".into(), remedy: "none".into() };
    // These tests are run by who built them; what that means without Landlock has a test of its own.
    let facts = Facts { landlock: Err(missing), own_program: Ok(()), ..Facts::find() };
    let linux = Linux::with_facts(facts, executor().handle().clone());
    let ready = linux.ready(&lab.spec).unwrap_or_else(|error| panic!("{}", explain(&error)));
    assert!(ready.recipe.confinement.landlock.is_none());
    ready
}

fn changed(mut ready: Ready, change: impl FnOnce(&mut Recipe)) -> Ready {
    change(Arc::get_mut(&mut ready.recipe).expect("nobody else has it"));
    ready
}

/// Pid 1 asks AppArmor for the profile before it leaves the host's tree, and pid 2 becomes nothing that the kernel does not show it for.
#[test]
fn without_a_profile_that_was_asked_for_nothing_runs() {
    use crate::apparmor::{AppArmor, Profile};
    use ringfence_isolation::{Guarantee, Held};
    if !here() {
        return;
    }
    let lab = Lab::shell("true");
    let place = tempfile::tempdir().unwrap();
    let at = place.path().join("exec");
    let profile = Some(Profile { enforces: true, on_exec: std::ffi::CString::new(at.to_str().unwrap()).unwrap() });
    let facts = Facts { apparmor: Some(AppArmor { own: "unconfined".into(), profile }), ..Facts::find() };
    let linux = Linux::with_facts(facts, executor().handle().clone());
    let ready = linux.ready(&lab.spec).unwrap_or_else(|error| panic!("{}", explain(&error)));
    // Where it cannot be asked for, nothing is built.
    let error = ready.build(Arc::new(Keeper::default())).err().expect("nothing is there to write to");
    assert!(explain(&error).contains("ringfence-capsule"), "{}", explain(&error));
    std::fs::write(&at, "").unwrap();
    let error = ready.build(Arc::new(Keeper::default())).err().expect("the kernel shows nothing of it");
    assert_eq!(std::fs::read_to_string(&at).unwrap(), "exec ringfence-capsule");
    assert!(explain(&error).contains("ringfence-capsule"), "{}", explain(&error));
    assert!(matches!(ready.promised.get(Guarantee::FilesystemConfined), Held::By { .. }));
}

/// A process that stays one has no more memory than its limit where nothing but the kernel's limits on a process counts.
#[test]
fn what_is_to_stay_alone_has_its_own_memory_and_no_more_of_it() {
    use crate::backend::Talks;
    if !here() {
        return;
    }
    let Some(program) = crate::support::compiled("alone.c") else { return };
    let mut lab = Lab::new(program);
    // As the carrier of a runner has it: nothing of this is promised.
    lab.spec.limits.memory = Some(ringfence_manifest::Bytes(64 << 20));
    // It has no devices.
    lab.spec.stdio.stdin = ringfence_manifest::StreamIn::Bytes(Vec::new());
    lab.spec.stdio.stderr = ringfence_manifest::StreamOut::Capture;
    let facts = Facts { cgroups: crate::cgroup::Hierarchies::default(), ..Facts::find() };
    let linux = Linux::with_facts(facts, executor().handle().clone());
    let ready = linux.ready_as(&lab.spec, Talks::Alone).unwrap_or_else(|error| panic!("{}", explain(&error)));
    assert_eq!(run(&ready), (Exit::Returned(0), "about its limit\n".to_owned()));
}

/// In the host's own tree, writable wherever the host's is.
fn without_mounts(ready: Ready) -> Ready {
    changed(ready, |recipe| {
        let source = Source::look(Path::new("/")).unwrap();
        recipe.tree.root = Root::Own { from: "/".into(), source, writable: true, overlay: None };
        // A stream that is nothing is the place's own, and in a copy of the host's tree no device can be opened.
        let is_nothing = |name: &CStr| name == c"null";
        recipe.tree.operations.retain(|step| matches!(step, Operation::Attach { at, .. } if is_nothing(&at.name)));
    })
}

/// With a filter that lets every call through.
fn without_seccomp(ready: Ready) -> Ready {
    changed(ready, |recipe| recipe.confinement.filter = permissive())
}

/// In the host's network.
fn without_network_namespace(ready: Ready) -> Ready {
    changed(ready, |recipe| recipe.clone_flags &= !(libc::CLONE_NEWNET as u64))
}

/// Runs it; how it ended and what it printed.
fn run(ready: &Ready) -> (Exit, String) {
    let keeper = Arc::new(Keeper::default());
    let instance = ready.build(keeper.clone()).unwrap_or_else(|error| panic!("{}", explain(&error)));
    assert_eq!(instance.start(), Ok::<(), StartError>(()));
    let exit = wait(instance.exited());
    (exit, String::from_utf8_lossy(&keeper.printed()).into_owned())
}

/// Everything in the folders in memory: mounts alone cannot tell it apart.
fn scratch(lab: Lab) -> Lab {
    let all = [FsRead, FsList, FsWrite, FsCreate, FsDelete];
    all.into_iter().fold(lab, |lab, permission| lab.grant(permission, "/tmp").grant(permission, "/dev/shm"))
}

/// A script in a lab with a folder it may do everything in, one it may read, and a secret beside them,
/// each under the name it has on the host.
fn files(script: &str) -> Lab {
    let mut lab = Lab::shell("");
    // Not in a folder that is in memory inside.
    lab.folder = tempfile::tempdir_in("/var/tmp").unwrap();
    let top = lab.folder.path().to_owned();
    for (name, mode) in [("own", MountMode::ReadWrite), ("fixed", MountMode::ReadWrite)] {
        let folder = top.join(name);
        std::fs::create_dir(&folder).unwrap();
        std::fs::write(folder.join("in.txt"), "inside\n").unwrap();
        let at = folder.to_str().unwrap().to_owned();
        lab.spec.mounts.push(ringfence_manifest::Mount { at: at.clone(), name: at.clone(), from: folder, mode });
        let granted: &[Permission] =
            if name == "own" { &[FsRead, FsList, FsWrite, FsCreate, FsDelete] } else { &[FsRead, FsList] };
        lab = granted.iter().fold(lab, |lab, &permission| lab.grant(permission, &at));
    }
    let secret = top.join("secret");
    std::fs::write(&secret, "secret\n").unwrap();
    std::os::unix::fs::symlink(&secret, top.join("own/link")).unwrap();
    let script = script.replace("TOP", top.to_str().unwrap());
    lab.args(&["-c", &script])
}

/// What may not be done to a file outside, or to one that may only be read; each prints when it works.
const ATTEMPTS: &str = "
    cat TOP/secret TOP/own/link TOP/own/../secret /proc/self/root/TOP/secret 2>/dev/null && echo read
    for path in TOP/secret TOP/own/link TOP/fixed/in.txt; do
        (echo changed > $path) 2>/dev/null && echo wrote $path
        (echo changed >> $path) 2>/dev/null && echo appended $path
        truncate -s 0 $path 2>/dev/null && echo truncated $path
    done
    rm -f TOP/secret TOP/fixed/in.txt 2>/dev/null && echo removed
    mkdir TOP/fixed/new 2>/dev/null && echo made
    mv TOP/fixed/in.txt TOP/own/ 2>/dev/null && echo moved
    ln TOP/fixed/in.txt TOP/own/hard 2>/dev/null && (echo changed > TOP/own/hard) 2>/dev/null && echo linked
    cat TOP/own/in.txt TOP/fixed/in.txt
    echo kept > TOP/own/new && cat TOP/own/new
    exit 0";

#[track_caller]
fn holds(lab: &Lab, ready: &Ready) {
    let (exit, printed) = run(ready);
    assert_eq!((exit, printed.as_str()), (Exit::Returned(0), "inside\ninside\nkept\n"));
    let text = |name: &str| std::fs::read_to_string(lab.folder.path().join(name)).unwrap();
    assert_eq!((text("secret").as_str(), text("fixed/in.txt").as_str()), ("secret\n", "inside\n"));
}

#[test]
fn files_are_safe_behind_both_walls_and_behind_each_alone() {
    if !here() {
        return;
    }
    let both = files(ATTEMPTS);
    holds(&both, &ready(&both));
    let mounts = scratch(files(ATTEMPTS));
    holds(&mounts, &without_landlock(&mounts));
    let landlock = files(ATTEMPTS);
    holds(&landlock, &without_mounts(ready(&landlock)));
}

/// CVE-2019-5736: the interpreter of a script is what the process is when it becomes the script, this very program.
/// Only Landlock stands there, and so a machine without it is refused where that program could be changed.
#[test]
fn a_script_that_leads_to_the_supervisor_is_stopped_by_landlock() {
    if !here() {
        return;
    }
    let script = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(script.path(), "#!/proc/self/exe --list\n").unwrap();
    use std::os::unix::fs::PermissionsExt;
    std::fs::set_permissions(script.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
    // Nobody who has it open for writing may be left.
    let script = script.into_temp_path();
    let lab = scratch(Lab::new(&*script));
    let (exit, printed) = run(&ready(&lab));
    assert!(matches!(exit, Exit::Trapped(_)) && printed.is_empty(), "{exit:?} {printed}");
    let (exit, printed) = run(&without_mounts(ready(&lab)));
    assert!(matches!(exit, Exit::Trapped(_)) && printed.is_empty(), "{exit:?} {printed}");
    let (_, printed) = run(&without_landlock(&lab));
    // What a list of tests ends with, here of those that the script's path is part of.
    assert!(
        printed.contains("0 tests, 0 benchmarks"),
        "{printed}: it is not run by this kernel, and the refusal is not needed"
    );
}

/// A filter stops the calls, and a namespace of processes leaves nobody to name; so does the second without the first.
#[test]
fn processes_outside_are_out_of_reach_without_the_filter() {
    if !here() {
        return;
    }
    let Some(program) = crate::support::compiled("attempts.c") else { return };
    let mut bystander = std::process::Command::new("sleep").arg("1000").spawn().unwrap();
    let lab = scratch(Lab::new(&program).args(&["process", &bystander.id().to_string()]));
    let (exit, printed) = run(&without_seccomp(without_landlock(&lab)));
    let came: Vec<&str> = printed.lines().filter_map(|line| line.rsplit_once(' ')).map(|(_, came)| came).collect();
    let still_there = bystander.try_wait().unwrap().is_none();
    bystander.kill().unwrap();
    bystander.wait().unwrap();
    assert_eq!((exit, came.len(), still_there), (Exit::Returned(0), 9, true), "{printed}");
    assert!(came.iter().all(|came| *came == "ESRCH"), "{printed}");
    // Outside they work, all but what needs more than being the same user, or this would show nothing.
    let mut bystander = std::process::Command::new("sleep").arg("1000").spawn().unwrap();
    let outside = std::process::Command::new(&program).args(["process", &bystander.id().to_string()]).output().unwrap();
    let _ = bystander.kill();
    bystander.wait().unwrap();
    let outside = String::from_utf8_lossy(&outside.stdout).into_owned();
    assert!(outside.contains("kill done") && outside.contains("prlimit done"), "{outside}");
}

#[test]
fn without_either_wall_the_attempts_succeed() {
    if !here() {
        return;
    }
    // Or the test above would show nothing.
    let lab = files("cat TOP/secret; (echo changed > TOP/fixed/in.txt) && cat TOP/fixed/in.txt");
    let lab = scratch(lab);
    let (exit, printed) = run(&without_mounts(without_landlock(&lab)));
    assert_eq!((exit, printed.as_str()), (Exit::Returned(0), "secret\nchanged\n"));
}

/// What became of connecting to a listener of the host, by TCP and by an abstract Unix socket.
fn reached(change: impl FnOnce(&Lab) -> Ready) -> Option<BTreeMap<String, String>> {
    reached_with(None, change)
}

/// The same when connecting elsewhere is granted.
fn reached_with(granted: Option<&str>, change: impl FnOnce(&Lab) -> Ready) -> Option<BTreeMap<String, String>> {
    let tcp = TcpListener::bind("127.0.0.1:0").unwrap();
    use std::os::linux::net::SocketAddrExt;
    let name = format!("ringfence-walls-{}-{}", std::process::id(), tcp.local_addr().unwrap().port());
    let address = std::os::unix::net::SocketAddr::from_abstract_name(&name).unwrap();
    let _unix = std::os::unix::net::UnixListener::bind_addr(&address).unwrap();
    let port = tcp.local_addr().unwrap().port().to_string();
    let lab = scratch(Lab::new(crate::support::compiled("attempts.c")?).args(&["reach", &port, &name]));
    let mut lab = lab;
    if let Some(rule) = granted {
        lab.spec.permissions.grant(Permission::NetConnect, rule).unwrap();
    }
    let (exit, printed) = run(&change(&lab));
    assert_eq!(exit, Exit::Returned(0), "{printed}");
    let lines = printed.lines().filter_map(|line| line.rsplit_once(' '));
    Some(lines.map(|(what, came)| (what.to_owned(), came.to_owned())).collect())
}

#[test]
fn the_network_is_out_of_reach_behind_each_wall_alone() {
    if !here() {
        return;
    }
    let Some(asked) = reached(|lab| without_network_namespace(without_landlock(lab))) else { return };
    assert_eq!((asked["tcp"].as_str(), asked["abstract"].as_str()), ("EACCES", "EACCES"));
    // Nor does the supervisor connect to a name that is the host's.
    let asked = reached(|lab| without_network_namespace(ready(lab))).expect("it is compiled");
    assert_eq!((asked["tcp"].as_str(), asked["abstract"].as_str()), ("EACCES", "EACCES"));
    let alone = reached(|lab| without_seccomp(without_landlock(lab))).expect("it is compiled");
    assert_eq!((alone["tcp"].as_str(), alone["abstract"].as_str()), ("ENETUNREACH", "ECONNREFUSED"));
    // Nor does the way that datagrams have lead there.
    let alone = reached_with(Some("127.0.0.1:9"), |lab| without_seccomp(without_landlock(lab)));
    assert_eq!(alone.expect("it is compiled")["tcp"], "ENETUNREACH");
    let landlock = reached(|lab| without_network_namespace(without_seccomp(ready(lab)))).expect("it is compiled");
    assert_eq!(landlock["tcp"], "EACCES");
    if Facts::find().landlock.is_ok_and(|abi| abi.0 >= 6) {
        assert_eq!(landlock["abstract"], "EPERM");
    }
    // Without any of them both are reached, or all this would show nothing.
    let none =
        reached(|lab| without_network_namespace(without_seccomp(without_landlock(lab)))).expect("it is compiled");
    assert_eq!((none["tcp"].as_str(), none["abstract"].as_str()), ("done", "done"));
}
