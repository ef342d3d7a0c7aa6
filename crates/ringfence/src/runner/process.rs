//! The runner itself.

use std::fs::File;
use std::io::{self, Read, Seek};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::sync::Arc;

use ringfence_isolation::{Exit, Level, LimitKind, LostReason, Trap};
use ringfence_manifest::{
    Bytes, Identity, Isolation, Kind, Limits, Permissions, Program, Spec, Stdio, StreamIn, StreamOut,
};
use ringfence_wasm::{Metering, Options, Wasm};

use super::remote::{Given, Remote, gone};
use super::wire::{Ask, End, Order, Told, receive, send};

/// The first argument by which a runner is started: a program that is to be one calls [`run`] when it
/// finds it.
pub const RUNNER: &str = "__runner";

/// The second one, of a runner that is the program of a virtual machine.
pub(super) const IN_MACHINE: &str = "in-machine";

/// Runs the WebAssembly program or the virtual machine that the supervisor passed along, and ends the process. Its standard
/// streams are lines to the supervisor and the program's compiled code; whoever starts this by hand is
/// told so.
pub fn run() -> ! {
    if std::env::args_os().nth(2).is_some_and(|second| second == IN_MACHINE) {
        super::door::carry_out();
    }
    #[cfg(all(feature = "microvm", target_arch = "x86_64"))]
    if let Some(parcels) = super::monitor::parcels()
        && let Ok((asks, answers)) = lines()
    {
        super::monitor::carry_out(asks, answers, parcels);
    }
    match lines().and_then(|(asks, answers)| Ok((asks, answers, code()?))) {
        Ok((asks, answers, code)) => carry_out(asks, answers, code),
        Err(error) => {
            eprintln!("ringfence: {RUNNER} is started by ringfence itself, with lines to it: {error}");
            std::process::exit(64)
        }
    }
}

fn lines() -> io::Result<(UnixStream, UnixStream)> {
    let line = |descriptor: std::os::fd::BorrowedFd<'_>| -> io::Result<UnixStream> {
        let line = UnixStream::from(descriptor.try_clone_to_owned()?);
        line.peer_addr()?;
        Ok(line)
    };
    let (asks, answers) = (line(io::stdin().as_fd())?, line(io::stdout().as_fd())?);
    answers.set_nonblocking(true)?;
    Ok((asks, answers))
}

/// The compiled program.
fn code() -> io::Result<Vec<u8>> {
    let mut file = File::from(io::stderr().as_fd().try_clone_to_owned()?);
    let mut code = Vec::with_capacity(usize::try_from(file.metadata()?.len()).unwrap_or(0));
    file.rewind()?;
    file.read_to_end(&mut code)?;
    Ok(code)
}

fn carry_out(mut asks: UnixStream, answers: UnixStream, code: Vec<u8>) -> ! {
    let order = send(&mut asks, &Ask::Order).and_then(|()| receive(&mut asks));
    let Ok(Told::Order(order)) = order else { gone() };
    let Ok(runtime) = tokio::runtime::Builder::new_current_thread().enable_io().build() else { gone() };
    runtime.block_on(async {
        let Ok(answers) = tokio::net::UnixStream::from_std(answers) else { gone() };
        let (folders, functions) = (order.folders.clone(), order.functions.clone());
        let given =
            Given { folders, functions, counts_each: true, counts_disk: true, connections: None, tells_time: false };
        let remote = Arc::new(Remote::new(vec![asks], None, answers, given, |_| {}));
        let (end, fuel) = live(&remote, &order, &code, Metering::Engine).await;
        remote.tell(&Ask::Ended { end, fuel });
    });
    std::process::exit(0)
}

/// Runs the guest to its end: how that was, and how many instructions were counted.
pub(super) async fn live(remote: &Arc<Remote>, order: &Order, code: &[u8], metering: Metering) -> (End, u64) {
    let executor = tokio::runtime::Handle::current();
    let wasm = Wasm::new(Options { cache: None, executor, pooling: None, progress: None, metering });
    let lost = |error: &dyn std::error::Error| (End::Lost(error.to_string()), 0);
    let prepared = match wasm.prepare_compiled(&spec(order), code) {
        Ok(prepared) => prepared,
        Err(error) => return lost(&error),
    };
    let instance = match prepared.build(remote.clone()) {
        Ok(instance) => instance,
        Err(error) => return lost(&error),
    };
    if metering == Metering::Around {
        let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
        let whole = u64::try_from(time.tv_sec).unwrap_or(0).saturating_mul(1_000_000_000);
        remote.tell(&Ask::Began { nanoseconds: whole.saturating_add(u64::try_from(time.tv_nsec).unwrap_or(0)) });
    }
    if let Err(error) = instance.start() {
        return lost(&error);
    }
    let exit = instance.exited().await;
    (end(exit), instance.usage().fuel)
}

/// As much of a spec as the engine reads; everything else is the host's to decide.
fn spec(order: &Order) -> Spec {
    Spec {
        capsule: Identity { name: order.name.clone(), version: None },
        program: Program {
            kind: Kind::Wasm,
            path: order.name.clone().into(),
            args: Vec::new(),
            working_directory: order.working_directory.clone(),
        },
        isolation: Isolation { level: Level::Wasm, require: Default::default(), seccomp: Default::default() },
        permissions: Permissions::default(),
        mounts: Vec::new(),
        environment: Default::default(),
        limits: Limits { memory: order.memory.map(Bytes), fuel: order.fuel, ..Limits::default() },
        stdio: Stdio { stdin: StreamIn::Null, stdout: StreamOut::Null, stderr: StreamOut::Null },
        root: None,
        defaults: Default::default(),
        session: Default::default(),
    }
}

fn end(exit: Exit) -> End {
    match exit {
        Exit::Returned(status) => End::Returned(status),
        Exit::Trapped(Trap::StackOverflow) => End::StackOverflow,
        Exit::Trapped(Trap::MemoryOutOfBounds) => End::MemoryOutOfBounds,
        Exit::Trapped(Trap::Arithmetic(message)) => End::Arithmetic(message),
        Exit::Trapped(Trap::Unreachable) => End::Unreachable,
        Exit::Trapped(Trap::NotExecutable(reason)) => End::NotExecuted(reason),
        Exit::Trapped(Trap::Other(message)) => End::Trapped(message),
        Exit::Exceeded(limit) if limit.limit == LimitKind::Fuel => End::Fuel,
        Exit::Exceeded(_) | Exit::Denied(_) | Exit::Stopped => End::ByVerdict,
        Exit::Lost(LostReason::Backend(message)) => End::Lost(message),
    }
}
