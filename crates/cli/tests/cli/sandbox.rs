//! `ringfence run` with programs of this machine.

use std::path::Path;

use crate::lab::{Lab, capsule, program};

/// A lab on a machine that has the level and these programs; says what is missing otherwise.
fn lab(programs: &[&str]) -> Option<Lab> {
    let lab = Lab::new();
    if lab.lacks("sandbox").is_some() {
        return None;
    }
    let missing = programs.iter().find(|program| !Path::new("/usr/bin").join(program).exists());
    if let Some(missing) = missing {
        eprintln!("skipped: no {missing} in /usr/bin");
        return None;
    }
    Some(lab)
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
