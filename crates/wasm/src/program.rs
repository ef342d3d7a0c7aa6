//! From a program's file to the bytes of a component.

use std::borrow::Cow;

use wasm_encoder::reencode::{self, Reencode};
use wasmparser::{Encoding, Parser, Payload};
use wit_component::{ComponentEncoder, StringEncoding, metadata};
use wit_parser::Resolve;

/// The import namespace of WASI preview 1.
const PREVIEW1: &str = "wasi_snapshot_preview1";

/// What `proc_exit` becomes. WASI 0.2's stable `exit` knows success and failure only, and the
/// adapter maps every status but 0 to 1; this keeps all of it.
const EXIT: &str = "ringfence:program/exit";
const EXIT_WORLD: &str = "
    package ringfence:program;
    interface exit { exit: func(status: u32); }
    world program { import exit; }
";

/// Which way of making components of modules this is. Compiled code of another way is not used, so it
/// rises with every change of what [`component`] gives.
pub(crate) const EDITION: u32 = 2;

/// Why a program cannot be made into a component.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub(crate) enum ProgramError {
    /// It is neither binary nor text.
    #[error("it is not WebAssembly: {0}")]
    NotWasm(String),
    /// It is compiled code of another tool.
    #[error("it is native code precompiled by another tool, which cannot be verified; run the .wasm it was made from")]
    Precompiled,
    /// It was made for a WASI that is no longer in use.
    #[error("it imports {0}, an early draft of WASI; rebuild it for wasm32-wasip1 or wasm32-wasip2")]
    OldWasi(String),
    /// It breaks the rules for programs of WASI preview 1.
    #[error("it exports `_start` and no memory named `memory`, which WASI preview 1 asks of a program")]
    NoMemory,
    /// It imports what neither WASI preview 1 nor its own interface types describe.
    #[error("{0}")]
    NotAdaptable(String),
}

/// The component in `bytes`, made from a core module where needed. Text (WAT) is accepted.
pub(crate) fn component(bytes: &[u8]) -> Result<Cow<'_, [u8]>, ProgramError> {
    if bytes.starts_with(b"\x7fELF") {
        return Err(ProgramError::Precompiled);
    }
    let binary = wat::parse_bytes(bytes).map_err(|error| ProgramError::NotWasm(error.to_string()))?;
    match encoding(&binary)? {
        Encoding::Component => Ok(binary),
        Encoding::Module => adapt(&binary).map(Cow::Owned),
    }
}

/// Whether it is a core module or a component: the first thing in the file.
fn encoding(binary: &[u8]) -> Result<Encoding, ProgramError> {
    match Parser::new(0).parse_all(binary).next() {
        Some(Ok(Payload::Version { encoding, .. })) => Ok(encoding),
        Some(Err(error)) => Err(ProgramError::NotWasm(error.to_string())),
        _ => Err(ProgramError::NotWasm("it is empty".into())),
    }
}

/// What matters about a core module for adapting it.
#[derive(Default)]
struct Shape {
    exports_start: bool,
    exports_memory: bool,
    imports_preview1: bool,
    imports_exit: bool,
}

fn adapt(module: &[u8]) -> Result<Vec<u8>, ProgramError> {
    wasmparser::Validator::new_with_features(wasmparser::WasmFeatures::all())
        .validate_all(module)
        .map_err(|error| ProgramError::NotWasm(error.to_string()))?;
    let shape = shape(module)?;
    if shape.exports_start && !shape.exports_memory {
        return Err(ProgramError::NoMemory);
    }
    let renamed = if shape.imports_exit { with_whole_exit(module)? } else { module.to_vec() };
    let encode = || -> Result<Vec<u8>, Box<dyn std::error::Error + Send + Sync>> {
        let mut encoder = ComponentEncoder::default().module(&renamed)?.validate(false);
        // A `_start` needs the adapter even without imports: it is what exports `wasi:cli/run`.
        if shape.imports_preview1 || shape.exports_start {
            use wasi_preview1_component_adapter_provider as adapters;
            let adapter = if shape.exports_start {
                adapters::WASI_SNAPSHOT_PREVIEW1_COMMAND_ADAPTER
            } else {
                adapters::WASI_SNAPSHOT_PREVIEW1_REACTOR_ADAPTER
            };
            encoder = encoder.adapter(PREVIEW1, adapter)?;
        }
        Ok(encoder.encode()?)
    };
    encode().map_err(|error| ProgramError::NotAdaptable(chain(&*error)))
}

