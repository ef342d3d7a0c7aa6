//! `wasi:clocks`: monotonic and wall clock, and waiting.

use std::sync::Arc;

use ringfence_abi::{Call, Clock, Reply, Timestamp};
use ringfence_isolation::Host;
use wasmtime::component::{ComponentType, Lift, Linker, Lower, Resource};
use wasmtime_wasi_io::async_trait;
use wasmtime_wasi_io::poll::{DynPollable, Pollable};

use super::name;
use crate::state::{Context, State};

const NANOSECONDS: i128 = 1_000_000_000;

/// `wasi:clocks/wall-clock.datetime`.
#[derive(Clone, Copy, Debug, ComponentType, Lift, Lower)]
#[component(record)]
pub(super) struct Datetime {
    pub(super) seconds: u64,
    pub(super) nanoseconds: u32,
}

impl Datetime {
    /// Moments before 1970 have no place in the type; they become its start.
    pub(super) fn new(time: Timestamp) -> Self {
        let time = time.max(0);
        Datetime {
            seconds: u64::try_from(time / NANOSECONDS).unwrap_or(u64::MAX),
            nanoseconds: u32::try_from(time % NANOSECONDS).unwrap_or(0),
        }
    }

    pub(super) fn timestamp(self) -> Timestamp {
        i128::from(self.seconds) * NANOSECONDS + i128::from(self.nanoseconds)
    }
}

/// Waits for a moment of the monotonic clock.
struct Deadline {
    host: Arc<dyn Host>,
    until: Timestamp,
}

#[async_trait]
impl Pollable for Deadline {
    async fn ready(&mut self) {
        let _ = self.host.call(Call::Sleep { until: self.until }).wait().await;
    }
}

pub(super) fn add(linker: &mut Linker<State>) -> wasmtime::Result<()> {
    let mut monotonic = linker.instance(&name("clocks/monotonic-clock"))?;
    monotonic.func_wrap("now", |context: Context, (): ()| {
        Ok((clamp(time(&context, Call::Now { clock: Clock::Monotonic })?),))
    })?;
    monotonic.func_wrap("resolution", |context: Context, (): ()| {
        Ok((clamp(time(&context, Call::Resolution { clock: Clock::Monotonic })?),))
    })?;
    monotonic.func_wrap("subscribe-instant", |context: Context, (when,): (u64,)| {
        Ok((deadline(context, i128::from(when))?,))
    })?;
    monotonic.func_wrap("subscribe-duration", |context: Context, (duration,): (u64,)| {
        let now = time(&context, Call::Now { clock: Clock::Monotonic })?;
        Ok((deadline(context, now + i128::from(duration))?,))
    })?;

    let mut wall = linker.instance(&name("clocks/wall-clock"))?;
    wall.func_wrap("now", |context: Context, (): ()| {
        Ok((Datetime::new(time(&context, Call::Now { clock: Clock::Wall })?),))
    })?;
    wall.func_wrap("resolution", |context: Context, (): ()| {
        Ok((Datetime::new(time(&context, Call::Resolution { clock: Clock::Wall })?),))
    })
}

fn time(context: &Context<'_>, call: Call<'_>) -> wasmtime::Result<Timestamp> {
    match context.data().call(call)? {
        Ok(Reply::Time(time)) => Ok(time),
        Ok(_) => wasmtime::bail!("the clock gave no time"),
        Err(code) => wasmtime::bail!("the clock failed: {code}"),
    }
}

fn clamp(time: Timestamp) -> u64 {
    u64::try_from(time.max(0)).unwrap_or(u64::MAX)
}

fn deadline(mut context: Context<'_>, until: Timestamp) -> wasmtime::Result<Resource<DynPollable>> {
    let host = context.data().host.clone();
    let table = &mut context.data_mut().table;
    let deadline = table.push(Deadline { host, until })?;
    table.subscribe(deadline)
}
