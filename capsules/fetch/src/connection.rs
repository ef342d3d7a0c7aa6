//! A TCP connection by host name: of the standard library, or of WASI preview 2.

#[cfg(not(target_os = "wasi"))]
mod platform {
    use std::{
        io::{self, Read, Write},
        net::TcpStream,
    };

    pub struct Connection(TcpStream);

    impl Connection {
        pub fn open(host: &str, port: u16) -> io::Result<Self> {
            TcpStream::connect((host, port)).map(Self)
        }
    }

    impl Read for Connection {
        fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
            self.0.read(bytes)
        }
    }

    impl Write for Connection {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            self.0.flush()
        }
    }
}

#[cfg(target_os = "wasi")]
#[path = "wasi.rs"]
mod platform;

pub use platform::Connection;
