//! Programs that have been damaged.

use arbitrary::{Result, Unstructured};

/// Where a program says most about itself: its types and imports are at the beginning, and what tools
/// have attached to it is at the end.
const EDGE: usize = 4 << 10;

/// One of `whole`, damaged in a few places.
pub(crate) fn done(whole: &[Vec<u8>], chance: &mut Unstructured<'_>) -> Result<Vec<u8>> {
    let mut program = chance.choose(whole)?.clone();
    for _ in 0..chance.int_in_range(1..=3)? {
        harm(&mut program, chance)?;
    }
    Ok(program)
}

fn harm(program: &mut Vec<u8>, chance: &mut Unstructured<'_>) -> Result<()> {
    if program.is_empty() {
        return Ok(());
    }
    let all = program.len();
    let at = match chance.int_in_range(0..=2)? {
        0 => chance.int_in_range(0..=all - 1)?,
        1 => chance.int_in_range(0..=(all - 1).min(EDGE))?,
        _ => chance.int_in_range(all.saturating_sub(EDGE)..=all - 1)?,
    };
    let end = all.min(at + chance.int_in_range(1..=32usize)?);
    match chance.int_in_range(0..=9)? {
        0..=5 => program[at] ^= 1 << chance.int_in_range(0..=7)?,
        6 => program[at] = chance.arbitrary()?,
        7 => drop(program.drain(at..end)),
        8 => {
            let piece = program[at..end].to_vec();
            program.splice(at..at, piece);
        }
        _ => program.truncate(at),
    }
    Ok(())
}
