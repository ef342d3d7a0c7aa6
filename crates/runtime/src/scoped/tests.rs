use std::path::Path;
use std::time::Duration;

use ringfence_abi::{Interest, Value};
use ringfence_isolation::{Limit, LimitKind};
use ringfence_manifest::{Bytes, FilePermissions, Limits, MountMode, NamePattern, StreamIn};

use super::*;
use crate::sample::{everything, mount, rules, spec};

mod learning;
mod stdio;
mod waiting;

/// An instance with a root folder.
struct Lab {
    root: tempfile::TempDir,
    hal: ScopedHal,
}

fn lab(change: impl FnOnce(&mut Spec, &Path)) -> Lab {
    lab_in(Surroundings::default(), change)
}

fn lab_in(surroundings: Surroundings, change: impl FnOnce(&mut Spec, &Path)) -> Lab {
    let root = tempfile::tempdir().unwrap();
    let mut spec = spec(root.path());
    spec.permissions.files = everything();
    spec.permissions.clock = true;
    spec.permissions.random = true;
    change(&mut spec, root.path());
    let hal = ScopedHal::new(Arc::new(spec), surroundings).unwrap();
    Lab { root, hal }
}

const READ: OpenHow = OpenHow {
    read: true,
    write: false,
    create: false,
    exclusive: false,
    truncate: false,
    directory: false,
    follow: true,
};
const CREATE: OpenHow = OpenHow { read: true, write: true, create: true, ..READ };

impl Lab {
    fn top(&self) -> Handle {
        self.hal.folders[0].handle
    }

    fn call(&self, call: Call<'_>) -> Result<Reply, ErrorCode> {
        self.hal.call(call).now()
    }

    fn open(&self, path: &str, how: OpenHow) -> Result<Handle, ErrorCode> {
        match self.call(Call::Open { directory: self.top(), path: path.as_bytes(), how })? {
            Reply::Handle(handle) => Ok(handle),
            other => panic!("{other:?} is no handle"),
        }
    }

    fn write(&self, file: Handle, at: Position, bytes: usize) -> Result<Reply, ErrorCode> {
        self.call(Call::Write { file, at, from: &vec![b'x'; bytes] })
    }

    fn read(&self, file: Handle) -> Result<Vec<u8>, ErrorCode> {
        let mut into = [0; 64];
        match self.call(Call::Read { file, offset: 0, into: &mut into })? {
            Reply::Count(count) => Ok(into[..count].to_vec()),
            other => panic!("{other:?} is no count"),
        }
    }

    fn unlink(&self, path: &str) -> Result<Reply, ErrorCode> {
        self.call(Call::Unlink { directory: self.top(), path: path.as_bytes() })
    }

    fn rename(&self, from: &str, to: &str) -> Result<Reply, ErrorCode> {
        let (from_directory, to_directory) = (self.top(), self.top());
        self.call(Call::Rename { from_directory, from: from.as_bytes(), to_directory, to: to.as_bytes() })
    }

    fn link(&self, from: &str, to: &str) -> Result<Reply, ErrorCode> {
        let (from_directory, to_directory) = (self.top(), self.top());
        let (from, to) = (from.as_bytes(), to.as_bytes());
        self.call(Call::Link { from_directory, from, follow: false, to_directory, to })
    }

    fn host(&self, path: &str) -> std::path::PathBuf {
        self.root.path().join(path)
    }

    /// The rule, resource and grant of the last new denial.
    fn last_denial(&self) -> (String, String, Option<String>) {
        let (denial, _) = self.hal.denials.list().pop().expect("something was denied");
        (denial.rule, denial.resource, denial.grant)
    }

    fn tripped(&self) -> LimitKind {
        match self.hal.verdict() {
            Verdict::Exceeded(limit) => limit.limit,
            other => panic!("{other:?} is no limit"),
        }
    }
}

