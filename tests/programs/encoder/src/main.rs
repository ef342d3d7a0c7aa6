//! `encoder CORE.wasm COMPONENT.wasm [command|reactor|none]`
//!
//! Wraps a core module whose `component-type` section says what it imports and exports. `command`
//! and `reactor` also add the adapter that offers WASI preview 1 on top of preview 2; `none`, the
//! default, leaves the module with exactly the imports of its own world.

use std::{env, error::Error, fs, process::ExitCode};

use wasi_preview1_component_adapter_provider::{
    WASI_SNAPSHOT_PREVIEW1_ADAPTER_NAME, WASI_SNAPSHOT_PREVIEW1_COMMAND_ADAPTER, WASI_SNAPSHOT_PREVIEW1_REACTOR_ADAPTER,
};
use wit_component::ComponentEncoder;

fn main() -> ExitCode {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let outcome = match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        [core, component] => encode(core, component, "none"),
        [core, component, adapter] => encode(core, component, adapter),
        _ => Err("usage: encoder CORE.wasm COMPONENT.wasm [command|reactor|none]".into()),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("encoder: {error:?}");
            ExitCode::FAILURE
        }
    }
}

fn encode(core: &str, component: &str, adapter: &str) -> Result<(), Box<dyn Error>> {
    let adapter = match adapter {
        "command" => Some(WASI_SNAPSHOT_PREVIEW1_COMMAND_ADAPTER),
        "reactor" => Some(WASI_SNAPSHOT_PREVIEW1_REACTOR_ADAPTER),
        "none" => None,
        other => return Err(format!("no adapter is called {other:?}").into()),
    };
    let mut encoder = ComponentEncoder::default().validate(true).module(&fs::read(core)?)?;
    if let Some(adapter) = adapter {
        encoder = encoder.adapter(WASI_SNAPSHOT_PREVIEW1_ADAPTER_NAME, adapter)?;
    }
    fs::write(component, encoder.encode()?)?;
    Ok(())
}
