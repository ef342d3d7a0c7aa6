//! Snapshot files that are not what was written: damaged by chance, and by somebody who knows the hash.

mod support;

use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::time::Duration;

use ringfence_isolation::{BuildError, Exit, LostReason, Point};
use ringfence_manifest::{Bytes, MountMode};
use support::{Lab, explain};

static PANICS: AtomicUsize = AtomicUsize::new(0);

/// Bytes of chance that are the same each time: xorshift, after Marsaglia.
struct Chance(u64);

impl Chance {
    fn below(&mut self, end: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % end as u64) as usize
    }
}

/// Where the hash is, and what it is of.
const HASH: std::ops::Range<usize> = 20..52;

fn lab(what: &str) -> Option<Lab> {
    let lab = Lab::compiled("snapshot.c", &[what])?;
    let lab = lab.mount("/data", MountMode::ReadWrite).grant_all("/data").grant_all("/tmp");
    std::fs::write(lab.host("/data").join("file"), "abcdef").unwrap();
    Some(lab.limit(|limits| {
        limits.memory = Some(Bytes(64 << 20));
        limits.wall_time = Some(Duration::from_millis(200));
        limits.cpu_time = Some(Duration::from_millis(500));
        limits.output = Some(Bytes(64 << 10));
        limits.processes = Some(16);
    }))
}

#[test]
fn a_file_that_was_damaged_or_is_something_else_is_refused() {
    let Some(lab) = lab("hello") else { return };
    let file = lab.saved(Point::Start);
    let whole = std::fs::read(&file).unwrap();
    let refused = |bytes: &[u8]| {
        std::fs::write(&file, bytes).unwrap();
        match lab.restored(&file) {
            Err(BuildError::Snapshot(reason)) => reason,
            Err(other) => panic!("{}", explain(&other)),
            Ok(_) => panic!("it was not refused"),
        }
    };
    let mut chance = Chance(0x5eed);
    for _ in 0..200 {
        let mut bytes = whole.clone();
        bytes[chance.below(whole.len())] ^= 1 << chance.below(8);
        refused(&bytes);
    }
    for _ in 0..50 {
        refused(&whole[..chance.below(whole.len())]);
    }
    assert!(refused(b"").contains("not a snapshot") && refused(&[0x7f; 4096]).contains("not a snapshot"));
    assert!(refused(&[&whole[..], b"more"].concat()).contains("damaged"));
    let mut newer = whole.clone();
    newer[16] = 200;
    assert!(refused(&newer).contains("format 200"));
}

/// Where the number at a place ends, and the number: `postcard`, as LEB128.
fn number(bytes: &[u8], mut at: usize) -> (usize, u64) {
    let (mut value, mut shift) = (0, 0);
    loop {
        value |= u64::from(bytes[at] & 0x7f) << shift;
        (at, shift) = (at + 1, shift + 7);
        if bytes[at - 1] < 0x80 {
            return (at, value);
        }
    }
}

/// A file that says that the program had so many arguments, of which each is a byte.
fn with_arguments(whole: &[u8], count: usize) -> Vec<u8> {
    let end = |at: usize| number(whole, at).0;
    let text = |at: usize| number(whole, at).0 + number(whole, at).1 as usize;
    let state = 60 + u64::from_le_bytes(whole[52..60].try_into().unwrap()) as usize;
    // The name; device, number and two times of the program, its size and its hash; its path.
    let at = text(end(end(end(end(end(text(60)))))) + 32);
    let (first, had) = number(whole, at);
    let rest = (0..had).fold(first, |at, _| text(at));
    let mut more = whole[60..at].to_vec();
    let mut left = count;
    while left >= 0x80 {
        more.push(left as u8 | 0x80);
        left >>= 7;
    }
    more.push(left as u8);
    more.resize(more.len() + count, 0);
    more.extend(&whole[rest..state]);
    let length = (more.len() as u64).to_le_bytes();
    let rest = [&length[..], &more, &whole[state..]].concat();
    [&whole[..20], blake3::hash(&rest).as_bytes(), &rest].concat()
}

#[test]
fn a_file_is_neither_read_nor_unpacked_beyond_its_limits() {
    let Some(lab) = lab("hello") else { return };
    let file = lab.saved(Point::Start);
    let whole = std::fs::read(&file).unwrap();
    let refused = || match lab.restored(&file) {
        Err(BuildError::Snapshot(reason)) => reason,
        Err(other) => panic!("{}", explain(&other)),
        Ok(_) => panic!("it was not refused"),
    };
    for count in [100, 1_000_000, 10_000_000] {
        std::fs::write(&file, with_arguments(&whole, count)).unwrap();
        let reason = refused();
        assert!(reason.len() < 500, "{count}: {} bytes", reason.len());
        assert!(reason.contains(if count < 10_000_000 { "other arguments" } else { "damaged" }), "{count}: {reason}");
    }
    // More pages than fit, of which none is there.
    std::fs::write(&file, &whole[..60]).unwrap();
    let state = u64::from_le_bytes(whole[52..60].try_into().unwrap());
    std::fs::File::options().write(true).open(&file).unwrap().set_len(60 + state + (128 << 20)).unwrap();
    assert_eq!(refused(), "it holds more memory than the limit of 64 MiB");
}

/// `RINGFENCE_FUZZ_SEED` and `RINGFENCE_FUZZ_ROUNDS` try others.
#[test]
fn a_file_whose_hash_was_made_to_fit_is_refused_or_runs_within_its_limits() {
    let number =
        |name, otherwise: u64| std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(otherwise);
    let hook = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info| {
        PANICS.fetch_add(1, SeqCst);
        hook(info);
    }));
    let mut chance = Chance(number("RINGFENCE_FUZZ_SEED", 0x2026));
    let mut ran = 0;
    for what in ["things", "threads"] {
        let Some(lab) = lab(what) else { return };
        let file = lab.saved(Point::Marker);
        let whole = std::fs::read(&file).unwrap();
        let state = 60 + u64::from_le_bytes(whole[52..60].try_into().unwrap()) as usize;
        for round in 0..number("RINGFENCE_FUZZ_ROUNDS", 40) {
            let mut bytes = whole.clone();
            for _ in 0..1 + chance.below(3) {
                let at = 60 + chance.below(state - 60);
                bytes[at] = match chance.below(4) {
                    0 => 0,
                    1 => 0xff,
                    2 => bytes[at].wrapping_add(1),
                    _ => chance.below(256) as u8,
                };
            }
            let hash = blake3::hash(&bytes[HASH.end..]);
            bytes[HASH].copy_from_slice(hash.as_bytes());
            std::fs::write(&file, bytes).unwrap();
            let Ok(plan) = lab.restored(&file) else { continue };
            let Ok(outcome) = Lab::run_of(&plan) else { continue };
            ran += 1;
            let exit = &outcome.report.exit;
            let lost = matches!(exit, Exit::Lost(LostReason::Backend(reason)) if reason.contains("without"));
            assert!(!lost && PANICS.load(SeqCst) == 0, "{what} {round}: {exit}");
            assert!(outcome.report.usage.memory_peak <= 65 << 20, "{what} {round}");
        }
    }
    assert!(ran > 0, "no file was read at all");
}
