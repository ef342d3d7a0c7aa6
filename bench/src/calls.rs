//! What one call through the scoped hal costs over the bare system call, in the same process.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::hint::black_box;
use std::os::fd::AsFd;
use std::sync::Arc;

use ringfence_abi::{Call, Handle, OpenHow, Position, Reply};
use ringfence_isolation::{Host, Level, Spec};
use ringfence_manifest::{
    Bytes, Identity, Isolation, Kind, Limits, PathRule, Permissions, Program, Stdio, StreamIn, StreamOut,
};
use ringfence_runtime::{ScopedHal, Surroundings};

use crate::ratio::{Often, compare};

const OFTEN: Often = Often { rounds: 1001, calls: 500 };

pub(crate) fn run() {
    let root = std::env::temp_dir().join(format!("ringfence-bench-{}", std::process::id()));
    std::fs::create_dir_all(root.join("deep/er/still")).unwrap();
    std::fs::write(root.join("file"), vec![b'x'; 4096]).unwrap();
    std::fs::write(root.join("deep/er/still/file"), "x").unwrap();
    let hal = ScopedHal::new(Arc::new(spec(&root)), Surroundings::default()).unwrap();
    let top = hal.folders()[0].handle;
    let open = |path: &str, write: bool| {
        let how = OpenHow { read: true, write, follow: true, ..OpenHow::default() };
        match hal.call(Call::Open { directory: top, path: path.as_bytes(), how }).now() {
            Ok(Reply::Handle(handle)) => handle,
            other => panic!("{other:?}"),
        }
    };
    let file = open("file", true);
    let bare = File::options().read(true).write(true).open(root.join("file")).unwrap();
    // One buffer for both: how it lies in its page matters to the kernel's copy.
    let buffer = std::cell::RefCell::new(vec![0; 4096]);

    compare(
        "read of 4 KiB",
        OFTEN,
        "pread",
        || {
            black_box(hal.call(Call::Read { file, offset: 0, into: &mut buffer.borrow_mut() }).now().unwrap());
        },
        || {
            black_box(pread(&bare, &mut buffer.borrow_mut()).unwrap());
        },
    );
    compare(
        "rights of a handle",
        OFTEN,
        "getppid",
        || {
            black_box(hal.call(Call::RightsOf { handle: file }).now().unwrap());
        },
        || {
            black_box(rustix::process::getppid());
        },
    );
    let from = vec![b'y'; 4096];
    compare(
        "write of 4 KiB",
        OFTEN,
        "pwrite",
        || {
            black_box(hal.call(Call::Write { file, at: Position::Offset(0), from: &from }).now().unwrap());
        },
        || {
            black_box(pwrite(&bare, &from).unwrap());
        },
    );
    for path in ["file", "deep/er/still/file"] {
        compare(
            &format!("open and close of {path}"),
            OFTEN,
            "open, close",
            || close(&hal, open(path, false)),
            || drop(black_box(File::open(root.join(path)).unwrap())),
        );
    }
    std::fs::remove_dir_all(root).unwrap();
}

// The system calls are functions of their own, as they are in a C library. With the mitigations of
// some processors (AMD's Safe RET for one) the first return after a system call costs as much as a
// quarter of it, and only a system call that is inlined into a loop of nothing else escapes that.
#[inline(never)]
fn pread(file: &File, into: &mut [u8]) -> rustix::io::Result<usize> {
    rustix::io::pread(file.as_fd(), into, 0)
}

#[inline(never)]
fn pwrite(file: &File, from: &[u8]) -> rustix::io::Result<usize> {
    rustix::io::pwrite(file.as_fd(), from, 0)
}

fn close(hal: &ScopedHal, handle: Handle) {
    hal.call(Call::Close { handle }).now().unwrap();
}

fn spec(root: &std::path::Path) -> Spec {
    let mut permissions = Permissions::default();
    permissions.files.read.push(PathRule("/".into()));
    permissions.files.write.push(PathRule("/".into()));
    let limits = Limits {
        io_operations: Some(u64::MAX / 2),
        io_bytes: Some(Bytes(u64::MAX / 2)),
        disk: Some(Bytes(1 << 30)),
        ..Limits::default()
    };
    Spec {
        capsule: Identity { name: "bench".into(), version: None },
        program: Program {
            kind: Kind::Wasm,
            path: "/bench.wasm".into(),
            args: Vec::new(),
            working_directory: "/".into(),
        },
        isolation: Isolation { level: Level::Wasm, require: BTreeSet::new() },
        permissions,
        mounts: Vec::new(),
        environment: BTreeMap::new(),
        limits,
        stdio: Stdio { stdin: StreamIn::Null, stdout: StreamOut::Null, stderr: StreamOut::Null },
        root: Some(root.to_owned()),
        defaults: BTreeSet::new(),
        session: ringfence_manifest::Session::default(),
    }
}
