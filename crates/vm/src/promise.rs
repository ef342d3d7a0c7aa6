//! What holds each guarantee at this level.

use ringfence_isolation::{Enforcement, Guarantee, Held};
use ringfence_manifest::Spec;

/// Why the monitor has no walls of its own, when nobody says otherwise.
pub(crate) const UNCONFINED: &str =
    "the monitor is a part of the process that runs the capsule, with the rights of that";

/// What will be enforced. `software` is whether this machine's KVM virtualizes in software, `unconfined` why the
/// monitor has no walls of its own.
pub(crate) fn promise(spec: &Spec, software: bool, unconfined: &str) -> Enforcement {
    use Guarantee as G;
    let mut enforcement = Enforcement::new();
    for &guarantee in Guarantee::ALL {
        let held = match guarantee {
            G::MemoryIsolated | G::OwnAddressSpace => Held::by("guest memory of its own KVM virtual machine"),
            G::OwnKernel => Held::by("system calls served by the Linux personality of the VMM"),
            G::HardwareBoundary if software => Held::Partly {
                by: "KVM",
                missing: "this machine's KVM virtualizes in software (PVM): page tables separate it, not VT-x or SVM"
                    .into(),
            },
            G::HardwareBoundary => Held::by("KVM"),
            G::MonitorConfined => Held::not(unconfined),
            G::FilesystemConfined => {
                Held::by("scoped hal: path resolution and fs.* rules; the system's folders read-only")
            }
            G::NetworkConfined => Held::by("scoped hal: net.* rules on every address; no other way out"),
            G::EnvironmentConfined => Held::by("an environment of its own, on its first stack"),
            G::SystemCallsConfined => Held::by("the personality serves no others"),
            G::ProcessesHidden => Held::by("the personality has its own processes only"),
            G::KillWorks => Held::by("every processor is kicked out of the guest, every wait ends"),
            G::NothingLeft => Held::by("the virtual machine is closed, its threads have ended"),
            G::MemoryLimit => Held::by("pages of guest memory, counted as they are made"),
            G::CpuTimeLimit => Held::by("thread clocks of its processors"),
            G::WallTimeLimit => Held::by("timer, with a kick to every processor"),
            G::CoresLimit => match spec.limits.cores {
                Some(cores) if u64::from(cores.0) < 1000 * u64::from(crate::personality::MOST_THREADS) => Held::not(
                    "threads are not held to fewer processors in this version of level microvm; level sandbox does it",
                ),
                _ => Held::by("one processor of the machine for each thread"),
            },
            G::ProcessesLimit => Held::by("the personality counts processes and threads"),
            G::OpenFilesLimit => Held::by("the personality counts what is open"),
            G::DiskLimit | G::FileSizeLimit => Held::by("scoped hal: growth charged before each write"),
            G::BandwidthLimit => Held::by("scoped hal: a bucket over all its sockets"),
            G::OutputLimit => Held::by("scoped hal: meter"),
            G::IoOperationsLimit | G::IoBytesLimit => {
                Held::by("scoped hal: meter, and the personality for the system's own files")
            }
            G::DenialsReported => Held::by("scoped hal: every denial is an event"),
            G::FuelLimit => Held::not("native instructions are not counted; level wasm counts them"),
            G::MemoryEncrypted | G::Attested => Held::not("no trusted hardware at this level"),
            _ => continue,
        };
        enforcement.set(guarantee, held);
    }
    enforcement
}
