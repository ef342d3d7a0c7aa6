//! Further commands in a monitor that is not itself any more: what it gains by them, and what who ordered one sees.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::FileExt;
use std::os::unix::net::UnixStream;
use std::sync::mpsc;

use libtest_mimic::{Completion, Failed, Trial};
use ringfence::{Command, Exit, InstanceError, LimitKind, Running, Stop};
use rustix::fs::{FileType, fstat};

use super::lab::{Lab, Tried};
use super::parcel::{line_of, receive_parcel};
use super::{PATIENCE, started, unconfined};
use crate::frames::{ended, receive, send, text, varint};

/// What who ordered a command does, and why it is not content.
type Act = fn(&Ordering<'_>) -> Result<(), String>;

const TRIALS: &[(&str, &str, Act)] = &[
    ("command-its-word-on-the-end-is-a-byte-and-the-last", "", its_word),
    ("command-its-reasons-are-plain-text", "", its_reasons),
    ("command-its-streams-are-pipes", "", its_streams),
    ("command-that-is-left-is-let-go-of", "", left),
    ("command-nobody-ordered-is-none", "", nobodys),
    ("command-its-output-counts", "output = \"64 KiB\"", its_output),
];

pub(crate) fn trials() -> impl Iterator<Item = Trial> {
    TRIALS.iter().map(|&(name, limits, act)| Trial::ignorable_test(name, move || attempt(name, limits, act)))
}

/// An instance with a bad monitor, in which commands are begun.
struct Ordering<'a> {
    lab: &'a Lab,
    instance: &'a ringfence::Instance,
}

fn attempt(name: &str, limits: &str, act: Act) -> Result<Completion, Failed> {
    let lab = Lab::new();
    let instance = match started(lab.load(&Tried { name: &format!("{name}.0"), limits, ..Tried::default() })) {
        Ok(instance) => instance,
        Err(without) => return without,
    };
    let done = act(&Ordering { lab: &lab, instance: &instance });
    instance.stop(Stop::Kill);
    let report = instance.exited_blocking();
    match (unconfined(&report), done) {
        (Some(missing), _) => Ok(Completion::ignored_with(missing)),
        (None, Ok(())) => Ok(Completion::Completed),
        (None, Err(why)) => Err(format!("{why} ({})", report.exit).into()),
    }
}

impl Ordering<'_> {
    /// A command that prints into a pipe, of which this is the other end.
    fn begin(&self) -> Result<(Box<dyn Running>, File), InstanceError> {
        let (reader, writer) = rustix::pipe::pipe().expect("a pipe");
        let nothing = || File::open("/dev/null").expect("nothing");
        let error = fs::OpenOptions::new().write(true).open("/dev/null").expect("nothing");
        let streams = Some([nothing().into(), writer, error.into()]);
        let running = self.instance.begin(Command { words: vec!["true".into()], streams, ..Command::default() })?;
        Ok((running, reader.into()))
    }

    fn ended(&self, running: &dyn Running) -> Result<Exit, InstanceError> {
        self.lab.runtime.get().expect("a runtime").block_on(running.ended())
    }
}

/// Everything until the end, for which nobody waits forever.
fn all(mut reader: File) -> Result<Vec<u8>, String> {
    let (tell, told) = mpsc::channel();
    std::thread::spawn(move || {
        let mut printed = Vec::new();
        let _ = tell.send(reader.read_to_end(&mut printed).map(|_| printed));
    });
    let printed = told.recv_timeout(PATIENCE).map_err(|_| "what it prints does not end")?;
    printed.map_err(|error| error.to_string())
}

fn expect(holds: bool, what: impl std::fmt::Debug) -> Result<(), String> {
    if holds { Ok(()) } else { Err(format!("{what:?}")) }
}

