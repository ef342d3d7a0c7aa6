//! Folders that get another name while somebody is in them or has them open: both follow, as names are all that is kept
//! of them here.

use std::sync::Arc;

use super::process::lock;
use super::world::World;

/// What was below the first of each pair of paths is below the second now.
pub(super) fn follow(world: &World, moves: &[(&[u8], &[u8])]) {
    let processes: Vec<_> = world.processes().values().cloned().collect();
    let mut places: Vec<_> = processes.iter().map(|process| process.place()).collect();
    // Some processes share theirs (`CLONE_FS`).
    places.sort_unstable_by_key(Arc::as_ptr);
    places.dedup_by_key(|place| Arc::as_ptr(place));
    for place in &places {
        let mut place = lock(place);
        if let Some(now) = moved(&place.folder, moves) {
            place.folder = now;
        }
    }
    let mut opens: Vec<_> =
        processes.iter().flat_map(|process| process.descriptors().slots()).flatten().map(|(open, _)| open).collect();
    // And what is open.
    opens.sort_unstable_by_key(|open| open.address());
    opens.dedup_by_key(|open| open.address());
    for open in opens.iter().filter(|open| open.is_folder()) {
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
