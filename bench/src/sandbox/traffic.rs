//! Bytes over a connection that the manifest grants: 1 GiB from a server on loopback.

use std::io::Write;
use std::net::TcpListener;
use std::process::Command;

use ringfence::StreamOut;

use crate::ratio::report;

const BYTES: usize = 1 << 30;
const ROUNDS: usize = 5;

pub(super) fn run() {
    let folder = tempfile::tempdir().expect("a folder for temporary files");
    let Some(program) = super::compiled("transfer", folder.path()) else { return };
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port on loopback");
    let port = listener.local_addr().expect("it has an address").port().to_string();
    let allowed = format!("net.connect=127.0.0.1:{port}");
    let Some((tokio, capsule, _folder)) =
        super::capsule_allowed(&program.to_string_lossy(), &[&port], StreamOut::Capture, &[&allowed])
    else {
        return;
    };
    let mut best = [f64::MAX; 2];
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let block = vec![b'x'; 1 << 18];
            for _ in 0..2 * ROUNDS {
                let (mut line, _) = listener.accept().expect("the program connects");
                for _ in 0..BYTES / block.len() {
                    line.write_all(&block).expect("the program reads");
                }
            }
        });
        for _ in 0..ROUNDS {
            let inside = tokio.block_on(capsule.run()).expect("it starts").stdout.expect("it is kept");
            let outside = Command::new(&program).arg(&port).output().expect("it starts").stdout;
            for (best, printed) in best.iter_mut().zip([inside, outside]) {
                let printed = String::from_utf8_lossy(&printed).into_owned();
                let (bytes, seconds) = printed.trim().split_once(' ').expect("bytes and seconds");
                assert_eq!(bytes.parse(), Ok(BYTES), "every byte has to arrive");
                *best = best.min(seconds.parse().expect("a number"));
            }
        }
    });
    let shown = |seconds: f64| format!("{:.2} GiB/s", 1.0 / seconds);
    report("1 GiB over a granted connection", &shown(best[0]), "outside", &shown(best[1]), best[0] / best[1]);
}