/// It goes on printing after its word.
fn its_word(order: &Ordering<'_>) -> Result<(), String> {
    let (running, reader) = order.begin().map_err(|error| error.to_string())?;
    let printed = all(reader)?;
    let ended = order.ended(&*running);
    expect(ended == Ok(Exit::Returned(7)), ended)?;
    // That there was an end is the point: it prints for ever, and some of that may come before its word is heard.
    expect(printed.starts_with(b"said\n"), printed.len())
}

fn its_reasons(order: &Ordering<'_>) -> Result<(), String> {
    let (running, _reader) = order.begin().map_err(|error| error.to_string())?;
    let ended = order.ended(&*running);
    let Err(InstanceError::NotExecuted { reason, .. }) = &ended else { return Err(format!("{ended:?}")) };
    expect(reason.ends_with("xxx") && reason.len() < 5000 && !reason.contains(char::is_control), reason)
}

/// Who ordered it has files, one of them open for more than is done with it.
fn its_streams(order: &Ordering<'_>) -> Result<(), String> {
    let path = order.lab.home.path().join("output");
    fs::write(&path, "before\n").expect("a file");
    let open = || fs::OpenOptions::new().read(true).append(true).open(&path).expect("a file");
    let (input, output, error) = (File::open(&path).expect("a file"), open(), open());
    let streams = Some([input.into(), output.into(), error.into()]);
    let command = Command { words: vec!["true".into()], streams, ..Command::default() };
    let running = order.instance.begin(command).map_err(|error| error.to_string())?;
    let ended = order.ended(&*running);
    let Err(InstanceError::NotExecuted { reason, .. }) = &ended else { return Err(format!("{ended:?}")) };
    expect(reason == "nothing", reason)?;
    let content = fs::read_to_string(&path).expect("a file");
    expect(content == "before\nafter\n", content)
}

/// A command whose monitor never says that it is over is over for who left it. Its place is taken all the same.
fn left(order: &Ordering<'_>) -> Result<(), String> {
    let (running, mut reader) = order.begin().map_err(|error| error.to_string())?;
    reader.read_exact(&mut [0; 5]).map_err(|error| error.to_string())?;
    let ended = running.ended();
    drop(running);
    all(reader)?;
    let ended = order.lab.runtime.get().expect("a runtime").block_on(ended);
    expect(ended == Ok(Exit::Returned(137)), ended)?;
    let mut kept = Vec::new();
    let refused = loop {
        match order.begin() {
            Ok(begun) if kept.len() < 100 => kept.push(begun),
            Ok(_) => return Err("there is always room".into()),
            Err(error) => break error,
        }
    };
    expect(kept.len() == 15 && matches!(refused, InstanceError::Unsupported(_)), (kept.len(), refused))
}

fn nobodys(order: &Ordering<'_>) -> Result<(), String> {
    let (running, _reader) = order.begin().map_err(|error| error.to_string())?;
    let exit = order.instance.exited_blocking().exit;
    expect(exit.to_string() == "trapped: none, one, none", &exit)?;
    let ended = order.ended(&*running);
    expect(ended == Err(InstanceError::Ended(exit)), ended)
}

fn its_output(order: &Ordering<'_>) -> Result<(), String> {
    let (running, reader) = order.begin().map_err(|error| error.to_string())?;
    let printed = all(reader)?;
    let exit = order.instance.exited_blocking().exit;
    let is_over = matches!(exit, Exit::Exceeded(found) if found.limit == LimitKind::Output);
    expect(is_over && printed.len() <= 128 << 10, (exit, printed.len()))?;
    drop(running);
    Ok(())
}

// --- the other side ---

