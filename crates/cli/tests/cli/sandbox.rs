//! `ringfence run` with programs of this machine.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::Stdio;

use rustix::process::{Pid, Signal, kill_process};

use crate::lab::{Lab, capsule, program};

/// A lab on a machine that has the level and these programs; says what is missing otherwise.
pub(crate) fn lab(programs: &[&str]) -> Option<Lab> {
    let lab = Lab::new();
    if lab.lacks("sandbox").is_some() {
        return None;
    }
    if programs.iter().any(|program| lab.is_without(program)) { None } else { Some(lab) }
}

#[test]
fn a_program_that_is_only_named_is_looked_up() {
    let Some(lab) = lab(&["sh"]) else { return };
    let ran = lab.ringfence(&["run", "sh", "--", "-c", "echo $0 in $PWD; exit 3"]).exits(3);
    assert_eq!((ran.stdout.as_str(), ran.stderr.as_str()), ("/usr/bin/sh in /\n", ""));
    let ran = lab.ringfence(&["run", "no-such-program-of-that-name"]).exits(120);
    assert!(ran.stderr.contains("there is no no-such-program-of-that-name"), "{}", ran.stderr);
    // What is here by that name comes first, and is no program.
    lab.write("sh", "text");
    let ran = lab.ringfence(&["run", "sh"]).exits(120);
    assert!(ran.stderr.contains("chmod +x"), "{}", ran.stderr);
}

#[test]
fn what_cannot_be_executed_is_a_wrong_program_at_every_level() {
    use std::os::unix::fs::PermissionsExt;
    let lab = Lab::new();
    let other_processor = [&b"\x7fELF\x02\x01\x01"[..], &[0; 9], &[2, 0, 0xb7, 0, 1], &[0; 43]].concat();
    let wrong = [
        ("text", &b"no program"[..]),
        ("empty", b""),
        ("damaged", b"\x7fELF and no more"),
        ("foreign", &other_processor),
        ("nowhere", b"#!/no/such/interpreter\n"),
    ];
    for (name, content) in wrong {
        std::fs::write(lab.at(name), content).unwrap();
        std::fs::set_permissions(lab.at(name), std::fs::Permissions::from_mode(0o755)).unwrap();
    }
    for level in ["sandbox", "microvm"] {
        if lab.lacks(level).is_some() {
            continue;
        }
        for (name, _) in wrong {
            let ran = lab.ringfence(&["run", "--level", level, &format!("./{name}")]).exits(120);
            assert!(!ran.stderr.contains("trapped") && !ran.stderr.is_empty(), "{}", ran.stderr);
        }
    }
}

#[test]
fn who_has_stopped_is_ended_by_the_first_signal() {
    let lab = Lab::new();
    let script = "\
import os, signal
first = os.getpid()
if os.fork() == 0:
    while open(f'/proc/{first}/stat').read().split(') ')[1][0] != 'T':
        pass
    print('stopped', flush=True)
    os._exit(0)
os.kill(first, signal.SIGSTOP)
signal.pause()
";
    for level in lab.levels_for("python3") {
        let mut command = lab.command(&["run", "--level", level, "python3", "--", "-I", "-c", script]);
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        assert_eq!(line, "stopped\n", "{level}");
        kill_process(Pid::from_child(&child), Signal::TERM).unwrap();
        assert_eq!(child.wait().unwrap().code(), Some(143), "{level}");
    }
}

#[test]
fn the_python_capsule_reads_one_folder_and_no_other() {
    let Some(lab) = lab(&["python3"]) else { return };
    let python = capsule("python");
    let ran = lab.ringfence(&["run", &python]).exits(0);
    let expected = "rivers.csv length_km: 4 from 346 to 6650, mean 3657.25\n\
                    rivers.csv discharge_m3s: 4 from 65.8 to 209000, mean 53698.9\n";
    assert_eq!((ran.stdout.as_str(), ran.stderr.as_str()), (expected, ""));
    lab.write("tables/own.csv", "n\n1\n2\n");
    let ran = lab.ringfence(&["run", &python, "--mount", "./tables:/data:ro"]).exits(0);
    assert_eq!(ran.stdout, "own.csv n: 2 from 1 to 2, mean 1.5\n");
    // A link in the folder leads nowhere out of it.
    std::os::unix::fs::symlink(lab.write("secret.csv", "n\n42\n"), lab.at("tables/link.csv")).unwrap();
    let ran = lab.ringfence(&["run", &python, "--mount", "./tables:/data:ro"]).exits(1);
    assert!(ran.stderr.contains("FileNotFoundError") && !ran.stdout.contains("42"), "{}", ran.stderr);
}

