//! `wasi:random`.

use ringfence_abi::{Call, ErrorCode};
use wasmtime::component::Linker;

use super::name;
use super::streams::CHUNK;
use crate::memory::Kept;
use crate::state::{Context, State};

/// The most random bytes one call may ask for: what the host allocates at once for a capsule.
const MOST: u64 = 16 << 20;

pub(super) fn add(linker: &mut Linker<State>) -> wasmtime::Result<()> {
    let mut random = linker.instance(&name("random/random"))?;
    random.func_wrap("get-random-bytes", |context: Context, (length,): (u64,)| Ok((bytes(&context, length)?,)))?;
    random.func_wrap("get-random-u64", |context: Context, (): ()| Ok((word(&context)?,)))?;

    // The "insecure" interface asks for less than the same source gives.
    let mut insecure = linker.instance(&name("random/insecure"))?;
    insecure.func_wrap("get-insecure-random-bytes", |context: Context, (length,): (u64,)| {
        Ok((bytes(&context, length)?,))
    })?;
    insecure.func_wrap("get-insecure-random-u64", |context: Context, (): ()| Ok((word(&context)?,)))?;

    let mut seed = linker.instance(&name("random/insecure-seed"))?;
    seed.func_wrap("insecure-seed", |context: Context, (): ()| Ok(((word(&context)?, word(&context)?),)))
}

fn bytes(context: &Context<'_>, length: u64) -> wasmtime::Result<Vec<u8>> {
    let length = match usize::try_from(length) {
        Ok(fits) if length <= MOST => fits,
        _ => wasmtime::bail!("{length} random bytes at once are more than {MOST}"),
    };
    // A few are on their way for a moment; many are the guest's wish to hold them twice.
    let _kept = match length > CHUNK {
        true => Some(Kept::bytes(&context.data().memory, length as u64)?),
        false => None,
    };
    let mut bytes = vec![0; length];
    fill(context, &mut bytes)?;
    Ok(bytes)
}

fn word(context: &Context<'_>) -> wasmtime::Result<u64> {
    let mut bytes = [0; 8];
    fill(context, &mut bytes)?;
    Ok(u64::from_le_bytes(bytes))
}

fn fill(context: &Context<'_>, into: &mut [u8]) -> wasmtime::Result<()> {
    let filled: Result<_, ErrorCode> = context.data().call(Call::Random { into })?;
    filled.map(|_| ()).map_err(|code| wasmtime::format_err!("no random bytes: {code}"))
}
