//! Commands that print what there is.

use crate::lab::Lab;

#[test]
fn doctor_knows_every_level() {
    let lab = Lab::new();
    let found = lab.ringfence(&["doctor", "--json"]).exits(0).json();
    let levels = found["levels"].as_array().unwrap();
    assert_eq!(levels.len(), 9);
    let tee = levels.iter().find(|level| level["level"] == "tee").unwrap();
    assert_eq!((&tee["available"], &tee["why"]), (&false.into(), &"not in this version".into()));
    let ran = lab.ringfence(&["doctor"]).exits(0);
    assert!(ran.stdout.contains("not in this version"), "{}", ran.stdout);
}

#[test]
fn doctor_works_without_a_home_and_says_so() {
    let lab = Lab::new();
    let mut command = lab.command(&["doctor"]);
    let ran = crate::lab::Ran::from(
        command.env_remove("HOME").env_remove("XDG_DATA_HOME").env_remove("XDG_CACHE_HOME").output().unwrap(),
    );
    assert!(ran.exits(0).stdout.contains("set HOME or XDG_DATA_HOME"));
}

#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
#[test]
fn doctor_lists_the_system_calls_that_are_served_and_why_others_are_not() {
    let lab = Lab::new();
    let found = lab.ringfence(&["doctor", "--syscalls", "--json"]).exits(0).json();
    assert_eq!(found["levels"][0]["level"], "microvm");
    let calls = found["levels"][0]["system_calls"].as_array().unwrap();
    let of = |name: &str| calls.iter().find(|call| call["name"] == name).unwrap();
    assert_eq!((&of("read")["number"], &of("read")["served"]), (&0.into(), &"fully".into()));
    assert_eq!(of("io_uring_setup")["served"], "absent");
    assert!(of("prctl")["missing"].as_str().unwrap().len() > 10);
    let ran = lab.ringfence(&["doctor", "--syscalls"]).exits(0);
    assert!(ran.stdout.contains("served in part"), "{}", ran.stdout);
}

#[test]
fn levels_are_listed_with_their_scores() {
    let lab = Lab::new();
    let levels = lab.ringfence(&["levels", "--json"]).exits(0).json();
    assert_eq!(levels.as_array().unwrap().len(), 9);
    assert_eq!(levels[3]["level"], "wasm");
    assert_eq!(levels[3]["guarantees"]["own-kernel"], "no");
    assert!(levels[3]["score"].as_u64().unwrap() > 0);
    let text = lab.ringfence(&["levels"]).exits(0).stdout;
    assert!(text.lines().all(|line| line.chars().count() <= 120), "{text}");
}

#[test]
fn no_colours_without_a_terminal() {
    let lab = Lab::new();
    for command in ["doctor", "levels"] {
        assert!(!lab.ringfence(&[command]).exits(0).stdout.contains('\x1b'));
    }
}

#[test]
fn completions_and_manual_are_written() {
    let lab = Lab::new();
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        assert!(lab.ringfence(&["completions", shell]).exits(0).stdout.contains("ringfence"), "{shell}");
    }
    assert!(lab.ringfence(&["man"]).exits(0).stdout.starts_with(".ie"));
    lab.ringfence(&["man", "pages"]).exits(0);
    for page in ["ringfence.1", "ringfence-run.1", "ringfence-check.1", "ringfence-cache-ls.1"] {
        assert!(!lab.read(&format!("pages/{page}")).is_empty());
    }
    assert!(lab.read("pages/ringfence-run.1").contains("119"));
}

#[cfg(feature = "wasm")]
#[test]
fn the_cache_is_listed_and_cleared() {
    let lab = Lab::new();
    let cache = |args: &[&str]| {
        let mut command = lab.command(args);
        crate::lab::Ran::from(command.env("XDG_CACHE_HOME", lab.at("cache")).output().unwrap()).exits(0)
    };
    assert_eq!(cache(&["cache", "ls", "--json"]).json()["entries"], serde_json::json!([]));
    cache(&["run", &crate::lab::program("hello.wat")]);
    assert_eq!(cache(&["cache", "ls", "--json"]).json()["entries"].as_array().unwrap().len(), 1);
    assert_eq!(cache(&["cache", "clear", "--json"]).json()["removed"], 1);
    assert_eq!(cache(&["cache", "ls", "--json"]).json()["bytes"], 0);
}
