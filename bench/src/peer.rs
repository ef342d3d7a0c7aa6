//! A bare host: wasmtime and wasmtime-wasi, set up for speed, without permissions or metering.

use wasmtime::component::{Component, InstancePre, Linker, ResourceTable};
use wasmtime::{Config, Engine, InstanceAllocationStrategy, PoolingAllocationConfig, Store};
use wasmtime_wasi::p2::bindings::CommandPre;
use wasmtime_wasi::p2::pipe::MemoryOutputPipe;
use wasmtime_wasi::{WasiCtx, WasiCtxView, WasiView};

/// The program that is started.
pub(crate) const HELLO: &str = include_str!("../../tests/programs/hello.wat");

/// A small component whose instances stay: one page of memory, one exported function.
pub(crate) const SMALL: &str = r#"
(component
  (core module $code
    (memory (export "memory") 1)
    (global $sum (mut i32) (i32.const 0))
    (func (export "add") (param i32) (result i32)
      (global.set $sum (i32.add (global.get $sum) (local.get 0)))
      (i32.store (i32.const 1024) (global.get $sum))
      (global.get $sum)))
  (core instance $instance (instantiate $code))
  (func (export "add") (param "amount" s32) (result s32) (canon lift (core func $instance "add"))))
"#;

pub(crate) struct State {
    pub(crate) context: WasiCtx,
    pub(crate) table: ResourceTable,
}

impl WasiView for State {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        WasiCtxView { ctx: &mut self.context, table: &mut self.table }
    }
}

/// An engine with the same allocator that ringfence uses, for at most `instances`.
pub(crate) fn engine(instances: Option<u32>) -> Engine {
    let mut config = Config::new();
    config.wasm_component_model(true).epoch_interruption(true).max_wasm_stack(512 << 10).async_stack_size(1 << 20);
    if let Some(most) = instances {
        let mut pool = PoolingAllocationConfig::new();
        pool.total_component_instances(most)
            .total_core_instances(most.saturating_mul(6))
            .total_memories(most.saturating_mul(2))
            .total_tables(most.saturating_mul(4))
            .total_stacks(most)
            .max_core_instances_per_component(64)
            .max_memories_per_component(16)
            .max_tables_per_component(64)
            .linear_memory_keep_resident(64 << 10)
            .table_keep_resident(4 << 10)
            .async_stack_keep_resident(16 << 10)
            .max_unused_warm_slots(256);
        config.allocation_strategy(InstanceAllocationStrategy::Pooling(pool));
    }
    Engine::new(&config).expect("the engine is set up as ringfence's")
}

fn linked(engine: &Engine, component: &[u8]) -> InstancePre<State> {
    let mut linker = Linker::new(engine);
    wasmtime_wasi::p2::add_to_linker_async(&mut linker).expect("a fresh linker takes WASI");
    let component = Component::new(engine, component).expect("the component is valid");
    linker.instantiate_pre(&component).expect("it imports WASI alone")
}

/// The hello program as a component, by the same adapter that ringfence uses.
pub(crate) fn hello(engine: &Engine) -> CommandPre<State> {
    use wasi_preview1_component_adapter_provider::{
        WASI_SNAPSHOT_PREVIEW1_ADAPTER_NAME, WASI_SNAPSHOT_PREVIEW1_COMMAND_ADAPTER,
    };
    let module = wat::parse_str(HELLO).expect("it is valid");
    let component = wit_component::ComponentEncoder::default()
        .module(&module)
        .and_then(|it| it.adapter(WASI_SNAPSHOT_PREVIEW1_ADAPTER_NAME, WASI_SNAPSHOT_PREVIEW1_COMMAND_ADAPTER))
        .and_then(|mut it| it.encode())
        .expect("it adapts");
    CommandPre::new(linked(engine, &component)).expect("it is a command")
}

pub(crate) fn small(engine: &Engine) -> InstancePre<State> {
    linked(engine, SMALL.as_bytes())
}

fn store(engine: &Engine, context: WasiCtx) -> Store<State> {
    let mut store = Store::new(engine, State { context, table: ResourceTable::new() });
    store.epoch_deadline_async_yield_and_update(1);
    store.set_epoch_deadline(1);
    store
}

/// One run of a component: a store, an instance, a call, the output.
pub(crate) async fn run_component(engine: &Engine, hello: &CommandPre<State>) -> usize {
    let output = MemoryOutputPipe::new(1 << 16);
    let mut store = store(engine, WasiCtx::builder().stdout(output.clone()).build());
    let command = hello.instantiate_async(&mut store).await.expect("it instantiates");
    // proc_exit(0) arrives as an error that carries the status.
    let _ = command.wasi_cli_run().call_run(&mut store).await;
    drop(store);
    output.contents().len()
}

/// The same as a core module, by wasmtime-wasi's own preview 1.
pub(crate) struct Module {
    engine: Engine,
    linked: wasmtime::InstancePre<wasmtime_wasi::p1::WasiP1Ctx>,
}

impl Module {
    pub(crate) fn new(engine: &Engine) -> Self {
        let mut linker = wasmtime::Linker::new(engine);
        wasmtime_wasi::p1::add_to_linker_async(&mut linker, |context| context).expect("a fresh linker takes WASI");
        let module = wasmtime::Module::new(engine, HELLO).expect("it is valid");
        Module { engine: engine.clone(), linked: linker.instantiate_pre(&module).expect("it imports WASI alone") }
    }

    pub(crate) async fn run(&self) -> usize {
        let output = MemoryOutputPipe::new(1 << 16);
        let context = WasiCtx::builder().stdout(output.clone()).build_p1();
        let mut store = Store::new(&self.engine, context);
        store.epoch_deadline_async_yield_and_update(1);
        store.set_epoch_deadline(1);
        let instance = self.linked.instantiate_async(&mut store).await.expect("it instantiates");
        let start = instance.get_typed_func::<(), ()>(&mut store, "_start").expect("it is a command");
        let _ = start.call_async(&mut store, ()).await;
        drop(store);
        output.contents().len()
    }
}

/// A live instance and what it takes to call it.
pub(crate) struct Live {
    store: Store<State>,
    add: wasmtime::component::TypedFunc<(i32,), (i32,)>,
}

impl Live {
    pub(crate) async fn new(engine: &Engine, small: &InstancePre<State>) -> Self {
        let mut store = store(engine, WasiCtx::builder().build());
        let instance = small.instantiate_async(&mut store).await.expect("it instantiates");
        let add = instance.get_typed_func(&mut store, "add").expect("it is exported");
        Live { store, add }
    }

    pub(crate) async fn add(&mut self, amount: i32) -> i32 {
        self.add.call_async(&mut self.store, (amount,)).await.expect("it adds").0
    }
}
