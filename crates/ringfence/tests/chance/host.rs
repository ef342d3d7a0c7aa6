//! A host for programs that nobody wrote, and how they end.

use std::path::{Path, PathBuf};

use ringfence::{BuildError, Capsule, Exit, LimitKind, Load, LoadError, Runtime, StartError, Stop, StreamOut};

/// The fuel of every program: enough to leave the C library, too little to be waited for.
const FUEL: u64 = 300_000;

/// A runtime with folders of its own.
pub(crate) struct Host {
    runtime: Runtime,
    place: tempfile::TempDir,
}

/// How a program ended.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// It did not start, and why.
    Refused(String),
    /// It ran.
    Ran { exit: Exit, fuel: u64, stdout: Vec<u8> },
}

impl Host {
    pub(crate) fn new() -> Self {
        let place = tempfile::tempdir().expect("a folder");
        let runtime = Runtime::builder()
            .current_thread()
            .data_home(place.path().join("data"))
            .cache(place.path().join("cache"))
            .build()
            .expect("a runtime");
        Host { runtime, place }
    }

    /// Writes `program` to a file and runs it, with a folder of its own to do with what it likes.
    /// It ends as a program may: anything else is the host's failure, and panics.
    pub(crate) fn run(&self, program: &[u8]) -> End {
        let file = self.place.path().join("program.wasm");
        std::fs::write(&file, program).expect("the program is written");
        let files = self.files();
        std::fs::create_dir_all(&files).expect("a folder for its files");
        let ended = self.run_file(&file, &files);
        std::fs::remove_dir_all(&files).expect("its files are removed");
        if let End::Ran { exit: exit @ Exit::Lost(_), .. } = &ended {
            panic!("the host failed it: {exit}");
        }
        ended
    }

    /// What there is beside the files of the program: of the capsule, and of compiled code.
    pub(crate) fn folders(&self) -> [PathBuf; 2] {
        [self.place.path().join("data"), self.place.path().join("cache")]
    }

    fn files(&self) -> PathBuf {
        self.place.path().join("files")
    }

    fn run_file(&self, program: &Path, files: &Path) -> End {
        let load = Load::path(program)
            .expect("the program is there")
            .mount(format!("{}:/files:rw", files.display()))
            .allow("fs.read,fs.write,fs.create,fs.delete,fs.list=/files")
            .limit(format!("fuel={FUEL}"))
            .limit("memory=16MiB")
            .limit("wall_time=500ms")
            .limit("disk=1MiB")
            .limit("output=64KiB")
            .limit("open_files=16")
            .stdout(StreamOut::Capture)
            .stderr(StreamOut::Null);
        let capsule = match self.runtime.load_with(load) {
            Ok(capsule) => capsule,
            Err(LoadError::Build(error @ BuildError::Program { .. })) => return End::Refused(error.to_string()),
            Err(error) => panic!("the host failed it: {error}"),
        };
        if !capsule.is_command() {
            return Self::built(&capsule);
        }
        match capsule.run_blocking() {
            Ok(report) => {
                End::Ran { fuel: report.usage.fuel, stdout: report.stdout.unwrap_or_default(), exit: report.exit }
            }
            Err(StartError::Build(error @ BuildError::Program { .. })) => End::Refused(error.to_string()),
            Err(error) => panic!("the host failed it: {error}"),
        }
    }

    /// A library: it is built, which runs some of it, and stopped.
    fn built(capsule: &Capsule) -> End {
        let instance = match capsule.start() {
            Ok(instance) => instance,
            Err(StartError::Build(error @ BuildError::Program { .. })) => return End::Refused(error.to_string()),
            Err(error) => panic!("the host failed it: {error}"),
        };
        let called = instance.call_blocking::<_, ()>("a function that is not there", ());
        called.expect_err("there is no such function");
        instance.stop(Stop::Kill);
        let report = instance.exited_blocking();
        End::Ran { fuel: report.usage.fuel, stdout: report.stdout.unwrap_or_default(), exit: report.exit }
    }
}

impl End {
    /// The kind of end, for counting.
    pub(crate) fn kind(&self) -> &'static str {
        match self {
            End::Refused(_) => "refused",
            End::Ran { exit: Exit::Returned(_), .. } => "returned",
            End::Ran { exit: Exit::Trapped(_), .. } => "trapped",
            End::Ran { exit: Exit::Exceeded(limit), .. } => limit.limit.name(),
            End::Ran { exit: Exit::Denied(_), .. } => "denied",
            End::Ran { exit: Exit::Stopped, .. } => "stopped",
            End::Ran { exit: Exit::Lost(_), .. } => "lost",
        }
    }

    /// Whether it ended by the clock of the host, which is never the same twice.
    pub(crate) fn by_the_clock(&self) -> bool {
        matches!(self, End::Ran { exit: Exit::Exceeded(limit), .. } if limit.limit == LimitKind::WallTime)
    }
}