#[test]
fn the_pipeline_capsule_runs_its_tools_within_its_limits() {
    let Some(lab) = lab(&["sh", "tr", "sort", "uniq", "head"]) else { return };
    let pipeline = capsule("pipeline");
    let ran = lab.ringfence(&["run", &pipeline]).exits(0);
    let words: Vec<Vec<&str>> = ran.stdout.lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(words, [["5", "a"], ["4", "gate"], ["4", "is"], ["3", "it"], ["3", "the"]]);
    assert_eq!(ran.stderr, "");
    let ran = lab.ringfence(&["run", &pipeline, "--limit", "processes=2"]).exits(119);
    assert!(ran.stderr.contains("exceeded processes"), "{}", ran.stderr);
}

#[test]
fn webassembly_has_the_same_verdicts_behind_both_walls() {
    let lab = Lab::new();
    if lab.lacks("sandbox").is_some() {
        return;
    }
    let probe = program("probe.wasm");
    lab.write("data/in.txt", "inside");
    let at = |level: &str| {
        let (mount, grant) = ("./data:/data:ro", "fs.read=/data");
        let words = ["read", "/data/in.txt", "+", "read", "/etc/passwd", "+", "write", "/data/in.txt", "x"];
        let mut line =
            vec!["run", &probe, "--level", level, "--mount", mount, "--allow", grant, "--report", "r.json", "--"];
        line.extend(words);
        let ran = lab.ringfence(&line).exits(1);
        let report: serde_json::Value = serde_json::from_str(&lab.read("r.json")).unwrap();
        (ran.stdout, ran.stderr, report["denials"].clone(), report["exit"].clone())
    };
    assert_eq!(at("sandbox"), at("wasm"));
    let ran = lab.ringfence(&["check", &probe, "--level", "sandbox", "--require", "own-address-space"]).exits(0);
    assert!(ran.stdout.contains("the engine's process has no network"), "{}", ran.stdout);
    // A library is not run, and what is no command of ours does not become a runner.
    let ran = lab.ringfence(&["run", &program("greeter.wasm"), "--level", "sandbox"]).exits(120);
    assert!(ran.stderr.contains("only programs run"), "{}", ran.stderr);
    let ran = lab.ringfence(&["__runner"]).exits(64);
    assert!(ran.stderr.contains("is started by ringfence itself"), "{}", ran.stderr);
}

/// What a learned manifest grants of one permission.
fn granted(lab: &Lab, permission: &str) -> String {
    let manifest = lab.read("learned.toml");
    let line = manifest.lines().find_map(|line| line.strip_prefix(&format!("{permission} = ")));
    line.unwrap_or_default().to_owned()
}

#[test]
fn what_a_python_program_used_is_learned_and_is_enough() {
    let Some(lab) = lab(&["python3"]) else { return };
    lab.write("data/in", "one\n");
    lab.write("data/other", "secret");
    lab.write("data/made/keep", "");
    let script = "\
import os, shutil, sys, tempfile
text = open('/data/in').read()
with tempfile.NamedTemporaryFile(dir='/tmp') as scratch:
    scratch.write(b'x')
with open('/data/made/new', 'w') as out:
    out.write(text * 2)
shutil.copy('/data/in', '/data/made/copy')
os.replace('/data/made/copy', '/data/made/moved')
os.makedirs('/data/made/a/b')
print(sorted(os.listdir('/data/made')), os.path.exists('/data/none'))";
    lab.write("data/main.py", script);
    let learn = ["run", "python3", "--mount", "./data:/data:rw", "--learn", "learned.toml", "--", "/data/main.py"];
    let (ran, left) = lab.scratch(&learn);
    let expected = "['a', 'keep', 'moved', 'new'] False\n";
    assert_eq!(ran.exits(0).stdout, expected);
    assert_eq!(left, Vec::<std::path::PathBuf>::new());
    assert!(!lab.at("data/made/new").exists(), "nothing was changed");
    assert!(granted(&lab, "fs.read").contains("\"/data/in\"") && !granted(&lab, "fs.read").contains("other"));
    assert!(granted(&lab, "fs.create").contains("\"/data/made\""), "{}", lab.read("learned.toml"));

    let ran = lab.ringfence(&["run", "learned.toml"]).exits(0);
    assert_eq!((ran.stdout.as_str(), ran.stderr.as_str()), (expected, ""));
    assert_eq!((lab.read("data/made/new"), lab.read("data/made/moved")), ("one\none\n".into(), "one\n".into()));
    lab.with_args("learned.toml", &["-c", "open('/data/other').read()"]);
    let ran = lab.ringfence(&["run", "learned.toml"]).exits(1);
    assert!(ran.stderr.contains("Error"), "{}", ran.stderr);
}