#[test]
fn a_file_is_created_written_read_and_removed() {
    let lab = lab(|_, _| ());
    let file = lab.open("file", CREATE).unwrap();
    assert_eq!(lab.write(file, Position::Offset(0), 3), Ok(Reply::Count(3)));
    assert_eq!(lab.write(file, Position::End, 2), Ok(Reply::Count(2)));
    assert_eq!(lab.read(file), Ok(b"xxxxx".to_vec()));
    assert_eq!(lab.call(Call::SetSize { file, size: 1 }), Ok(Reply::Done));
    assert_eq!(std::fs::read(lab.host("file")).unwrap(), b"x");
    assert_eq!(lab.call(Call::Close { handle: file }), Ok(Reply::Done));
    assert_eq!(lab.read(file), Err(ErrorCode::BadHandle));
    assert_eq!(lab.unlink("file"), Ok(Reply::Done));
    assert_eq!(lab.open("file", READ), Err(ErrorCode::NotFound));
}

#[test]
fn the_root_folder_is_made_for_this_user_alone() {
    use std::os::unix::fs::PermissionsExt;
    let outer = tempfile::tempdir().unwrap();
    let spec = spec(&outer.path().join("a/b"));
    let _hal = ScopedHal::new(Arc::new(spec), Surroundings::default()).unwrap();
    for folder in ["a", "a/b"] {
        let mode = std::fs::metadata(outer.path().join(folder)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o700);
    }
}

#[test]
fn what_is_not_granted_is_denied_whether_it_exists_or_not() {
    let lab = lab(|spec, root| {
        std::fs::write(root.join("there"), "").unwrap();
        spec.permissions.files.read = rules(&["/data"]);
        spec.permissions.files.list = rules(&["/data"]);
        spec.permissions.files.write = rules(&["/data"]);
        spec.permissions.files.create = rules(&["/data"]);
        spec.permissions.files.delete = rules(&["/data"]);
    });
    for path in ["there", "missing", "there/below", "missing/below", "data/../there"] {
        assert_eq!(lab.open(path, READ), Err(ErrorCode::Denied), "{path}");
        assert_eq!(lab.open(path, CREATE), Err(ErrorCode::Denied), "{path}");
        assert_eq!(lab.unlink(path), Err(ErrorCode::Denied), "{path}");
        let (directory, path) = (lab.top(), path.as_bytes());
        assert_eq!(lab.call(Call::StatAt { directory, path, follow: true }), Err(ErrorCode::Denied));
        assert_eq!(lab.call(Call::ReadLink { directory, path }), Err(ErrorCode::Denied));
        assert_eq!(lab.call(Call::CreateDirectory { directory, path }), Err(ErrorCode::Denied));
    }
    assert_eq!(lab.open("data/missing", READ), Err(ErrorCode::NotFound));
}

#[test]
fn a_denial_names_the_rule_the_resource_and_the_line_that_grants_it() {
    let lab = lab(|spec, _| spec.permissions.files = Default::default());
    assert_eq!(lab.open("/etc/passwd", READ), Err(ErrorCode::Denied));
    let expected = ("not in fs.read".into(), "/etc/passwd".into(), Some("fs.read = [\"/etc/passwd\"]".into()));
    assert_eq!(lab.last_denial(), expected);
}

#[test]
fn each_permission_is_judged_by_itself() {
    let lab = lab(|spec, root| {
        std::fs::write(root.join("file"), "old").unwrap();
        spec.permissions.files = Default::default();
        spec.permissions.files.read = rules(&["/file"]);
        spec.permissions.files.create = rules(&["/new"]);
    });
    let write = OpenHow { read: false, write: true, ..READ };
    assert!(lab.open("file", READ).is_ok());
    assert_eq!(lab.open("file", write), Err(ErrorCode::Denied));
    assert_eq!(lab.open("file", OpenHow { truncate: true, ..READ }), Err(ErrorCode::Denied));
    assert_eq!(std::fs::read(lab.host("file")).unwrap(), b"old");
    // Creating is not writing.
    assert_eq!(lab.open("new", OpenHow { create: true, ..write }), Err(ErrorCode::Denied));
    let made = lab.open("new", OpenHow { read: false, create: true, ..READ }).unwrap();
    assert_eq!(lab.write(made, Position::End, 1), Err(ErrorCode::Denied));
    assert_eq!(lab.unlink("new"), Err(ErrorCode::Denied));
    let list = Call::List { directory: lab.top(), after: 0, most: 10 };
    assert_eq!(lab.call(list), Err(ErrorCode::Denied));
}

