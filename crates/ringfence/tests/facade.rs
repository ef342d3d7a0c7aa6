//! The library as an embedder uses it, with real programs.
#![cfg(feature = "wasm")]

use std::future::pending;
use std::sync::{Arc, Mutex, mpsc};

use ringfence::{
    Builder, CallError, Exit, LimitKind, Load, LoadError, Manifest, Overrides, Runtime, Stop, StreamIn, StreamOut,
};

fn program(name: &str) -> String {
    format!("{}/../../tests/programs/{name}", env!("CARGO_MANIFEST_DIR"))
}

/// A builder whose runtimes keep what they keep in `folder`. Compiled code is kept for all tests.
fn builder(folder: &tempfile::TempDir) -> Builder {
    Runtime::builder().data_home(folder.path()).cache(concat!(env!("CARGO_TARGET_TMPDIR"), "/cache"))
}

/// Offers what the greeter imports; what it records is kept.
fn greeting(builder: Builder) -> (Builder, Arc<Mutex<Vec<String>>>) {
    let recorded = Arc::new(Mutex::new(Vec::new()));
    let record = recorded.clone();
    let builder = builder
        .function("acme:greeter/lookup#name-of", |(id,): (u32,)| async move {
            if id == 7 { Ok("Ada".to_owned()) } else { Err(format!("nobody has the number {id}")) }
        })
        .function("acme:greeter/log#record", move |(line,): (String,)| {
            record.lock().unwrap().push(line);
            async {}
        });
    (builder, recorded)
}

#[test]
fn functions_are_called_many_times_on_one_instance_and_call_back() {
    let folder = tempfile::tempdir().unwrap();
    let (builder, recorded) = greeting(builder(&folder));
    let runtime = builder.build().unwrap();
    let instance = runtime.load(program("greeter.wasm")).unwrap().start().unwrap();
    let greet = |id: u32| -> Result<String, String> { instance.call_blocking("greet", (id,)).unwrap() };
    assert!(greet(7).unwrap().contains("Ada"));
    assert!(greet(8).unwrap_err().contains('8'));
    assert!(greet(7).is_ok());
    let count: u32 = instance.call_blocking("count", ()).unwrap();
    assert_eq!(count, 2);
    let sum: i64 = instance.call_blocking("sum", (vec![1i64, -2, 30],)).unwrap();
    assert_eq!(sum, 29);
    assert!(!recorded.lock().unwrap().is_empty());
}

#[test]
fn instances_of_one_capsule_are_independent() {
    let folder = tempfile::tempdir().unwrap();
    let runtime = greeting(builder(&folder)).0.build().unwrap();
    let capsule = runtime.load(program("greeter.wasm")).unwrap();
    let (one, other) = (capsule.start().unwrap(), capsule.start().unwrap());
    let _: Result<String, String> = one.call_blocking("greet", (7u32,)).unwrap();
    let counts: [u32; 2] = [&one, &other].map(|instance| instance.call_blocking("count", ()).unwrap());
    assert_eq!(counts, [1, 0]);
    one.stop(Stop::Kill);
    assert_eq!(one.exited_blocking().exit, Exit::Stopped);
    let count: u32 = other.call_blocking("count", ()).unwrap();
    assert_eq!(count, 0);
}

#[test]
fn a_call_that_does_not_fit_is_an_error_and_the_instance_lives_on() {
    let folder = tempfile::tempdir().unwrap();
    let runtime = greeting(builder(&folder)).0.build().unwrap();
    let instance = runtime.load(program("greeter.wasm")).unwrap().start().unwrap();
    let missing = instance.call_blocking::<_, ()>("no-such-function", ()).unwrap_err();
    assert!(missing.to_string().contains("no-such-function"));
    assert!(matches!(instance.call_blocking::<_, u32>("greet", ("seven",)), Err(CallError::Call(_))));
    assert!(matches!(instance.call_blocking::<_, String>("count", ()), Err(CallError::Returned { .. })));
    assert_eq!(instance.call_blocking::<_, u32>("count", ()).unwrap(), 0);
}

#[test]
fn a_deadline_ends_a_function_of_the_embedder_and_the_caller_learns_the_limit() {
    let folder = tempfile::tempdir().unwrap();
    let builder = greeting(builder(&folder)).0;
    let builder = builder.function("acme:greeter/lookup#name-of", |(_,): (u32,)| pending::<Result<String, String>>());
    let runtime = builder.build().unwrap();
    let load = Load::path(program("greeter.wasm")).unwrap().limit("wall_time=50ms");
    let instance = runtime.load_with(load).unwrap().start().unwrap();
    let ended = instance.call_blocking::<_, Result<String, String>>("greet", (7u32,)).unwrap_err();
    assert!(ended.to_string().contains("wall_time"), "{ended}");
    let report = instance.exited_blocking();
    assert_eq!(report.tripped.unwrap().limit, LimitKind::WallTime);
}