/// Plays a monitor that was taken over, as the name says; returns for names of other trials.
pub(crate) fn attack(name: &str, line: &mut UnixStream) {
    if !name.starts_with("command-") {
        return;
    }
    let number = ordered();
    match name {
        "command-its-word-on-the-end-is-a-byte-and-the-last" => {
            let [_, output, _] = claim(line, number);
            let mut output = File::from(output);
            output.write_all(b"said\n").expect("somebody reads");
            // CommandEnded { number, came: Returned(0x107) }, and another one.
            send(line, &[&[11_u8][..], &varint(number), &[0], &varint(0x107 * 2)].concat());
            send(line, &[&[11_u8][..], &varint(number), &[0], &varint(0)].concat());
            while output.write_all(&[b'x'; 4096]).is_ok() {}
        }
        "command-its-reasons-are-plain-text" => {
            claim(line, number);
            not_executed(line, number, &format!("\x1b[2J\n{}", "x".repeat(5000)));
        }
        "command-its-streams-are-pipes" => {
            let streams = claim(line, number);
            let found = within(&streams);
            let [_, output, _] = streams;
            File::from(output).write_all(b"after\n").expect("somebody reads");
            not_executed(line, number, &found);
        }
        "command-that-is-left-is-let-go-of" => {
            let mut kept = Vec::new();
            let mut number = number;
            loop {
                let mut streams = claim(line, number).map(File::from);
                let _ = streams[1].write_all(b"here\n");
                kept.push(streams);
                number = ordered();
            }
        }
        "command-nobody-ordered-is-none" => {
            send(line, &[&[11_u8][..], &varint(number + 1), &[0, 0]].concat());
            let asked = [number + 1, number, number].map(|number| {
                send(line, &[&[10_u8][..], &varint(number)].concat());
                match receive(line)[..] {
                    [6, 0] => "none",
                    [6, 1, ..] => "one",
                    _ => "something else",
                }
            });
            ended(line, &asked.join(", "))
        }
        "command-its-output-counts" => {
            let [_, output, _] = claim(line, number);
            let mut output = File::from(output);
            while output.write_all(&[b'x'; 4096]).is_ok() {}
        }
        _ => std::process::exit(0),
    }
    loop {
        std::thread::park();
    }
}

/// Waits for an order: News::Steer(Steer::Command(number, Turn::Begin)).
fn ordered() -> u64 {
    let mut answers = line_of(io::stdout());
    loop {
        // As many as there can be in a trial are numbers of one byte.
        if let [1, 2, number, 0] = receive(&mut answers)[..] {
            return number.into();
        }
    }
}

fn claim(line: &mut UnixStream, number: u64) -> [OwnedFd; 3] {
    let parcels = line_of(io::stderr());
    send(line, &[&[10_u8][..], &varint(number)].concat());
    assert!(receive(line).starts_with(&[6, 1]), "an order");
    receive_parcel(&parcels, rustix::net::RecvFlags::empty()).try_into().expect("three streams")
}

/// CommandEnded { number, came: NotExecuted { missing: true, reason } }
fn not_executed(line: &mut UnixStream, number: u64, reason: &str) {
    send(line, &[&[11_u8][..], &varint(number), &[1, 1], &text(reason)].concat());
}

/// What can be done with the streams of a command beside reading and writing what passes; `nothing` is hoped for.
fn within(streams: &[OwnedFd; 3]) -> String {
    let mut found = Vec::new();
    for (index, stream) in streams.iter().enumerate() {
        let kind = fstat(stream).map(|found| FileType::from_raw_mode(found.st_mode));
        if kind != Ok(FileType::Fifo) {
            found.push(format!("{index} is {kind:?}"));
        }
        let path = format!("/proc/self/fd/{}", stream.as_raw_fd());
        if index == 0 && fs::OpenOptions::new().write(true).open(&path).is_ok() {
            found.push(format!("writes what {index} reads"));
        }
        if File::open(format!("{path}/..")).is_ok() {
            found.push(format!("looks around {index}"));
        }
        let file = File::from(stream.try_clone().expect("a descriptor"));
        if file.read_at(&mut [0; 7], 0).is_ok() || file.write_at(b"x", 0).is_ok() || file.set_len(0).is_ok() {
            found.push(format!("reaches what is behind {index}"));
        }
    }
    if found.is_empty() { "nothing".into() } else { found.join(", ") }
}
