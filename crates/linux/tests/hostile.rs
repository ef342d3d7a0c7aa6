//! Programs that try to get out, looked at from outside.

mod support;

use std::collections::BTreeMap;
use std::io::Read;
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixListener;

use ringfence_isolation::{Backend, BuildError, Exit, Host, Stop};
use ringfence_manifest::{Mount, MountMode, Permission};
use support::{Keeper, Lab, Outcome, here, linux, wait};

use Permission::{FsCreate, FsDelete, FsList, FsRead, FsWrite};

/// A program of `attempts.c`, which may do everything in `/tmp` and `/data`.
fn attempts(arguments: &[&str]) -> Option<Lab> {
    let lab = Lab::new(support::compiled("attempts.c")?).args(arguments).mount("/data", MountMode::ReadWrite);
    let all = [FsRead, FsWrite, FsCreate, FsDelete, FsList];
    Some(all.into_iter().fold(lab, |lab, permission| lab.grant(permission, "/tmp").grant(permission, "/data")))
}

/// What came of each attempt.
fn results(outcome: &Outcome) -> BTreeMap<String, String> {
    assert_eq!(outcome.exit, Exit::Returned(0), "{outcome:?}");
    let lines = outcome.stdout.lines().filter_map(|line| line.rsplit_once(' '));
    lines.map(|(name, result)| (name.to_owned(), result.to_owned())).collect()
}

#[test]
fn system_calls_that_reach_beyond_a_program_fail() {
    if !here() {
        return;
    }
    let Some(lab) = attempts(&["calls"]) else { return };
    let results = results(&lab.run());
    assert!(results.len() > 40, "{results:?}");
    for (name, result) in &results {
        let expected: &[&str] = match name.as_str() {
            // Libraries fall back to what the filter can judge.
            "clone3" | "unknown" | "no_call" | "mq_open" => &["ENOSYS"],
            "huge_pages" | "huge_segment" => &["ENOMEM"],
            "huge_memfd" | "whiteout" => &["EINVAL"],
            // No terminal is there; what counts is that it is not done.
            "TIOCSTI" | "TIOCSTI_high" | "TIOCLINUX" => &["EPERM"],
            "mknod_device" | "mknod_disk" => &["EACCES", "EPERM"],
            "setuid" => &["EPERM", "EINVAL"],
            "prlimit_of_itself" | "prlimit_by_its_number" => &["done"],
            _ => &["EPERM"],
        };
        assert!(expected.contains(&result.as_str()), "{name}: {result}");
    }
}

#[test]
fn only_sockets_that_can_be_judged_are_made() {
    if !here() {
        return;
    }
    let Some(lab) = attempts(&["sockets"]) else { return };
    for (name, result) in results(&lab.run()) {
        let expected = match name.as_str() {
            "tcp" | "tcp6" | "udp" | "unix_stream" | "socketpair" => "done",
            "fastopen_sendto" | "fastopen_sendmsg" | "fastopen_sendmmsg" => "EOPNOTSUPP",
            // Its own interfaces may be asked about, and not changed.
            "netlink_route" | "netlink_bound" | "get_link" | "SIOCGIFFLAGS" => "done",
            "set_link" | "new_address" | "new_route" | "netlink_groups" => "EPERM",
            "SIOCSIFFLAGS" | "SIOCSIFADDR" | "SIOCADDRT" | "SIOCETHTOOL" => "EPERM",
            _ => "EACCES",
        };
        assert_eq!(result, expected, "{name}");
    }
}

#[test]
fn nothing_of_the_hosts_files_is_there() {
    if !here() {
        return;
    }
    let Some(lab) = attempts(&["files"]) else { return };
    let lab = lab.grant(FsList, "/");
    let before = std::fs::read(&lab.spec.program.path).unwrap();
    for (name, result) in results(&lab.run()) {
        if name == "write_null" {
            assert_eq!(result, "done");
        } else {
            assert_ne!(result, "done", "{name}");
        }
    }
    assert_eq!(std::fs::read(&lab.spec.program.path).unwrap(), before);
}