/// Tells when it is dropped.
struct Guard(mpsc::Sender<()>);

impl Drop for Guard {
    fn drop(&mut self) {
        let _ = self.0.send(());
    }
}

#[test]
fn dropping_the_instance_ends_it_in_the_middle_of_a_call() {
    let folder = tempfile::tempdir().unwrap();
    let (entered, enters) = mpsc::channel();
    let (dropped, drops) = mpsc::channel();
    let (entered, dropped) = (Mutex::new(entered), Mutex::new(dropped));
    let builder = greeting(builder(&folder)).0.function("acme:greeter/lookup#name-of", move |(_,): (u32,)| {
        let guard = Guard(dropped.lock().unwrap().clone());
        entered.lock().unwrap().send(()).unwrap();
        async move {
            let _guard = guard;
            pending::<Result<String, String>>().await
        }
    });
    let runtime = builder.build().unwrap();
    let instance = runtime.load(program("greeter.wasm")).unwrap().start().unwrap();
    let calling = std::thread::spawn({
        let runtime = runtime.clone();
        move || {
            // The call is given up when the function has been entered.
            runtime.block_on(async {
                tokio::select! {
                    _ = instance.call::<_, Result<String, String>>("greet", (7u32,)) => panic!("it never returns"),
                    _ = tokio::task::spawn_blocking(move || enters.recv().unwrap()) => {}
                }
            });
            drop(instance);
        }
    });
    calling.join().unwrap();
    drops.recv_timeout(std::time::Duration::from_secs(10)).expect("the call of the killed instance is dropped");
}

#[test]
fn what_a_program_prints_can_be_kept() {
    let folder = tempfile::tempdir().unwrap();
    let runtime = builder(&folder).current_thread().build().unwrap();
    let load = Load::path(program("probe.wasm"))
        .unwrap()
        .args(["stdin", "+", "read", "/etc/passwd"])
        .stdin(StreamIn::Bytes(b"four".to_vec()))
        .stdout(StreamOut::Capture);
    let report = runtime.load_with(load).unwrap().run_blocking().unwrap();
    assert_eq!(report.exit, Exit::Returned(1));
    let stdout = String::from_utf8(report.stdout.unwrap()).unwrap();
    assert!(stdout.contains("ok 4") && stdout.contains("err EACCES"), "{stdout}");
    assert_eq!(report.denials[0].denial.resource, "/etc/passwd");
}

#[tokio::test]
async fn it_runs_on_the_tokio_runtime_of_the_embedder() {
    let folder = tempfile::tempdir().unwrap();
    let denied = Arc::new(Mutex::new(Vec::new()));
    let hear = denied.clone();
    let runtime = builder(&folder)
        .executor(tokio::runtime::Handle::current())
        .on_denial(move |capsule, denial| {
            hear.lock().unwrap().push((capsule.name.clone(), denial.resource.clone()));
        })
        .build()
        .unwrap();
    let load = Load::path(program("probe.wasm")).unwrap().args(["read", "/etc/passwd"]).stdout(StreamOut::Null);
    let report = runtime.load_with(load).unwrap().run().await.unwrap();
    assert_eq!(report.exit, Exit::Returned(1));
    assert_eq!(*denied.lock().unwrap(), [("probe".to_owned(), "/etc/passwd".to_owned())]);
}

#[test]
fn a_manifest_can_be_made_by_a_program() {
    let folder = tempfile::tempdir().unwrap();
    let runtime = builder(&folder).build().unwrap();
    let mut manifest = Manifest::new("made", program("hello.wat"));
    manifest.limits.values.fuel = Some(1_000_000);
    let overrides = Overrides { limit: vec!["memory=1MiB".into()], ..Overrides::default() };
    let capsule = runtime.load_manifest(manifest, overrides).unwrap();
    assert_eq!(capsule.spec().capsule.name, "made");
    assert_eq!(capsule.spec().limits.memory.unwrap().0, 1 << 20);
    let mut spec = capsule.spec().clone();
    spec.stdio.stdout = StreamOut::Capture;
    let report = runtime.prepare(spec).unwrap().run_blocking().unwrap();
    assert_eq!(report.stdout.as_deref(), Some(&b"hello\n"[..]));
    assert!(report.usage.fuel > 0);
}

