//! The second wall around files: `landlock(7)`.
//!
//! The mounts decide what there is; Landlock decides what may be done with it, by the same `fs.*`
//! rules. Landlock does not judge metadata (`stat(2)`, `chmod(2)`, `utimensat(2)`): what may not be known is
//! not mounted, and where some of a writable mount may not be changed the filter of system calls
//! denies changing metadata.

mod access;
mod rules;

pub(crate) use access::{Abi, attributes, attributes_size};
pub(crate) use rules::{Grant, RuleProblem, grants, mounts_suffice};

use std::os::fd::AsFd;

use rustix::fs::{CWD, Mode, OFlags, ResolveFlags, openat2};
use rustix::io::Errno;

use crate::sys::{RulesetAttributes, landlock_add_path, landlock_create, landlock_restrict_self};

/// Confines this process and all it starts to `grants`. Runs after a clone: it allocates nothing.
pub(crate) fn confine(attributes: &RulesetAttributes, size: usize, grants: &[Grant]) -> Result<(), Errno> {
    let ruleset = landlock_create(attributes, size)?;
    let resolve = ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
    for grant in grants {
        let opened = openat2(CWD, grant.path.as_c_str(), OFlags::PATH | OFlags::CLOEXEC, Mode::empty(), resolve);
        match opened {
            Ok(parent) => landlock_add_path(ruleset.as_fd(), parent.as_fd(), grant.access)?,
            // What a rule names is not there any more, or is a link now: nothing is granted by it.
            Err(Errno::NOENT | Errno::LOOP | Errno::NOTDIR) if grant.optional => {}
            Err(errno) => return Err(errno),
        }
    }
    landlock_restrict_self(ruleset.as_fd())
}
