//! The way to instances, which is its user's alone: not others', and no capsule's.

use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;

use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType, connect, recv, send, socket_with};

use super::{Running, folder, lab, names};
use crate::lab::{Lab, Ran, eventually, program};

#[test]
fn the_folder_is_private_and_one_that_is_not_is_not_used() {
    let Some(lab) = lab() else { return };
    let running = Running::shell(&lab, "one", &[], "true");
    let found = std::fs::metadata(folder(&lab)).unwrap();
    assert_eq!((found.mode() & 0o7777, found.uid()), (0o700, rustix::process::geteuid().as_raw()));
    assert_eq!(std::fs::metadata(folder(&lab).join("one")).unwrap().mode() & 0o7777, 0o700);
    drop(running);
    // A folder that others can get at, and what is no folder: it runs, and is not there.
    let other = Lab::new();
    std::fs::create_dir(folder(&other)).unwrap();
    std::fs::set_permissions(folder(&other), std::fs::Permissions::from_mode(0o755)).unwrap();
    let name = format!("test-{}", std::process::id());
    assert_eq!(other.ringfence(&["run", "sh", "--", "-c", "sleep 0.1; echo ran"]).exits(0).stdout, "ran\n");
    assert_eq!(names(&other), [""; 0]);
    // The other place is used then.
    let mut running = Running::shell(&other, &name, &[], "true");
    assert!(names(&other).is_empty() && running.listed(&other).unwrap()["name"] == name.as_str());
    drop(running.stdin.take());
    running.end().exits(5);
}

#[test]
fn the_way_to_instances_is_kept_out_of_mounts() {
    let Some(lab) = lab() else { return };
    let runtime = lab.runtime();
    let mount = |from: &Path| format!("{}:/seen:rw", from.display());
    let _running = Running::shell(&lab, "one", &[], "true");
    let (whole, inside) = (mount(&runtime), mount(&folder(&lab)));
    let args =
        ["run", "sh", "--mount", &whole, "--allow", "fs.read,fs.write,fs.create,fs.delete,fs.list=/seen", "--", "-c"];
    let ran = lab.ringfence(&[&args[..], &["ls -A /seen /seen/ringfence; rmdir /seen/ringfence; mv /seen/ringfence /seen/x; echo x >/seen/ringfence/y; echo $?"]].concat());
    assert_eq!(ran.stdout, "/seen:\nringfence\n\n/seen/ringfence:\n2\n", "{}", ran.stderr);
    for inside in [inside, mount(&folder(&lab).join("one"))] {
        let ran = lab
            .ringfence(&["run", "sh", "--mount", &inside, "--allow", "fs.read=/seen", "--", "-c", "echo ran"])
            .exits(120);
        assert!(ran.stderr.contains("no capsule is shown them") && ran.stdout.is_empty(), "{}", ran.stderr);
    }
    assert_eq!(lab.ringfence(&["exec", "one", "echo", "still there"]).exits(0).stdout, "still there\n");
}

/// Every way to start something, with a word before what is started; the levels they need.
const STARTS: [(&[&str], &str); 6] = [
    (&["run"], "wasm"),
    (&["run", "--learn", "new.toml"], "wasm"),
    (&["run"], "sandbox"),
    (&["run", "--learn", "new.toml"], "sandbox"),
    (&["run", "--dry-run-fs=kept"], "sandbox"),
    (&["snapshot", "create", "./taken"], "microvm"),
];

#[test]
fn no_subcommand_shows_the_way_to_instances() {
    let lab = Lab::new();
    let one = folder(&lab).join("one");
    let mut private = std::fs::DirBuilder::new();
    std::os::unix::fs::DirBuilderExt::mode(private.recursive(true), 0o700).create(&one).unwrap();
    let probe = program("probe.wasm");
    let mount = |from: &Path| format!("{}:/seen:rw", from.display());
    for (start, level) in STARTS {
        if lab.lacks(level).is_some() {
            continue;
        }
        let started = |from: &Path, script: &str| {
            let what = if level == "wasm" {
                vec![&*probe, "--", "list", "/seen/ringfence"]
            } else {
                vec!["sh", "--", "-c", script]
            };
            let mount = mount(from);
            let grants = ["--mount", &mount, "--allow", "fs.read,fs.list=/seen"];
            lab.ringfence(&[start, &grants[..], &what[..]].concat())
        };
        for inside in [&folder(&lab), &one] {
            let ran = started(inside, "echo ran").exits(120);
            assert!(
                ran.stderr.contains("no capsule is shown them") && ran.stdout.is_empty(),
                "{start:?}: {}",
                ran.stderr
            );
        }
        // It says with its status what it sees, for that is all that is told of one that ends before it is captured.
        let ran = started(&lab.runtime(), "test -d /seen/ringfence && exec test ! -e /seen/ringfence/one");
        let said = format!("{} {}", ran.stdout, ran.stderr);
        match start[0] {
            "snapshot" => assert!(said.contains("returned 0"), "{said}"),
            _ => assert!(ran.code == Some(0) && !said.contains("one\n"), "{start:?}: {said}"),
        }
        let _ = std::fs::remove_file(lab.at("new.toml"));
    }
    if lab.lacks("microvm").is_none() {
        let echo = ["/bin/sh", "--", "-c", "echo ready"];
        lab.ringfence(&[&["snapshot", "create", "./taken"], &echo[..]].concat()).exits(0);
        let inside = mount(&one);
        let ran = lab.ringfence(&[&["snapshot", "run", "./taken", "--mount", &inside], &echo[..]].concat()).exits(120);
        assert!(ran.stderr.contains("no capsule is shown them") && ran.stdout.is_empty(), "{}", ran.stderr);
    }
}

