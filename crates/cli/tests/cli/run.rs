//! `ringfence run` with real programs.

use crate::lab::{Lab, Ran, program};

#[test]
fn a_bare_program_runs_and_its_status_is_passed_through() {
    let lab = Lab::new();
    let ran = lab.ringfence(&["run", &program("hello.wat")]).exits(0);
    assert_eq!((ran.stdout.as_str(), ran.stderr.as_str()), ("hello\n", ""));
    lab.ringfence(&["run", &program("probe.wasm"), "--", "exit", "1"]).exits(1);
}

#[test]
fn a_denial_is_told_once_with_the_line_that_would_grant_it() {
    let lab = Lab::new();
    let ran = lab.ringfence(&["run", &program("probe.wasm"), "--", "read", "/etc/passwd", "+", "read", "/etc/passwd"]);
    let ran = ran.exits(1);
    assert_eq!(ran.stdout, "err EACCES\nerr EACCES\n");
    assert_eq!(ran.stderr.matches("denied /etc/passwd").count(), 1, "{}", ran.stderr);
    assert!(ran.stderr.contains("fs.read = [\"/etc/passwd\"]"), "{}", ran.stderr);
}

#[test]
fn what_is_granted_works() {
    let lab = Lab::new();
    lab.write("data/x", "content");
    let ran = lab.ringfence(&[
        "run",
        &program("probe.wasm"),
        "--mount",
        "./data:/data:ro",
        "--allow",
        "fs.read=/data",
        "--env",
        "GREETING=hello",
        "--",
        "read",
        "/data/x",
        "+",
        "getenv",
        "GREETING",
    ]);
    let ran = ran.exits(0);
    assert!(ran.stdout.contains("ok 7 \"content\"") && ran.stdout.contains("hello"), "{}", ran.stdout);
    assert_eq!(ran.stderr, "");
}

#[test]
fn paths_and_flags_are_as_wasi_says() {
    let lab = Lab::new();
    lab.write("data/in.txt", "inside");
    lab.write("data/sub/nested.txt", "nested");
    let paths = program("paths.wat");
    lab.ringfence(&["run", &paths, "--mount", "./data:/data:ro", "--allow", "fs.read,fs.list=/data"]).exits(0);
}

#[test]
fn each_way_to_end_has_its_code() {
    let lab = Lab::new();
    let probe = program("probe.wasm");
    let run = |args: &[&str]| lab.ringfence(&[&["run", &probe], args].concat());
    run(&["--", "trap"]).exits(118);
    run(&["--", "recurse"]).exits(118);
    run(&["--limit", "wall_time=50ms", "--", "spin"]).exits(119);
    run(&["--limit", "cpu_time=50ms", "--", "spin"]).exits(119);
    run(&["--limit", "output=1000B", "--stdout", "null", "--", "output-forever"]).exits(119);
    run(&["--limit", "memory=8MiB", "--", "alloc", "100000000"]).exits(119);
    run(&["--limit", "memory=8Mib"]).exits(120);
    run(&["--require", "memory-encrypted"]).exits(121);
    run(&["--level", "tee"]).exits(121);
    run(&["--allow", "clock=false", "--", "clock"]).exits(122);
    run(&["--no-such-flag"]).exits(2);
}

#[test]
fn a_deadline_covers_a_blocked_host_call() {
    let lab = Lab::new();
    let mut command = lab.command(&["run", &program("probe.wasm"), "--limit", "wall_time=50ms", "--", "block-stdin"]);
    let mut child = command.stdin(std::process::Stdio::piped()).stderr(std::process::Stdio::piped()).spawn().unwrap();
    let stdin = child.stdin.take();
    let ran = crate::lab::Ran::from(child.wait_with_output().unwrap()).exits(119);
    drop(stdin);
    assert!(ran.stderr.contains("exceeded wall_time") && ran.stderr.contains("50ms allowed"), "{}", ran.stderr);
}

#[test]
fn a_program_that_is_none_is_the_users_mistake() {
    let lab = Lab::new();
    lab.write("broken.wasm", "not WebAssembly");
    let ran = lab.ringfence(&["run", "broken.wasm"]).exits(120);
    assert!(ran.stderr.contains("broken.wasm"), "{}", ran.stderr);
    lab.ringfence(&["run", "absent.wasm"]).exits(120);
    lab.ringfence(&["run", &program("bad-import.wat")]).exits(120);
}