#[test]
fn what_a_shell_pipeline_used_is_learned_and_is_enough() {
    let Some(lab) = lab(&["sh", "sort", "uniq", "tr", "cat", "mv"]) else { return };
    lab.write("in/words", "b\na\nb\n");
    lab.write("out/old", "old");
    let script = "cd /out && sort /in/words | uniq -c | tr -d ' ' >new && mv new old && cat old";
    let args = ["--mount", "./in:/in:ro", "--mount", "./out:/out:rw", "--learn", "learned.toml", "--", "-c", script];
    let (ran, _) = lab.scratch(&[&["run", "sh"], &args[..]].concat());
    assert_eq!(ran.exits(0).stdout, "1a\n2b\n");
    assert_eq!(lab.read("out/old"), "old");
    let ran = lab.ringfence(&["run", "learned.toml"]).exits(0);
    assert_eq!((ran.stdout.as_str(), ran.stderr.as_str()), ("1a\n2b\n", ""));
    assert_eq!(lab.read("out/old"), "1a\n2b\n");
    assert_eq!(granted(&lab, "fs.read"), "[\"/in/words\", \"/out\"]");
}

#[test]
fn files_of_the_host_are_learned_in_their_own_places() {
    let Some(lab) = lab(&["sh", "cat"]) else { return };
    // The host's /tmp is not shown.
    let Ok(place) = tempfile::tempdir_in("/var/tmp") else { return eprintln!("skipped: no /var/tmp") };
    let folder = place.path().canonicalize().unwrap();
    std::fs::write(folder.join("in"), "text").unwrap();
    std::fs::create_dir(folder.join("out")).unwrap();
    let script = format!("cd {0} && cat in >out/copy && cat out/copy", folder.display());
    let ran = lab.ringfence(&["run", "sh", "--learn", "learned.toml", "--", "-c", &script]).exits(0);
    assert_eq!(ran.stdout, "text");
    assert!(!folder.join("out/copy").exists());
    assert_eq!(granted(&lab, "fs.read"), format!("[\"{0}/in\", \"{0}/out\"]", folder.display()));
    let ran = lab.ringfence(&["run", "learned.toml"]).exits(0);
    assert_eq!(
        (ran.stdout.as_str(), std::fs::read_to_string(folder.join("out/copy")).unwrap().as_str()),
        ("text", "text")
    );
}

#[test]
fn connections_are_learned() {
    let Some(lab) = lab(&["bash"]) else { return };
    let script = "exec 3<>/dev/tcp/203.0.113.9/9";
    let args = ["run", "bash", "--limit", "wall_time=2s", "--learn", "learned.toml", "--", "-c", script];
    lab.ringfence(&args);
    assert_eq!(granted(&lab, "net.connect"), "[\"203.0.113.9:9\"]");
}

#[test]
fn the_files_of_streams_cannot_be_changed() {
    let Some(lab) = lab(&["sh", "touch"]) else { return };
    use std::os::unix::fs::MetadataExt;
    // What is changed is a time, which harms nobody should it work.
    let tries = "touch -c -d @1 /proc/self/fd/0; touch -c -d @1 /proc/self/fd/1; touch -c -d @1 /proc/self/fd/2; true";
    let pipe = lab.at("pipe");
    let mode = rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR;
    rustix::fs::mknodat(rustix::fs::CWD, &pipe, rustix::fs::FileType::Fifo, mode, 0).unwrap();
    for path in [Path::new("/dev/null"), Path::new("/dev/zero"), &pipe] {
        let open = || std::fs::File::options().read(true).write(true).open(path).unwrap();
        for args in [
            &["run", "sh", "--", "-c", tries][..],
            &["run", "--stdin", "null", "--stdout", "null", "sh", "--", "-c", tries],
        ] {
            let mut command = lab.command(args);
            let ran = command.stdin(open()).stdout(open()).stderr(open()).status().unwrap();
            assert_eq!(ran.code(), Some(0));
            let found = std::fs::metadata(path).unwrap();
            assert!(found.mtime() != 1 && found.atime() != 1, "{}", path.display());
        }
    }
    // It is the same nothing all the same, to read and to write.
    let script = "test -c /dev/stdin -a /dev/stdin -ef /dev/null && echo same >&2; cat; echo x";
    let ran = lab.ringfence(&["run", "--stdout", "null", "sh", "--", "-c", script]).exits(0);
    assert_eq!((ran.stdout.as_str(), ran.stderr.as_str()), ("", "same\n"));
}

