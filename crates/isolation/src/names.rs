//! Questions and answers of the domain name system: RFC 1035, section 4.
//!
//! A program that makes system calls asks for names in datagrams. A backend that serves them answers
//! from `Call::Resolve`; this is what it reads and writes.

use std::net::{IpAddr, Ipv4Addr};

/// Where names are answered, for a program.
pub const SERVER: Ipv4Addr = Ipv4Addr::new(127, 53, 53, 53);

const HEADER: usize = 12;
/// The most a message over UDP holds.
pub const MOST: usize = 512;
/// The longest name, in bytes as written.
const LONGEST_NAME: usize = 255;

const TYPE_A: u16 = 1;
const TYPE_AAAA: u16 = 28;
const CLASS_INTERNET: u16 = 1;
/// How long an answer holds, in seconds. It is pinned all the same.
const LIFE: u32 = 60;
/// A reference to the name in the question.
const THE_NAME: u16 = 0xc000 | HEADER as u16;

/// A question for the addresses of a name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Question {
    id: u16,
    recursion: bool,
    /// As it stands in the message, from the name to the class.
    written: Vec<u8>,
    kind: u16,
    /// In lower case, with dots.
    pub name: String,
}

/// What is known of a name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Known {
    /// Its addresses.
    Addresses(Vec<IpAddr>),
    /// There is none by that name, for this capsule.
    Nothing,
    /// Nobody could be asked.
    Failed,
}

impl Question {
    /// Reads a question; `None` for anything else.
    pub fn read(message: &[u8]) -> Option<Self> {
        let (header, rest) = message.split_at_checked(HEADER)?;
        let number = |at: usize| u16::from_be_bytes([header[at], header[at + 1]]);
        let is_query = header[2] & 0xf8 == 0;
        if !is_query || number(4) != 1 {
            return None;
        }
        let mut name = String::new();
        let mut at = 0;
        loop {
            let length = usize::from(*rest.get(at)?);
            at += 1;
            if length == 0 {
                break;
            }
            // The two highest bits would refer elsewhere, which nobody does in a question.
            let label = rest.get(at..at + length).filter(|_| length < 64)?;
            // A dot within a label, or what is no text, is no name of a host.
            if !label.iter().all(|byte| byte.is_ascii_graphic() && *byte != b'.') {
                return None;
            }
            if !name.is_empty() {
                name.push('.');
            }
            name.extend(label.iter().map(|byte| char::from(byte.to_ascii_lowercase())));
            at += length;
            if at > LONGEST_NAME {
                return None;
            }
        }
        let written = rest.get(..at + 4)?;
        let kind = u16::from_be_bytes([written[at], written[at + 1]]);
        let class = u16::from_be_bytes([written[at + 2], written[at + 3]]);
        (class == CLASS_INTERNET && !name.is_empty()).then(|| Question {
            id: number(0),
            recursion: header[2] & 1 != 0,
            written: written.to_vec(),
            kind,
            name,
        })
    }

    /// Whether it asks for addresses at all; to other questions the answer is that there is nothing of
    /// that kind.
    pub fn wants_addresses(&self) -> bool {
        self.kind == TYPE_A || self.kind == TYPE_AAAA
    }

