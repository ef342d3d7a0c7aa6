//! The tree of files a capsule sees: `mount_namespaces(7)`, `pivot_root(2)`.
//!
//! [`Plan`] is made before anything is cloned: which folders of the host appear where, and which
//! small files and devices belong beside them. [`raise`] carries it out in the new mount namespace and
//! puts the old tree away.
//!
//! Of the host only these appear: what the manifest mounts *and* grants; the system's programs and
//! libraries, read-only (`/usr`, `/bin`, `/sbin`, `/lib*`); of `/etc` what the loader and libc need;
//! five devices; the program itself, under `/program`. A mount of which only parts are granted shows
//! only those parts. What needs no file but its own sees nothing of the system ([`Furniture::Bare`]).
//!
//! Sources are named by path in the new namespace, because a mount of the old one cannot be cloned
//! there, and checked against the identity they had when the plan was made: what was swapped in
//! between is not mounted.

mod devices;
mod extent;
mod operation;
mod overlay;
mod place;
mod plan;
mod problem;
mod raise;
mod room;
mod system;
mod target;
mod whole;

pub(crate) use devices::TERMINALS;
pub(crate) use extent::{FILES, covers};
pub(crate) use operation::{Operation, PAGE, Protection, Spot};
pub(crate) use overlay::Overlay;
pub(crate) use place::{Identity, Source};
pub(crate) use plan::{Furniture, PROGRAM, Place, Plan, Root, SCRATCH_FOLDERS, is_granted};
pub(crate) use problem::PlanError;
pub(crate) use raise::raise;
pub(crate) use room::{Room, is_full};
pub(crate) use whole::is_whole;
