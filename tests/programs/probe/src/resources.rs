//! Commands that use a resource up, wait, or end in a particular way.

use std::{
    hint,
    io::{self, Read, Write},
    mem, process,
    time::{Duration, Instant},
};

use crate::outcome::{Failure, Outcome};

pub fn run(command: &[&str]) -> Option<Outcome> {
    Some(match *command {
        ["alloc", bytes] => alloc(bytes.parse().ok()?),
        ["recurse"] => Ok(recurse(0).to_string()),
        ["spin"] => spin(None),
        ["spin-ms", time] => spin(Some(Duration::from_millis(time.parse().ok()?))),
        ["output", bytes] => output(bytes.parse().ok()?),
        ["output-forever"] => output(u64::MAX),
        ["stdin"] => drain_stdin(),
        ["echo"] => echo(),
        ["block-stdin"] => block_stdin(),
        ["exit", status] => process::exit(status.parse().ok()?),
        ["abort"] => process::abort(),
        ["trap"] => trap(),
        _ => return None,
    })
}

/// Takes memory, touches every page of it, and keeps it to the end of the process.
fn alloc(bytes: u64) -> Outcome {
    let too_much = || Failure::named("ENOMEM");
    let bytes = usize::try_from(bytes).map_err(|_| too_much())?;
    let mut memory = Vec::<u8>::new();
    memory.try_reserve_exact(bytes).map_err(|_| too_much())?;
    let spare = memory.spare_capacity_mut();
    for offset in (0..bytes).step_by(4096) {
        hint::black_box(spare[offset].write(1));
    }
    mem::forget(memory);
    Ok(bytes.to_string())
}

/// Calls itself far deeper than any stack; the frame stays in use, so that no call becomes a jump.
fn recurse(depth: u64) -> u64 {
    if depth == u64::MAX {
        return depth;
    }
    let frame = hint::black_box([depth; 16]);
    recurse(frame[0] + 1) + hint::black_box(frame)[15]
}

fn spin(limit: Option<Duration>) -> Outcome {
    let start = Instant::now();
    loop {
        for round in 0..100_000_u32 {
            hint::black_box(round);
        }
        if limit.is_some_and(|limit| start.elapsed() >= limit) {
            return Ok(start.elapsed().as_millis().to_string());
        }
    }
}

/// Floods stdout with lines of 64 bytes.
fn output(bytes: u64) -> Outcome {
    let mut piece = vec![b'.'; 4096];
    piece.iter_mut().skip(63).step_by(64).for_each(|byte| *byte = b'\n');
    let mut out = io::stdout().lock();
    let mut written = 0;
    while written < bytes {
        let next = piece.len().min(usize::try_from(bytes - written).unwrap_or(usize::MAX));
        match out.write_all(&piece[..next]).and_then(|()| out.flush()) {
            Ok(()) => written += next as u64,
            Err(error) => return Err(Failure::from(error).after(written)),
        }
    }
    if !bytes.is_multiple_of(64) {
        out.write_all(b"\n")?;
    }
    Ok(written.to_string())
}

fn drain_stdin() -> Outcome {
    Ok(io::copy(&mut io::stdin(), &mut io::sink())?.to_string())
}

/// Everything on stdin to stdout, then, on a line of its own, how much it was.
fn echo() -> Outcome {
    let (mut from, mut to) = (io::stdin().lock(), io::stdout().lock());
    let mut piece = [0; 4096];
    let (mut count, mut last) = (0, b'\n');
    loop {
        match from.read(&mut piece)? {
            0 => break,
            length => {
                to.write_all(&piece[..length])?;
                last = piece[length - 1];
                count += length as u64;
            }
        }
        to.flush()?;
    }
    if last != b'\n' {
        to.write_all(b"\n")?;
    }
    Ok(count.to_string())
}

/// Waits for one byte, for ever if none comes and stdin stays open.
fn block_stdin() -> Outcome {
    let mut byte = [0];
    Ok(io::stdin().read(&mut byte)?.to_string())
}

#[cfg(target_family = "wasm")]
fn trap() -> ! {
    core::arch::wasm32::unreachable()
}

#[cfg(target_arch = "x86_64")]
fn trap() -> ! {
    // SAFETY: the instruction is undefined on purpose; the processor stops the program there.
    unsafe { core::arch::asm!("ud2", options(noreturn, nomem, nostack)) }
}

#[cfg(not(any(target_family = "wasm", target_arch = "x86_64")))]
fn trap() -> ! {
    process::abort()
}