#[test]
fn the_same_works_for_a_user_who_is_not_root() {
    let Some(lab) = lab(&["sh", "id", "setpriv"]) else { return };
    if !rustix::process::geteuid().is_root() {
        return eprintln!("skipped: these tests are run without root as they are");
    }
    // A place that everybody can get at, with a copy of the command.
    let place = tempfile::tempdir().unwrap();
    let at = |name: &str| place.path().join(name);
    let open = |path: &Path, mode| std::fs::set_permissions(path, std::os::unix::fs::PermissionsExt::from_mode(mode));
    open(place.path(), 0o755).unwrap();
    // By a process of its own: a descriptor for writing that a child of another test still holds keeps it from running.
    let copied = std::process::Command::new("cp").arg(env!("CARGO_BIN_EXE_ringfence")).arg(at("ringfence")).status();
    assert!(copied.unwrap().success());
    for folder in ["home", "data"] {
        std::fs::create_dir(at(folder)).unwrap();
        std::os::unix::fs::chown(at(folder), Some(65534), Some(65534)).unwrap();
    }
    let user = |args: &[&str]| -> crate::lab::Ran {
        let mut command = std::process::Command::new("setpriv");
        command.args(["--reuid=65534", "--regid=65534", "--clear-groups"]).arg(at("ringfence")).args(args);
        lab.prepare(&mut command).current_dir(place.path()).env("HOME", at("home"));
        command.env_remove("XDG_DATA_HOME").env_remove("XDG_CACHE_HOME").output().unwrap().into()
    };
    let facts = user(&["doctor", "--json"]).exits(0).json();
    let level = facts["levels"].as_array().unwrap().iter().find(|level| level["level"] == "sandbox").unwrap();
    let missing = level["facts"]
        .as_array()
        .unwrap()
        .iter()
        .find(|fact| fact["usable"] == false && !fact["name"].as_str().unwrap().starts_with("cgroup"));
    if let Some(missing) = missing {
        return eprintln!("skipped: {missing}");
    }
    let free = ["--limit", "memory=none", "--limit", "open_files=none"];
    let ran = user(&[&["run"], &free[..], &["--tty", "sh", "--", "-c", "id -u; tty"]].concat()).exits(0);
    assert_eq!(ran.stdout, "65534\r\n/dev/console\r\n");
    let grant = ["--mount", "./data:/data:rw", "--allow", "fs.read,fs.write,fs.create,fs.delete,fs.list=/data"];
    let script = "echo x >/data/new; mkdir -p /data/closed/in; chmod 0 /data/closed";
    user(&[&["run", "--dry-run-fs=mine"], &free[..], &grant, &["sh", "--", "-c", script]].concat()).exits(0);
    assert!(!at("data/new").exists());
    user(&["commit", "mine"]).exits(0);
    assert!(at("data/new").exists() && at("data/closed/in").is_dir());
    assert_eq!(user(&["clean"]).exits(0).stdout, "nothing is left over\n");
}

/// A folder as a stream would lead to every file of the host's.
#[test]
fn a_stream_that_is_more_than_a_stream_is_refused() {
    let Some(lab) = lab(&["true", "cat"]) else { return };
    let folder = || std::fs::File::open("/").unwrap();
    let ran: crate::lab::Ran = lab.command(&["run", "true"]).stdin(folder()).output().unwrap().into();
    let ran = ran.exits(117);
    assert!(ran.stderr.contains("it is a folder"), "{}", ran.stderr);
    let socket = std::os::unix::net::UnixListener::bind(lab.at("socket")).unwrap();
    let command = lab.command(&["run", "true"]).stdin(std::os::fd::OwnedFd::from(socket)).output().unwrap();
    let ran = crate::lab::Ran::from(command).exits(117);
    assert!(ran.stderr.contains("a socket that is not a connected stream"), "{}", ran.stderr);
    // A file is a stream like any other, in both directions.
    let (input, output) = (lab.write("in.txt", "text\n"), lab.at("out.txt"));
    let mut command = lab.command(&["run", "cat"]);
    command.stdin(std::fs::File::open(input).unwrap()).stdout(std::fs::File::create(&output).unwrap());
    assert!(command.status().unwrap().success());
    assert_eq!(std::fs::read_to_string(output).unwrap(), "text\n");
}