#[test]
fn it_inherits_its_streams_and_nothing_else() {
    if !here() {
        return;
    }
    let Some(lab) = attempts(&["inherited"]) else { return };
    // Descriptors that `execve` would pass on.
    let leaky = std::fs::File::open("/").unwrap();
    let high = rustix::io::fcntl_dupfd_cloexec(&leaky, 900).unwrap();
    for descriptor in [leaky.as_raw_fd(), high.as_raw_fd()] {
        assert!(descriptor > 2);
    }
    rustix::io::fcntl_setfd(&leaky, rustix::io::FdFlags::empty()).unwrap();
    rustix::io::fcntl_setfd(&high, rustix::io::FdFlags::empty()).unwrap();
    let outcome = lab.run();
    let lines: Vec<&str> = outcome.stdout.lines().collect();
    let descriptors = lines.iter().filter(|line| line.starts_with("fd ")).count();
    assert_eq!(descriptors, 3, "{lines:?}");
    assert!(lines.contains(&"cwd /") && lines.contains(&"session 1"), "{lines:?}");
    assert!(!lines.iter().any(|line| line.starts_with("handled") || line.starts_with("blocked")), "{lines:?}");
}

#[test]
fn unix_sockets_of_the_host_are_out_of_reach() {
    if !here() {
        return;
    }
    let Some(lab) = attempts(&["unix", "/data/socket"]) else { return };
    let listener = UnixListener::bind(lab.host("/data").join("socket")).unwrap();
    listener.set_nonblocking(true).unwrap();
    assert_eq!(results(&lab.run())["pathname"], "EACCES");
    assert!(listener.accept().is_err(), "somebody connected");

    use std::os::linux::net::SocketAddrExt;
    let name = format!("ringfence-test-{}", std::process::id());
    let address = std::os::unix::net::SocketAddr::from_abstract_name(&name).unwrap();
    let listener = UnixListener::bind_addr(&address).unwrap();
    listener.set_nonblocking(true).unwrap();
    let Some(lab) = attempts(&["abstract", &name]) else { return };
    assert_eq!(results(&lab.run())["abstract"], "ECONNREFUSED");
    assert!(listener.accept().is_err(), "somebody connected");
}

#[test]
fn signals_stay_inside() {
    if !here() {
        return;
    }
    if support::compiled("attempts.c").is_none() {
        return;
    }
    let mut bystander = std::process::Command::new("sleep").arg("1000").spawn().unwrap();
    let lab = attempts(&["kill", &bystander.id().to_string()]).expect("it is compiled");
    let results = results(&lab.run());
    assert!(["ESRCH", "EPERM"].contains(&results["kill_outside"].as_str()), "{results:?}");
    assert_eq!(bystander.try_wait().unwrap(), None, "it was hit");
    bystander.kill().unwrap();
    bystander.wait().unwrap();
}

#[test]
fn another_abi_ends_the_program() {
    if !here() || !cfg!(target_arch = "x86_64") {
        return;
    }
    for abi in ["int80", "x32"] {
        let Some(lab) = attempts(&[abi]) else { return };
        assert_eq!(lab.run().exit, Exit::Returned(128 + 31), "{abi}: SIGSYS");
    }
}

#[test]
fn a_flood_of_zombies_is_reaped() {
    if !here() {
        return;
    }
    let Some(lab) = attempts(&["zombies"]) else { return };
    assert_eq!(lab.run().stdout, "reaped\n");
}

/// A program that belongs to somebody else, with the bits that would make its caller one: only root can leave one.
#[test]
fn a_set_user_id_program_changes_nobody() {
    if !here() {
        return;
    }
    let Some(program) = support::compiled("attempts.c") else { return };
    let lab = Lab::shell("/data/bin whoami").mount("/data", MountMode::ReadOnly).grant(FsRead, "/data");
    let own = lab.host("/data").join("bin");
    // By a process of its own: a descriptor for writing that a child of another test still holds keeps it from running.
    assert!(std::process::Command::new("cp").arg(program).arg(&own).status().unwrap().success());
    let somebody = Some(12345);
    if let Err(error) = std::os::unix::fs::chown(&own, somebody, somebody) {
        eprintln!("skipped: no program of somebody else's can be made here: {error}");
        return;
    }
    use std::os::unix::fs::PermissionsExt;
    std::fs::set_permissions(&own, std::fs::Permissions::from_mode(0o6755)).unwrap();
    // Outside it does what it says, or this would show nothing.
    let outside = std::process::Command::new(&own).arg("whoami").output().unwrap();
    if outside.stdout != b"12345 12345\n" {
        eprintln!("skipped: set-user-id programs have no effect in {}", own.display());
        return;
    }
    lab.prints("0 0");
}