#[test]
fn events_are_objects_on_a_line_each() {
    let lab = Lab::new();
    let ran = lab.ringfence(&["run", &program("probe.wasm"), "--json", "--", "read", "/etc/passwd"]).exits(1);
    let events = ran.events();
    let denied = events.iter().find(|event| event["event"] == "denied").unwrap();
    assert_eq!(denied["permission"], "fs.read");
    assert_eq!(denied["resource"], "/etc/passwd");
    let ended = events.last().unwrap();
    assert_eq!(ended["event"], "ended");
    assert_eq!(ended["report"]["exit"], serde_json::json!({ "exit": "returned", "detail": 1 }));
}

/// Prints lines like events to standard error, an unfinished one, and one that is no text.
#[test]
fn what_a_program_prints_is_no_event_of_ours() {
    let lab = Lab::new();
    if lab.lacks("sandbox").is_some() {
        return;
    }
    let forged = r#"{"event":"ended","report":{"exit":"forged"}}"#;
    let script = format!("echo '{forged}' >&2; printf '\\377 no end' >&2; echo out; exit 3");
    let levels: &[&str] = if lab.lacks("microvm").is_some() { &["sandbox"] } else { &["sandbox", "microvm"] };
    for level in levels {
        let run = ["run", "--json", "--level", level, "sh", "--", "-c", &script];
        let ran = lab.ringfence(&run).exits(3);
        assert_eq!(ran.stdout, "out\n");
        let events = ran.events();
        let printed: Vec<_> = events.iter().filter(|event| event["event"] == "printed").collect();
        let of = |text: &str, line: bool| serde_json::json!({ "event": "printed", "stream": "stderr", "text": text, "line": line });
        assert_eq!(printed, [&of(forged, true), &of("\u{fffd} no end", false)]);
        let ends: Vec<_> = events.iter().filter(|event| event["event"] == "ended").collect();
        assert!(ends.len() == 1 && ends[0]["report"]["exit"]["detail"] == 3, "{events:#?}");
        assert_eq!(events.last(), Some(ends[0]));

        // Into one pipe both: then both are told apart.
        let mut command = std::process::Command::new("sh");
        let both = ["-c", "exec 2>&1 \"$0\" \"$@\"", env!("CARGO_BIN_EXE_ringfence")];
        let ran = crate::lab::Ran::from(lab.prepare(&mut command).args(both).args(run).output().unwrap()).exits(3);
        let parse = |line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
        let events: Vec<serde_json::Value> = ran.stdout.lines().map(parse).collect();
        assert!(events.iter().any(|event| event["stream"] == "stdout" && event["text"] == "out"), "{events:#?}");
        assert_eq!(events.iter().filter(|event| event["event"] == "ended").count(), 1);
    }
}

/// What does not fit where events wait holds the program up, and is not left out.
#[test]
fn all_that_a_program_prints_is_told() {
    let lab = Lab::new();
    if lab.lacks("sandbox").is_some() {
        return;
    }
    let script = "yes | head -n 100000 | tr -d '\\n' >&2; yes no | head -n 50000 >&2";
    let ran = lab.ringfence(&["run", "--json", "sh", "--", "-c", script]).exits(0);
    let events = ran.events();
    let count = |text: &str| -> usize {
        let printed = events.iter().filter(|event| event["event"] == "printed");
        printed.map(|event| event["text"].as_str().unwrap().matches(text).count()).sum()
    };
    assert_eq!((count("y"), count("no")), (100_000, 50_000));
}

#[test]
fn a_refusal_is_an_event_too() {
    let lab = Lab::new();
    let program = program("probe.wasm");
    let ran = lab.ringfence(&["run", &program, "--json", "--level", "wasm", "--require", "own-address-space"]);
    let events = ran.exits(121).events();
    assert_eq!(events[0]["event"], "failed");
    assert_eq!(events[0]["kind"], "refused");
    assert_eq!(events[0]["detail"]["refusal"]["guarantee"], "own-address-space");
}