#[test]
fn a_link_is_judged_where_it_leads() {
    let lab = lab(|spec, root| {
        std::fs::create_dir(root.join("data")).unwrap();
        std::fs::write(root.join("secret"), "secret").unwrap();
        std::os::unix::fs::symlink("../secret", root.join("data/link")).unwrap();
        std::os::unix::fs::symlink("/secret", root.join("data/absolute")).unwrap();
        spec.permissions.files.read = rules(&["/data"]);
    });
    for link in ["data/link", "data/absolute"] {
        assert_eq!(lab.open(link, READ), Err(ErrorCode::Denied));
        assert_eq!(lab.last_denial().1, "/secret");
    }
}

#[test]
fn a_read_only_mount_is_not_changed() {
    let other = tempfile::tempdir().unwrap();
    std::fs::write(other.path().join("file"), "old").unwrap();
    let lab = lab(|spec, _| {
        spec.mounts.push(mount("/ro", other.path(), MountMode::ReadOnly));
        spec.mounts.push(mount("/single", &other.path().join("file"), MountMode::ReadOnly));
    });
    let (directory, path) = (lab.top(), &b"ro/file"[..]);
    let file = lab.open("ro/file", READ).unwrap();
    assert_eq!(lab.call(Call::SetTimes { handle: file, accessed: None, modified: Some(0) }), Err(ErrorCode::Denied));
    let attempts = [
        lab.open("ro/file", OpenHow { write: true, ..READ }).map(|_| Reply::Done),
        lab.open("ro/file", OpenHow { truncate: true, ..READ }).map(|_| Reply::Done),
        lab.open("ro/new", CREATE).map(|_| Reply::Done),
        lab.open("single", OpenHow { write: true, ..READ }).map(|_| Reply::Done),
        lab.unlink("ro/file"),
        lab.rename("ro/file", "ro/other"),
        lab.link("ro/file", "ro/other"),
        lab.call(Call::CreateDirectory { directory, path: b"ro/new" }),
        lab.call(Call::Symlink { target: b"file", directory, path: b"ro/new" }),
        lab.call(Call::SetTimesAt { directory, path, follow: true, accessed: None, modified: Some(0) }),
    ];
    for attempt in attempts {
        assert_eq!(attempt, Err(ErrorCode::ReadOnly));
    }
    assert_eq!(std::fs::read(other.path().join("file")).unwrap(), b"old");
    let (rule, _, grant) = lab.last_denial();
    assert_eq!(rule, "mount /ro is read-only");
    assert!(grant.unwrap().contains("mode = \"rw\""));
}

#[test]
fn a_rename_or_link_that_would_gain_a_right_is_denied() {
    let lab = lab(|spec, root| {
        std::fs::create_dir_all(root.join("in/folder")).unwrap();
        std::fs::create_dir(root.join("out")).unwrap();
        std::fs::write(root.join("in/secret"), "").unwrap();
        std::fs::write(root.join("in/folder/secret"), "").unwrap();
        std::fs::write(root.join("out/own"), "").unwrap();
        spec.permissions.files.read = rules(&["/out", "/elsewhere/x/secret"]);
        std::fs::create_dir(root.join("elsewhere")).unwrap();
    });
    assert_eq!(lab.rename("in/secret", "out/mine"), Err(ErrorCode::CrossDevice));
    assert_eq!(lab.last_denial().0, "would gain fs.read as /out/mine");
    assert_eq!(lab.link("in/secret", "out/mine"), Err(ErrorCode::CrossDevice));
    // What is in a folder must not gain either.
    assert_eq!(lab.rename("in/folder", "elsewhere/x"), Err(ErrorCode::CrossDevice));
    assert_eq!(lab.rename("in/folder", "elsewhere/y"), Ok(Reply::Done));
    // Losing rights is nobody's harm.
    assert_eq!(lab.rename("out/own", "in/own"), Ok(Reply::Done));
}

