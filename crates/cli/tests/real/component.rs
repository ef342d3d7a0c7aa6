//! Components made from Python by componentize-py, from the Python Package Index.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use ringfence::{Load, Runtime};

use crate::lab::{Lab, Ran};
use crate::registry::{Missing, kept, python, run};

const VERSION: &str = "0.25.1";

/// What the components are made of.
const SOURCES: [(&str, &str); 4] = [
    ("wit/world.wit", include_str!("component/wit/world.wit")),
    ("wit/deps/cli.wit", include_str!("component/wit/deps/cli.wit")),
    ("command.py", include_str!("component/command.py")),
    ("words.py", include_str!("component/words.py")),
];

/// The component of a world, made when its sources are not those of the one that is kept.
fn component(world: &str) -> Result<PathBuf, Missing> {
    let tool = python("componentize-py", VERSION)?;
    let mut hasher = DefaultHasher::new();
    SOURCES.hash(&mut hasher);
    let name = format!("{world}-{VERSION}-{:016x}", hasher.finish());
    let folder = kept(&name, |folder| {
        for (name, text) in SOURCES {
            let path = folder.join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }
        let mut python = Command::new("python3");
        python.current_dir(folder).env("PYTHONPATH", &tool).env("PYTHONDONTWRITEBYTECODE", "1");
        python.arg(tool.join("bin/componentize-py")).args(["--wit-path", "wit", "--world", world]);
        python.args(["componentize", world, "--output", "component.wasm"]);
        run(python).map(drop).map_err(Missing::Broken)
    })?;
    Ok(folder.join("component.wasm"))
}

pub(crate) fn a_command_in_python_runs() -> Result<(), Missing> {
    let lab = Lab::new();
    lab.write("data/names.txt", "Ada\nGrace\n");
    let program = component("command")?;
    let granted = ["--mount", "./data:/data:ro", "--allow", "fs.read=/data", "--env", "GREETING=Hello"];
    let run = [&["run", program.to_str().unwrap()], &granted[..], &["--", "/data/names.txt"]].concat();
    let mut child =
        lab.command(&run).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(b"Edsger\n").unwrap();
    let ran = Ran::from(child.wait_with_output().unwrap()).exits(0);
    assert_eq!(ran.stdout, "Hello, Ada\nHello, Grace\nHello, Edsger\n");
    assert_eq!(ran.stderr, "");
    let run = [&["run", program.to_str().unwrap()], &granted[..], &["--", "/etc/passwd"]].concat();
    let ran = lab.ringfence(&run).exits(1);
    assert_eq!(ran.stdout, "");
    assert!(ran.stderr.contains("denied /etc/passwd") && ran.stderr.contains("PermissionError"), "{}", ran.stderr);
    Ok(())
}

pub(crate) fn functions_in_python_are_called() -> Result<(), Missing> {
    let program = component("words")?;
    let lab = Lab::new();
    lab.write("data/file", "12345");
    let runtime = Runtime::builder()
        .data_home(lab.at("home"))
        .cache(Path::new(env!("CARGO_TARGET_TMPDIR")).join("cache/ringfence"))
        .build()
        .unwrap();
    let load = Load::path(program)
        .unwrap()
        .mount(format!("{}:/data:ro", lab.at("data").display()))
        .allow("fs.read=/data/file");
    let instance = runtime.load_with(load).unwrap().start().unwrap();
    let counted: Vec<(String, u32)> = instance.call_blocking("count", ("to be or not to be",)).unwrap();
    assert_eq!(counted[..2], [("to".to_owned(), 2), ("be".to_owned(), 2)]);
    assert_eq!(counted.len(), 4);
    let none: Vec<(String, u32)> = instance.call_blocking("count", ("",)).unwrap();
    assert_eq!(none, []);
    let calls: u32 = instance.call_blocking("calls", ()).unwrap();
    assert_eq!(calls, 2, "calls share the state of their instance");
    let size = |path: &str| -> Result<u64, String> { instance.call_blocking("size", (path,)).unwrap() };
    assert_eq!(size("/data/file"), Ok(5));
    assert_eq!(size("/etc/passwd"), Err("PermissionError".to_owned()));
    Ok(())
}
