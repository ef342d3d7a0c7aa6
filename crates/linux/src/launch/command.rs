//! What is launched, and behind what: shared by every instance of a spec.

use std::ffi::{CString, NulError};

use ringfence_manifest::Spec;
use rustix::io::Errno;
use rustix::process::{Resource, Rlimit, getrlimit};

use crate::apparmor::Profile;
use crate::landlock::Grant;
use crate::namespaces::Identity;
use crate::network::Opening;
use crate::seccomp::Filter;
use crate::sys::{self, RulesetAttributes, Strings};
use crate::tree::Plan;

/// Everything that is known before an instance is built.
pub(crate) struct Recipe {
    pub(crate) clone_flags: u64,
    pub(crate) identity: Identity,
    pub(crate) host_name: Vec<u8>,
    pub(crate) tree: Plan,
    pub(crate) confinement: Confinement,
    pub(crate) arguments: Arguments,
    pub(crate) resources: Vec<(Resource, Rlimit)>,
    /// How much the folders in memory may hold, when that is limited.
    pub(crate) disk: Option<u64>,
}

/// The walls that the process puts around itself.
pub(crate) struct Confinement {
    pub(crate) landlock: Option<(RulesetAttributes, usize, Vec<Grant>)>,
    pub(crate) filter: Filter,
    /// What the program itself gets beside it: where it is to stay one process with memory of its own, or may make fewer
    /// system calls.
    pub(crate) inner: Option<Filter>,
    /// Where AppArmor is asked for the profile of programs, if it has one.
    pub(crate) profile: Option<Profile>,
    /// Whether the filter asks the supervisor.
    pub(crate) asks: bool,
    /// Whether it asks about calls that pid 1 makes itself, because they are counted.
    pub(crate) counts: bool,
    /// What else leads to the supervisor, in a network namespace of its own only.
    pub(crate) opening: Option<Opening>,
}

impl Confinement {
    /// Puts up what is there for the program itself, last before it begins. Allocates nothing.
    pub(super) fn close(&self) -> Result<(), Errno> {
        self.inner.as_ref().map_or(Ok(()), |filter| sys::seccomp_filter(filter))
    }
}

/// What `execve(2)` takes.
pub(crate) struct Arguments {
    pub(crate) arguments: Strings,
    pub(crate) environment: Strings,
    pub(crate) working_directory: CString,
}

impl Arguments {
    pub(crate) fn new(spec: &Spec, program: &CString) -> Result<Self, NulError> {
        let text = |text: &String| CString::new(text.as_str());
        let mut arguments = vec![program.clone()];
        for argument in &spec.program.args {
            arguments.push(text(argument)?);
        }
        let variables = spec.environment.iter().map(|(name, value)| CString::new(format!("{name}={value}")));
        Ok(Arguments {
            arguments: Strings::new(arguments),
            environment: Strings::new(variables.collect::<Result<_, _>>()?),
            working_directory: text(&spec.program.working_directory)?,
        })
    }
}

/// Standard input, output and error.
pub(crate) const STREAMS: u64 = 3;

/// What of the address space a process may reserve beside its memory: some engines reserve 4 GiB for each memory of a
/// guest. What it can make of this is tables of pages, 2 MiB for each GiB.
const RESERVED: u64 = 64 << 30;
/// What the first thread's stack may be, for which there is no other limit.
const FIRST_STACK: u64 = 8 << 20;

/// The limit on memory by what the kernel counts of one process: for one that is [alone](crate::seccomp::alone_profile), where
/// no cgroup counts.
pub(crate) fn own_memory(bytes: u64) -> [(Resource, Rlimit); 3] {
    let fixed = |value: u64| Rlimit { current: Some(value), maximum: Some(value) };
    let space = fixed(bytes.saturating_add(RESERVED));
    [(Resource::Data, fixed(bytes)), (Resource::Stack, fixed(FIRST_STACK)), (Resource::As, space)]
}

/// Whether a program of the host's would be started to take a core, whatever the limit: `core(5)`.
fn cores_start_programs() -> bool {
    std::fs::read("/proc/sys/kernel/core_pattern").map_or(true, |pattern| pattern.starts_with(b"|"))
}

/// `setrlimit(2)`: what has no other mechanism, and belts for what has.
pub(crate) fn resources(spec: &Spec) -> Vec<(Resource, Rlimit)> {
    let fixed = |value: u64| Rlimit { current: Some(value), maximum: Some(value) };
    // One byte is too little for a core file, and the one size that keeps the kernel from starting a
    // program of the host's to take the core (`core(5)`). The others give a share of the processor.
    let core = if getrlimit(Resource::Core).maximum == Some(0) && !cores_start_programs() { 0 } else { 1 };
    let mut resources = vec![(Resource::Core, fixed(core)), (Resource::Rtprio, fixed(0)), (Resource::Nice, fixed(0))];
    if let Some(files) = spec.limits.open_files {
        let most = getrlimit(Resource::Nofile).maximum.unwrap_or(u64::MAX);
        // The standard streams are not counted, and the one that is too many shows that the limit tripped.
        resources.push((Resource::Nofile, fixed(files.saturating_add(STREAMS + 1).min(most))));
    }
    if let Some(size) = spec.limits.file_size {
        let most = getrlimit(Resource::Fsize).maximum.unwrap_or(u64::MAX);
        resources.push((Resource::Fsize, fixed(size.0.min(most))));
    }
    if let Some(time) = spec.limits.cpu_time {
        // A belt: the cgroup's count trips first.
        let seconds = time.as_secs().saturating_add(2);
        resources.push((Resource::Cpu, fixed(seconds)));
    }
    resources
}
