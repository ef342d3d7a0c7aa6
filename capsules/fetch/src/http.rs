//! One request and its response.

use std::io::{self, BufRead, BufReader, Read, Write};

use crate::{connection::Connection, url::Url};

/// A head longer than this is an attack on the memory of whoever reads it.
const LONGEST_HEAD: u64 = 64 << 10;

/// Bodies pass through in pieces of this size.
const PIECE: u64 = 16 << 10;

pub struct Response<R> {
    pub status: u16,
    /// Status line and headers as they came.
    pub head: String,
    body: R,
}

pub fn get(url: &Url) -> io::Result<Response<BufReader<Connection>>> {
    let mut connection = Connection::open(&url.host, url.port)?;
    let request = format!(
        "GET {} HTTP/1.1\r\nHost: {}\r\nUser-Agent: fetch/{}\r\nAccept: */*\r\nConnection: close\r\n\r\n",
        url.path,
        url.authority(),
        env!("CARGO_PKG_VERSION"),
    );
    connection.write_all(request.as_bytes())?;
    Response::read(BufReader::new(connection))
}

impl<R: BufRead> Response<R> {
    /// Reads the head; the body stays in `body`. Interim responses (100 to 199) are passed over.
    fn read(mut body: R) -> io::Result<Self> {
        loop {
            let head = head(&mut body)?;
            let status = status(&head).ok_or_else(|| broken("this is not HTTP"))?;
            if !(100..200).contains(&status) {
                return Ok(Self { status, head, body });
            }
        }
    }

    pub fn is_success(&self) -> bool {
        (200..300).contains(&self.status)
    }

    pub fn redirect(&self) -> Option<&str> {
        matches!(self.status, 301 | 302 | 303 | 307 | 308).then(|| self.header("location"))?
    }

    fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().skip(1).find_map(|line| {
            let (found, value) = line.split_once(':')?;
            found.eq_ignore_ascii_case(name).then(|| value.trim())
        })
    }

    pub fn copy_body(&mut self, to: &mut dyn Write) -> io::Result<()> {
        let chunked = self.header("transfer-encoding").is_some_and(|value| {
            value.rsplit(',').next().is_some_and(|last| last.trim().eq_ignore_ascii_case("chunked"))
        });
        let length = self.header("content-length").map(str::parse);
        match length {
            _ if matches!(self.status, 204 | 304) => Ok(()),
            _ if chunked => copy_chunks(&mut self.body, to),
            Some(Ok(length)) => copy_exactly(&mut self.body, to, length),
            Some(Err(_)) => Err(broken("the length of the body is not a number")),
            None => io::copy(&mut self.body, to).map(drop),
        }
    }
}

/// Everything up to the first empty line.
fn head(from: &mut impl BufRead) -> io::Result<String> {
    let mut from = from.take(LONGEST_HEAD);
    let mut head = Vec::new();
    loop {
        let start = head.len();
        if from.read_until(b'\n', &mut head)? == 0 {
            return Err(broken("the head of the response does not end"));
        }
        if head[start..].trim_ascii().is_empty() {
            return Ok(String::from_utf8_lossy(&head).into_owned());
        }
    }
}

fn status(head: &str) -> Option<u16> {
    let rest = head.strip_prefix("HTTP/1.")?;
    rest.split_ascii_whitespace().nth(1)?.parse().ok().filter(|status| (100..600).contains(status))
}

fn copy_exactly(from: &mut impl BufRead, to: &mut dyn Write, length: u64) -> io::Result<()> {
    let mut piece = Vec::with_capacity(length.min(PIECE) as usize);
    let mut left = length;
    while left > 0 {
        piece.clear();
        let read = from.take(left.min(PIECE)).read_to_end(&mut piece)?;
        if read == 0 {
            return Err(broken("the connection ended before the document did"));
        }
        to.write_all(&piece)?;
        left -= read as u64;
    }
    Ok(())
}

fn copy_chunks(from: &mut impl BufRead, to: &mut dyn Write) -> io::Result<()> {
    loop {
        let line = line(from)?;
        let digits = line.split(';').next().unwrap_or_default().trim();
        let well_formed = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_hexdigit());
        let length = u64::from_str_radix(digits, 16).ok().filter(|_| well_formed);
        match length.ok_or_else(|| broken("a chunk has no length"))? {
            0 => {
                while !self::line(from)?.is_empty() {}
                return Ok(());
            }
            length => copy_exactly(from, to, length)?,
        }
        if !self::line(from)?.is_empty() {
            return Err(broken("a chunk is longer than it says"));
        }
    }
}

/// One line of the chunked coding, without its end.
fn line(from: &mut impl BufRead) -> io::Result<String> {
    let mut line = Vec::new();
    from.take(4096).read_until(b'\n', &mut line)?;
    if line.last() != Some(&b'\n') {
        return Err(broken("the connection ended before the document did"));
    }
    Ok(String::from_utf8_lossy(&line).trim_end().to_owned())
}

fn broken(why: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, why)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn body(response: &str) -> io::Result<String> {
        let mut body = Vec::new();
        Response::read(response.as_bytes())?.copy_body(&mut body)?;
        Ok(String::from_utf8(body).expect("text"))
    }

    #[test]
    fn a_body_ends_with_its_length_its_last_chunk_or_the_connection() {
        assert_eq!(body("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nabc").expect("a body"), "ab");
        assert_eq!(body("HTTP/1.0 200 OK\r\n\r\nabc").expect("a body"), "abc");
        let chunks = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3;x=y\r\nabc\r\n1\r\nd\r\n0\r\nA: b\r\n\r\n";
        assert_eq!(body(chunks).expect("a body"), "abcd");
    }

    #[test]
    fn a_body_that_is_cut_short_is_an_error() {
        assert!(body("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nabc").is_err());
        assert!(body("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n").is_err());
        assert!(body("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n+3\r\nabc\r\n0\r\n\r\n").is_err());
        assert!(body("HTTP/1.1 200 OK\r\nContent-Length: 4").is_err());
    }

    #[test]
    fn interim_responses_are_passed_over() {
        assert_eq!(body("HTTP/1.1 103 Hints\r\nA: b\r\n\r\nHTTP/1.1 200 OK\r\n\r\nx").expect("a body"), "x");
    }

    #[test]
    fn a_head_without_end_is_refused() {
        let endless = format!("HTTP/1.1 200 OK\r\n{}", "A: b\r\n".repeat(20_000));
        assert!(Response::read(endless.as_bytes()).is_err());
        assert!(Response::read(&b"SSH-2.0-x\r\n\r\n"[..]).is_err());
    }
}
