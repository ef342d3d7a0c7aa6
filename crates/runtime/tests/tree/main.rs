//! Sequences of file operations made of chance: nothing outside of what was granted is reached.

mod lab;
mod operation;
mod outside;

use std::collections::BTreeMap;

use lab::Lab;

const SEQUENCES: u32 = 120;
const BYTES: usize = 6000;

#[test]
fn nothing_outside_of_what_was_granted_is_read_or_changed() {
    let mut done = BTreeMap::<String, usize>::new();
    for number in 0..SEQUENCES {
        let mut chance = vec![0; BYTES];
        blake3::Hasher::new().update(&number.to_le_bytes()).finalize_xof().fill(&mut chance);
        for (name, count) in Lab::new().run(&operation::sequence(&chance)) {
            *done.entry(name).or_default() += count;
        }
    }
    // Each operation was done now and then, so that nothing came of it says something.
    assert_eq!(done.len(), 18, "{done:?}");
    assert!(done.values().all(|&count| count >= 3), "{done:?}");
}
