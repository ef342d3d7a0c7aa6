//! The runner that carries the monitor of a virtual machine.
//!
//! It is given KVM's device, the program's file, and what to do, as descriptors; the system's folders are those of
//! its place. Before it looks at anything that its guest's makers wrote, it gives up every system call
//! that a monitor has no use for ([`ringfence_linux::confine_monitor`]).

use std::fs::File;
use std::io::{self, Read, Seek};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStringExt;
use std::os::unix::net::UnixStream;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use ringfence_isolation::{BuildError, CallError, Exit, Instance, Level, LostReason, Stop, Then, Trap};
use ringfence_manifest::{
    Bytes, Identity, Isolation, Kind, Limits, Mount, MountMode, PathRule, Permission, Permissions, Point, Program,
    Session, Spec, Stdio, StreamIn, StreamOut, SystemCalls, WindowSize,
};
use ringfence_vm::Vm;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::task::JoinHandle;

use super::ordered::Ordered;
use super::parcel;
use super::remote::{Given, Remote, gone};
use super::wire::{Ask, CaptureAt, Counted, End, MachineOrder, Steer, decode};

/// What comes with the first parcel.
struct Parcel {
    device: OwnedFd,
    program: OwnedFd,
    order: MachineOrder,
    line: UnixStream,
    /// The captured state it goes on from.
    snapshot: Option<OwnedFd>,
}

impl Parcel {
    fn take(parcels: &UnixStream) -> io::Result<Self> {
        let mut taken = parcel::take(parcels)?;
        let snapshot = if taken.len() > 4 { taken.pop() } else { None };
        let Ok([device, program, order, line]) = <[OwnedFd; 4]>::try_from(taken) else {
            return Err(io::Error::other("not the descriptors of a machine"));
        };
        let mut bytes = Vec::new();
        let mut order = File::from(order);
        order.rewind()?;
        order.read_to_end(&mut bytes)?;
        let order: MachineOrder = decode(&bytes)?;
        if order.goes_on != snapshot.is_some() {
            return Err(io::Error::other("a state without an order, or none with one"));
        }
        Ok(Parcel { device, program, order, line: line.into(), snapshot })
    }
}

/// Runs what the parcel asks for, and ends the process.
pub(super) fn carry_out(asks: UnixStream, answers: UnixStream, parcels: UnixStream) -> ! {
    let Ok(Parcel { device, program, order, line, snapshot }) = Parcel::take(&parcels) else { gone() };
    let Ok(runtime) = tokio::runtime::Builder::new_current_thread().enable_all().build() else { gone() };
    runtime.block_on(async {
        let Ok(answers) = tokio::net::UnixStream::from_std(answers) else { gone() };
        let descriptors = allow_descriptors();
        // From here on everything that is read was written by strangers.
        if ringfence_linux::confine_monitor().is_err() {
            gone();
        }
        let steered: Arc<Mutex<Steered>> = Arc::default();
        let steering = steered.clone();
        let functions = if order.asks { vec![ringfence_vm::ASK.to_owned()] } else { Vec::new() };
        let folders = order.folders.clone();
        let counts_disk = order.limits.disk.is_some();
        let given = Given {
            folders,
            functions,
            counts_each: order.counts_each,
            counts_disk,
            // The rest is for what it cannot do without.
            connections: order.has_connections.then_some(descriptors / 2),
            tells_time: !order.learn,
        };
        let remote = Remote::new(vec![asks, line], Some(parcels), answers, given, move |steer| {
            steering.lock().unwrap_or_else(PoisonError::into_inner).steer(steer);
        });
        let remote = Arc::new(remote);
        let end = live(&remote, Place { device, program, snapshot }, order, &steered).await;
        remote.tell(&Ask::Ended { end, fuel: 0 });
    });
    std::process::exit(0)
}

/// Processors and connections are descriptors: as many as may be, and how many that is.
fn allow_descriptors() -> usize {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    let raised = setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum });
    let most = if raised.is_ok() { maximum } else { current };
    most.map_or(usize::MAX, |most| usize::try_from(most).unwrap_or(usize::MAX))
}

/// The instance, and what was to be done with it before it was there.
#[derive(Default)]
struct Steered {
    guest: Option<Guest>,
    early: Vec<Steer>,
}

