use std::path::Path;
use std::time::Duration;

use ringfence_abi::{Interest, Value};
use ringfence_isolation::{Limit, LimitKind};
use ringfence_manifest::{Bytes, FilePermissions, Limits, MountMode, NamePattern, StreamIn};

use super::*;
use crate::sample::{everything, mount, rules, spec};

mod disk;
mod learning;
mod permissions;
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
    mode: None,
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
