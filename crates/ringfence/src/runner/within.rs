//! WebAssembly at level `microvm`: the runner is the program of a virtual machine, which asks through a hatch.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;

use ringfence_isolation::{BuildError, Enforcement, Guarantee, Held, Host, Instance, Level, Prepared};
use ringfence_manifest::{Isolation, Spec};
use tokio::runtime::Handle;
use tokio::sync::{mpsc, watch};

use super::backend::{ENGINE, SET_UP, THREADS, carrier_spec, order};
use super::carried::{Carried, Lines, Own, Told};
use super::hatch::Hatch;
use super::process::{IN_MACHINE, RUNNER};
use super::serve::{Answers, Desk};

/// How many answers lie ready for a runner that did not ask for them yet.
const NEWS: usize = 16;

/// What of its machine is the engine's.
const OWN: Own = Own { memory: ENGINE, cpu_time: SET_UP };

/// What the machine holds, and not what runs in it.
const AROUND: [Guarantee; 9] = [
    Guarantee::OwnAddressSpace,
    Guarantee::OwnKernel,
    Guarantee::HardwareBoundary,
    Guarantee::MonitorConfined,
    Guarantee::MemoryEncrypted,
    Guarantee::Attested,
    Guarantee::KillWorks,
    Guarantee::NothingLeft,
    Guarantee::WallTimeLimit,
];

/// The spec of the machine that carries an engine: granted nothing, with the runner as its program. Of what the capsule
/// requires it has what a machine can hold.
pub(super) fn machine_spec(spec: &Spec, runner: PathBuf) -> Spec {
    let mut machine = carrier_spec(spec, runner, OWN, THREADS);
    machine.program.args = vec![RUNNER.into(), IN_MACHINE.into()];
    let require: BTreeSet<Guarantee> =
        spec.isolation.require.iter().copied().filter(|guarantee| AROUND.contains(guarantee)).collect();
    machine.isolation = Isolation { level: Level::MicroVm, require, seccomp: Default::default() };
    machine
}

/// What holds each guarantee when level wasm's walls stand within a machine.
pub(super) fn combined(wasm: &Enforcement, machine: &Enforcement) -> Enforcement {
    use Guarantee as G;
    let mut both = Enforcement::new();
    for (guarantee, inner) in wasm.iter() {
        let outer = machine.get(guarantee);
        let held = match (guarantee, inner, &outer) {
            (guarantee, ..) if AROUND.contains(&guarantee) => outer,
            (G::CoresLimit, Held::Not { .. }, _) => outer,
            (G::MemoryIsolated, Held::By { .. }, Held::By { .. }) => {
                Held::by("linear memory, bounds-checked by wasmtime, in a virtual machine of its own")
            }
            (G::FilesystemConfined, Held::By { .. }, Held::By { .. }) => Held::by(
                "scoped hal: path resolution and fs.* rules; the engine's machine has the system's libraries alone",
            ),
            (G::NetworkConfined, Held::By { .. }, Held::By { .. }) => {
                Held::by("scoped hal: net.* rules on pinned addresses; the engine's machine has no network")
            }
            (G::CpuTimeLimit, Held::By { .. }, Held::By { .. }) => {
                Held::by("thread clocks of the processors of the engine's machine")
            }
            (G::MemoryIsolated | G::FilesystemConfined | G::NetworkConfined | G::CpuTimeLimit, ..) => outer,
            _ => inner.clone(),
        };
        both.set(guarantee, held);
    }
    both
}

/// A compiled program with a machine for its engine.
pub(super) struct Ready {
    pub(super) machine: Box<dyn Prepared>,
    pub(super) code: Arc<[u8]>,
    pub(super) wasm: Enforcement,
    pub(super) promised: Enforcement,
    pub(super) spec: Spec,
    pub(super) executor: Handle,
}

impl Prepared for Ready {
    fn promised(&self) -> &Enforcement {
        &self.promised
    }

    fn build(&self, host: Arc<dyn Host>) -> Result<Box<dyn Instance>, BuildError> {
        let (answers, news) = mpsc::channel(NEWS);
        let told = Told::new(host.clone(), self.spec.limits.clone());
        let order = Some(order(&self.spec, &*host));
        let (desk, _) = Desk::new(told.clone(), self.executor.clone(), Answers::Kept(answers), order, None);
        let hatch = Hatch::new(desk.clone(), host, self.code.clone(), news, SET_UP);
        let process = self.machine.build(Arc::new(hatch))?;
        let enforced = combined(&self.wasm, process.enforced());
        // There are no lines to end: when its machine has, nobody asks any more.
        let (_, served) = watch::channel(true);
        Ok(Box::new(Carried {
            process,
            enforced,
            told,
            served,
            lines: Lines::new(desk, Vec::new()),
            signals: None,
            has_terminal: false,
            commands: None,
            capturing: None,
            ended: Default::default(),
            // The capsule's part is what the hal counts, and not less than the machine took beyond this.
            own: OWN,
        }))
    }

    fn keep_warm(&self, count: usize) -> Result<(), BuildError> {
        self.machine.keep_warm(count)
    }
}