fn shape(module: &[u8]) -> Result<Shape, ProgramError> {
    let not_wasm = |error: wasmparser::BinaryReaderError| ProgramError::NotWasm(error.to_string());
    let mut shape = Shape::default();
    for payload in Parser::new(0).parse_all(module) {
        match payload.map_err(not_wasm)? {
            Payload::ImportSection(section) => {
                for import in section.into_imports() {
                    let import = import.map_err(not_wasm)?;
                    if import.module == PREVIEW1 {
                        shape.imports_preview1 = true;
                        shape.imports_exit |= import.name == "proc_exit";
                    } else if matches!(import.module, "wasi_unstable" | "wasi_snapshot_preview0") {
                        return Err(ProgramError::OldWasi(import.module.into()));
                    }
                }
            }
            Payload::ExportSection(section) => {
                for export in section {
                    let name = export.map_err(not_wasm)?.name;
                    shape.exports_start |= name == "_start";
                    shape.exports_memory |= name == "memory";
                }
            }
            _ => {}
        }
    }
    Ok(shape)
}

/// The module with `proc_exit` imported from [`EXIT`] and the type of that interface embedded.
fn with_whole_exit(module: &[u8]) -> Result<Vec<u8>, ProgramError> {
    struct Rename;
    impl Reencode for Rename {
        type Error = std::convert::Infallible;
        fn parse_import_section(
            &mut self,
            imports: &mut wasm_encoder::ImportSection,
            section: wasmparser::ImportSectionReader<'_>,
        ) -> Result<(), reencode::Error<Self::Error>> {
            for import in section.into_imports() {
                let import = import?;
                let (from, name) = match (import.module, import.name) {
                    (PREVIEW1, "proc_exit") => (EXIT, "exit"),
                    other => other,
                };
                imports.import(from, name, self.entity_type(import.ty)?);
            }
            Ok(())
        }
    }
    let failed = |error: &dyn std::fmt::Display| ProgramError::NotAdaptable(error.to_string());
    let mut renamed = wasm_encoder::Module::new();
    Rename.parse_core_module(&mut renamed, Parser::new(0), module).map_err(|error| failed(&error))?;
    let mut resolve = Resolve::default();
    let package = resolve.push_str("exit.wit", EXIT_WORLD).map_err(|error| failed(&error))?;
    let world = resolve.select_world(&[package], Some("program")).map_err(|error| failed(&error))?;
    let metadata = metadata::encode(&resolve, world, StringEncoding::UTF8, None).map_err(|error| failed(&error))?;
    renamed.section(&wasm_encoder::CustomSection { name: "component-type:ringfence".into(), data: metadata.into() });
    Ok(renamed.finish())
}

fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        text.push_str(": ");
        text.push_str(&error.to_string());
        source = error.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_core_module_becomes_a_component() {
        let text = br#"(module
            (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
            (memory (export "memory") 1)
            (func (export "_start") (call $exit (i32.const 7))))"#;
        let bytes = component(text).unwrap();
        assert_eq!(encoding(&bytes).unwrap(), Encoding::Component);
        let named = bytes.windows(EXIT.len()).any(|window| window == EXIT.as_bytes());
        assert!(named, "the whole exit status has to pass through {EXIT}");
    }

    #[test]
    fn a_start_function_without_imports_is_run() {
        let bytes = component(br#"(module (memory (export "memory") 1) (func (export "_start")))"#).unwrap();
        let named = bytes.windows(12).any(|window| window == b"wasi:cli/run");
        assert!(named, "it has to be a command");
    }

    #[test]
    fn text_that_is_not_wasm_is_refused_with_a_position() {
        let error = component(b"(module\n  (fnc))").unwrap_err().to_string();
        assert!(error.contains(":2:"), "{error}");
    }

    #[test]
    fn an_unknown_import_is_named() {
        let text = br#"(module (import "env" "magic" (func)) (memory (export "memory") 1) (func (export "_start")))"#;
        let error = component(text).unwrap_err();
        assert!(error.to_string().contains("env"), "{error}");
    }

    #[test]
    fn a_program_without_a_memory_is_refused_with_the_rule_it_breaks() {
        let error = component(br#"(module (func (export "_start")))"#).unwrap_err();
        assert!(matches!(error, ProgramError::NoMemory), "{error}");
    }

    #[test]
    fn compiled_code_of_another_tool_is_refused() {
        assert!(matches!(component(b"\x7fELF\x02\x01"), Err(ProgramError::Precompiled)));
    }

    #[test]
    fn an_early_draft_of_wasi_is_refused_by_name() {
        let error = component(br#"(module (import "wasi_unstable" "fd_write" (func)))"#).unwrap_err();
        assert!(matches!(error, ProgramError::OldWasi(_)), "{error}");
    }
}
