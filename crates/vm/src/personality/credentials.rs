//! Users and groups: `credentials(7)`, `setuid(2)`, `setreuid(2)`, `setresuid(2)`, `setfsuid(2)`, `getgroups(2)`.
//!
//! They are the instance's own and say nothing to the host: an instance that began as user 0 can become any other, and
//! then is held to what that one may do with files and processes of the instance ([`super::owners`]).

use std::sync::Arc;
use std::sync::atomic::Ordering::SeqCst;

use rustix::io::Errno;

use super::process::{Process, lock};
use super::status::Status;
use super::thread::Thread;
use super::{Answer, Arguments, int};
use crate::kvm::{Kept, Machine};

/// How many groups one can be in besides one's own: `NGROUPS_MAX`.
pub(super) const MOST: usize = 65536;

/// The user and the group an instance begins as.
pub(super) fn first() -> u32 {
    rustix::process::getuid().as_raw()
}

/// Further groups.
#[derive(Default)]
pub(super) struct Groups {
    list: Vec<u32>,
    _kept: Option<Kept>,
}

/// Who a process is.
#[derive(Clone)]
pub(super) struct Credentials {
    /// Real, effective, saved, and the one for files.
    pub(super) users: [u32; 4],
    pub(super) groups: [u32; 4],
    more: Arc<Groups>,
}

impl Default for Credentials {
    fn default() -> Self {
        Credentials { users: [first(); 4], groups: [first(); 4], more: Arc::default() }
    }
}

impl Credentials {
    /// Of captured ones; `None` when they cannot be so.
    pub(super) fn of(machine: &Arc<Machine>, users: [u32; 4], groups: [u32; 4], more: &[u32]) -> Option<Credentials> {
        // Who did not begin as user 0 never becomes it.
        let is_new = |user: u32| user != first();
        let fits = first() == 0 || !users.iter().any(|&user| is_new(user));
        let mut credentials = Credentials { users, groups, ..Credentials::default() };
        credentials.set_more(machine, more.to_vec());
        (fits && more.len() <= MOST).then_some(credentials)
    }

    /// Whether it may become anybody, and give files away.
    pub(super) fn is_privileged(&self) -> bool {
        self.users[1] == 0
    }

    /// Whether it is in a group.
    pub(super) fn has(&self, group: u32) -> bool {
        self.groups[3] == group || self.more.list.contains(&group)
    }

    pub(super) fn more(&self) -> &[u32] {
        &self.more.list
    }

    fn set_more(&mut self, machine: &Arc<Machine>, list: Vec<u32>) {
        let kept = Kept::of(machine, list.len() * size_of::<u32>());
        self.more = Arc::new(Groups { list, _kept: Some(kept) });
    }

    /// Whether it may do that with something: [`super::owners::READ`] and so on.
    pub(super) fn allow(&self, status: &Status, wanted: u32) -> bool {
        let (user, group) = status.owner();
        let shift = match () {
            () if self.users[3] == user => 6,
            () if self.has(group) => 3,
            () => 0,
        };
        // User 0 reads and writes everything, and runs what anybody may run.
        let runs = wanted & super::owners::SEARCH == 0 || status.is_folder() || status.mode() & 0o111 != 0;
        (self.users[3] == 0 && runs) || status.mode() >> shift & wanted == wanted
    }

    /// Whether it may signal a process: `kill(2)`.
    pub(super) fn may_signal(&self, other: &Credentials) -> bool {
        let theirs = [other.users[0], other.users[2]];
        self.is_privileged() || self.users[..2].iter().any(|user| theirs.contains(user))
    }
}

impl Process {
    /// The user and the group that new files belong to.
    pub(super) fn file_ids(&self) -> (u32, u32) {
        let credentials = lock(&self.credentials);
        (credentials.users[3], credentials.groups[3])
    }
}

/// Of users and groups alike: what is changed is one of the two.
fn change(
    thread: &Thread,
    of: fn(&mut Credentials) -> &mut [u32; 4],
    to: impl FnOnce(&mut [u32; 4], bool) -> Answer,
) -> Answer {
    let mut credentials = lock(&thread.process.credentials);
    let privileged = credentials.is_privileged();
    let before = (credentials.users, credentials.groups);
    let answer = to(of(&mut credentials), privileged)?;
    if before != (credentials.users, credentials.groups) {
        // Others are not told by it any more that its parent ended: `PR_SET_PDEATHSIG`.
        thread.process.at_parents_end.store(0, SeqCst);
    }
    Ok(answer)
}