#[test]
fn the_root_folder_can_be_left_out() {
    // Ends with the error of asking what the first folder is called.
    let text = r#"(module
        (import "wasi_snapshot_preview1" "fd_prestat_get" (func $prestat (param i32 i32) (result i32)))
        (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
        (memory (export "memory") 1)
        (func (export "_start") (call $exit (call $prestat (i32.const 3) (i32.const 0)))))"#;
    let folder = tempfile::tempdir().unwrap();
    let program = folder.path().join("first.wat");
    std::fs::write(&program, text).unwrap();
    let exit = |builder: Builder, mounts: &[&str]| {
        let load = Load::path(&program).unwrap();
        let load = mounts.iter().fold(load, |load, at| load.mount(format!("{}:{at}:ro", folder.path().display())));
        builder.build().unwrap().load_with(load).unwrap().run_blocking().unwrap().exit
    };
    let bad_descriptor = Exit::Returned(8);
    assert_eq!(exit(builder(&folder), &[]), Exit::Returned(0));
    assert_eq!(exit(builder(&folder).without_root_folder(), &[]), bad_descriptor);
    assert_eq!(exit(builder(&folder).without_root_folder(), &["/data"]), Exit::Returned(0));
    assert_eq!(exit(builder(&folder).without_root_folder(), &["/"]), Exit::Returned(0));
}

#[test]
fn what_cannot_be_held_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let runtime = builder(&folder).build().unwrap();
    let load = || Load::path(program("hello.wat")).unwrap().level("wasm").require("own-kernel");
    assert!(matches!(runtime.load_with(load()), Err(LoadError::Build(ringfence::BuildError::Refused(_)))));
    let examined = runtime.examine(&runtime.resolve(&load()).unwrap().spec);
    assert!(examined.promised.is_some() && examined.refused.is_some());
}

#[test]
fn a_runtime_that_is_gone_leaves_a_report() {
    let folder = tempfile::tempdir().unwrap();
    let other = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let runtime = greeting(builder(&folder)).0.executor(other.handle().clone()).build().unwrap();
    let instance = runtime.load(program("greeter.wasm")).unwrap().start().unwrap();
    other.shutdown_background();
    let mine = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let exit = mine.block_on(instance.exited()).exit;
    assert!(matches!(exit, Exit::Lost(_) | Exit::Stopped), "{exit}");
}

/// How a run of a program with a folder of many entries ends, and what it held at most.
fn hoards(name: &str, limits: &[&str]) -> (Exit, u64) {
    let folder = tempfile::tempdir().unwrap();
    let many = folder.path().join("many");
    std::fs::create_dir(&many).unwrap();
    for number in 0..200 {
        std::fs::write(many.join(format!("{number:0>200}")), "").unwrap();
    }
    let runtime = builder(&folder).build().unwrap();
    let mut load = Load::path(program(name)).unwrap().limit("wall_time=60s").stdout(StreamOut::Null);
    load = load.mount(format!("{}:/many:ro", many.display())).allow("fs.list=/many");
    for &limit in limits {
        load = load.limit(limit);
    }
    let report = runtime.load_with(load).unwrap().start().unwrap().exited_blocking();
    (report.exit, report.usage.memory_peak)
}

#[test]
fn what_the_host_keeps_for_a_program_is_memory_of_the_program() {
    for name in ["many-streams.wat", "many-pollables.wat", "many-listings.wat"] {
        let (exit, peak) = hoards(name, &["memory=4MiB", "open_files=100000"]);
        assert!(matches!(exit, Exit::Exceeded(limit) if limit.limit == LimitKind::Memory), "{name}: {exit:?}");
        assert!(peak > 4 << 20, "{name}: {peak}");
    }
}

#[test]
fn an_open_listing_is_an_open_file() {
    let (exit, peak) = hoards("many-listings.wat", &["open_files=4"]);
    assert!(matches!(exit, Exit::Exceeded(limit) if limit.limit == LimitKind::OpenFiles), "{exit:?}");
    assert!(peak < 1 << 20, "{peak}");
}

#[test]
fn a_write_of_more_than_was_permitted_is_a_trap() {
    let (exit, _) = hoards("long-write.wat", &[]);
    assert!(matches!(&exit, Exit::Trapped(trap) if trap.to_string().contains("permitted")), "{exit:?}");
}

