//! The standard streams.

use super::*;

/// A pipe whose reading end can be opened by its name.
pub(super) fn pipe() -> (std::fs::File, std::path::PathBuf) {
    use std::os::fd::AsRawFd;
    let (reader, writer) = std::io::pipe().unwrap();
    let path = std::path::PathBuf::from(format!("/proc/self/fd/{}", reader.as_raw_fd()));
    // The reader stays open for as long as the test process, so that its name does.
    std::mem::forget(reader);
    (std::fs::File::from(std::os::fd::OwnedFd::from(writer)), path)
}

#[tokio::test]
async fn a_pipe_is_read_without_waiting_and_waited_for() {
    use std::io::Write;
    let (mut pipe, end) = pipe();
    let lab = lab(|spec, _| spec.stdio.stdin = StreamIn::File(end));
    let mut into = [0; 8];
    let receive = |into: &mut [u8]| lab.call(Call::Receive { stream: Handle::STDIN, into });
    assert_eq!(receive(&mut into), Err(ErrorCode::WouldBlock));
    let ready = lab.hal.call(Call::Ready { handle: Handle::STDIN, interest: Interest::Readable });
    let (waited, ()) = tokio::join!(ready.wait(), async { pipe.write_all(b"x").unwrap() });
    assert_eq!(waited, Ok(Reply::Done));
    assert_eq!(receive(&mut into), Ok(Reply::Count(1)));
    assert_eq!(receive(&mut into), Err(ErrorCode::WouldBlock));
}

#[tokio::test]
async fn a_full_pipe_takes_no_more_and_a_broken_one_says_so() {
    use std::os::fd::AsRawFd;
    let (reader, writer) = std::io::pipe().unwrap();
    let path = std::path::PathBuf::from(format!("/proc/self/fd/{}", writer.as_raw_fd()));
    let lab = lab(|spec, _| spec.stdio.stdout = ringfence_manifest::StreamOut::File(path));
    drop(writer);
    let send = || lab.call(Call::Send { stream: Handle::STDOUT, from: &[b'x'; 5000] });
    let error = (0..1000).find_map(|_| send().err());
    assert_eq!(error, Some(ErrorCode::WouldBlock));
    drop(reader);
    assert_eq!(send(), Err(ErrorCode::BrokenPipe));
}

#[test]
fn a_standard_stream_into_a_file_is_growth_of_the_disk() {
    for (limits, limit) in [
        (Limits { disk: Some(Bytes(10)), ..Limits::default() }, LimitKind::Disk),
        (Limits { file_size: Some(Bytes(10)), ..Limits::default() }, LimitKind::FileSize),
    ] {
        let lab = lab(|spec, root| {
            spec.limits = limits;
            std::fs::write(root.join("out"), "what was there before").unwrap();
            spec.stdio.stdout = ringfence_manifest::StreamOut::File(root.join("out"));
        });
        let send = |count: usize| lab.call(Call::Send { stream: Handle::STDOUT, from: &vec![b'x'; count] });
        assert_eq!(send(4), Ok(Reply::Count(4)));
        assert_eq!(send(6), Ok(Reply::Count(6)));
        assert_eq!(send(1), Err(ErrorCode::Stopping));
        assert_eq!(lab.tripped(), limit);
        assert_eq!(std::fs::read(lab.host("out")).unwrap(), [b'x'; 10]);
    }
}

#[tokio::test]
async fn a_link_where_a_stream_of_the_folder_was_leads_nowhere() {
    let folder = tempfile::tempdir().unwrap();
    let here = folder.path().canonicalize().unwrap();
    let (outside, stream) = (here.join("outside"), here.join("stream"));
    std::fs::write(&outside, "kept").unwrap();
    let with = |change: &dyn Fn(&mut Spec)| {
        let mut spec = spec(&here);
        change(&mut spec);
        ScopedHal::new(Arc::new(spec), Surroundings::default())
    };
    let prints = || with(&|spec| spec.stdio.stdout = ringfence_manifest::StreamOut::OfFolder(stream.clone()));
    let reads = || with(&|spec| spec.stdio.stdin = StreamIn::OfFolder(stream.clone()));
    assert!(prints().is_ok() && reads().is_ok());
    std::fs::remove_file(&stream).unwrap();
    // As an instance would leave it for the next one.
    std::os::unix::fs::symlink(&outside, &stream).unwrap();
    for begun in [prints(), reads()] {
        assert!(matches!(begun, Err(HalError::Stream(StreamError::File { path, .. })) if path == stream));
    }
    assert_eq!(std::fs::read(&outside).unwrap(), b"kept");
}

#[tokio::test]
async fn a_named_pipe_without_another_end_makes_nobody_wait() {
    use std::io::Write;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("pipe");
    let mode = rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR;
    rustix::fs::mkfifoat(rustix::fs::CWD, &path, mode).unwrap();
    let mut refused = spec(folder.path());
    refused.stdio.stdout = ringfence_manifest::StreamOut::File(path.clone());
    let refused = ScopedHal::new(Arc::new(refused), Surroundings::default());
    assert!(matches!(refused, Err(HalError::Stream(StreamError::File { path: of, .. })) if of == path));

    let lab = lab(|spec, _| spec.stdio.stdin = StreamIn::File(path.clone()));
    let mut into = [0; 8];
    let receive = |into: &mut [u8]| lab.call(Call::Receive { stream: Handle::STDIN, into });
    assert_eq!(receive(&mut into), Err(ErrorCode::WouldBlock), "nobody has written yet");
    let ready = || lab.hal.call(Call::Ready { handle: Handle::STDIN, interest: Interest::Readable });
    let (waited, other, mut pipe) = tokio::join!(ready().wait(), ready().wait(), async {
        let mut pipe = std::fs::OpenOptions::new().write(true).open(&path).unwrap();
        pipe.write_all(b"x").unwrap();
        pipe
    });
    assert_eq!((waited, other), (Ok(Reply::Done), Ok(Reply::Done)));
    assert_eq!(receive(&mut into), Ok(Reply::Count(1)));
    assert_eq!(receive(&mut into), Err(ErrorCode::WouldBlock));
    pipe.write_all(b"y").unwrap();
    drop(pipe);
    assert_eq!(receive(&mut into), Ok(Reply::Count(1)));
    assert_eq!(receive(&mut into), Ok(Reply::Count(0)), "nobody writes any more");
}