impl Steered {
    fn steer(&mut self, steer: Steer) {
        match &mut self.guest {
            Some(guest) => guest.apply(steer),
            None => self.early.push(steer),
        }
    }
}

/// The instance, and what is done with it from outside.
struct Guest {
    remote: Arc<Remote>,
    instance: Arc<dyn Instance>,
    commands: Ordered,
    capturing: Option<JoinHandle<()>>,
}

impl Guest {
    fn apply(&mut self, steer: Steer) {
        let Guest { instance, commands, .. } = self;
        match steer {
            Steer::Signal(signal) => instance.stop(Stop::Signal(signal)),
            Steer::Resize(rows, columns) => {
                if let Some(terminal) = instance.terminal() {
                    terminal.resize(WindowSize { rows, columns });
                }
            }
            Steer::Command(number, turn) => commands.turn(&**instance, number, turn),
            Steer::Capture { ends } => {
                let then = if ends { Then::End } else { Then::GoOn };
                self.capturing = Some(tokio::spawn(capture(self.remote.clone(), instance.clone(), then)));
            }
        }
    }
}

/// Captures it, and writes what that is to where it is wanted.
async fn capture(remote: Arc<Remote>, instance: Arc<dyn Instance>, then: Then) {
    let captured = match instance.snapshot() {
        Some(snapshot) => snapshot.capture(then).await,
        None => Err(CallError::Unsupported("it is not captured")),
    };
    let word = match captured {
        Ok(captured) => {
            let Some(pipe) = remote.parcel(&Ask::Capture) else { return };
            let written = tokio::task::spawn_blocking(move || captured.save(&mut File::from(pipe)));
            let written = written.await.map_err(io::Error::other).flatten();
            written.map_err(|error| format!("its state cannot be written: {error}"))
        }
        // Said for itself.
        Err(CallError::Ended(_)) => return,
        Err(CallError::NotCaptured(why)) => Err(why),
        Err(other) => Err(other.to_string()),
    };
    remote.tell(&Ask::Captured(word));
}

/// What there is to build with.
struct Place {
    device: OwnedFd,
    program: OwnedFd,
    snapshot: Option<OwnedFd>,
}

async fn live(remote: &Arc<Remote>, place: Place, order: MachineOrder, steered: &Mutex<Steered>) -> End {
    let built = match place.snapshot {
        None => built(remote, place, &order),
        // What was open is opened again, and answers that come later have to find somebody.
        Some(_) => {
            let remote = remote.clone();
            let building = tokio::task::spawn_blocking(move || built(&remote, place, &order)).await;
            building.unwrap_or_else(|_| Err(End::Lost("the state could not be gone on from".into())))
        }
    };
    let instance = match built {
        Ok(instance) => instance,
        Err(end) => return end,
    };
    if let Err(error) = instance.start() {
        return End::Lost(error.to_string());
    }
    {
        let mut steered = steered.lock().unwrap_or_else(PoisonError::into_inner);
        let mut guest = Guest {
            remote: remote.clone(),
            instance: instance.clone(),
            commands: Ordered::new(remote.clone()),
            capturing: None,
        };
        for steer in std::mem::take(&mut steered.early) {
            guest.apply(steer);
        }
        steered.guest = Some(guest);
    }
    let exit = instance.exited().await;
    let capturing = {
        let mut steered = steered.lock().unwrap_or_else(PoisonError::into_inner);
        steered.guest.as_mut().and_then(|guest| guest.capturing.take())
    };
    if let Some(capturing) = capturing {
        // What was captured is written before this ends.
        let _ = capturing.await;
    }
    if let Some(activity) = instance.activity() {
        remote.tell(&Ask::Counted(activity));
    }
    end(exit)
}

