//! A running program: one task owns its store.

use std::sync::Arc;

use ringfence_abi::Value;
use ringfence_isolation::{
    BoxFuture, CallError, Enforcement, Exit, Host, Instance, Invoke, LostReason, StartError, Stop, Usage,
};
use tokio::runtime::Handle;
use tokio::sync::{mpsc, oneshot};
use wasmtime::component::{ComponentExportIndex, Func, InstancePre, Val};
use wasmtime::{AsContextMut, Store};

use crate::backend::Shared;
use crate::control::{Control, Started};
use crate::metered;
use crate::state::State;
use crate::trap::{classify, ended};
use crate::values;

/// How many calls may wait for an instance.
const WAITING_CALLS: usize = 64;

/// Bounds of what one call copies from the guest to the host; the upper one is the engine's own.
const LEAST_COPIED: usize = 4 << 20;
const MOST_COPIED: usize = 128 << 20;
/// Bounds of how many handles an instance has; the upper one is the engine's own.
const LEAST_HANDLES: usize = 1000;
const MOST_HANDLES: usize = 100_000;
const BYTES_PER_HANDLE: usize = 256;

/// What the task needs to begin.
pub(crate) struct Parts {
    pub(crate) shared: Arc<Shared>,
    pub(crate) linked: InstancePre<State>,
    pub(crate) state: State,
    pub(crate) run: Option<ComponentExportIndex>,
    pub(crate) fuel: Option<u64>,
    pub(crate) memory_limit: Option<u64>,
}

/// A built instance, its task not necessarily started.
pub(crate) struct WasmInstance {
    executor: Handle,
    host: Arc<dyn Host>,
    control: Arc<Control>,
    enforced: Enforcement,
    parts: std::sync::Mutex<Option<(Parts, mpsc::Receiver<Box<Request>>)>>,
    requests: mpsc::Sender<Box<Request>>,
}

/// One call of an exported function.
struct Request {
    function: String,
    arguments: Vec<Value>,
    answer: oneshot::Sender<Result<Vec<Value>, CallError>>,
}

impl WasmInstance {
    pub(crate) fn new(
        executor: Handle,
        host: Arc<dyn Host>,
        control: Arc<Control>,
        parts: Parts,
        enforced: Enforcement,
    ) -> Self {
        let (requests, received) = mpsc::channel(WAITING_CALLS);
        let parts = std::sync::Mutex::new(Some((parts, received)));
        WasmInstance { executor, host, control, enforced, parts, requests }
    }

    fn take_parts(&self) -> Option<(Parts, mpsc::Receiver<Box<Request>>)> {
        self.parts.lock().unwrap_or_else(std::sync::PoisonError::into_inner).take()
    }
}

impl Instance for WasmInstance {
    fn enforced(&self) -> &Enforcement {
        &self.enforced
    }

    fn start(&self) -> Result<(), StartError> {
        let mut started = self.control.started.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        match *started {
            Started::Stopped => return Err(StartError::Stopped),
            Started::Running => return Err(StartError::AlreadyStarted),
            Started::Built => *started = Started::Running,
        }
        let (parts, requests) = self.take_parts().ok_or(StartError::AlreadyStarted)?;
        let task = Task { host: self.host.clone(), control: self.control.clone(), shared: parts.shared.clone() };
        self.executor.spawn(async move {
            let last = LastWord(task.control.clone());
            let exit = task.live(parts, requests).await;
            last.0.end(exit);
        });
        Ok(())
    }

    fn stop(&self, _: Stop) {
        let mut started = self.control.started.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        self.control.stop();
        if *started == Started::Built {
            *started = Started::Stopped;
            drop(self.take_parts());
            self.control.end(Exit::Stopped);
        }
    }

    fn exited(&self) -> BoxFuture<'static, Exit> {
        let mut watch = self.control.watch();
        Box::pin(async move {
            let lost = || Exit::Lost(LostReason::Backend("the instance's task is gone".into()));
            watch.wait_for(Option::is_some).await.map_or_else(|_| lost(), |exit| exit.clone().unwrap_or_else(lost))
        })
    }

    fn usage(&self) -> Usage {
        self.control.usage()
    }

    fn invoke(&self) -> Option<&dyn Invoke> {
        Some(self)
    }
}

impl Drop for WasmInstance {
    fn drop(&mut self) {
        self.stop(Stop::Kill);
    }
}

impl Invoke for WasmInstance {
    fn call(&self, function: &str, arguments: Vec<Value>) -> BoxFuture<'_, Result<Vec<Value>, CallError>> {
        let function = function.to_owned();
        Box::pin(async move {
            let (answer, answered) = oneshot::channel();
            let request = Box::new(Request { function, arguments, answer });
            if self.requests.send(request).await.is_ok()
                && let Ok(result) = answered.await
            {
                return result;
            }
            Err(CallError::Ended(self.exited().await))
        })
    }
}

/// Says that the instance is lost should its task end without a word: by a panic, or with the
/// executor that ran it.
struct LastWord(Arc<Control>);

impl Drop for LastWord {
    fn drop(&mut self) {
        self.0.end(Exit::Lost(LostReason::Backend("the task that ran it ended without a result".into())));
    }
}

/// What the task itself holds.
struct Task {
    host: Arc<dyn Host>,
    control: Arc<Control>,
    shared: Arc<Shared>,
}

