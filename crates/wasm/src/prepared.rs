//! A program ready to be instantiated.

use std::sync::{Arc, Mutex};

use ringfence_isolation::{BuildError, Enforcement, Host, Instance, Level, Prepared};
use ringfence_manifest::Spec;
use tokio::runtime::Handle;
use wasmtime::component::{Component, ComponentExportIndex, InstancePre, Linker};

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

/// The `run` of a command (`wasi:cli/run`), whatever 0.2 version it was built for.
pub(crate) fn run_of(component: &Component) -> Option<ComponentExportIndex> {
    let interface = component.get_export_index(None, "wasi:cli/run@0.2.12")?;
    component.get_export_index(Some(&interface), "run")
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
