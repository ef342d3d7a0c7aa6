//! Shells and dynamic programs: many processes, the system's libraries.

mod support;

use std::path::Path;

use ringfence_manifest::MountMode;
use support::{Lab, compiled, here};

#[test]
fn a_shell_runs_commands_in_pipes() {
    let Some(lab) = Lab::shell("echo one two | /bin/busybox wc -w; /bin/busybox seq 1 5 | /bin/busybox tail -n 1")
    else {
        return;
    };
    lab.prints("2\n5");
}

#[test]
fn a_shell_sees_the_status_of_its_children() {
    let Some(lab) = Lab::shell("/bin/busybox false; echo $?; (exit 7); echo $?; /bin/missing; echo $?") else { return };
    lab.prints("1\n7\n127");
}

#[test]
fn a_shell_works_with_files_it_was_granted() {
    let script = "cd /data && echo text > a && cat a a > b && wc -c < b && mkdir d && mv b d && ls d";
    let Some(lab) = Lab::shell(script) else { return };
    lab.mount("/data", MountMode::ReadWrite).grant_all("/data").prints("10\nb");
}

#[test]
fn a_dynamic_program_finds_its_libraries() {
    let Some(program) = here().then(|| compiled("ordinary.c", &[])).flatten() else { return };
    Lab::new(program).args(&["threads"]).prints("400");
}

#[test]
fn a_script_runs_with_its_interpreter() {
    if !here() || !Path::new("/bin/sh").exists() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let script = folder.path().join("script");
    std::fs::write(&script, "#!/bin/sh\necho \"$1 from a script\"\n").unwrap();
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    std::fs::set_permissions(&script, mode).unwrap();
    Lab::new(script).args(&["hello"]).prints("hello from a script");
}

#[test]
fn python_computes() {
    let python = Path::new("/usr/bin/python3");
    if !here() || !python.exists() {
        eprintln!("skipped: there is no {}", python.display());
        return;
    }
    Lab::new(python)
        .args(&["-c", "import json, math; print(json.dumps({'pi': round(math.pi, 3)}))"])
        .prints("{\"pi\": 3.142}");
}

#[test]
fn a_process_finds_itself_in_proc() {
    let Some(lab) = Lab::shell("ls /proc/self/ | grep exe; readlink /proc/self/exe; cat /proc/self/comm") else {
        return;
    };
    let real = std::fs::canonicalize("/bin/busybox").unwrap();
    lab.prints(&format!("exe\n{}\ncat", real.display()));
}
