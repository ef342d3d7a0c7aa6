//! Which kind of boundary.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::{Guarantee, Kind};

/// Which kind of boundary stands between a capsule and its host, from none to hardware that does
/// not even trust the host. The order of the cases is the order of strength.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// No boundary: a function call.
    None,
    /// The compiler's rules for safe Rust.
    Language,
    /// A JavaScript engine.
    Script,
    /// A WebAssembly engine.
    Wasm,
    /// A process behind namespaces, Landlock, seccomp and cgroups.
    Sandbox,
    /// The same around an OCI image.
    Container,
    /// A virtual machine without devices.
    MicroVm,
    /// A virtual machine with a library operating system.
    Unikernel,
    /// A virtual machine whose memory the host cannot read.
    Tee,
}

/// How well a level holds a guarantee when its mechanisms work as they should.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Strength {
    /// Not at all.
    No,
    /// By the compiler or the engine, within the host's own process.
    Software,
    /// By the host's kernel.
    Kernel,
    /// By the processor.
    Hardware,
}

impl Level {
    /// Every level, weakest first.
    pub const ALL: [Level; 9] = [
        Level::None,
        Level::Language,
        Level::Script,
        Level::Wasm,
        Level::Sandbox,
        Level::Container,
        Level::MicroVm,
        Level::Unikernel,
        Level::Tee,
    ];

    /// The name in manifests and on the command line.
    pub const fn name(self) -> &'static str {
        match self {
            Level::None => "none",
            Level::Language => "language",
            Level::Script => "script",
            Level::Wasm => "wasm",
            Level::Sandbox => "sandbox",
            Level::Container => "container",
            Level::MicroVm => "microvm",
            Level::Unikernel => "unikernel",
            Level::Tee => "tee",
        }
    }

    /// The level of that name.
    pub fn from_name(name: &str) -> Option<Level> {
        Self::ALL.into_iter().find(|level| level.name() == name)
    }

    /// Whether a program of this kind can run at this level at all.
    pub const fn runs(self, kind: Kind) -> bool {
        match kind {
            Kind::Wasm => {
                matches!(self, Level::Wasm | Level::Sandbox | Level::Container | Level::MicroVm | Level::Tee)
            }
            Kind::Js => {
                matches!(self, Level::Script | Level::Sandbox | Level::Container | Level::MicroVm | Level::Tee)
            }
            Kind::Rust => matches!(self, Level::None | Level::Language),
            Kind::Linux => matches!(self, Level::Sandbox | Level::MicroVm | Level::Tee),
            Kind::Oci => matches!(self, Level::Container | Level::MicroVm | Level::Tee),
            Kind::Unikernel => matches!(self, Level::Unikernel | Level::Tee),
        }
    }

    /// How well this level holds `guarantee` when its mechanisms work as they should. What a
    /// backend holds on one machine for one capsule is its `Enforcement`, and may be less.
    pub const fn holds(self, guarantee: Guarantee) -> Strength {
        use Guarantee as G;
        use Strength::{Hardware, Kernel, No, Software};
        match self {
            Level::None => No,
            Level::Language => match guarantee {
                G::MemoryIsolated | G::FilesystemConfined | G::NetworkConfined | G::EnvironmentConfined => Software,
                _ => No,
            },
            Level::Script | Level::Wasm => match guarantee {
                G::OwnAddressSpace
                | G::OwnKernel
                | G::HardwareBoundary
                | G::MonitorConfined
                | G::MemoryEncrypted
                | G::Attested => No,
                G::FuelLimit => match self {
                    Level::Wasm => Software,
                    _ => No,
                },
                _ => Software,
            },
            Level::Sandbox | Level::Container => match guarantee {
                G::OwnKernel | G::HardwareBoundary | G::MemoryEncrypted | G::Attested | G::FuelLimit => No,
                // The kernel denies files without a word, and nothing stands around it.
                G::DenialsReported | G::MonitorConfined => No,
                _ => Kernel,
            },
            Level::MicroVm | Level::Unikernel => match guarantee {
                G::MemoryEncrypted | G::Attested | G::FuelLimit => No,
                G::MemoryIsolated | G::OwnAddressSpace | G::OwnKernel | G::HardwareBoundary => Hardware,
                _ => Kernel,
            },
            Level::Tee => match guarantee {
                G::FuelLimit => No,
                G::MemoryIsolated
                | G::OwnAddressSpace
                | G::OwnKernel
                | G::HardwareBoundary
                | G::MemoryEncrypted
                | G::Attested => Hardware,
                _ => Kernel,
            },
        }
    }

    /// A figure from 0 to 100 to compare levels by: the share of all guarantees it holds, each
    /// weighted by its strength (software 1, kernel 2, hardware 3).
    pub fn score(self) -> u32 {
        let most = Guarantee::ALL.len() as u32 * Strength::Hardware as u32;
        let held: u32 = Guarantee::ALL.iter().map(|&guarantee| self.holds(guarantee) as u32).sum();
        (held * 100).div_ceil(most)
    }

    /// One line on what the boundary is made of and what one must trust.
    pub const fn summary(self) -> &'static str {
        match self {
            Level::None => "no boundary: a function call; trust the code",
            Level::Language => "safe Rust only; trust the compiler and the review",
            Level::Script => "a JavaScript engine; trust the engine",
            Level::Wasm => "a WebAssembly engine with its own memory; trust the engine and its compiler",
            Level::Sandbox => "a process behind namespaces, Landlock, seccomp and cgroups; trust the kernel",
            Level::Container => "an OCI image behind the same walls; trust the kernel",
            Level::MicroVm => "a virtual machine without devices; trust the processor, KVM and a small monitor",
            Level::Unikernel => "a virtual machine with a library operating system; trust the processor and KVM",
            Level::Tee => "encrypted memory with attestation; trust the processor alone",
        }
    }
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_level_is_found_by_its_name() {
        for level in Level::ALL {
            assert_eq!(Level::from_name(level.name()), Some(level));
        }
    }

    #[test]
    fn scores_never_fall_as_levels_get_stronger() {
        for pair in Level::ALL.windows(2) {
            assert!(pair[0].score() <= pair[1].score(), "{} > {}", pair[0], pair[1]);
        }
    }
}