#[test]
fn a_verdict_alone_is_the_same_and_told() {
    let lab = lab(|spec, _| {
        spec.permissions.files = FilePermissions { write: rules(&["/tmp/own"]), ..FilePermissions::default() };
    });
    let judge = |path: &str, wanted: FileUse<'_>| lab.hal.judge(path.as_bytes(), wanted);
    assert_eq!(judge("/tmp/own/x", FileUse::With(Permission::FsWrite)), Ok(()));
    assert_eq!(judge("/tmp", FileUse::Look), Ok(()));
    assert_eq!(judge("/tmp/x", FileUse::With(Permission::FsWrite)), Err(ErrorCode::Denied));
    assert_eq!(lab.last_denial().0, "not in fs.write");
    assert_eq!(judge("/srv", FileUse::Look), Err(ErrorCode::Denied));
    assert_eq!(lab.last_denial().0, "nothing is granted on it or below it");
    assert_eq!(judge("/tmp/x", FileUse::Move(b"/tmp/own/x")), Err(ErrorCode::CrossDevice));
    assert_eq!(lab.last_denial().0, "would gain fs.write as /tmp/own/x");
}

#[test]
fn replacing_needs_the_right_to_delete() {
    let lab = lab(|spec, root| {
        std::fs::write(root.join("a"), "a").unwrap();
        std::fs::write(root.join("b"), "b").unwrap();
        spec.permissions.files.delete = rules(&["/a"]);
    });
    assert_eq!(lab.rename("a", "b"), Err(ErrorCode::Denied));
    assert_eq!(std::fs::read(lab.host("b")).unwrap(), b"b");
    assert_eq!(lab.rename("a", "c"), Ok(Reply::Done), "there is nothing to replace");
}

#[test]
fn a_link_is_made_within_its_mount_only() {
    let lab = lab(|_, _| ());
    let symlink = |target: &str, path: &str| {
        lab.call(Call::Symlink { target: target.as_bytes(), directory: lab.top(), path: path.as_bytes() })
    };
    assert_eq!(symlink("/etc", "absolute"), Err(ErrorCode::NotPermitted));
    assert_eq!(symlink("../etc", "above"), Err(ErrorCode::NotPermitted));
    assert_eq!(symlink("file", "inside"), Ok(Reply::Done));
    let read = Call::ReadLink { directory: lab.top(), path: b"inside" };
    assert_eq!(lab.call(read), Ok(Reply::Bytes(b"file".to_vec())));
}

#[test]
fn a_handle_opened_through_a_folder_has_no_right_the_folder_lacks() {
    let lab = lab(|_, root| std::fs::write(root.join("file"), "x").unwrap());
    let Ok(Reply::Handle(less)) = lab.call(Call::Duplicate { handle: lab.top(), rights: Rights::WALK | Rights::READ })
    else {
        panic!("the top can be duplicated")
    };
    let open = |how| lab.call(Call::Open { directory: less, path: b"file", how });
    let Ok(Reply::Handle(file)) = open(READ) else { panic!("file can be read") };
    assert_eq!(lab.call(Call::RightsOf { handle: file }), Ok(Reply::Rights(Rights::READ)));
    assert_eq!(open(OpenHow { write: true, ..READ }), Err(ErrorCode::Denied));
    let create = Call::Open { directory: less, path: b"new", how: OpenHow { create: true, ..READ } };
    assert_eq!(lab.call(create), Err(ErrorCode::Denied));
    assert_eq!(lab.call(Call::Unlink { directory: less, path: b"file" }), Err(ErrorCode::Denied));
    lab.call(Call::Revoke { handle: lab.top() }).unwrap();
    assert_eq!(open(READ), Err(ErrorCode::BadHandle));
}

