//! Walking a path name by name: by rules, `openat2(2)`, "resolve", and where a step leads up or through a link of `/proc`,
//! `path_resolution(7)`.

use std::collections::VecDeque;

use rustix::io::Errno;

use super::opening::Path;
use super::special;
use super::thread::Thread;

const NO_XDEV: u64 = 0x01;
const NO_MAGICLINKS: u64 = 0x02;
const NO_SYMLINKS: u64 = 0x04;
const BENEATH: u64 = 0x08;
const IN_ROOT: u64 = 0x10;
const CACHED: u64 = 0x20;
/// All of them.
pub(super) const KNOWN: u64 = 0x3f;
/// How many links a path may lead through: `path_resolution(7)`.
const MOST_LINKS: usize = 40;

impl Thread {
    /// The path of a text, in which whoever serves it finds no step up that leads elsewhere than it seems to.
    pub(super) fn walked(&self, folder: i32, text: &[u8]) -> Result<Path, Errno> {
        let path = self.absolute(folder, text)?;
        let steps_up = text.split(|&byte| byte == b'/').any(|name| name == b"..");
        if steps_up || special::leads_on(self, &path.normal) { self.resolve(folder, text, 0, false) } else { Ok(path) }
    }

    /// Where a path leads from a folder by these rules, each step looked at: what comes of it has no links, but the
    /// last name where that is not to be `follow`ed. It ends with a slash where the path has to be a folder.
    pub(super) fn resolve(&self, folder: i32, text: &[u8], rules: u64, follow: bool) -> Result<Path, Errno> {
        let has = |rule: u64| rules & rule != 0;
        if has(CACHED) {
            // Nothing is known without looking.
            return Err(Errno::AGAIN);
        }
        if has(BENEATH) && has(IN_ROOT) {
            return Err(Errno::INVAL);
        }
        let is_folder = has_to_be_a_folder(text);
        // From the top, no folder says where.
        let folder = if text.starts_with(b"/") && !has(BENEATH) && !has(IN_ROOT) { libc::AT_FDCWD } else { folder };
        let start = names(&self.absolute(folder, b".")?.normal);
        let device = match has(NO_XDEV) {
            true => Some(self.status_at(&self.at(&start)?, true)?.identity().0),
            false => None,
        };
        let top = if has(IN_ROOT) { start.clone() } else { Vec::new() };
        let floor = if has(BENEATH) { start.len() } else { top.len() };
        let mut at = if text.starts_with(b"/") { top.clone() } else { start };
        if text.starts_with(b"/") && has(BENEATH) {
            return Err(Errno::XDEV);
        }
        let mut left: VecDeque<Vec<u8>> = names(text).into();
        let mut links = 0;
        while let Some(name) = left.pop_front() {
            if name == b".." {
                match at.len() > floor {
                    true => drop(at.pop()),
                    false if has(BENEATH) => return Err(Errno::XDEV),
                    false => {}
                }
                continue;
            }
            at.push(name);
            let here = self.at(&at)?;
            let goes_on = !left.is_empty() || follow;
            let is_magic = special::link(self, &here.normal).is_some();
            if is_magic && goes_on {
                match () {
                    () if has(NO_MAGICLINKS) || has(NO_SYMLINKS) => return Err(Errno::LOOP),
                    () if has(BENEATH) || has(IN_ROOT) || has(NO_XDEV) => return Err(Errno::XDEV),
                    () if !left.is_empty() => {
                        match special::folder_behind(self, &here.normal)? {
                            target if target.starts_with(b"/") => at = names(&target),
                            // By a name beside it.
                            target => *at.last_mut().expect("it was just put there") = target,
                        }
                        continue;
                    }
                    () => {}
                }
            }
            if left.is_empty() && !goes_on && rules == 0 {
                break;
            }
            // What is not granted is as if it were there, on the way to what is: nobody is asked, and nothing denied.
            if rules == 0 && self.is_unseen(&here) {
                continue;
            }
            let status = match self.status_at(&here, false) {
                // It may be about to be made.
                Err(Errno::NOENT) if left.is_empty() => break,
                Err(Errno::ACCESS) if rules == 0 => continue,
                other => other?,
            };
            if device.is_some_and(|device| status.identity().0 != device) {
                return Err(Errno::XDEV);
            }
            if status.is_link() && goes_on && !is_magic {
                links += 1;
                if has(NO_SYMLINKS) || links > MOST_LINKS {
                    return Err(Errno::LOOP);
                }
                let target = self.target(&here)?;
                at.pop();
                if target.starts_with(b"/") {
                    if has(BENEATH) {
                        return Err(Errno::XDEV);
                    }
                    at.clone_from(&top);
                }
                for name in names(&target).into_iter().rev() {
                    left.push_front(name);
                }
            } else if (!left.is_empty() || is_folder && follow) && !status.is_folder() && !is_magic {
                return Err(Errno::NOTDIR);
            }
        }
        let mut path = self.at(&at)?;
        if is_folder && !path.written.ends_with(b"/") {
            path.written.push(b'/');
        }
        Ok(path)
    }

    /// Where links of the system lead from a path, when that is to something else than the system: a mount.
    pub(super) fn beside(&self, path: &Path) -> Option<Path> {
        if !self.world.system.has_mounts_beside() {
            return None;
        }
        let real = self.resolve(libc::AT_FDCWD, &path.normal, 0, true).ok()?;
        (!real.is_system(self)).then_some(real)
    }

    /// Whether nothing is granted there: nobody need look.
    fn is_unseen(&self, path: &Path) -> bool {
        let is_own = special::look(self, &path.normal).is_some() || self.world.scratch.has(&path.normal);
        !is_own && !path.is_system(self) && !self.is_known(path)
    }

    fn at(&self, names: &[Vec<u8>]) -> Result<Path, Errno> {
        let path = [b"/", &names.join(&b'/')[..]].concat();
        self.absolute(libc::AT_FDCWD, &path)
    }
}

/// Whether a path is written so that it leads to a folder, also by a link.
pub(super) fn has_to_be_a_folder(text: &[u8]) -> bool {
    text.ends_with(b"/") || text.ends_with(b"/.")
}

fn names(path: &[u8]) -> Vec<Vec<u8>> {
    path.split(|&byte| byte == b'/').filter(|name| !name.is_empty() && *name != b".").map(<[u8]>::to_vec).collect()
}
