//! ripgrep, from npm, over this repository.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::lab::Lab;
use crate::registry::{Missing, kept, npm, run};

/// What is searched for.
const WORD: &str = "ScopedHal";

/// The package holds the program compressed in a JavaScript module.
fn program() -> Result<PathBuf, Missing> {
    let package = npm("ripgrep", "0.3.1")?;
    let folder = kept("ripgrep-0.3.1-program", |folder| {
        let script = "const [module, to] = process.argv.slice(-2);
            const { getCompressedBytes } = await import(module);
            const { brotliDecompressSync } = await import('node:zlib');
            const { writeFileSync } = await import('node:fs');
            writeFileSync(to, brotliDecompressSync(getCompressedBytes()));";
        let mut node = Command::new("node");
        node.args(["--input-type=module", "--eval", script, "--"]);
        node.arg(package.join("lib/_rg.wasm.mjs")).arg(folder.join("rg.wasm"));
        run(node).map(drop).map_err(Missing::Unavailable)
    })?;
    Ok(folder.join("rg.wasm"))
}

/// A capsule that may read this repository.
fn capsule(lab: &Lab) -> Result<(), Missing> {
    let text = format!(
        "[capsule]\nname = \"ripgrep\"\n\
         [program]\npath = {:?}\n\
         [permissions]\nargs = true\nfs.read = [\"/src\"]\nfs.list = [\"/src\"]\n\
         [mounts]\n\"/src\" = {{ from = {:?}, mode = \"ro\" }}\n\
         [limits]\nmemory = \"256 MiB\"\nwall_time = \"60s\"\n",
        program()?,
        repository(),
    );
    lab.write("capsule.toml", &text);
    Ok(())
}

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().unwrap()
}

/// How often the word stands in each Rust file below a folder, where it does.
fn count(folder: &Path, at: &str, counts: &mut BTreeMap<String, usize>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap();
        let at = format!("{at}/{name}");
        if name.starts_with('.') || name == "target" || path.is_symlink() {
            continue;
        }
        if path.is_dir() {
            count(&path, &at, counts);
        } else if name.ends_with(".rs") {
            let found = fs::read_to_string(&path).unwrap().matches(WORD).count();
            if found > 0 {
                counts.insert(at, found);
            }
        }
    }
}

pub(crate) fn it_counts_in_this_repository() -> Result<(), Missing> {
    let lab = Lab::new();
    capsule(&lab)?;
    let search = ["--no-ignore", "--glob=*.rs", "--glob=!target", "--fixed-strings", "--count-matches", WORD, "/src"];
    let ran = lab.ringfence(&[&["run", ".", "--"], &search[..]].concat()).exits(0);
    assert_eq!(ran.stderr, "");
    let found: BTreeMap<_, usize> = ran
        .stdout
        .lines()
        .map(|line| line.rsplit_once(':').expect("a line is a path and a count"))
        .map(|(path, count)| (path.to_owned(), count.parse().expect("a count is a number")))
        .collect();
    let mut counted = BTreeMap::new();
    count(&repository(), "/src", &mut counted);
    assert!(counted.len() > 5, "the word stands in more files: {counted:?}");
    assert_eq!(found, counted);
    // Nothing found has a status of its own, which is passed through.
    lab.ringfence(&["run", ".", "--", "--no-ignore", "no[ ]such word", "/src/README.md"]).exits(1);
    Ok(())
}

pub(crate) fn it_sees_nothing_outside() -> Result<(), Missing> {
    let lab = Lab::new();
    capsule(&lab)?;
    for path in ["/etc/passwd", "/src/../etc/passwd"] {
        let ran = lab.ringfence(&["run", ".", "--json", "--", "--no-ignore", "root", path]).exits(2);
        assert_eq!(ran.stdout, "");
        // Its own complaint is among the events.
        let denied = ran.stderr.lines().filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok());
        let denied: Vec<_> = denied.filter(|event| event["event"] == "denied").collect();
        assert_eq!(denied.len(), 1, "{}", ran.stderr);
        assert_eq!(denied[0]["resource"], "/etc/passwd");
    }
    Ok(())
}
