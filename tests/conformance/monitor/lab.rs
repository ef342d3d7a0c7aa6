//! Where a capsule with a monitor runs, as far as this machine can bound one.

use std::fs;

use ringfence::{BuildError, Capsule, Guarantee, Level, Load, LoadError, Runtime, StreamOut};

use crate::host;

/// Where a capsule runs: a folder with a mount of which nothing but writing one file is granted.
pub(crate) struct Lab {
    pub(crate) home: tempfile::TempDir,
    pub(crate) runtime: std::cell::OnceCell<Runtime>,
}

/// A capsule that is tried; what is left out is as usual: `/bin/true`, with a monitor in a process of its own.
#[derive(Clone, Copy)]
pub(crate) struct Tried<'a> {
    /// `good`, or what its monitor does that somebody has taken over.
    pub(crate) name: &'a str,
    /// Lines of `[isolation]` beside the level.
    pub(crate) isolation: &'a str,
    /// Lines of `[limits]`.
    pub(crate) limits: &'a str,
    /// Lines of `[permissions]` beside those of the mount.
    pub(crate) permissions: &'a str,
    /// The program and its arguments.
    pub(crate) words: &'a [&'a str],
    /// Whether the monitor has a process of its own.
    pub(crate) apart: bool,
}

impl Default for Tried<'_> {
    fn default() -> Self {
        Tried { name: "good", isolation: "", limits: "", permissions: "", words: &["/bin/true"], apart: true }
    }
}

impl Lab {
    pub(crate) fn new() -> Self {
        let home = tempfile::tempdir().expect("a folder for temporary files");
        fs::create_dir(home.path().join("data")).expect("a folder");
        fs::write(home.path().join("data/in.txt"), "inside").expect("a file");
        Lab { home, runtime: std::cell::OnceCell::new() }
    }

    pub(crate) fn load(&self, tried: &Tried<'_>) -> Result<Capsule, LoadError> {
        let (runtime, load) = self.describe(tried)?;
        runtime.load_with(load)
    }

    /// What is to be loaded, and where.
    pub(crate) fn describe(&self, tried: &Tried<'_>) -> Result<(&Runtime, Load), LoadError> {
        let Tried { name, isolation, limits, permissions, words, apart } = *tried;
        let (program, arguments) = words.split_first().expect("a program");
        let runtime = self.runtime.get_or_init(|| {
            let mut builder = Runtime::builder().data_home(self.home.path());
            if apart {
                builder = builder.runner(std::env::current_exe().expect("its own path"));
            }
            builder.build().expect("a runtime is set up")
        });
        if let Some(missing) = lacks(runtime, limits) {
            return Err(missing);
        }
        let text = format!(
            "[capsule]\nname = {name:?}\n[program]\nkind = \"linux\"\npath = {program:?}\nargs = {arguments:?}\n\
             [isolation]\nlevel = \"microvm\"\n{isolation}\n[limits]\n{limits}\n\
             [permissions]\nfs.write = [\"/data/out\"]\nfs.create = [\"/data/out\"]\n{permissions}\n\
             [mounts]\n\"/data\" = {{ from = \"data\", mode = \"rw\" }}\n"
        );
        let manifest = ringfence::Manifest::parse("capsule.toml", &text).expect("a manifest");
        Ok((runtime, Load::manifest(manifest).directory(self.home.path()).stdout(StreamOut::Capture)))
    }
}

/// Without a cgroup nothing bounds a bad monitor: such a run would take all of this machine.
fn lacks(runtime: &Runtime, limits: &str) -> Option<LoadError> {
    let (missing, facts) = host::lacks(runtime, &[limits])?;
    Some(LoadError::Build(BuildError::Refused(ringfence::Refusal {
        level: Level::MicroVm,
        guarantee: Guarantee::MonitorConfined,
        found: missing.found,
        remedy: String::new(),
        facts,
    })))
}