fn users(credentials: &mut Credentials) -> &mut [u32; 4] {
    &mut credentials.users
}

fn groups(credentials: &mut Credentials) -> &mut [u32; 4] {
    &mut credentials.groups
}

fn set_one(ids: &mut [u32; 4], wanted: u32, privileged: bool) -> Answer {
    match wanted {
        u32::MAX => return Err(Errno::INVAL),
        wanted if privileged => *ids = [wanted; 4],
        wanted if wanted == ids[0] || wanted == ids[2] => (ids[1], ids[3]) = (wanted, wanted),
        _ => return Err(Errno::PERM),
    }
    Ok(0)
}

fn set_two(ids: &mut [u32; 4], [real, effective]: [u32; 2], privileged: bool) -> Answer {
    let before = *ids;
    let may = |wanted: u32, of: &[u32]| wanted == u32::MAX || privileged || of.contains(&wanted);
    if !may(real, &before[..2]) || !may(effective, &before[..3]) {
        return Err(Errno::PERM);
    }
    if real != u32::MAX {
        ids[0] = real;
    }
    if effective != u32::MAX {
        ids[1] = effective;
    }
    if real != u32::MAX || (effective != u32::MAX && effective != before[0]) {
        ids[2] = ids[1];
    }
    ids[3] = ids[1];
    Ok(0)
}

fn set_three(ids: &mut [u32; 4], wanted: [u32; 3], privileged: bool) -> Answer {
    let before = *ids;
    if !wanted.iter().all(|&one| one == u32::MAX || privileged || before[..3].contains(&one)) {
        return Err(Errno::PERM);
    }
    for (id, one) in ids.iter_mut().zip(wanted).filter(|(_, one)| *one != u32::MAX) {
        *id = one;
    }
    ids[3] = ids[1];
    Ok(0)
}

fn set_of_files(ids: &mut [u32; 4], wanted: u32, privileged: bool) -> Answer {
    let before = ids[3];
    if wanted != u32::MAX && (privileged || ids.contains(&wanted)) {
        ids[3] = wanted;
    }
    Ok(before.into())
}

/// `setuid(2)`
pub(super) fn setuid(thread: &mut Thread, [user, ..]: Arguments) -> Answer {
    change(thread, users, |ids, privileged| set_one(ids, user as u32, privileged))
}

/// `setgid(2)`
pub(super) fn setgid(thread: &mut Thread, [group, ..]: Arguments) -> Answer {
    change(thread, groups, |ids, privileged| set_one(ids, group as u32, privileged))
}

/// `setreuid(2)`
pub(super) fn setreuid(thread: &mut Thread, [real, effective, ..]: Arguments) -> Answer {
    change(thread, users, |ids, privileged| set_two(ids, [real as u32, effective as u32], privileged))
}

/// `setregid(2)`
pub(super) fn setregid(thread: &mut Thread, [real, effective, ..]: Arguments) -> Answer {
    change(thread, groups, |ids, privileged| set_two(ids, [real as u32, effective as u32], privileged))
}

/// `setresuid(2)`
pub(super) fn setresuid(thread: &mut Thread, [real, effective, saved, ..]: Arguments) -> Answer {
    let wanted = [real, effective, saved].map(|id| id as u32);
    change(thread, users, |ids, privileged| set_three(ids, wanted, privileged))
}

/// `setresgid(2)`
pub(super) fn setresgid(thread: &mut Thread, [real, effective, saved, ..]: Arguments) -> Answer {
    let wanted = [real, effective, saved].map(|id| id as u32);
    change(thread, groups, |ids, privileged| set_three(ids, wanted, privileged))
}

/// `setfsuid(2)`: the one before.
pub(super) fn setfsuid(thread: &mut Thread, [user, ..]: Arguments) -> Answer {
    change(thread, users, |ids, privileged| set_of_files(ids, user as u32, privileged))
}

/// `setfsgid(2)`
pub(super) fn setfsgid(thread: &mut Thread, [group, ..]: Arguments) -> Answer {
    change(thread, groups, |ids, privileged| set_of_files(ids, group as u32, privileged))
}