fn built(remote: &Arc<Remote>, place: Place, order: &MachineOrder) -> Result<Arc<dyn Instance>, End> {
    let Place { device, program, snapshot } = place;
    let vm = Vm::passed(device, &order.kvm, tokio::runtime::Handle::current()).map_err(End::Lost)?;
    let failed = |error: BuildError| match error {
        BuildError::Program { reason, .. } => End::NotExecuted(reason),
        error @ BuildError::Snapshot(_) => End::Trapped(error.to_string()),
        other => {
            End::Lost(std::error::Error::source(&other).map_or(other.to_string(), |why| format!("{other}: {why}")))
        }
    };
    let spec = spec(order).ok_or_else(|| End::Lost("the order names a rule that is none".into()))?;
    let prepared = match snapshot {
        None => vm.prepare_examined(&spec, program),
        Some(snapshot) => vm.restore_examined(&spec, program, snapshot),
    };
    let prepared = prepared.map_err(failed)?;
    prepared.build(remote.clone()).map(Arc::from).map_err(failed)
}

/// As much of a spec as a monitor reads; everything else is the host's to decide.
fn spec(order: &MachineOrder) -> Option<Spec> {
    let mut permissions = Permissions { clock: true, random: true, learn: order.learn, ..Permissions::default() };
    for (name, rules) in &order.rules {
        let permission = Permission::from_name(name)?;
        let paths = || rules.iter().cloned().map(PathRule);
        match permission {
            Permission::FsRead => permissions.files.read.extend(paths()),
            Permission::FsWrite => permissions.files.write.extend(paths()),
            Permission::FsCreate => permissions.files.create.extend(paths()),
            Permission::FsDelete => permissions.files.delete.extend(paths()),
            Permission::FsList => permissions.files.list.extend(paths()),
            other => rules.iter().try_for_each(|rule| permissions.grant(other, rule)).ok()?,
        }
    }
    let Counted { memory, cpu_time, processes, open_files, disk, file_size } = order.limits;
    let mount = |at: &String| Mount {
        at: at.clone(),
        name: at.clone(),
        from: std::path::PathBuf::new(),
        mode: MountMode::ReadOnly,
    };
    // All that is read of it is whether it leads elsewhere than to the terminal.
    let stderr = if order.error_apart { StreamOut::Null } else { StreamOut::Inherit };
    Some(Spec {
        capsule: Identity { name: order.name.clone(), version: None },
        program: Program {
            kind: Kind::Linux,
            path: std::ffi::OsString::from_vec(order.program.clone()).into(),
            args: order.args.clone(),
            working_directory: order.working_directory.clone(),
        },
        isolation: Isolation {
            level: Level::MicroVm,
            require: Default::default(),
            seccomp: SystemCalls::of(order.seccomp.iter().cloned()),
        },
        permissions,
        mounts: order.mounts.iter().map(mount).collect(),
        environment: order.environment.iter().cloned().collect(),
        limits: Limits {
            memory: memory.map(Bytes),
            cpu_time: cpu_time.map(Duration::from_nanos),
            processes,
            open_files,
            disk: disk.map(Bytes),
            file_size: file_size.map(Bytes),
            ..Limits::default()
        },
        stdio: Stdio { stdin: StreamIn::Null, stdout: StreamOut::Null, stderr },
        root: None,
        defaults: Default::default(),
        session: Session {
            terminal: order.terminal.map(|(rows, columns)| WindowSize { rows, columns }),
            overlay: None,
            capture_at: order.capture_at.map(|point| match point {
                CaptureAt::Start => Point::Start,
                CaptureAt::Marker => Point::Marker,
                CaptureAt::Anywhere => Point::Anywhere,
            }),
        },
    })
}

fn end(exit: Exit) -> End {
    match exit {
        Exit::Returned(status) => End::Returned(status),
        Exit::Exceeded(limit) => End::Exceeded { limit: limit.limit.name().to_owned(), used: limit.used },
        Exit::Denied(_) | Exit::Stopped => End::ByVerdict,
        Exit::Trapped(Trap::NotExecutable(reason)) => End::NotExecuted(reason),
        Exit::Trapped(Trap::Other(message)) => End::Trapped(message),
        Exit::Trapped(trap) => End::Trapped(trap.to_string()),
        Exit::Lost(LostReason::Backend(message)) => End::Lost(message),
    }
}

/// Whether a runner was started with a line of parcels in the place of its standard error.
pub(super) fn parcels() -> Option<UnixStream> {
    let line = UnixStream::from(io::stderr().as_fd().try_clone_to_owned().ok()?);
    line.peer_addr().ok()?;
    Some(line)
}
