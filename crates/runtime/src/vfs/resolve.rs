//! From a path to what it names, without ever leaving the tree.
//!
//! The kernel is asked for one component at a time, relative to the folder reached so far, with
//! `O_NOFOLLOW`. Links are read and spliced into what is left of the path, an absolute one starts at
//! the top of the tree, and `..` goes back on a stack of held folders; the kernel never sees it. So a
//! name that is swapped between two steps can change which thing of the tree is reached, and no more.
//!
//! When no `..` occurs and no mount point lies on the way, one `openat2(2)` with `RESOLVE_BENEATH`
//! and `RESOLVE_NO_SYMLINKS` does the same; what it refuses is walked.

use std::sync::Arc;

use ringfence_abi::ErrorCode;
use rustix::fs::{AtFlags, FileType, Mode, OFlags, ResolveFlags, fstat, openat, openat2, readlinkat, statat};
use rustix::io::Errno;

use super::place::{End, Last, Place, Resolved};
use super::tree::Tree;
use crate::error::code;

/// How many links a path may lead through, as in Linux: `path_resolution(7)`.
const MOST_LINKS: usize = 40;
/// How long a path may be, and a name: `PATH_MAX`, `NAME_MAX`.
const MOST_BYTES: usize = 4096;
const MOST_NAME_BYTES: usize = 255;
/// How deep a walk may go: it holds a descriptor for every folder on its way.
const MOST_DEPTH: usize = 512;

const FOLDER: OFlags = OFlags::PATH.union(OFlags::DIRECTORY).union(OFlags::CLOEXEC);

/// Refuses what is no path at all.
pub(super) fn check(path: &[u8]) -> Result<(), ErrorCode> {
    if path.contains(&0) {
        return Err(ErrorCode::Invalid);
    }
    if path.is_empty() {
        return Err(ErrorCode::NotFound);
    }
    if path.len() >= MOST_BYTES || path.split(|&byte| byte == b'/').any(|name| name.len() > MOST_NAME_BYTES) {
        return Err(ErrorCode::NameTooLong);
    }
    Ok(())
}

impl Tree {
    /// What `path` names, seen from `start`, a folder at `start_path`.
    ///
    /// # Errors
    /// Only for what is no path: `Invalid`, `NotFound` when it is empty, `NameTooLong`. Everything
    /// found on the way is part of the result, because permissions are judged first.
    pub(super) fn resolve(
        &self,
        start: &Place,
        start_path: &[u8],
        path: &[u8],
        last: Last,
    ) -> Result<Resolved, ErrorCode> {
        check(path)?;
        let absolute = path.starts_with(b"/");
        let (start, start_path) = if absolute { (self.root(), &b"/"[..]) } else { (start.clone(), start_path) };
        if let Some(resolved) = self.resolve_at_once(&start, start_path, path, last) {
            return Ok(resolved);
        }
        Ok(Walk::new(self, start, start_path, path).run(last))
    }