#[test]
fn the_disk_limit_holds_before_the_disk_has_grown() {
    let lab = lab(|spec, _| spec.limits.disk = Some(Bytes(3 * 4096)));
    let file = lab.open("file", CREATE).unwrap();
    assert_eq!(lab.write(file, Position::Offset(0), 8192), Ok(Reply::Count(8192)));
    assert_eq!(lab.hal.usage().disk, 3 * 4096);
    assert_eq!(lab.write(file, Position::Offset(100), 8000), Ok(Reply::Count(8000)), "it does not grow");
    assert_eq!(lab.write(file, Position::End, 1), Err(ErrorCode::Stopping));
    assert_eq!(lab.tripped(), LimitKind::Disk);
    assert_eq!(std::fs::metadata(lab.host("file")).unwrap().len(), 8192);
    assert_eq!(lab.read(file), Err(ErrorCode::Stopping), "every later call is answered so");
}

#[test]
fn what_is_removed_is_given_back() {
    let lab = lab(|_, _| ());
    let used = || lab.hal.usage().disk;
    let file = lab.open("file", CREATE).unwrap();
    lab.write(file, Position::Offset(0), 1000).unwrap();
    assert_eq!(used(), 4096 + 1000);
    lab.call(Call::SetSize { file, size: 100 }).unwrap();
    assert_eq!(used(), 4096 + 100);
    lab.call(Call::SetSize { file, size: 5000 }).unwrap();
    assert_eq!(used(), 4096 + 5000);
    lab.link("file", "other").unwrap();
    assert_eq!(used(), 2 * 4096 + 5000, "a file with two names is counted once");
    lab.unlink("file").unwrap();
    assert_eq!(used(), 4096 + 5000);
    lab.call(Call::Close { handle: file }).unwrap();
    lab.unlink("other").unwrap();
    assert_eq!(used(), 0);
    let file = lab.open("a", CREATE).unwrap();
    lab.write(file, Position::End, 10).unwrap();
    lab.call(Call::Close { handle: file }).unwrap();
    lab.open("b", CREATE).unwrap();
    lab.rename("b", "a").unwrap();
    assert_eq!(used(), 4096, "what was replaced is gone");
}

#[test]
fn files_without_a_name_count_until_their_last_close() {
    let lab = lab(|spec, _| spec.limits.disk = Some(Bytes(100_000)));
    let mut kept = Vec::new();
    let tripped = (0..200).find(|_| {
        let attempt = lab.open("file", CREATE).and_then(|file| {
            kept.push(file);
            lab.write(file, Position::End, 1000)?;
            lab.unlink("file")
        });
        attempt.is_err()
    });
    assert_eq!(lab.tripped(), LimitKind::Disk);
    assert!((90..110).contains(&tripped.unwrap()), "{tripped:?}");
}

#[test]
fn closing_a_file_without_a_name_gives_it_back() {
    let lab = lab(|_, _| ());
    let file = lab.open("file", CREATE).unwrap();
    let again = lab.open("file", READ).unwrap();
    lab.write(file, Position::End, 1000).unwrap();
    lab.unlink("file").unwrap();
    lab.call(Call::Close { handle: file }).unwrap();
    assert_eq!(lab.hal.usage().disk, 1000, "a reader keeps it");
    lab.call(Call::Close { handle: again }).unwrap();
    assert_eq!(lab.hal.usage().disk, 0);
}

#[test]
fn a_file_that_was_there_is_free_up_to_its_size() {
    let lab = lab(|_, root| std::fs::write(root.join("file"), vec![b'x'; 1000]).unwrap());
    let file = lab.open("file", OpenHow { write: true, truncate: true, ..READ }).unwrap();
    lab.write(file, Position::End, 1000).unwrap();
    assert_eq!(lab.hal.usage().disk, 0);
    lab.write(file, Position::End, 5).unwrap();
    assert_eq!(lab.hal.usage().disk, 5);
}