#[test]
fn setuid_gives_nothing() {
    if !here() {
        return;
    }
    let script = "grep -E '^(CapEff|CapBnd|NoNewPrivs)' /proc/self/status; su -c true root 2>/dev/null; echo $?";
    let outcome = Lab::shell(script).run();
    let lines: Vec<&str> = outcome.stdout.split_whitespace().collect();
    assert_eq!(lines[..6], ["CapEff:", "0000000000000000", "CapBnd:", "0000000000000000", "NoNewPrivs:", "1"]);
    assert_ne!(lines[6], "0", "su did it");
}

/// CVE-2021-30465: what is mounted is swapped between the look and the mount.
#[test]
fn a_folder_that_was_swapped_for_a_link_is_not_mounted() {
    if !here() {
        return;
    }
    let lab = Lab::shell("cat /data/secret").mount("/data", MountMode::ReadOnly).grant(FsRead, "/data");
    let outside = tempfile::tempdir().unwrap();
    std::fs::write(outside.path().join("secret"), "secret\n").unwrap();
    let prepared = linux().prepare(&lab.spec).unwrap();
    std::fs::remove_dir(lab.host("/data")).unwrap();
    std::os::unix::fs::symlink(outside.path(), lab.host("/data")).unwrap();
    let host: std::sync::Arc<dyn Host> = std::sync::Arc::new(Keeper::default());
    assert!(matches!(prepared.build(host), Err(BuildError::Host { .. })));
}

/// The same where the swap is inside a mount that a capsule may change.
#[test]
fn a_mount_in_a_mount_is_not_led_astray_by_a_link() {
    if !here() {
        return;
    }
    let mut lab = Lab::shell("ls /etc /data/inner").mount("/data", MountMode::ReadWrite);
    lab = [FsRead, FsCreate].into_iter().fold(lab, |lab, permission| lab.grant(permission, "/data"));
    let inner = lab.folder.path().join("inner");
    std::fs::create_dir_all(&inner).unwrap();
    lab.spec.mounts.push(Mount {
        at: "/data/inner".into(),
        name: "/data/inner".into(),
        from: inner,
        mode: MountMode::ReadOnly,
    });
    std::os::unix::fs::symlink("/etc", lab.host("/data").join("inner")).unwrap();
    assert!(lab.build().is_err(), "a link cannot be mounted on");
    std::fs::remove_file(lab.host("/data").join("inner")).unwrap();
    std::fs::create_dir(lab.host("/data").join("inner")).unwrap();
    let prepared = linux().prepare(&lab.spec).unwrap();
    std::fs::remove_dir(lab.host("/data").join("inner")).unwrap();
    std::os::unix::fs::symlink("/etc", lab.host("/data").join("inner")).unwrap();
    let host: std::sync::Arc<dyn Host> = std::sync::Arc::new(Keeper::default());
    assert!(prepared.build(host).is_err(), "the link was followed");
}

#[test]
fn one_capsule_does_not_see_another() {
    if !here() {
        return;
    }
    let (other, _) = Lab::new("/bin/sleep").args(&["1000"]).build().unwrap();
    other.start().unwrap();
    let outcome = Lab::shell("for p in /proc/[0-9]*; do cat $p/comm; done").grant(FsList, "/").run();
    assert!(!outcome.stdout.contains("sleep"), "{outcome:?}");
    other.stop(Stop::Kill);
    wait(other.exited());
}