    /// The same in one step. `None` when it takes a walk.
    fn resolve_at_once(&self, start: &Place, start_path: &[u8], path: &[u8], last: Last) -> Option<Resolved> {
        let must_be_folder = path.ends_with(b"/");
        let mut resolved = Vec::with_capacity(start_path.len() + path.len() + 1);
        if start_path != b"/" {
            resolved.extend_from_slice(start_path);
        }
        let mut base = start.descriptor.as_ref()?;
        let mut mount = start.mount;
        // Where what the kernel is to resolve begins in `resolved`.
        let mut from = resolved.len() + 1;
        let mut graft = start.graft;
        let mut on_graft = true;
        let mut through_graft = false;
        for name in path.split(|&byte| byte == b'/') {
            match name {
                b"" | b"." => continue,
                b".." => return None,
                _ => {}
            }
            resolved.push(b'/');
            resolved.extend_from_slice(name);
            graft = self.child(graft, name);
            on_graft = graft.is_some();
            if let Some(mounted) = graft.and_then(|graft| self.grafts[graft].mount) {
                if self.mounts[mounted].is_file {
                    return None;
                }
                (base, mount) = (&self.mounts[mounted].descriptor, mounted);
                from = resolved.len() + 1;
                through_graft = false;
            } else {
                through_graft |= on_graft;
            }
        }
        if on_graft || path.ends_with(b"/.") || (must_be_folder && last == Last::Keep) {
            return None;
        }
        let split = resolved.iter().rposition(|&byte| byte == b'/')?;
        let name = resolved[split + 1..].to_vec();
        let folder = if split < from {
            Arc::clone(base)
        } else {
            let beneath = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
            match openat2(base, &resolved[from..split], FOLDER, Mode::empty(), beneath) {
                Ok(folder) => Arc::new(folder),
                // No link stands before what is missing, so the path is resolved as it is.
                Err(errno @ (Errno::NOENT | Errno::NOTDIR | Errno::ACCESS)) if !through_graft => {
                    let end = End::Broken(code(errno));
                    return Some(Resolved { path: resolved, mount, end, must_be_folder });
                }
                Err(_) => return None,
            }
        };
        let mut seen = None;
        if last == Last::Follow {
            match statat(&folder, &name, AtFlags::SYMLINK_NOFOLLOW) {
                Ok(stat) if FileType::from_raw_mode(stat.st_mode) == FileType::Symlink => return None,
                Ok(stat) => seen = Some(Box::new(stat)),
                Err(Errno::NOENT) => {}
                Err(_) => return None,
            }
        }
        Some(Resolved { path: resolved, mount, end: End::Name { folder, name, seen }, must_be_folder })
    }
}

/// A walk, whether it takes one or not.
#[cfg(test)]
pub(super) fn walk(tree: &Tree, from: &super::Folder, path: &[u8], last: Last) -> Resolved {
    let (start, start_path) = match path.first() {
        Some(b'/') => (tree.root(), b"/".as_slice().into()),
        _ => (from.place.clone(), from.path()),
    };
    Walk::new(tree, start, &start_path, path).run(last)
}

/// A walk through the tree, one component at a time.
struct Walk<'a> {
    tree: &'a Tree,
    /// The folders from the top (or the start) to where it is.
    stack: Vec<Place>,
    /// Where it is. One component for each folder of the stack but the first.
    path: Vec<u8>,
    /// The path of the first folder of the stack.
    bottom: usize,
    /// The components still to go, the next one last.
    left: Vec<Vec<u8>>,
    must_be_folder: bool,
    links: usize,
}

/// What one component led to.
enum Step {
    On,
    At(End),
}

impl<'a> Walk<'a> {
    fn new(tree: &'a Tree, start: Place, start_path: &[u8], path: &[u8]) -> Self {
        let start_path = if start_path == b"/" { Vec::new() } else { start_path.to_vec() };
        let mut walk = Walk {
            tree,
            stack: vec![start],
            bottom: start_path.len(),
            path: start_path,
            left: Vec::new(),
            must_be_folder: false,
            links: 0,
        };
        walk.push(path);
        walk
    }

    /// Puts the components of `path` before those that are left.
    fn push(&mut self, path: &[u8]) {
        self.must_be_folder |= self.left.is_empty() && path.ends_with(b"/");
        if path.ends_with(b"/.") || path == b"." {
            // Kept at the end alone, where it makes what stands before it a folder to go into.
            self.left.push(b".".to_vec());
        }
        let components = path.split(|&byte| byte == b'/').rev();
        self.left.extend(components.filter(|name| !matches!(*name, b"" | b".")).map(<[u8]>::to_vec));
    }

    fn run(mut self, last: Last) -> Resolved {
        let mut end = None;
        while end.is_none() {
            let Some(name) = self.left.pop() else { break };
            match &name[..] {
                b"." => continue,
                b".." => {
                    self.back();
                    continue;
                }
                _ => {}
            }
            let is_last = self.left.is_empty();
            let mount = self.here().mount;
            match self.step(&name, is_last, last) {
                Step::On => {}
                Step::At(found) => {
                    self.append(&name);
                    // What is left behind something broken is taken as written.
                    while let Some(name) = self.left.pop() {
                        match &name[..] {
                            b"." => {}
                            b".." => self.cut(),
                            name => self.append(name),
                        }
                    }
                    let mount = if let End::File { mount } = found { mount } else { mount };
                    end = Some((mount, found));
                }
            }
        }
        let (mount, end) = end.unwrap_or_else(|| (self.here().mount, End::Folder(self.here().clone())));
        if self.path.is_empty() {
            self.path.push(b'/');
        }
        Resolved { path: self.path, mount, end, must_be_folder: self.must_be_folder }
    }

