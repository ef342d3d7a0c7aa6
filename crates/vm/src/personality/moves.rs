//! Folders that get another name while somebody is in them or has them open: both follow, as names are all that is kept
//! of them here.

use std::sync::{Arc, Mutex};

use rustix::io::Errno;

use super::open::Open;
use super::process::{Place, lock};
use super::world::World;

/// Everybody who is in a folder, and every folder that is open, each once.
fn followers(world: &World) -> (Vec<Arc<Mutex<Place>>>, Vec<Arc<Open>>) {
    let processes: Vec<_> = world.processes().values().cloned().collect();
    let mut places: Vec<_> = processes.iter().map(|process| process.place()).collect();
    // Some processes share theirs (`CLONE_FS`).
    places.sort_unstable_by_key(Arc::as_ptr);
    places.dedup_by_key(|place| Arc::as_ptr(place));
    let mut opens = Vec::new();
    for process in &processes {
        opens.extend(process.descriptors().folders());
        opens.sort_unstable_by_key(|open| open.address());
        opens.dedup_by_key(|open| open.address());
    }
    (places, opens)
}

/// What is below the first of each pair of paths is to be below the second: `ENAMETOOLONG` when somebody is in a folder
/// or has one open whose path would be longer than there are any.
pub(super) fn check(world: &World, moves: &[(&[u8], &[u8])]) -> Result<(), Errno> {
    let (places, opens) = followers(world);
    let is_long = |path: &[u8]| moved(path, moves).is_some_and(|now| now.len() >= libc::PATH_MAX as usize);
    let are_long = places.iter().any(|place| is_long(&lock(place).folder));
    if are_long || opens.iter().any(|open| is_long(&open.place())) { Err(Errno::NAMETOOLONG) } else { Ok(()) }
}

/// What was below the first of each pair of paths is below the second now.
pub(super) fn follow(world: &World, moves: &[(&[u8], &[u8])]) {
    let (places, opens) = followers(world);
    for place in &places {
        let mut place = lock(place);
        if let Some(now) = moved(&place.folder, moves) {
            place.folder = now;
        }
    }
    for open in &opens {
        if let Some(now) = moved(&open.place(), moves) {
            open.move_to(now);
        }
    }
}

/// Where a path is after these moves, if it is elsewhere.
fn moved(path: &[u8], moves: &[(&[u8], &[u8])]) -> Option<Vec<u8>> {
    moves.iter().find_map(|(from, to)| {
        let rest = path.strip_prefix(*from)?;
        (rest.is_empty() || rest.starts_with(b"/")).then(|| [to, rest].concat())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_below_moves_along_and_nothing_else() {
        let swap: [(&[u8], &[u8]); 2] = [(b"/a", b"/b"), (b"/b", b"/a")];
        for (path, now) in
            [("/a", Some("/b")), ("/a/x", Some("/b/x")), ("/b/x", Some("/a/x")), ("/ab", None), ("/", None)]
        {
            assert_eq!(moved(path.as_bytes(), &swap), now.map(|now| now.as_bytes().to_vec()), "{path}");
        }
    }
}