impl Task {
    /// The whole life of an instance. Its store, and with it every resource, is gone when this returns.
    async fn live(&self, parts: Parts, requests: mpsc::Receiver<Box<Request>>) -> Exit {
        let mut store = Store::new(parts.linked.engine(), parts.state);
        store.limiter(|state| &mut state.memory);
        bound_copies(&mut store, parts.memory_limit);
        store.epoch_deadline_async_yield_and_update(1);
        store.set_epoch_deadline(1);
        if let Some(fuel) = parts.fuel
            && let Err(error) = store.set_fuel(fuel)
        {
            return Exit::Lost(LostReason::Backend(format!("{error:#}")));
        }
        let exit = self.instantiate_and_serve(&mut store, &parts.linked, parts.run, requests).await;
        if let Some(fuel) = parts.fuel {
            let left = store.get_fuel().unwrap_or(0);
            self.control.set_fuel(fuel.saturating_sub(left));
            if left == 0 && matches!(exit, Exit::Trapped(_)) {
                return Exit::Exceeded(ringfence_isolation::Limit {
                    limit: ringfence_isolation::LimitKind::Fuel,
                    allowed: fuel,
                    used: fuel,
                });
            }
        }
        exit
    }

    async fn instantiate_and_serve(
        &self,
        store: &mut Store<State>,
        linked: &InstancePre<State>,
        run: Option<ComponentExportIndex>,
        requests: mpsc::Receiver<Box<Request>>,
    ) -> Exit {
        let Some(run) = run else {
            return match self.guest(linked.instantiate_async(&mut *store)).await {
                Ok(instance) => self.serve(store, &instance, requests).await,
                Err(exit) => exit,
            };
        };
        // In one piece: each piece of guest code costs two looks at the processor's clock.
        let command = async {
            let instance = linked.instantiate_async(&mut *store).await?;
            let run = instance.get_typed_func::<(), (Result<(), ()>,)>(&mut *store, run)?;
            run.call_async(&mut *store, ()).await
        };
        match self.guest(command).await {
            Ok((Ok(()),)) => Exit::Returned(0),
            Ok((Err(()),)) => Exit::Returned(1),
            Err(exit) => exit,
        }
    }

    /// Serves calls of exported functions until the instance is stopped or one of them traps.
    async fn serve(
        &self,
        store: &mut Store<State>,
        instance: &wasmtime::component::Instance,
        mut requests: mpsc::Receiver<Box<Request>>,
    ) -> Exit {
        loop {
            let request = tokio::select! {
                biased;
                () = self.control.stopped() => None,
                request = requests.recv() => request,
            };
            let Some(request) = request else {
                return ended(self.host.verdict()).unwrap_or(Exit::Stopped);
            };
            let Request { function, arguments, answer } = *request;
            match self.invoke(store, instance, &function, arguments).await {
                Ok(results) => drop(answer.send(results)),
                Err(exit) => {
                    // Whoever waits learns how it ended from the exit itself.
                    drop(answer);
                    return exit;
                }
            }
        }
    }

    async fn invoke(
        &self,
        store: &mut Store<State>,
        instance: &wasmtime::component::Instance,
        name: &str,
        arguments: Vec<Value>,
    ) -> Result<Result<Vec<Value>, CallError>, Exit> {
        let Some(function) = find(store, instance, name) else {
            return Ok(Err(CallError::NoFunction(name.to_owned())));
        };
        let signature = function.ty(&*store);
        let wrong = |reason: String| CallError::Arguments { function: name.to_owned(), reason };
        if signature.params().len() != arguments.len() {
            let reason = format!("{} were given, {} are wanted", arguments.len(), signature.params().len());
            return Ok(Err(wrong(reason)));
        }
        let mut lowered = Vec::with_capacity(arguments.len());
        for (argument, (parameter, wanted)) in arguments.into_iter().zip(signature.params()) {
            match values::lower(argument, &wanted) {
                Ok(value) => lowered.push(value),
                Err(reason) => return Ok(Err(wrong(format!("{parameter}: {reason}")))),
            }
        }
        let mut results = vec![Val::Bool(false); signature.results().len()];
        self.guest(function.call_async(store.as_context_mut(), &lowered, &mut results)).await?;
        let lifted: Result<Vec<_>, _> = results.into_iter().map(values::lift).collect();
        Ok(lifted.map_err(wrong))
    }

    /// Runs guest code; an end of the instance is the error.
    async fn guest<T>(&self, guest: impl Future<Output = wasmtime::Result<T>>) -> Result<T, Exit> {
        match metered::run(guest, &self.host, &self.control, self.shared.ticker.as_ref()).await {
            Ok(Ok(value)) => Ok(value),
            Ok(Err(error)) => Err(classify(&error, self.host.verdict())),
            Err(metered::Ended) => Err(ended(self.host.verdict()).unwrap_or(Exit::Stopped)),
        }
    }
}

/// Bounds what one call may pass from the guest to the host, whatever its arguments overlap, by what
/// the guest itself may hold; and the handles it makes without the host, which cost the engine's
/// tables some bytes each.
fn bound_copies(store: &mut Store<State>, memory_limit: Option<u64>) {
    let Some(limit) = memory_limit.and_then(|limit| usize::try_from(limit).ok()) else { return };
    store.set_hostcall_fuel(limit.clamp(LEAST_COPIED, MOST_COPIED));
    store.set_max_component_handles((limit / BYTES_PER_HANDLE).clamp(LEAST_HANDLES, MOST_HANDLES));
}

/// The exported function of that name: `name`, or `interface#name`.
fn find(store: &mut Store<State>, instance: &wasmtime::component::Instance, name: &str) -> Option<Func> {
    let index = match name.rsplit_once('#') {
        Some((interface, function)) => {
            let interface = instance.get_export_index(&mut *store, None, interface)?;
            instance.get_export_index(&mut *store, Some(&interface), function)?
        }
        None => instance.get_export_index(&mut *store, None, name)?,
    };
    instance.get_func(store, index)
}