    fn here(&self) -> &Place {
        self.stack.last().expect("the stack of a walk is never empty")
    }

    /// Takes one step to `name`. The path is extended by a step that goes on, and not by one that ends.
    fn step(&mut self, name: &[u8], is_last: bool, last: Last) -> Step {
        let here = self.here();
        if let Some(graft) = self.tree.child(here.graft, name) {
            return match (self.tree.enter(here, graft, name), self.tree.grafts[graft].mount) {
                (Some(place), _) => self.enter(name, place),
                (None, Some(mount)) if is_last => Step::At(End::File { mount }),
                (None, _) => Step::At(End::Broken(ErrorCode::NotDirectory)),
            };
        }
        let Some(folder) = here.descriptor.clone() else {
            return Step::At(if is_last { End::Nowhere } else { End::Broken(ErrorCode::NotFound) });
        };
        let taken = is_last && (last == Last::Name || (last == Last::Keep && !self.must_be_folder));
        if taken {
            return Step::At(End::Name { folder, name: name.to_vec(), seen: None });
        }
        let looked = openat(&folder, name, OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty());
        let looked = looked.and_then(|descriptor| Ok((fstat(&descriptor)?, descriptor)));
        let (stat, descriptor) = match looked {
            Ok(looked) => looked,
            Err(Errno::NOENT) if is_last => {
                return Step::At(End::Name { folder, name: name.to_vec(), seen: None });
            }
            Err(errno) => return Step::At(End::Broken(code(errno))),
        };
        match FileType::from_raw_mode(stat.st_mode) {
            FileType::Symlink => {
                self.links += 1;
                if self.links > MOST_LINKS {
                    return Step::At(End::Broken(ErrorCode::Loop));
                }
                match readlinkat(&descriptor, c"", Vec::new()) {
                    Ok(target) => self.splice(target.as_bytes()),
                    Err(errno) => Step::At(End::Broken(code(errno))),
                }
            }
            _ if is_last => Step::At(End::Name { folder, name: name.to_vec(), seen: Some(Box::new(stat)) }),
            FileType::Directory => {
                let place = Place { descriptor: Some(Arc::new(descriptor)), mount: self.here().mount, graft: None };
                self.enter(name, place)
            }
            _ => Step::At(End::Broken(ErrorCode::NotDirectory)),
        }
    }

    fn enter(&mut self, name: &[u8], place: Place) -> Step {
        if self.stack.len() >= MOST_DEPTH {
            return Step::At(End::Broken(ErrorCode::NameTooLong));
        }
        self.stack.push(place);
        self.append(name);
        Step::On
    }

    /// Goes on with what a link says.
    fn splice(&mut self, target: &[u8]) -> Step {
        if target.is_empty() {
            return Step::At(End::Broken(ErrorCode::NotFound));
        }
        if check(target).is_err() {
            return Step::At(End::Broken(ErrorCode::NameTooLong));
        }
        if target.starts_with(b"/") {
            self.restart();
        }
        self.push(target);
        Step::On
    }

    fn restart(&mut self) {
        self.stack = vec![self.tree.root()];
        self.path.clear();
        self.bottom = 0;
    }

    /// `..`: the folder before this one. Above the top is the top.
    fn back(&mut self) {
        if self.stack.len() > 1 {
            self.stack.pop();
            self.cut();
        } else if self.bottom > 0 {
            // Above the start. Its path is resolved, so walking to it again leads above it.
            let mut path = std::mem::take(&mut self.path);
            path.truncate(path.iter().rposition(|&byte| byte == b'/').unwrap_or(0));
            self.restart();
            // What `..` leads to is a folder and no name.
            self.left.push(b".".to_vec());
            self.push(&path);
        }
    }

    fn append(&mut self, name: &[u8]) {
        self.path.push(b'/');
        self.path.extend_from_slice(name);
    }

    fn cut(&mut self) {
        self.path.truncate(self.path.iter().rposition(|&byte| byte == b'/').unwrap_or(0));
    }
}
