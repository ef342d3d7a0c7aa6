//! Hostile programs end themselves and nothing else.

mod support;

use ringfence_isolation::{Exit, LimitKind};
use ringfence_manifest::{Bytes, MountMode};
use support::Lab;

fn hostile(arguments: &[&str]) -> Option<Lab> {
    Lab::compiled("hostile.c", arguments)
}

#[test]
fn bad_pointers_to_every_call_are_answered() {
    let Some(lab) = hostile(&["pointers"]) else { return };
    let outcome = lab.run();
    assert_eq!(outcome.report.exit, Exit::Returned(0), "{}", outcome.stderr);
    assert!(outcome.stdout.ends_with("survived\n"));
}

#[test]
fn nothing_is_at_addresses_that_are_not_its_own() {
    for address in ["ffffffff80000000", "ffffffff80004000", "ffffffff80010004", "800000000000", "7ffffffff000", "10"] {
        for what in ["jump", "read", "write"] {
            let Some(lab) = hostile(&[what, address]) else { return };
            assert_eq!(lab.run().report.exit, Exit::Returned(139), "{what} {address}");
        }
    }
}

#[test]
fn the_stub_cannot_be_changed_and_a_jump_into_it_is_a_system_call_at_most() {
    let Some(lab) = hostile(&["write", "3fffffe00000"]) else { return };
    assert_eq!(lab.run().report.exit, Exit::Returned(139));
    for address in ["3fffffe00000", "3fffffe00002", "3fffffe00010", "3fffffe00020", "3fffffe00800"] {
        let Some(lab) = hostile(&["jump", address]) else { return };
        let exit = lab.run().report.exit;
        assert!(matches!(exit, Exit::Returned(status) if status != 0), "{address}: {exit}");
    }
}

#[test]
fn privileged_instructions_and_ports_are_faults() {
    for arguments in [
        &["privileged", "h"][..],
        &["privileged", "c"],
        &["privileged", "m"],
        &["privileged", "l"],
        &["privileged", "i"],
        &["port"],
    ] {
        let Some(lab) = hostile(arguments) else { return };
        let exit = lab.run().report.exit;
        assert!(matches!(exit, Exit::Returned(132 | 139)), "{arguments:?}: {exit}");
    }
}

#[test]
fn an_exit_of_its_own_making_leads_nowhere() {
    let Some(lab) = hostile(&["own-exit"]) else { return };
    assert_eq!(lab.run().report.exit, Exit::Returned(139));
}

#[test]
fn flags_a_program_may_not_have_are_taken_away() {
    let Some(lab) = hostile(&["flags"]) else { return };
    lab.prints("returned");
}

#[test]
fn forking_without_end_trips_the_limit() {
    let Some(lab) = hostile(&["forks"]) else { return };
    let outcome = lab.limit(|limits| limits.processes = Some(10)).run();
    assert_eq!(outcome.report.tripped.map(|limit| limit.limit), Some(LimitKind::Processes));
}

#[test]
fn page_tables_count_as_memory() {
    let Some(lab) = hostile(&["tables"]) else { return };
    let outcome = lab.limit(|limits| limits.memory = Some(Bytes(16 << 20))).run();
    assert_eq!(outcome.report.tripped.map(|limit| limit.limit), Some(LimitKind::Memory), "{}", outcome.report.exit);
}

#[test]
fn no_path_leads_to_a_file_of_the_host_that_was_not_granted() {
    let Some(lab) = Lab::shell("") else { return };
    let lab = lab.mount("/data", MountMode::ReadWrite).grant_all("/data");
    let secret = lab.folder.path().join("secret");
    std::fs::write(&secret, "what nobody may see").unwrap();
    let host = lab.host("/data");
    std::os::unix::fs::symlink(&secret, host.join("planted")).unwrap();
    std::os::unix::fs::symlink("/usr/lib/../../etc/shadow", host.join("shadow")).unwrap();
    let secret = secret.display();
    let script = format!(
        "cd /data; ln -s {secret} made; for path in {secret} planted made shadow /usr/..{secret} /lib/../..{secret} \
         /proc/self/root{secret} /proc/1/root{secret} /dev/fd/../..{secret} /proc/self/cwd/../../../..{secret} \
         /usr/lib/../../etc/shadow /etc/shadow /proc/kcore /proc/self/mem /dev/kvm /dev/mem; do \
         /bin/busybox head -c 100 $path && echo leaked $path; done; echo tried"
    );
    let outcome = lab.args(&["sh", "-c", &script]).run();
    assert_eq!((outcome.stdout.as_str(), outcome.report.exit), ("tried\n", Exit::Returned(0)), "{}", outcome.stderr);
}

