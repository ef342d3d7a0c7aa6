//! In one process, from a warm runtime: start a WASI hello, take its output, and be rid of it.

use std::hint::black_box;

use ringfence::{Load, Runtime, StreamOut};

use crate::peer::{self, HELLO};
use crate::ratio::{Often, compare};

const OFTEN: Often = Often { rounds: 3000, calls: 1 };
const INSTANCES: u32 = 16;

pub(crate) fn run() {
    let folder = tempfile::tempdir().expect("a folder for temporary files");
    let program = folder.path().join("hello.wasm");
    std::fs::write(&program, wat::parse_str(HELLO).expect("it is valid")).expect("it can be written");
    let tokio = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a Tokio runtime");
    let runtime = Runtime::builder()
        .executor(tokio.handle().clone())
        .data_home(folder.path())
        .without_cache()
        .instances(INSTANCES)
        .build()
        .expect("a runtime");
    let load = |limits: &[&str]| {
        let load = Load::path(&program).expect("it is there").stdout(StreamOut::Capture);
        let load = limits.iter().fold(load, |load, limit| load.limit(*limit));
        runtime.load_with(load).expect("it loads")
    };
    let (plain, limited) = (load(&[]), load(&["memory=64MiB", "wall_time=10s", "cpu_time=5s", "io_operations=1000"]));
    let mine = |capsule: &ringfence::Capsule| {
        let report = tokio.block_on(capsule.run()).expect("it starts");
        assert!(matches!(report.exit, ringfence::Exit::Returned(0)), "{}", report.exit);
        black_box(report);
    };
    let engine = peer::engine(Some(INSTANCES));
    let (component, module) = (peer::hello(&engine), peer::Module::new(&engine));
    let their_component = || assert_eq!(tokio.block_on(peer::run_component(&engine, &component)), 6);
    let their_module = || assert_eq!(tokio.block_on(module.run()), 6);
    compare("hello", OFTEN, "wasmtime-wasi, as a component", || mine(&plain), their_component);
    compare("hello with four limits", OFTEN, "wasmtime-wasi, as a component", || mine(&limited), their_component);
    compare("hello", OFTEN, "wasmtime-wasi, as a core module", || mine(&plain), their_module);
}