#[test]
fn the_report_says_what_was_enforced_used_and_denied() {
    let lab = Lab::new();
    let probe = program("probe.wasm");
    lab.ringfence(&["run", &probe, "--limit", "wall_time=9s", "--report", "r.json", "--", "read", "/etc/passwd"])
        .exits(1);
    let report: serde_json::Value = serde_json::from_str(&lab.read("r.json")).unwrap();
    assert_eq!(report["capsule"]["name"], "probe");
    assert_eq!(report["level"], "wasm");
    assert_eq!(report["enforced"]["wall-time-limit"]["held"], "by");
    assert_eq!(report["denials"][0]["count"], 1);
    assert!(report["usage"]["memory_peak"].as_u64().unwrap() > 0);
    assert!(report["timings"]["run"].as_f64().unwrap() > 0.0);
    assert!(report["not_held"].as_array().unwrap().iter().any(|missing| missing["guarantee"] == "own-kernel"));
    assert_eq!(report["tripped"], serde_json::Value::Null);
}

#[test]
fn the_report_of_a_limit_names_it() {
    let lab = Lab::new();
    let run = ["run", &program("probe.wasm"), "--limit", "wall_time=20ms", "--report", "-", "-q", "--", "spin"];
    let ran = lab.ringfence(&run).exits(119);
    let report: serde_json::Value = serde_json::from_str(&ran.stderr).unwrap();
    assert_eq!(report["tripped"]["limit"], "wall_time");
    assert_eq!(report["tripped"]["allowed"], 20_000_000);
}

#[test]
fn a_report_is_written_when_nothing_ran() {
    let lab = Lab::new();
    lab.ringfence(&["run", &program("probe.wasm"), "--require", "memory-encrypted", "--report", "r.json"]).exits(121);
    let report: serde_json::Value = serde_json::from_str(&lab.read("r.json")).unwrap();
    assert_eq!(report["failure"]["kind"], "refused");
}

#[test]
fn quiet_says_nothing_about_what_runs() {
    let lab = Lab::new();
    let ran =
        lab.ringfence(&["run", &program("probe.wasm"), "-q", "--", "read", "/etc/passwd", "+", "trap"]).exits(118);
    assert_eq!(ran.stderr, "");
}

#[test]
fn standard_streams_go_where_they_are_sent() {
    let lab = Lab::new();
    lab.write("in.txt", "four");
    let args = ["run", &program("probe.wasm"), "--stdin", "in.txt", "--stdout", "out.txt", "--", "stdin"];
    let ran = lab.ringfence(&args).exits(0);
    assert_eq!(ran.stdout, "");
    assert!(lab.read("out.txt").contains('4'), "{}", lab.read("out.txt"));
}

#[test]
fn a_file_is_copied_through_standard_streams() {
    // `cat` and `grep` do not read what they write to: they look which files the two are.
    let lab = Lab::new();
    let from = lab.write("from", "some text\n");
    for level in ["sandbox", "microvm"].into_iter().filter(|level| lab.lacks(level).is_none()) {
        for words in [&["cat"][..], &["grep", "--", "text"]] {
            let mut command = lab.command(&[&["run", "--level", level], words].concat());
            let to = std::fs::File::create(lab.at("to")).unwrap();
            let ran: Ran = command.stdin(std::fs::File::open(&from).unwrap()).stdout(to).output().unwrap().into();
            ran.exits(0);
            assert_eq!(lab.read("to"), "some text\n", "{level} {words:?}");
        }
    }
}

