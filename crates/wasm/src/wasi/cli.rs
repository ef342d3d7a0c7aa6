//! `wasi:cli`: environment, exit, the standard streams and whether they are terminals.

use ringfence_abi::{Call, Handle, Reply};
use wasmtime::component::{Linker, Resource, ResourceType};
use wasmtime_wasi_io::streams::{DynInputStream, DynOutputStream};

use super::name;
use super::streams::{StreamReader, StreamWriter};
use crate::state::{Context, Owned, State};
use crate::trap::ExitCall;

/// A terminal; it says no more than that there is one.
struct TerminalInput;
struct TerminalOutput;

pub(super) fn add(linker: &mut Linker<State>) -> wasmtime::Result<()> {
    environment(linker)?;
    let mut exit = linker.instance(&name("cli/exit"))?;
    exit.func_wrap("exit", |_: Context, (status,): (Result<(), ()>,)| -> wasmtime::Result<()> {
        Err(ExitCall(i32::from(status.is_err())).into())
    })?;
    exit.func_wrap("exit-with-code", |_: Context, (status,): (u8,)| -> wasmtime::Result<()> {
        Err(ExitCall(i32::from(status)).into())
    })?;

    linker.instance(&name("cli/stdin"))?.func_wrap("get-stdin", |mut context: Context, (): ()| {
        let stream = Owned::borrowed(&context.data().host, Handle::STDIN);
        let reader: DynInputStream = Box::new(StreamReader::new(stream));
        Ok((context.data_mut().table.push(reader)?,))
    })?;
    for (stream, handle) in [("stdout", Handle::STDOUT), ("stderr", Handle::STDERR)] {
        linker.instance(&name(&format!("cli/{stream}")))?.func_wrap(
            &format!("get-{stream}"),
            move |mut context: Context, (): ()| {
                let stream = Owned::borrowed(&context.data().host, handle);
                let writer: DynOutputStream = Box::new(StreamWriter::new(stream, &context.data().memory));
                Ok((context.data_mut().table.push(writer)?,))
            },
        )?;
    }
    terminals(linker)
}

fn environment(linker: &mut Linker<State>) -> wasmtime::Result<()> {
    let mut environment = linker.instance(&name("cli/environment"))?;
    environment.func_wrap("get-environment", |context: Context, (): ()| {
        Ok((match context.data().call(Call::Environment)? {
            Ok(Reply::Pairs(pairs)) => pairs,
            _ => Vec::new(),
        },))
    })?;
    environment.func_wrap("get-arguments", |context: Context, (): ()| {
        Ok((match context.data().call(Call::Arguments)? {
            Ok(Reply::Texts(texts)) => texts,
            _ => Vec::new(),
        },))
    })?;
    environment
        .func_wrap("initial-cwd", |context: Context, (): ()| Ok((Some(context.data().working_directory.to_string()),)))
}

fn terminals(linker: &mut Linker<State>) -> wasmtime::Result<()> {
    linker.instance(&name("cli/terminal-input"))?.resource(
        "terminal-input",
        ResourceType::host::<TerminalInput>(),
        |mut context, rep| {
            context.data_mut().table.delete(Resource::<TerminalInput>::new_own(rep))?;
            Ok(())
        },
    )?;
    linker.instance(&name("cli/terminal-output"))?.resource(
        "terminal-output",
        ResourceType::host::<TerminalOutput>(),
        |mut context, rep| {
            context.data_mut().table.delete(Resource::<TerminalOutput>::new_own(rep))?;
            Ok(())
        },
    )?;
    linker.instance(&name("cli/terminal-stdin"))?.func_wrap("get-terminal-stdin", |mut context: Context, (): ()| {
        Ok((match is_terminal(&context, Handle::STDIN)? {
            true => Some(context.data_mut().table.push(TerminalInput)?),
            false => None,
        },))
    })?;
    for (stream, handle) in [("stdout", Handle::STDOUT), ("stderr", Handle::STDERR)] {
        linker.instance(&name(&format!("cli/terminal-{stream}")))?.func_wrap(
            &format!("get-terminal-{stream}"),
            move |mut context: Context, (): ()| {
                Ok((match is_terminal(&context, handle)? {
                    true => Some(context.data_mut().table.push(TerminalOutput)?),
                    false => None,
                },))
            },
        )?;
    }
    Ok(())
}

fn is_terminal(context: &Context<'_>, handle: Handle) -> wasmtime::Result<bool> {
    Ok(matches!(context.data().call(Call::IsTerminal { handle })?, Ok(Reply::Flag(true))))
}