#[test]
fn names_are_charged_and_those_that_fail_are_not() {
    let lab = lab(|_, _| ());
    let make = || lab.call(Call::CreateDirectory { directory: lab.top(), path: b"folder" });
    assert_eq!(make(), Ok(Reply::Done));
    assert_eq!(make(), Err(ErrorCode::Exists));
    assert_eq!(lab.hal.usage().disk, 4096);
    assert_eq!(lab.call(Call::RemoveDirectory { directory: lab.top(), path: b"folder" }), Ok(Reply::Done));
    assert_eq!(lab.hal.usage().disk, 0);
}

#[test]
fn a_file_does_not_get_larger_than_its_limit() {
    let lab = lab(|spec, _| spec.limits.file_size = Some(Bytes(100)));
    let file = lab.open("file", CREATE).unwrap();
    assert_eq!(lab.write(file, Position::Offset(50), 50), Ok(Reply::Count(50)));
    assert_eq!(lab.call(Call::SetSize { file, size: 101 }), Err(ErrorCode::Stopping));
    assert_eq!(lab.tripped(), LimitKind::FileSize);
}

#[test]
fn operations_bytes_and_handles_are_limited() {
    let limits: [(Limits, LimitKind); 3] = [
        (Limits { io_operations: Some(50), ..Limits::default() }, LimitKind::IoOperations),
        (Limits { io_bytes: Some(Bytes(500)), ..Limits::default() }, LimitKind::IoBytes),
        (Limits { open_files: Some(5), ..Limits::default() }, LimitKind::OpenFiles),
    ];
    for (limits, expected) in limits {
        let lab = lab(|spec, root| {
            std::fs::write(root.join("file"), [b'x'; 60]).unwrap();
            spec.limits = limits;
        });
        let attempt = (0..100).find_map(|_| lab.open("file", READ).and_then(|file| lab.read(file)).err());
        assert_eq!((attempt, lab.tripped()), (Some(ErrorCode::Stopping), expected));
    }
}

#[test]
fn output_is_printed_up_to_its_limit() {
    let lab = lab(|spec, _| spec.limits.output = Some(Bytes(10)));
    let send = |from: &[u8]| lab.call(Call::Send { stream: Handle::STDOUT, from });
    assert_eq!(send(b"12345678"), Ok(Reply::Count(8)));
    assert_eq!(send(b"90ab"), Err(ErrorCode::Stopping));
    assert_eq!(Hal::captured(&lab.hal), [Some(b"1234567890".to_vec()), None]);
    let limit = Limit { limit: LimitKind::Output, allowed: 10, used: 12 };
    assert_eq!(lab.hal.verdict(), Verdict::Exceeded(limit));
}

#[test]
fn what_has_no_way_to_fail_ends_the_instance() {
    let lab = lab(|spec, _| spec.permissions.clock = false);
    assert_eq!(lab.call(Call::Now { clock: ringfence_abi::Clock::Wall }), Err(ErrorCode::Stopping));
    let Verdict::Denied(denial) = lab.hal.verdict() else { panic!("{:?}", lab.hal.verdict()) };
    assert_eq!((denial.permission, denial.grant.as_deref()), (Some(Permission::Clock), Some("clock = true")));
    let lab = self::lab(|spec, _| spec.permissions.random = false);
    assert_eq!(lab.call(Call::Random { into: &mut [0; 8] }), Err(ErrorCode::Stopping));
}