fn small(arguments: &[&str]) -> Option<Lab> {
    Some(hostile(arguments)?.grant_all("/tmp").limit(|limits| limits.memory = Some(Bytes(16 << 20))))
}

#[test]
fn memory_that_is_hidden_with_the_host_counts() {
    for place in ["pipes", "sockets", "datagrams"] {
        let Some(lab) = small(&["hide", place]) else { return };
        let outcome = lab.run();
        let tripped = outcome.report.tripped.map(|limit| limit.limit);
        assert_eq!(tripped, Some(LimitKind::Memory), "{place}: {} {}", outcome.report.exit, outcome.stdout);
        assert!(outcome.report.usage.memory_peak <= 17 << 20, "{place}: {}", outcome.report.usage.memory_peak);
    }
    let Some(lab) = small(&["hide", "links"]) else { return };
    let outcome = lab.limit(|limits| limits.memory = Some(Bytes(8 << 20))).run();
    assert_eq!(outcome.report.tripped.map(|limit| limit.limit), Some(LimitKind::Memory), "{}", outcome.stdout);
}

#[test]
fn what_was_looked_at_and_not_taken_counts() {
    let listener = std::net::TcpListener::bind((std::net::Ipv4Addr::LOCALHOST, 0)).unwrap();
    let port = listener.local_addr().unwrap().port().to_string();
    std::thread::spawn(move || {
        let mut kept = Vec::new();
        for stream in listener.incoming().flatten() {
            let _ = std::io::Write::write_all(&mut (&stream), &[7; 65536]);
            kept.push(stream);
        }
    });
    let Some(mut lab) = small(&["hide", "peeked", &port]) else { return };
    lab.spec.permissions.network.connect.push(format!("127.0.0.1:{port}").parse().unwrap());
    let outcome = lab.limit(|limits| limits.memory = Some(Bytes(8 << 20))).run();
    let tripped = outcome.report.tripped.map(|limit| limit.limit);
    assert_eq!(tripped, Some(LimitKind::Memory), "{} {}", outcome.report.exit, outcome.stdout);
}

#[test]
fn sockets_on_their_way_through_themselves_stay_counted() {
    let Some(lab) = hostile(&["hide", "passed"]) else { return };
    let outcome = lab.limit(|limits| limits.open_files = Some(100)).run();
    assert_eq!(outcome.report.tripped.map(|limit| limit.limit), Some(LimitKind::OpenFiles), "{}", outcome.report.exit);
}

#[test]
fn locks_are_not_without_end() {
    let Some(lab) = small(&["hide", "locks"]) else { return };
    lab.prints("16384 locks");
}

#[test]
fn a_tree_deeper_than_the_hosts_stack_is_let_go() {
    let Some(lab) = small(&["deep", "12"]) else { return };
    lab.limit(|limits| limits.memory = None).prints("made");
}

#[test]
fn vectors_of_any_length_cost_no_more_than_their_limit() {
    let Some(lab) = small(&["iovecs"]) else { return };
    lab.prints("survived");
}

#[test]
fn no_call_reaches_what_is_not_the_programs() {
    let Some(lab) = hostile(&["over-stubs"]) else { return };
    lab.prints("tried");
}

/// `RINGFENCE_FUZZ_SEED` and `RINGFENCE_FUZZ_ROUNDS` try others.
#[test]
fn calls_of_chance_end_within_their_limits() {
    let number =
        |name, otherwise: u64| std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(otherwise);
    let first = number("RINGFENCE_FUZZ_SEED", 20_260);
    for seed in first..first + number("RINGFENCE_FUZZ_ROUNDS", 4) {
        println!("seed {seed}");
        let Some(lab) = hostile(&["fuzz", &seed.to_string(), "10", "400"]) else { return };
        let lab = lab.grant_all("/tmp").mount("/data", MountMode::ReadWrite).grant_all("/data");
        let outcome = lab
            .limit(|limits| {
                limits.memory = Some(Bytes(128 << 20));
                limits.processes = Some(20);
                limits.open_files = Some(500);
            })
            .run();
        let exit = &outcome.report.exit;
        let ended = matches!(exit, Exit::Returned(0) | Exit::Exceeded(_));
        assert!(ended, "seed {seed}: {exit}\n{}\n{}", outcome.stdout, outcome.stderr);
        assert!(outcome.report.usage.memory_peak <= 129 << 20, "seed {seed}: {}", outcome.report.usage.memory_peak);
    }
}