#[test]
fn a_cache_that_others_may_write_to_is_not_used_and_told_of() {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::tempdir().unwrap();
    let cache = folder.path().join("wasm");
    std::fs::create_dir(&cache).unwrap();
    std::fs::set_permissions(&cache, std::fs::Permissions::from_mode(0o777)).unwrap();
    let told = Arc::new(Mutex::new(Vec::new()));
    let hear = told.clone();
    let builder = Runtime::builder().data_home(folder.path()).cache(folder.path());
    let builder = builder.on_progress(move |progress| {
        if let ringfence::Progress::NoCache { reason, .. } = progress {
            hear.lock().unwrap().push(reason.to_owned());
        }
    });
    let runtime = builder.build().unwrap();
    for _ in 0..2 {
        runtime.load(program("hello.wat")).unwrap();
    }
    let told = told.lock().unwrap();
    assert!(matches!(&told[..], [reason] if reason.contains("can be written by")), "{told:?}");
}

#[cfg(all(feature = "sandbox", target_os = "linux"))]
#[test]
fn further_commands_run_in_the_place_of_an_instance() {
    use ringfence::{Exit, Level, Stop};

    let runtime = Runtime::builder().build().unwrap();
    let sandbox = runtime.backends().iter().find(|backend| backend.level() == Level::Sandbox).unwrap();
    if let Some(missing) = sandbox.probe().iter().find(|fact| !fact.usable) {
        return eprintln!("skipped: {missing:?}");
    }
    let load = Load::path("/bin/sh").unwrap().args(["-c", "sleep 1000"]).stdout(StreamOut::Capture);
    let instance = runtime.load_with(load).unwrap().start().unwrap();
    runtime.block_on(async {
        assert_eq!(instance.exec(["sh", "-c", "echo said; exit 3"]).await, Ok(Exit::Returned(3)));
        instance.pause().await.unwrap();
        instance.resume().await.unwrap();
        assert_eq!(instance.exec(["true"]).await, Ok(Exit::Returned(0)));
    });
    instance.stop(Stop::Kill);
    let report = instance.exited_blocking();
    assert_eq!((report.exit, report.stdout), (Exit::Stopped, Some(b"said\n".to_vec())));
    assert!(runtime.block_on(instance.exec(["true"])).is_err());
}

#[cfg(all(feature = "microvm", target_os = "linux", target_arch = "x86_64"))]
#[test]
fn an_instance_is_captured_and_goes_on_from_memory_and_from_a_file() {
    use ringfence::manifest::Point;
    use ringfence::{Exit, InstanceError, Level, SnapshotError};

    let folder = tempfile::tempdir().unwrap();
    let runtime = Runtime::builder().data_home(folder.path()).build().unwrap();
    let backend = runtime.backends().iter().find(|backend| backend.level() == Level::MicroVm).unwrap();
    if let Some(missing) = backend.probe().iter().find(|fact| !fact.usable) {
        return eprintln!("skipped: {missing:?}");
    }
    let load = || Load::path("/bin/sh").unwrap().level("microvm").args(["-c", "read word; echo got $word"]);
    let load = |input: &str| load().stdout(StreamOut::Capture).stdin(ringfence::StreamIn::Bytes(input.into()));
    let capsule = runtime.load_with(load("one").capture_at(Some(Point::Start))).unwrap();
    assert!(capsule.save(folder.path().join("nothing")).is_err() && !folder.path().join("nothing").exists());
    let instance = capsule.start().unwrap();
    let captured = runtime.block_on(instance.snapshot()).unwrap();
    // The captured one goes on, and so does what comes of it.
    for report in [instance.exited_blocking(), captured.run_blocking().unwrap(), captured.run_blocking().unwrap()] {
        assert_eq!((report.exit, report.stdout.as_deref()), (Exit::Returned(0), Some(&b"got one\n"[..])));
    }
    let ended = runtime.block_on(instance.snapshot()).err();
    assert!(matches!(ended, Some(SnapshotError::Call(InstanceError::Ended(Exit::Returned(0))))), "{ended:?}");
    let file = folder.path().join("captured");
    captured.save(&file).unwrap();
    let restored = runtime.restore(runtime.resolve(&load("two")).unwrap(), &file).unwrap();
    assert_eq!(restored.run_blocking().unwrap().stdout.as_deref(), Some(&b"got two\n"[..]));
    let elsewhere = runtime.resolve(&load("two").level("sandbox")).unwrap();
    assert!(runtime.restore(elsewhere, &file).is_err());
}