/// By the number it has outside, which a program could guess.
#[test]
fn one_capsule_does_not_reach_into_another() {
    if !here() {
        return;
    }
    let mark = format!("1000.{}777", std::process::id());
    let (other, _) = Lab::new("/bin/sleep").args(&[&mark]).build().unwrap();
    other.start().unwrap();
    let marked = |pid: &i32| {
        let line = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        line.split(|&byte| byte == 0).any(|word| word == mark.as_bytes())
    };
    let find = || {
        let entries = std::fs::read_dir("/proc").unwrap().flatten();
        entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).find(marked)
    };
    support::eventually("it runs", || find().is_some());
    let pid = find().expect("it runs").to_string();
    let Some(lab) = attempts(&["process", &pid]) else { return };
    let results = results(&lab.run());
    assert!(results.len() == 9, "{results:?}");
    for (name, result) in &results {
        assert!(["ESRCH", "EPERM"].contains(&result.as_str()), "{name}: {result}");
    }
    assert!(find().is_some(), "it was ended");
    other.stop(Stop::Kill);
    wait(other.exited());
}

#[test]
fn no_descriptor_is_passed_out() {
    if !here() {
        return;
    }
    let Some(lab) = attempts(&["pass", "/data/way-out"]) else { return };
    for (name, result) in results(&lab.run()) {
        assert_ne!(result, "done", "{name}");
    }
    assert!(!lab.host("/data").join("way-out").exists(), "somebody could connect to it");
}

/// CVE-2024-21626: a working directory by way of a descriptor that was left open.
#[test]
fn a_working_directory_leads_nowhere_out() {
    if !here() {
        return;
    }
    for number in 0..32 {
        let mut lab = Lab::shell("pwd -P; ls ../../../../root/. ../../../../home/. 2>/dev/null; true");
        lab.spec.program.working_directory = format!("/proc/self/fd/{number}");
        let _held = std::fs::File::open("/").unwrap();
        match lab.try_run() {
            Err(BuildError::Program { reason, .. }) => assert!(reason.contains("working directory"), "{reason}"),
            Err(other) => panic!("{number}: {}", support::explain(&other)),
            Ok(outcome) => panic!("{number}: {outcome:?}"),
        }
    }
}

/// CVE-2019-5736: what is to be run in the place turns out to be whoever starts it.
#[test]
fn a_command_that_leads_to_the_supervisor_is_not_run() {
    if !here() {
        return;
    }
    let lab = Lab::shell("sleep 1000").mount("/data", MountMode::ReadWrite).grant(FsRead, "/data");
    std::os::unix::fs::symlink("/proc/self/exe", lab.host("/data").join("tool")).unwrap();
    std::fs::write(lab.host("/data").join("script"), "#!/proc/self/exe\n").unwrap();
    use std::os::unix::fs::PermissionsExt;
    std::fs::set_permissions(lab.host("/data").join("script"), std::fs::Permissions::from_mode(0o755)).unwrap();
    let (instance, keeper) = lab.build().unwrap();
    instance.start().unwrap();
    for command in ["/data/tool", "/data/script", "/proc/self/exe", "/proc/1/exe"] {
        // This very program would list its tests.
        let words = vec![command.to_owned(), "--list".to_owned()];
        let ended = wait(instance.exec().unwrap().exec(words));
        assert!(matches!(ended, Ok(Exit::Trapped(_))), "{command}: {ended:?}");
    }
    assert!(keeper.printed().is_empty(), "{}", String::from_utf8_lossy(&keeper.printed()));
    instance.stop(Stop::Kill);
    wait(instance.exited());
}

/// The program's output goes through a pipe: it cannot get hold of what the supervisor's is.
#[test]
fn a_descriptor_is_not_reopened_for_more() {
    if !here() {
        return;
    }
    let mut lab = Lab::shell("echo overwritten > /proc/self/fd/0; exec 0<&- ; echo done");
    let file = lab.folder.path().join("input");
    std::fs::write(&file, "input\n").unwrap();
    lab.spec.stdio.stdin = ringfence_manifest::StreamIn::File(file.clone());
    lab.run();
    let mut kept = String::new();
    std::fs::File::open(file).unwrap().read_to_string(&mut kept).unwrap();
    assert_eq!(kept, "input\n");
}