#[test]
fn modes_of_files_are_the_same_on_both_sides_of_the_wall() {
    use std::os::unix::fs::PermissionsExt;
    let lab = Lab::new();
    let path = |name: &str| lab.at("data").join(name);
    let mode = |name: &str| std::fs::symlink_metadata(path(name)).unwrap().permissions().mode() & 0o7777;
    let give = |name: &str, mode| {
        std::fs::set_permissions(path(name), std::fs::Permissions::from_mode(mode)).unwrap();
    };
    let script = "cd /data; stat -c %a f; umask 0; : >n; mkdir -m 711 d; umask 077; : >p; chmod 755 f; ./f; chmod -w d; \
                  chmod 4755 s; chmod 777 out; :";
    let files = "fs.read,fs.write,fs.create,fs.delete,fs.list=/data";
    for level in ["sandbox", "microvm"].into_iter().filter(|level| lab.lacks(level).is_none()) {
        let outside = lab.write("outside", "");
        std::fs::set_permissions(&outside, std::fs::Permissions::from_mode(0o600)).unwrap();
        for (name, bits) in [("f", 0o640), ("s", 0o644)] {
            lab.write(&format!("data/{name}"), "#!/bin/sh\necho ran\n");
            give(name, bits);
        }
        std::os::unix::fs::symlink("../outside", path("out")).unwrap();
        let mount = format!("{}:/data", lab.at("data").display());
        let run = |mode: &str, script: &str| {
            let mount = format!("{mount}:{mode}");
            let args = ["run", "--level", level, "--mount", &mount, "--allow", files, "sh", "--", "-c", script];
            lab.ringfence(&args).exits(0)
        };
        assert_eq!(run("ro", "chmod 777 /data/f; stat -c %a /data/f").stdout, "640\n", "{level}");
        assert_eq!(run("rw", script).stdout, "640\nran\n", "{level}");
        assert_eq!(["f", "n", "d", "p"].map(mode), [0o755, 0o666, 0o511, 0o600], "{level}");
        // Nobody becomes anybody by what was left there.
        assert_eq!(mode("s") & 0o7000, 0, "{level}");
        assert_eq!(std::fs::metadata(&outside).unwrap().permissions().mode() & 0o7777, 0o600, "{level}");
        std::fs::remove_dir_all(lab.at("data")).unwrap();
    }
}

#[test]
fn every_name_in_etc_is_there() {
    let lab = Lab::new();
    lab.write("data/f", "mounted\n");
    let script = "cd /etc; for name in * ssl/*; do test -e $name || echo $name is not there; done; cat own/f; \
                  ls | grep own; readlink localtime";
    let mount = format!("{}:/etc/own:ro", lab.at("data").display());
    // What names the time zone is a link to it: localtime(5).
    let zone = std::fs::read_link("/etc/localtime").ok();
    let zone = zone.filter(|zone| zone.starts_with("/usr") || zone.starts_with("../usr"));
    let zone = zone.map_or(String::new(), |zone| format!("{}\n", zone.display()));
    for level in ["sandbox", "microvm"].into_iter().filter(|level| lab.lacks(level).is_none()) {
        let rules = ["run", "--level", level, "--mount", &mount, "--allow", "fs.read,fs.list=/etc/own"];
        let ran = lab.ringfence(&[&rules[..], &["sh", "--", "-c", script]].concat());
        assert_eq!(ran.stdout, format!("mounted\nown\n{zone}"), "{level}: {}", ran.stderr);
    }
}

#[test]
fn what_others_write_to_a_mapped_file_stays() {
    use std::io::{BufRead, BufReader, Write};
    use std::os::unix::fs::FileExt;
    use std::process::Stdio;
    const PAGE: usize = 4096;
    let lab = Lab::new();
    let script = "import mmap, sys\nf = open('/data/f', 'r+b')\nm = mmap.mmap(f.fileno(), 0)\n\
                  sum(m[at] for at in range(0, len(m), 4096))\nm[:5] = b'guest'\n\
                  print('ready', flush=True)\nsys.stdin.readline()\n\
                  m.flush()\nprint('flushed', flush=True)\nsys.stdin.readline()\n\
                  f.truncate(4096)\nf.truncate(8192)\nprint(m[4096:4100], flush=True)";
    for level in lab.levels_for("python3") {
        let file = lab.write("data/f", &"x".repeat(64 * PAGE));
        let mount = format!("{}:/data:rw", lab.at("data").display());
        let rules = ["run", "--level", level, "--mount", &mount, "--allow", "fs.read,fs.write=/data"];
        let mut command = lab.command(&[&rules[..], &["python3", "--", "-c", script]].concat());
        let mut program = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let (mut input, output) = (program.stdin.take().unwrap(), program.stdout.take().unwrap());
        let mut lines = BufReader::new(output).lines().map(Result::unwrap);
        assert_eq!(lines.next().as_deref(), Some("ready"), "{level}");
        // Every page was read there, and one of them changed; another one is changed outside.
        let outside = std::fs::File::options().write(true).open(&file).unwrap();
        outside.write_all_at(b"outside", 5 * PAGE as u64).unwrap();
        input.write_all(b"\n").unwrap();
        assert_eq!(lines.next().as_deref(), Some("flushed"), "{level}");
        let content = std::fs::read(&file).unwrap();
        let at = |page: usize| &content[page * PAGE..page * PAGE + 7];
        assert_eq!([at(0), at(4), at(5)], [&b"guestxx"[..], b"xxxxxxx", b"outside"], "{level}");
        input.write_all(b"\n").unwrap();
        assert_eq!(lines.next().as_deref(), Some("b'\\x00\\x00\\x00\\x00'"), "{level}: what was cut off came back");
        assert!(program.wait().unwrap().success(), "{level}");
    }
}