/// `getuid(2)`
pub(super) fn getuid(thread: &mut Thread, _: Arguments) -> Answer {
    Ok(lock(&thread.process.credentials).users[0].into())
}

/// `geteuid(2)`
pub(super) fn geteuid(thread: &mut Thread, _: Arguments) -> Answer {
    Ok(lock(&thread.process.credentials).users[1].into())
}

/// `getgid(2)`
pub(super) fn getgid(thread: &mut Thread, _: Arguments) -> Answer {
    Ok(lock(&thread.process.credentials).groups[0].into())
}

/// `getegid(2)`
pub(super) fn getegid(thread: &mut Thread, _: Arguments) -> Answer {
    Ok(lock(&thread.process.credentials).groups[1].into())
}

fn tell(thread: &Thread, ids: [u32; 4], at: [u64; 3]) -> Answer {
    let space = thread.process.space()?;
    at.into_iter().zip(ids).try_fold(0, |_, (at, id)| space.write_u32(at, id).map(|()| 0))
}

/// `getresuid(2)`
pub(super) fn getresuid(thread: &mut Thread, [real, effective, saved, ..]: Arguments) -> Answer {
    let ids = lock(&thread.process.credentials).users;
    tell(thread, ids, [real, effective, saved])
}

/// `getresgid(2)`
pub(super) fn getresgid(thread: &mut Thread, [real, effective, saved, ..]: Arguments) -> Answer {
    let ids = lock(&thread.process.credentials).groups;
    tell(thread, ids, [real, effective, saved])
}

/// `getgroups(2)`
pub(super) fn getgroups(thread: &mut Thread, [count, at, ..]: Arguments) -> Answer {
    let more = lock(&thread.process.credentials).more.clone();
    let length = more.list.len();
    match usize::try_from(int(count)) {
        Ok(0) => return Ok(length as u64),
        Ok(count) if count >= length => {}
        _ => return Err(Errno::INVAL),
    }
    let bytes: Vec<u8> = more.list.iter().flat_map(|group| group.to_le_bytes()).collect();
    thread.process.space()?.write(at, &bytes).map(|()| length as u64)
}

/// `setgroups(2)`
pub(super) fn setgroups(thread: &mut Thread, [count, at, ..]: Arguments) -> Answer {
    if !lock(&thread.process.credentials).is_privileged() {
        return Err(Errno::PERM);
    }
    let count = usize::try_from(count as u32).ok().filter(|&count| count <= MOST).ok_or(Errno::INVAL)?;
    thread.world.may_keep(count * size_of::<u32>())?;
    let mut bytes = vec![0; count * size_of::<u32>()];
    thread.process.space()?.read(at, &mut bytes)?;
    let mut list: Vec<u32> =
        bytes.chunks_exact(4).map(|part| u32::from_le_bytes([part[0], part[1], part[2], part[3]])).collect();
    list.sort_unstable();
    lock(&thread.process.credentials).set_more(&thread.world.machine, list);
    Ok(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_gave_privileges_up_for_good_does_not_get_them_back() {
        let mut ids = [0; 4];
        set_one(&mut ids, 5, true).unwrap();
        assert_eq!(ids, [5; 4]);
        assert_eq!(set_one(&mut ids, 0, false), Err(Errno::PERM));
        assert_eq!(set_two(&mut ids, [u32::MAX, 0], false), Err(Errno::PERM));
        assert_eq!(set_three(&mut ids, [0, u32::MAX, u32::MAX], false), Err(Errno::PERM));
        assert_eq!(set_of_files(&mut ids, 0, false), Ok(5));
        assert_eq!(ids, [5; 4]);
    }

    #[test]
    fn a_saved_one_can_be_taken_again() {
        let mut ids = [0; 4];
        set_three(&mut ids, [u32::MAX, 5, u32::MAX], true).unwrap();
        assert_eq!(ids, [0, 5, 0, 5]);
        set_one(&mut ids, 0, false).unwrap();
        assert_eq!(ids, [0, 0, 0, 0]);
        set_two(&mut ids, [u32::MAX, 5], true).unwrap();
        assert_eq!(ids, [0, 5, 5, 5]);
        set_two(&mut ids, [5, 0], false).unwrap();
        assert_eq!(ids, [5, 0, 0, 0]);
    }
}
