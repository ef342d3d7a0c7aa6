//! A program ready to be instantiated.

use std::sync::{Arc, Mutex};

use ringfence_isolation::{BuildError, Enforcement, Host, Instance, Level, Prepared};
use ringfence_manifest::Spec;
use tokio::runtime::Handle;
use wasmtime::component::types::{ComponentFunc, ComponentItem};
use wasmtime::component::{Component, ComponentExportIndex, InstancePre, Linker, Type};

use crate::backend::Shared;
use crate::control::Control;
use crate::functions;
use crate::instance::{Parts, WasmInstance};
use crate::memory::Memory;
use crate::state::State;

/// A compiled program with the spec it was compiled for.
pub(crate) struct Ready {
    pub(crate) shared: Arc<Shared>,
    pub(crate) executor: Handle,
    pub(crate) spec: Spec,
    pub(crate) component: Component,
    /// The `run` of a command.
    pub(crate) run: Option<ComponentExportIndex>,
    pub(crate) promised: Enforcement,
    /// The last linked form, with the embedder's functions it was linked against.
    pub(crate) linked: Mutex<Option<(Vec<String>, InstancePre<State>)>>,
}

impl Prepared for Ready {
    fn promised(&self) -> &Enforcement {
        &self.promised
    }

    fn is_command(&self) -> bool {
        self.run.is_some()
    }

    fn build(&self, host: Arc<dyn Host>) -> Result<Box<dyn Instance>, BuildError> {
        let linked = self.link(host.functions())?;
        let control = Arc::new(Control::new());
        let memory = Memory::new(host.clone(), control.clone());
        let state = State::new(host.clone(), memory, self.spec.program.working_directory.as_str().into());
        let limits = &self.spec.limits;
        let parts = Parts {
            shared: self.shared.clone(),
            linked,
            state,
            run: self.run,
            fuel: limits.fuel,
            memory_limit: limits.memory.map(|bytes| bytes.0),
        };
        Ok(Box::new(WasmInstance::new(self.executor.clone(), host, control, parts, self.promised.clone())))
    }
}

/// The `run` of a command (`wasi:cli/run`), whatever 0.2 version it was built for; `None` for a library.
///
/// # Errors
/// What is wrong with it, when it is not what a command exports by that name.
pub(crate) fn run_of(component: &Component) -> Result<Option<ComponentExportIndex>, &'static str> {
    let Some(interface) = component.get_export_index(None, "wasi:cli/run@0.2.12") else { return Ok(None) };
    match component.get_export(Some(&interface), "run") {
        Some((ComponentItem::ComponentFunc(run), index)) if is_run(&run) => Ok(Some(index)),
        _ => Err("its wasi:cli/run has no function `run: func() -> result`"),
    }
}

fn is_run(function: &ComponentFunc) -> bool {
    let mut results = function.results();
    let only = (results.next(), results.next());
    let nothing =
        matches!(&only, (Some(Type::Result(result)), None) if result.ok().is_none() && result.err().is_none());
    function.params().len() == 0 && nothing && !function.async_()
}

impl Ready {
    fn link(&self, functions: &[String]) -> Result<InstancePre<State>, BuildError> {
        let mut last = self.linked.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if let Some((known, linked)) = &*last
            && known == functions
        {
            return Ok(linked.clone());
        }
        let linked = self.link_anew(functions).map_err(|error| BuildError::Program {
            path: self.spec.program.path.clone(),
            level: Level::Wasm,
            reason: format!("{error:#}"),
        })?;
        *last = Some((functions.to_vec(), linked.clone()));
        Ok(linked)
    }

    fn link_anew(&self, functions: &[String]) -> wasmtime::Result<InstancePre<State>> {
        let linker: &Linker<State> = &self.shared.linker;
        if functions.is_empty() {
            return linker.instantiate_pre(&self.component);
        }
        let mut linker = linker.clone();
        functions::add(&mut linker, functions)?;
        linker.instantiate_pre(&self.component)
    }
}

#[cfg(test)]
mod tests {
    use wit_component::{StringEncoding, metadata};
    use wit_parser::Resolve;

    use super::*;
    use crate::engine::{Flavour, build};
    use crate::program;

    /// A component that exports `wasi:cli/run` with this in it.
    fn exporting(function: &str) -> Component {
        let mut resolve = Resolve::default();
        let world = format!("package wasi:cli@0.2.3; interface run {{ {function} }} world command {{ export run; }}");
        let package = resolve.push_str("run.wit", &world).unwrap();
        let world = resolve.select_world(&[package], Some("command")).unwrap();
        let types = metadata::encode(&resolve, world, StringEncoding::UTF8, None).unwrap();
        let name = function.split(':').next().unwrap();
        let text = format!(
            r#"(module (memory (export "memory") 1) (func (export "wasi:cli/run@0.2.3#{name}") (result i32) i32.const 0))"#
        );
        let mut module = wat::parse_str(text).unwrap();
        let custom = wasm_encoder::CustomSection { name: "component-type".into(), data: types.into() };
        module.push(0);
        wasm_encoder::Encode::encode(&custom, &mut module);
        let engine = build(Flavour::Plain, None).unwrap();
        Component::new(&engine, program::component(&module).unwrap()).unwrap()
    }

    #[test]
    fn a_command_has_a_run_of_the_right_type() {
        assert!(matches!(run_of(&exporting("run: func() -> result;")), Ok(Some(_))));
        for wrong in ["run: func() -> u32;", "run: func() -> result<u32>;", "walk: func() -> result;"] {
            assert!(run_of(&exporting(wrong)).is_err(), "{wrong}");
        }
    }
}
