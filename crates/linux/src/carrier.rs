//! A program of the embedder's that carries something out in a place of its own.

use std::os::fd::OwnedFd;
use std::sync::Arc;

use ringfence_isolation::{BuildError, Enforcement, Host, Instance, Prepared};
use ringfence_manifest::Spec;

use crate::Linux;
use crate::prepared::Kept;
use crate::stdio::Streams;

/// A program that speaks with its supervisor over three descriptors of the embedder's choice, in the
/// places of its standard streams, and has nothing else.
pub struct Carrier(Kept);

impl Linux {
    /// Gets a carrier ready; what its spec says of streams does not count.
    ///
    /// # Errors
    /// As for [`prepare`](ringfence_isolation::Backend::prepare).
    pub fn carrier(&self, spec: &Spec) -> Result<Carrier, BuildError> {
        Ok(Carrier(Kept(self.ready(spec)?)))
    }
}

impl Carrier {
    /// What will be enforced on the carrier.
    pub fn promised(&self) -> &Enforcement {
        self.0.promised()
    }

    /// Builds a place with the carrier in it, whose descriptors 0, 1 and 2 are these.
    ///
    /// # Errors
    /// As for [`Prepared::build`].
    pub fn build(&self, host: Arc<dyn Host>, descriptors: [OwnedFd; 3]) -> Result<Box<dyn Instance>, BuildError> {
        self.0.0.build_with(host, Streams::of(descriptors))
    }

    /// Keeps so many places at hand; see [`Prepared::keep_warm`].
    ///
    /// # Errors
    /// As for [`build`](Self::build).
    pub fn keep_warm(&self, count: usize) -> Result<(), BuildError> {
        self.0.keep_warm(count)
    }
}
