//! Compiled code on disk that was tampered with.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use ringfence::{Exit, Load, Progress, Runtime, StreamOut};
use rustix::fs::{CWD, FileType, mknodat};

/// The head of an entry: what says that it is one, and its hash.
const MAGIC: &[u8] = b"ringfence-code-1";
const HEAD: usize = MAGIC.len() + 32;

/// Two programs, each of which prints its name, and a cache that has the code of both.
struct Lab {
    place: tempfile::TempDir,
    entries: [PathBuf; 2],
}

impl Lab {
    fn new() -> Self {
        let place = tempfile::tempdir().unwrap();
        let mut lab = Lab { place, entries: Default::default() };
        for (number, name) in ["one", "two"].into_iter().enumerate() {
            let text = format!(
                r#"(module
                    (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
                    (memory (export "memory") 1)
                    (data (i32.const 0) "\10\00\00\00\03\00\00\00") (data (i32.const 16) "{name}")
                    (func (export "_start") (drop (call $write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 32)))))"#
            );
            fs::write(lab.path(&format!("{name}.wat")), text).unwrap();
            assert_eq!(lab.run(name), (name.to_owned(), 1), "it is compiled");
            assert_eq!(lab.run(name), (name.to_owned(), 0), "it was compiled");
            let made = lab.listed().into_iter().find(|entry| !lab.entries.contains(entry));
            lab.entries[number] = made.expect("an entry was made");
        }
        lab
    }

    fn path(&self, name: &str) -> PathBuf {
        self.place.path().join(name)
    }

    fn folder(&self) -> PathBuf {
        self.path("cache/wasm")
    }

    fn listed(&self) -> Vec<PathBuf> {
        let paths = fs::read_dir(self.folder()).unwrap().map(|entry| entry.unwrap().path());
        paths.filter(|path| path.file_name().unwrap().len() == 64).collect()
    }

    /// What a program prints in a new runtime, and how often something was compiled for it.
    fn run(&self, name: &str) -> (String, usize) {
        let compiled = Arc::new(AtomicUsize::new(0));
        let count = compiled.clone();
        let runtime = Runtime::builder()
            .current_thread()
            .data_home(self.path("data"))
            .cache(self.path("cache"))
            .on_progress(move |progress| {
                count.fetch_add(usize::from(progress == Progress::Compiled), Ordering::Relaxed);
            })
            .build()
            .unwrap();
        let load = Load::path(self.path(&format!("{name}.wat"))).unwrap().stdout(StreamOut::Capture);
        let report = runtime.load_with(load).unwrap().run_blocking().unwrap();
        assert_eq!(report.exit, Exit::Returned(0));
        (String::from_utf8(report.stdout.unwrap()).unwrap(), compiled.load(Ordering::Relaxed))
    }

    /// `tamper` does something to the entry of one of them; it runs from its own code all the same.
    #[track_caller]
    fn is_noticed(&self, what: &str, tamper: impl FnOnce(&Path, &Path)) {
        let [one, two] = &self.entries;
        tamper(one, two);
        assert_eq!(self.run("one"), ("one".to_owned(), 1), "{what}");
        assert_eq!(self.run("one"), ("one".to_owned(), 0), "{what}: the entry was not made anew");
        assert_eq!(self.run("two"), ("two".to_owned(), 0), "{what}: it was done to the other entry");
    }

    /// The code of the second in an entry for the first, with a hash of the key that lies in the cache.
    fn forge(&self) {
        let [one, two] = &self.entries;
        let key: [u8; 32] = fs::read(self.folder().join("key")).unwrap().try_into().unwrap();
        let code = fs::read(two).unwrap().split_off(HEAD);
        let name = one.file_name().unwrap().to_str().unwrap();
        let hash = *blake3::Hasher::new_keyed(&key).update(name.as_bytes()).update(&code).finalize().as_bytes();
        fs::write(one, [MAGIC, &hash, &code].concat()).unwrap();
    }

    fn open_to_others(&self, mode: u32) {
        fs::set_permissions(self.folder(), fs::Permissions::from_mode(mode)).unwrap();
    }
}

#[test]
fn altered_entries_are_compiled_anew() {
    let lab = Lab::new();
    let length = usize::try_from(fs::metadata(&lab.entries[0]).unwrap().len()).unwrap();
    for position in [0, MAGIC.len(), HEAD - 1, HEAD, HEAD + 100, length / 2, length - 1] {
        lab.is_noticed(&format!("byte {position} flipped"), |one, _| {
            let mut entry = fs::read(one).unwrap();
            entry[position] ^= 0x80;
            fs::write(one, entry).unwrap();
        });
    }
    for left in [0, MAGIC.len(), HEAD - 1, HEAD, length / 2, length - 1] {
        lab.is_noticed(&format!("cut to {left}"), |one, _| {
            fs::File::options().write(true).open(one).unwrap().set_len(left as u64).unwrap();
        });
    }
    for longer in [length + 1, 1 << 40] {
        lab.is_noticed(&format!("made {longer} long"), |one, _| {
            fs::File::options().write(true).open(one).unwrap().set_len(longer as u64).unwrap();
        });
    }
}

#[test]
fn what_is_no_entry_is_replaced_by_one() {
    let lab = Lab::new();
    lab.is_noticed("the code of another program", |one, two| {
        fs::copy(two, one).unwrap();
    });
    let anew = |one: &Path| fs::remove_file(one).unwrap();
    lab.is_noticed("a link to the entry of another program", |one, two| {
        anew(one);
        std::os::unix::fs::symlink(two, one).unwrap();
    });
    lab.is_noticed("a second name of the entry of another program", |one, two| {
        anew(one);
        fs::hard_link(two, one).unwrap();
    });
    lab.is_noticed("a pipe", |one, _| {
        anew(one);
        mknodat(CWD, one, FileType::Fifo, 0o600.into(), 0).unwrap();
    });
}

#[test]
fn a_key_that_was_replaced_voids_every_entry() {
    let lab = Lab::new();
    fs::write(lab.folder().join("key"), [7; 32]).unwrap();
    assert_eq!(lab.run("one"), ("one".to_owned(), 1));
    assert_eq!(lab.run("two"), ("two".to_owned(), 1));
    fs::remove_file(lab.folder().join("key")).unwrap();
    mknodat(CWD, lab.folder().join("key"), FileType::Fifo, 0o600.into(), 0).unwrap();
    assert_eq!(lab.run("one"), ("one".to_owned(), 1));
}

#[test]
fn nothing_is_run_from_a_folder_that_others_can_write_to() {
    let lab = Lab::new();
    lab.forge();
    // Whoever can read the key is the user, and may; without this the rest would say nothing.
    assert_eq!(lab.run("one"), ("two".to_owned(), 0), "the forged entry is not good enough");
    for mode in [0o777, 0o1777, 0o770, 0o722] {
        lab.open_to_others(mode);
        assert_eq!(lab.run("one"), ("one".to_owned(), 1), "mode {mode:o}");
    }
}