    /// The answer, with as many addresses as fit.
    pub fn answer(&self, known: &Known) -> Vec<u8> {
        let (code, addresses): (u16, &[IpAddr]) = match known {
            Known::Addresses(addresses) => (0, addresses),
            Known::Nothing => (3, &[]),
            Known::Failed => (2, &[]),
        };
        // A response, recursion available; recursion desired as it was asked.
        let flags = 0x8080 | u16::from(self.recursion) << 8 | code;
        let mut answers = Vec::new();
        let mut count: u16 = 0;
        for address in addresses {
            let data: &[u8] = match address {
                IpAddr::V4(ip) if self.kind == TYPE_A => &ip.octets(),
                IpAddr::V6(ip) if self.kind == TYPE_AAAA => &ip.octets(),
                _ => continue,
            };
            if HEADER + self.written.len() + answers.len() + 12 + data.len() > MOST {
                break;
            }
            answers.extend(THE_NAME.to_be_bytes());
            answers.extend(self.kind.to_be_bytes());
            answers.extend(CLASS_INTERNET.to_be_bytes());
            answers.extend(LIFE.to_be_bytes());
            answers.extend((data.len() as u16).to_be_bytes());
            answers.extend(data);
            count += 1;
        }
        let header = [self.id, flags, 1, count, 0, 0];
        let header = header.into_iter().flat_map(u16::to_be_bytes);
        header.chain(self.written.iter().copied()).chain(answers).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A question as a resolver sends it.
    fn question(name: &str, kind: u16) -> Vec<u8> {
        let mut message = vec![0x12, 0x34, 0x01, 0x00, 0, 1, 0, 0, 0, 0, 0, 0];
        for label in name.split('.').filter(|label| !label.is_empty()) {
            message.push(label.len() as u8);
            message.extend(label.bytes());
        }
        message.push(0);
        message.extend(kind.to_be_bytes());
        message.extend([0, 1]);
        message
    }

    #[test]
    fn a_name_is_read_in_lower_case() {
        let read = Question::read(&question("Api.Example.COM", TYPE_A)).unwrap();
        assert_eq!((read.name.as_str(), read.wants_addresses()), ("api.example.com", true));
        assert!(!Question::read(&question("example.com", 15)).unwrap().wants_addresses());
    }

    #[test]
    fn an_answer_holds_the_addresses_of_the_kind_asked_for() {
        let known = Known::Addresses(vec!["192.0.2.1".parse().unwrap(), "2001:db8::1".parse().unwrap()]);
        let asked = question("a.test", TYPE_A);
        let answer = Question::read(&asked).unwrap().answer(&known);
        assert_eq!(answer[..12], [0x12, 0x34, 0x81, 0x80, 0, 1, 0, 1, 0, 0, 0, 0]);
        assert_eq!(answer[12..asked.len()], asked[12..]);
        assert_eq!(answer[asked.len()..], [0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4, 192, 0, 2, 1]);
        let answer = Question::read(&question("a.test", TYPE_AAAA)).unwrap().answer(&known);
        assert_eq!(answer[6..8], [0, 1]);
        assert_eq!(answer[answer.len() - 2..], [0, 1]);
    }

    #[test]
    fn a_name_that_is_nothing_and_one_nobody_knows_are_told_apart() {
        let read = Question::read(&question("a.test", TYPE_A)).unwrap();
        assert_eq!(read.answer(&Known::Nothing)[3] & 15, 3);
        assert_eq!(read.answer(&Known::Failed)[3] & 15, 2);
        assert_eq!(read.answer(&Known::Addresses(Vec::new()))[3] & 15, 0);
    }

    #[test]
    fn an_answer_never_outgrows_a_message() {
        let many = Known::Addresses(vec!["192.0.2.1".parse().unwrap(); 500]);
        let answer = Question::read(&question("a.test", TYPE_A)).unwrap().answer(&many);
        assert!(answer.len() <= MOST && answer.len() > MOST - 16);
    }

    #[test]
    fn what_is_no_question_is_none() {
        let good = question("example.com", TYPE_A);
        for length in 0..good.len() {
            assert_eq!(Question::read(&good[..length]), None, "{length} bytes");
        }
        let change = |at: usize, to: u8| {
            let mut message = good.clone();
            message[at] = to;
            Question::read(&message)
        };
        assert_eq!(change(2, 0x81), None, "an answer");
        assert_eq!(change(5, 2), None, "two questions");
        assert_eq!(change(12, 0xc0), None, "a reference");
        assert_eq!(change(13, b'.'), None, "a dot in a label");
        assert_eq!(change(13, 0), None, "no text");
        assert_eq!(Question::read(&question("", TYPE_A)), None, "the root");
        let long = ["a"; 200].join(".");
        assert_eq!(Question::read(&question(&long, TYPE_A)), None, "too long");
    }
}