#[test]
fn surroundings_are_those_of_the_spec() {
    let lab = lab(|spec, _| spec.stdio.stdin = StreamIn::Bytes(b"hello".to_vec()));
    let mut into = [0; 4];
    assert_eq!(lab.call(Call::Receive { stream: Handle::STDIN, into: &mut into }), Ok(Reply::Count(4)));
    assert_eq!(&into, b"hell");
    assert_eq!(lab.call(Call::Receive { stream: Handle::STDIN, into: &mut into }), Ok(Reply::Count(1)));
    assert_eq!(lab.call(Call::Receive { stream: Handle::STDIN, into: &mut into }), Ok(Reply::Count(0)));
    assert_eq!(lab.call(Call::Receive { stream: Handle::STDOUT, into: &mut into }), Err(ErrorCode::Denied));
    assert_eq!(lab.call(Call::Environment), Ok(Reply::Pairs(vec![("LOG".into(), "info".into())])));
    assert_eq!(lab.call(Call::Arguments), Ok(Reply::Texts(vec!["sample.wasm".into(), "--once".into()])));
    let mut random = vec![0; 200_000];
    assert_eq!(lab.call(Call::Random { into: &mut random }), Ok(Reply::Done));
    assert!(random[199_900..].iter().any(|&byte| byte != 0));
    assert_eq!(lab.call(Call::Log { level: 1, message: "x" }), Err(ErrorCode::Denied));
}

#[test]
fn a_resource_that_was_passed_on_goes_when_it_is_revoked() {
    let (giver, taker) = (lab(|_, root| std::fs::write(root.join("file"), "mine").unwrap()), lab(|_, _| ()));
    let file = giver.open("file", READ).unwrap();
    let passed = giver.hal.transfer(file, &taker.hal, Rights::READ).unwrap();
    assert_eq!(taker.read(passed), Ok(b"mine".to_vec()));
    assert_eq!(taker.call(Call::Duplicate { handle: passed, rights: Rights::all() }), Err(ErrorCode::Denied));
    giver.hal.revoke(file).unwrap();
    assert_eq!(taker.read(passed), Err(ErrorCode::BadHandle));
    assert_eq!(giver.hal.transfer(giver.top(), &taker.hal, Rights::all()), Err(ErrorCode::NotSupported));
}

#[tokio::test]
async fn functions_and_channels_answer() {
    let mut surroundings = Surroundings::default();
    surroundings.functions.offer("math#double", |arguments| {
        Box::pin(async move {
            match arguments[..] {
                [Value::U32(number)] => Ok(vec![Value::U32(2 * number)]),
                _ => Err(ErrorCode::Invalid),
            }
        })
    });
    let lab = lab_in(surroundings, |spec, _| {
        spec.permissions.channel_send.push(NamePattern("jobs.*".into()));
        spec.permissions.channel_receive.push(NamePattern("jobs.*".into()));
    });
    assert_eq!(lab.hal.functions(), ["math#double"]);
    let call = Call::Invoke { function: "math#double", arguments: vec![Value::U32(21)] };
    assert_eq!(lab.hal.call(call).wait().await, Ok(Reply::Values(vec![Value::U32(42)])));
    let call = Call::Invoke { function: "math#half", arguments: vec![] };
    assert_eq!(lab.hal.call(call).wait().await, Err(ErrorCode::NotFound));
    assert_eq!(lab.call(Call::ChannelSend { channel: "jobs.1", message: b"x" }), Ok(Reply::Done));
    assert_eq!(lab.call(Call::ChannelReceive { channel: "jobs.1" }), Ok(Reply::Bytes(b"x".to_vec())));
    assert_eq!(lab.call(Call::ChannelSend { channel: "other", message: b"x" }), Err(ErrorCode::Denied));
    assert_eq!(lab.last_denial().2.as_deref(), Some("channel.send = [\"jobs.*\", \"other\"]"));
}

#[test]
fn nothing_is_open_when_it_is_closed() {
    let lab = lab(|_, _| ());
    let file = lab.open("file", CREATE).unwrap();
    lab.hal.close();
    assert_eq!(lab.hal.usage().open_files, 0);
    assert_eq!(lab.hal.handles.rights(file), Err(ErrorCode::BadHandle));
}
