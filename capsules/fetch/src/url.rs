//! The few URLs this program understands: `http://HOST[:PORT][/PATH]`.

use std::io;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Url {
    /// Without the brackets of an IPv6 address.
    pub host: String,
    pub port: u16,
    /// Path and query; begins with `/`.
    pub path: String,
}

impl Url {
    pub fn parse(text: &str) -> io::Result<Self> {
        let invalid = |why: &str| io::Error::new(io::ErrorKind::InvalidInput, why.to_owned());
        if text.bytes().any(|byte| byte.is_ascii_control() || byte == b' ') {
            return Err(invalid("a URL has no spaces or control characters"));
        }
        let rest = text.strip_prefix("http://").ok_or_else(|| invalid("only http:// is supported"))?;
        let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
        let (authority, rest) = rest.split_at(end);
        if authority.contains('@') {
            return Err(invalid("a URL with a user name is not supported"));
        }
        let after_address = authority.rfind(']').map_or(0, |bracket| bracket + 1);
        let (host, port) = match authority[after_address..].rfind(':') {
            Some(colon) => {
                let (host, port) = authority.split_at(after_address + colon);
                (host, port[1..].parse().map_err(|_| invalid("not a port number"))?)
            }
            None => (authority, 80),
        };
        let host = host.trim_start_matches('[').trim_end_matches(']');
        if host.is_empty() {
            return Err(invalid("the URL names no host"));
        }
        let path = rest.split('#').next().unwrap_or_default();
        let slash = if path.starts_with('/') { "" } else { "/" };
        Ok(Self { host: host.to_owned(), port, path: format!("{slash}{path}") })
    }

    /// Where a redirect leads: a whole URL, a path from the root, or a path beside this one.
    pub fn join(&self, location: &str) -> io::Result<Self> {
        if location.contains("://") {
            return Self::parse(location);
        }
        let folder = match location.starts_with('/') {
            true => "",
            false => {
                let path = self.path.split('?').next().unwrap_or_default();
                &path[..path.rfind('/').map_or(0, |slash| slash + 1)]
            }
        };
        Self::parse(&format!("http://{}{folder}{location}", self.authority()))
    }

    /// `HOST[:PORT]` as the `Host` header wants it.
    pub fn authority(&self) -> String {
        let host = match self.host.contains(':') {
            true => format!("[{}]", self.host),
            false => self.host.clone(),
        };
        if self.port == 80 { host } else { format!("{host}:{}", self.port) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts(text: &str) -> (String, u16, String) {
        let url = Url::parse(text).expect("a URL");
        (url.host, url.port, url.path)
    }

    #[test]
    fn host_port_and_path_are_told_apart() {
        assert_eq!(parts("http://a.b"), ("a.b".into(), 80, "/".into()));
        assert_eq!(parts("http://a:81/b?c#d"), ("a".into(), 81, "/b?c".into()));
        assert_eq!(parts("http://a?b"), ("a".into(), 80, "/?b".into()));
        assert_eq!(parts("http://[::1]:8080/x"), ("::1".into(), 8080, "/x".into()));
        assert_eq!(parts("http://[::1]"), ("::1".into(), 80, "/".into()));
    }

    #[test]
    fn what_could_smuggle_a_header_or_another_host_is_refused() {
        for text in ["http://a/\r\nX: y", "http://a/ b", "http://a@b/", "https://a/", "http://:80/", "a/b"] {
            assert!(Url::parse(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn redirects_are_taken_relative_to_the_page() {
        let url = Url::parse("http://a:81/b/c?d=/e").expect("a URL");
        assert_eq!(url.join("f").expect("a URL").path, "/b/f");
        assert_eq!(url.join("/f").expect("a URL").path, "/f");
        assert_eq!(url.join("http://g/").expect("a URL").authority(), "g");
        assert_eq!(url.join("f").expect("a URL").authority(), "a:81");
    }
}