#[test]
fn memory_that_nobody_touched_is_not_what_ends_a_program() {
    // A byte here and there: what is made around each is more than there may be, what is touched is not.
    let lab = Lab::new();
    let script = "import mmap\nstep = 200 * 4096\nm = mmap.mmap(-1, 3000 * step, flags=0x22)\n\
                  for i in range(3000): m[i * step] = i % 251\n\
                  print(all(m[i * step] == i % 251 for i in range(3000)))";
    for level in lab.levels_for("python3") {
        let rules = ["run", "--level", level, "--limit", "memory=200MiB"];
        let ran = lab.ringfence(&[&rules[..], &["python3", "--", "-c", script]].concat());
        assert_eq!(ran.stdout, "True\n", "{level}: {}", ran.stderr);
    }
}

#[test]
fn a_program_finds_its_interfaces_and_none_of_the_hosts() {
    let lab = Lab::new();
    let list = "import socket; print([name for _, name in socket.if_nameindex()])";
    for level in lab.levels_for("python3") {
        let ran = lab.ringfence(&["run", "--level", level, "python3", "--", "-c", list]);
        assert_eq!(ran.stdout, "['lo']\n", "{level}: {}", ran.stderr);
    }
}

#[test]
fn a_program_begins_anew_with_addresses_that_it_knows() {
    // As debuggers, sanitizers and Lisps do: personality(2), ADDR_NO_RANDOMIZE.
    let lab = Lab::new();
    for level in lab.levels_for("setarch") {
        let ran = lab.ringfence(&["run", "--level", level, "setarch", "--", "-R", "cat", "/proc/self/personality"]);
        assert_eq!(ran.stdout, "00040000\n", "{level}: {}", ran.stderr);
    }
}

#[test]
fn what_a_capsule_names_cannot_act_on_the_terminal() {
    let lab = Lab::new();
    let ran = lab.ringfence(&["run", &program("probe.wasm"), "--", "read", "/\x1b[2Jx\nringfence: all is well"]);
    let stderr = ran.exits(1).stderr;
    assert!(!stderr.contains('\x1b'), "{stderr:?}");
    assert_eq!(stderr.lines().count(), 1, "{stderr:?}");
}

