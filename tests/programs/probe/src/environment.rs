//! Commands that look at what the place tells a program about itself.

use std::{
    env,
    time::{Instant, SystemTime, UNIX_EPOCH},
};

use crate::{
    outcome::{Failure, Outcome, in_order, quoted},
    sys,
};

pub fn run(command: &[&str]) -> Option<Outcome> {
    Some(match *command {
        ["env"] => Ok(variables()),
        ["getenv", name] => variable(name),
        ["args"] => Ok(in_order(&arguments())),
        ["cwd"] => env::current_dir().map(|path| format!("{:?}", path.to_string_lossy())).map_err(Failure::from),
        ["clock"] => clock(),
        ["random", count] => random(count.parse().ok()?),
        _ => return None,
    })
}

fn variables() -> String {
    let pairs = env::vars_os();
    quoted(pairs.map(|(k, v)| format!("{}={}", k.to_string_lossy(), v.to_string_lossy())).collect())
}

fn variable(name: &str) -> Outcome {
    let value = env::var_os(name).ok_or_else(|| Failure::named("ENOENT"))?;
    Ok(format!("{:?}", value.to_string_lossy()))
}

/// Every argument, the program's own name first.
fn arguments() -> Vec<String> {
    env::args_os().map(|word| word.to_string_lossy().into_owned()).collect()
}

/// The wall clock's seconds; an error when the monotonic clock was seen to go backwards.
fn clock() -> Outcome {
    let wall = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    let mut before = Instant::now();
    for _ in 0..1000 {
        let now = Instant::now();
        if now.checked_duration_since(before).is_none() {
            return Err(Failure::named("ERANGE"));
        }
        before = now;
    }
    Ok(format!("wall={wall} monotonic=forward"))
}

/// Takes `count` random bytes and shows the first sixteen.
fn random(count: usize) -> Outcome {
    let mut bytes = vec![0; count];
    sys::fill_random(&mut bytes)?;
    let shown: String = bytes.iter().take(16).map(|byte| format!("{byte:02x}")).collect();
    Ok(format!("{count} {shown}"))
}