/// Both ends of a pipe.
fn pipe() -> (std::os::fd::OwnedFd, std::os::fd::OwnedFd) {
    rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC).unwrap()
}

#[test]
fn a_pipe_that_is_standard_input_cannot_be_written_to() {
    let Some(lab) = lab(&["sh"]) else { return };
    let (reader, writer) = pipe();
    // Somebody else reads from this pipe, too: a shell its script, a loop its lines.
    let mut elsewhere = std::fs::File::from(reader.try_clone().unwrap());
    let script = "echo injected >/proc/self/fd/0; echo injected >/dev/stdin; true";
    let mut command = lab.command(&["run", "sh", "--", "-c", script]);
    let child = command.stdin(reader).stdout(std::process::Stdio::piped()).spawn().unwrap();
    assert_eq!(child.wait_with_output().unwrap().status.code(), Some(0));
    drop(writer);
    let mut found = String::new();
    std::io::Read::read_to_string(&mut elsewhere, &mut found).unwrap();
    assert_eq!(found, "");
}

#[test]
fn what_comes_through_a_pipe_is_read_to_its_end() {
    let Some(lab) = lab(&["wc"]) else { return };
    let (reader, writer) = pipe();
    let child = lab.command(&["run", "wc", "--", "-c"]).stdin(reader).stdout(std::process::Stdio::piped()).spawn();
    std::io::Write::write_all(&mut std::fs::File::from(writer), &vec![b'x'; 1_000_000]).unwrap();
    let output = child.unwrap().wait_with_output().unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stdout), "1000000\n");
}

#[test]
fn a_pipe_that_is_standard_output_cannot_be_read_from() {
    let Some(lab) = lab(&["sh"]) else { return };
    let (reader, writer) = pipe();
    // What an earlier program printed, or ringfence itself, is for whoever reads at the other end.
    rustix::io::write(&writer, b"for others\n").unwrap();
    let theft =
        "timeout 0.5 head -n 1 </proc/self/fd/1 >/tmp/stolen; echo $?; cat /tmp/stolen >&2; echo one; echo two >&2";
    let mut command = lab.command(&["run", "sh", "--allow", "fs.read,fs.write,fs.create=/tmp", "--", "-c", theft]);
    let status = command.stdout(writer.try_clone().unwrap()).stderr(writer).status().unwrap();
    drop(command);
    assert_eq!(status.code(), Some(0));
    let mut found = String::new();
    std::io::Read::read_to_string(&mut std::fs::File::from(reader), &mut found).unwrap();
    let lines: Vec<&str> = found.lines().collect();
    assert_eq!((lines.first(), &lines[lines.len() - 2..]), (Some(&"for others"), &["one", "two"][..]), "{found}");
}

#[test]
fn a_datagram_socket_is_not_given_to_a_capsule() {
    let Some(lab) = lab(&["true"]) else { return };
    let other = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    let socket = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.connect(other.local_addr().unwrap()).unwrap();
    let mut command = lab.command(&["run", "true"]);
    let output = command.stdout(std::os::fd::OwnedFd::from(socket)).stderr(std::process::Stdio::piped()).output();
    let output = output.unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success() && stderr.contains("a socket that is not a connected stream"), "{stderr}");
}

/// A stream that is the host's can be given a name where it is from. Where one is handed over nothing is bound.
#[test]
fn a_socket_of_the_host_that_is_a_stream_gets_no_name() {
    let lab = Lab::new();
    if let Some(fact) = lab.lacks("sandbox") {
        return eprintln!("skipped: {fact}");
    }
    if !std::path::Path::new("/usr/bin/python3").exists() {
        return eprintln!("skipped: no python3");
    }
    let name = format!("ringfence-test-{}", std::process::id());
    let script = "\
import socket, sys
for number in [0, None]:
    end = socket.socket(socket.AF_UNIX, fileno=number)
    try: end.bind('\\0' + sys.argv[1] + str(number)); print('bound')
    except OSError as error: print(error.errno)";
    let (ours, theirs) = std::os::unix::net::UnixStream::pair().unwrap();
    let mut command = lab.command(&["run", "python3", "--", "-c", script, &name]);
    let ran: crate::lab::Ran = command.stdin(std::os::fd::OwnedFd::from(theirs)).output().unwrap().into();
    assert_eq!(ran.exits(0).stdout, "13\n13\n");
    assert!(ours.peer_addr().unwrap().is_unnamed());
    assert!(!std::fs::read_to_string("/proc/net/unix").unwrap().contains(&name));
}