/// What is committed, revived or executed later is nobody's to write, whichever folder it lies in.
#[test]
fn what_ringfence_keeps_is_shown_to_no_capsule() {
    let lab = Lab::new();
    for level in ["sandbox", "wasm"] {
        if lab.lacks(level).is_some() {
            continue;
        }
        for variable in ["XDG_STATE_HOME", "XDG_CACHE_HOME"] {
            let above = format!("{variable}-{level}");
            let kept = lab.write(&format!("{above}/ringfence/changes/kept/finished"), "content");
            let started = |from: &str| {
                let mount = format!("./{from}:/seen:rw");
                let run = ["run", "--level", level, "--mount", &mount];
                let grants = ["--allow", "fs.read,fs.write,fs.create,fs.delete,fs.list=/seen"];
                let probe = program("probe.wasm");
                let read = "/seen/ringfence/changes/kept/finished";
                let script = format!("cat {read}; echo x >>{read}; rm -r /seen/ringfence; mv /seen/ringfence /seen/a");
                let what = match level {
                    "wasm" => vec![probe.as_str(), "--", "read", read, "+", "write", read, "x"],
                    _ => vec!["sh", "--", "-c", &script],
                };
                let mut command = lab.command(&[&run[..], &grants, &what].concat());
                Ran::from(command.env(variable, lab.at(&above)).output().unwrap())
            };
            let ran = started(&above);
            assert!(ran.code != Some(120) && !ran.stdout.contains("content"), "{level} {variable}: {ran:?}");
            assert_eq!(std::fs::read_to_string(&kept).unwrap(), "content", "{ran:?}");
            let ran = started(&format!("{above}/ringfence/changes")).exits(120);
            assert!(ran.stderr.contains("no capsule is shown"), "{}", ran.stderr);
        }
    }
}

/// A connection to the instance of this name.
fn connection(lab: &Lab, name: &str) -> std::os::fd::OwnedFd {
    let socket = socket_with(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None).unwrap();
    let folder = std::fs::File::open(folder(lab).join(name)).unwrap();
    let path = format!("/proc/self/fd/{}/control", folder.as_fd().as_raw_fd());
    connect(&socket, &SocketAddrUnix::new(path).unwrap()).unwrap();
    socket
}

#[test]
fn nonsense_on_the_socket_ends_the_connection_and_nothing_else() {
    let Some(lab) = lab() else { return };
    let mut running = Running::shell(&lab, "one", &[], "true");
    let descriptors = || std::fs::read_dir(format!("/proc/{}/fd", running.child.id())).unwrap().count();
    let before = descriptors();
    let deep = "[".repeat(100_000);
    let texts = [
        "",
        "x",
        "null",
        "{}",
        "{\"exec\":{}}",
        "{\"signal\":99}",
        "{\"signal\":-1}",
        "\"statu",
        &deep,
        "{\"resize\":[1,1]}",
        "{\"exec\":{\"words\":[\"true\"],\"environment\":{},\"working_directory\":null,\"terminal\":null}}",
    ];
    for text in texts {
        let socket = connection(&lab, "one");
        // An empty message is the end, for who receives it.
        let _ = send(&socket, text.as_bytes(), rustix::net::SendFlags::NOSIGNAL);
        let mut answer = [0; 1000];
        let (count, _) = recv(&socket, &mut answer, rustix::net::RecvFlags::empty()).unwrap_or_default();
        assert_eq!(count, 0, "{text:.40}: {}", String::from_utf8_lossy(&answer[..count]));
    }
    // Many who say nothing are let in up to a number, and keep nobody else out for ever.
    let silent: Vec<_> = (0..200)
        .map_while(|_| {
            let socket = socket_with(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::NONBLOCK, None).unwrap();
            let folder = std::fs::File::open(folder(&lab).join("one")).unwrap();
            let path = format!("/proc/self/fd/{}/control", folder.as_fd().as_raw_fd());
            connect(&socket, &SocketAddrUnix::new(path).unwrap()).ok().map(|()| socket)
        })
        .collect();
    assert!(descriptors() < before + 64 + 32, "{before} and then {}", descriptors());
    drop(silent);
    eventually("it answers", || lab.ringfence(&["exec", "one", "true"]).code == Some(0));
    drop(running.stdin.take());
    running.end().exits(5);
}

#[test]
fn nobody_else_is_let_in() {
    let Some(lab) = lab() else { return };
    if !rustix::process::geteuid().is_root()
        || !Path::new("/usr/bin/setpriv").exists()
        || !Path::new("/usr/bin/python3").exists()
    {
        return eprintln!("skipped: not root, or no setpriv or python3");
    }
    let running = Running::shell(&lab, "one", &[], "true");
    // Even who gets past the folders, by a descriptor: the one here is inherited.
    let script = "\
import socket, sys
line = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
line.connect('/proc/self/fd/3/control')
try:
    line.send(b'\"kill\"')
    print('said', line.recv(100))
except OSError as error:
    print('error', error.errno)";
    let becomes = "exec setpriv --reuid=65534 --regid=65534 --clear-groups --inh-caps=-all --bounding-set=-all \
                  /usr/bin/python3 -c \"$0\" 3<\"$1\"";
    // The socket and its folder are opened up, which nothing does: the last wall alone is tried.
    let own = folder(&lab).join("one");
    for (path, mode) in [(own.clone(), 0o777), (own.join("control"), 0o777)] {
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
    }
    let mut command = std::process::Command::new("sh");
    let ran = Ran::from(command.args(["-c", becomes, script]).arg(&own).output().unwrap());
    assert!(ran.stdout == "said b''\n" || ran.stdout.starts_with("error"), "{} {}", ran.stdout, ran.stderr);
    assert_eq!(running.listed(&lab).unwrap()["state"], "running");
}
