//! A program of the embedder's that carries something out in a place of its own.

use std::os::fd::OwnedFd;
use std::sync::Arc;

use ringfence_isolation::{BuildError, Enforcement, Host, Instance, Prepared};
use ringfence_manifest::Spec;

use crate::backend::Talks;
use crate::prepared::Kept;
use crate::seccomp::{compile, monitor_profile};
use crate::stdio::Streams;
use crate::{Linux, sys};

/// A program that speaks with its supervisor over three descriptors of the embedder's choice, in the
/// places of its standard streams, and has nothing else.
pub struct Carrier(Kept);

impl Linux {
    /// Gets a carrier ready; what its spec says of streams does not count.
    ///
    /// # Errors
    /// As for [`prepare`](ringfence_isolation::Backend::prepare).
    pub fn carrier(&self, spec: &Spec) -> Result<Carrier, BuildError> {
        Ok(Carrier(Kept(self.ready_as(spec, Talks::Never)?)))
    }
}

impl Linux {
    /// The same for a program that stays one process, and needs no memory but private memory of its own: it gets none
    /// else. So the limit on memory of its spec bounds it by what the kernel counts of a process, where there is no cgroup
    /// to count: memory as `RLIMIT_DATA` does (`getrlimit(2)`). What the kernel itself holds for it is not counted then.
    ///
    /// # Errors
    /// As for [`carrier`](Self::carrier).
    pub fn carrier_alone(&self, spec: &Spec) -> Result<Carrier, BuildError> {
        Ok(Carrier(Kept(self.ready_as(spec, Talks::Alone)?)))
    }
}

/// Leaves the calling process, which has one thread, no more system calls than the monitor of a virtual machine
/// needs: none that starts a program, makes a socket or new code, or opens a file to change it. What was
/// left out fails with EPERM. Nothing takes it back, and it holds beside the filter of a [`Carrier`].
///
/// # Errors
/// What the kernel says against it; it wants `no_new_privs`, which every place has.
pub fn confine_monitor() -> std::io::Result<()> {
    let own = rustix::process::getpid().as_raw_nonzero().get();
    Ok(sys::seccomp_filter(&compile(&monitor_profile(own.unsigned_abs())))?)
}

impl Carrier {
    /// What will be enforced on the carrier.
    pub fn promised(&self) -> &Enforcement {
        self.0.promised()
    }

    /// Builds a place with the carrier in it, whose descriptors 0, 1 and 2 are these. `meanwhile` is done while the
    /// place is under construction; when it fails, so does this.
    ///
    /// # Errors
    /// As for [`Prepared::build`], and those of `meanwhile`.
    pub fn build(
        &self,
        host: Arc<dyn Host>,
        descriptors: [OwnedFd; 3],
        meanwhile: impl FnOnce() -> Result<(), BuildError>,
    ) -> Result<Box<dyn Instance>, BuildError> {
        self.0.0.build_with(host, Streams::of(descriptors), meanwhile)
    }

    /// Keeps so many places at hand; see [`Prepared::keep_warm`].
    ///
    /// # Errors
    /// As for [`build`](Self::build).
    pub fn keep_warm(&self, count: usize) -> Result<(), BuildError> {
        self.0.keep_warm(count)
    }
}