#[test]
fn a_granted_port_is_served() {
    use std::io::{BufRead, BufReader, Read, Write};
    let lab = Lab::new();
    let program = program("probe.wasm");
    let args = ["run", &program, "--allow", "net.listen=127.0.0.1:*", "--limit", "wall_time=20s", "--", "listen"];
    let mut child = lab.command(&args).arg("127.0.0.1:0").stdout(std::process::Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let address = lines.next().unwrap().unwrap().strip_prefix("ok ").unwrap().to_owned();
    let mut connection = std::net::TcpStream::connect(&address).unwrap();
    connection.write_all(b"over the wall").unwrap();
    connection.shutdown(std::net::Shutdown::Write).unwrap();
    let mut echo = String::new();
    connection.read_to_string(&mut echo).unwrap();
    assert_eq!(echo, "over the wall");
    assert!(lines.next().unwrap().unwrap().starts_with("ok "));
    assert!(child.wait().unwrap().success());
}

#[test]
fn a_capsule_that_is_granted_no_files_of_its_own_needs_no_place_for_them() {
    use crate::lab::Ran;
    let lab = Lab::new();
    lab.write("data/x", "content");
    let probe = program("probe.wasm");
    let homeless = |args: &[&str]| -> Ran {
        let mut command = lab.command(&[&["run", &probe][..], args].concat());
        command.env_remove("HOME").env_remove("XDG_DATA_HOME").output().unwrap().into()
    };
    homeless(&["--", "args"]).exits(0);
    let ran = homeless(&["--mount", "./data:/data", "--allow", "fs.read=/data", "--", "read", "/data/x"]).exits(0);
    assert!(ran.stdout.contains("\"content\""), "{}", ran.stdout);
    let ran = homeless(&["--mount", "./data:/data", "--allow", "fs.read=/data", "--", "read", "/x"]).exits(1);
    assert!(ran.stderr.contains("denied /x"), "{}", ran.stderr);
    let ran = homeless(&["--allow", "fs.read=/own", "--", "args"]).exits(117);
    assert!(ran.stderr.contains("set XDG_DATA_HOME"), "{}", ran.stderr);

    // A place that cannot be made is not missed either: nothing lies below a file.
    let beside = |args: &[&str]| -> Ran {
        let mut command = lab.command(&[&["run", &probe][..], args].concat());
        command.env("XDG_DATA_HOME", lab.at("data/x")).output().unwrap().into()
    };
    beside(&["--", "args"]).exits(0);
    let ran = beside(&["--allow", "fs.create=/own", "--", "args"]).exits(117);
    assert!(ran.stderr.contains("XDG_DATA_HOME"), "{}", ran.stderr);
}

#[test]
fn a_cache_that_others_can_write_to_is_not_used_and_that_is_said_once() {
    use std::os::unix::fs::PermissionsExt;
    let lab = Lab::new();
    let cache = lab.at("cache/ringfence/wasm");
    std::fs::create_dir_all(&cache).unwrap();
    std::fs::set_permissions(&cache, std::fs::Permissions::from_mode(0o777)).unwrap();
    let run = |args: &[&str]| -> crate::lab::Ran {
        let mut command = lab.command(&[&["run", &program("hello.wat")], args].concat());
        command.env("XDG_CACHE_HOME", lab.at("cache")).output().unwrap().into()
    };
    let ran = run(&[]).exits(0);
    assert_eq!(ran.stderr.matches("can be written by one").count(), 1, "{}", ran.stderr);
    assert!(run(&["--json"]).exits(0).events().iter().any(|event| event["event"] == "uncached"));
    assert_eq!(std::fs::read_dir(&cache).unwrap().count(), 0);
    std::fs::set_permissions(&cache, std::fs::Permissions::from_mode(0o700)).unwrap();
    assert_eq!(run(&[]).exits(0).stderr, "");
}

#[test]
fn the_denial_in_the_readme_is_what_is_printed() {
    let lab = Lab::new();
    let ran = lab.ringfence(&["run", &program("probe.wasm"), "--", "read", "/data/report.txt"]).exits(1);
    let readme = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../../README.md")).unwrap();
    let sample = readme.lines().find(|line| line.starts_with("ringfence: denied ")).unwrap();
    assert_eq!(ran.stderr.trim_end(), sample);
}

/// What else `nsswitch.conf(5)` names are parts of another C library than the one that is in this file.
#[cfg(all(target_env = "gnu", target_feature = "crt-static"))]
#[test]
fn names_are_looked_up_without_loading_parts_of_the_hosts_library() {
    let lab = Lab::new();
    lab.write("nsswitch", "hosts: nowhere\n");
    lab.write("hosts", "93.184.215.14 name.test\n");
    let inside = |script: &str, args: &[&str]| {
        let mut command = std::process::Command::new("unshare");
        let script = format!("mount --bind nsswitch /etc/nsswitch.conf && mount --bind hosts /etc/hosts && {script}");
        lab.prepare(&mut command).args(["-rm", "sh", "-c", &script, env!("CARGO_BIN_EXE_ringfence")]).args(args);
        command.output().map(crate::lab::Ran::from)
    };
    match inside("true", &[]) {
        Ok(ran) if ran.code == Some(0) => {}
        Ok(ran) => return eprintln!("skipped: no mounts of its own: {}", ran.stderr),
        Err(error) => return eprintln!("skipped: unshare: {error}"),
    }
    let probe = program("probe.wasm");
    for grant in [["--allow", "net.connect=name.test:9"], ["--allow", "net.resolve=name.test"], ["--learn", "new.toml"]]
    {
        let ran =
            inside("exec \"$0\" \"$@\"", &["run", &probe, grant[0], grant[1], "--", "resolve", "name.test"]).unwrap();
        assert_eq!(ran.stdout, "ok 1 \"93.184.215.14\"\n", "{grant:?}: {}", ran.stderr);
    }
}
