//! The part of the host that a case sees, and the part that it must not.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, TcpListener, UdpSocket};
use std::os::unix::fs::symlink;
use std::path::PathBuf;
use std::{fs, thread};

use rustix::fs::{CWD, FileType, Mode, mknodat};
use tempfile::TempDir;

/// What stands in the file no case may ever read.
pub(crate) const SECRET: &str = "the secret outside\n";

/// A fresh part of the host for one case:
///
/// ```text
/// data/       mounted at /data, read-write      fixed/      mounted at /fixed, read-only
///   in.txt      "inside"                          fixed.txt   "fixed"
///   sub/nested.txt                              outside/    not mounted
///   links of every hostile kind                   key.txt     the secret
/// ```
pub struct Place {
    folder: TempDir,
    /// The port of a TCP echo server on 127.0.0.1.
    pub tcp: u16,
    /// The port of a UDP echo server on 127.0.0.1.
    pub udp: u16,
    /// A port of 127.0.0.1 that refuses connections.
    pub closed: u16,
}

impl Place {
    /// Makes the files and starts the echo servers.
    ///
    /// # Errors
    /// When the host does not let it.
    pub fn new() -> io::Result<Self> {
        let folder = tempfile::tempdir()?;
        let path = folder.path();
        for name in ["data/sub", "data/empty", "fixed", "outside", "home"] {
            fs::create_dir_all(path.join(name))?;
        }
        fs::write(path.join("data/in.txt"), "inside\n")?;
        fs::write(path.join("data/sub/nested.txt"), "nested\n")?;
        fs::write(path.join("fixed/fixed.txt"), "fixed\n")?;
        fs::write(path.join("outside/key.txt"), SECRET)?;
        let link = |target: &str, name: &str| symlink(target, path.join("data").join(name));
        link("in.txt", "good")?;
        link("/data/sub/nested.txt", "good_absolute")?;
        link("/etc/shadow", "absolute")?;
        link("../outside/key.txt", "up")?;
        link("sub/../../outside/key.txt", "up_by_the_side")?;
        link("/proc/self/root/etc/shadow", "magic")?;
        link("/proc/self/cwd", "magic_folder")?;
        link("loop", "loop")?;
        symlink(path.join("outside"), path.join("data/outside"))?;
        mknodat(CWD, path.join("data/pipe"), FileType::Fifo, Mode::from_raw_mode(0o666), 0)?;
        let (tcp, udp) = (echo_tcp()?, echo_udp()?);
        let closed = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port();
        Ok(Place { folder, tcp, udp, closed })
    }

    /// A path on the host.
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// What a file on the host holds.
    ///
    /// # Panics
    /// When it cannot be read.
    pub fn text(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
    }

    /// Puts the ports into a text.
    pub fn fill(&self, text: &str) -> String {
        text.replace("{tcp}", &self.tcp.to_string())
            .replace("{udp}", &self.udp.to_string())
            .replace("{closed}", &self.closed.to_string())
    }

    /// What must hold after every case, whatever it did.
    ///
    /// # Errors
    /// What does not hold.
    pub fn untouched(&self) -> Result<(), String> {
        if self.text("outside/key.txt") != SECRET {
            return Err("the file outside was changed".into());
        }
        if self.text("fixed/fixed.txt") != "fixed\n" {
            return Err("the file in the read-only mount was changed".into());
        }
        for (folder, count) in [("outside", 1), ("fixed", 1)] {
            let found = fs::read_dir(self.path(folder)).map_err(|error| error.to_string())?.count();
            if found != count {
                return Err(format!("{folder} has {found} entries now"));
            }
        }
        Ok(())
    }
}

/// Serves connections until the process ends; each is given up after a bounded number of bytes.
fn echo_tcp() -> io::Result<u16> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let port = listener.local_addr()?.port();
    thread::spawn(move || {
        for stream in listener.incoming().take(64).flatten() {
            thread::spawn(move || {
                let mut text = Vec::new();
                let _ = (&stream).take(1 << 20).read_to_end(&mut text);
                let _ = (&stream).write_all(&text);
            });
        }
    });
    Ok(port)
}

fn echo_udp() -> io::Result<u16> {
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
    let port = socket.local_addr()?.port();
    thread::spawn(move || {
        let mut buffer = [0; 2048];
        for _ in 0..64 {
            let Ok((count, from)) = socket.recv_from(&mut buffer) else { return };
            let _ = socket.send_to(&buffer[..count], from);
        }
    });
    Ok(port)
}
