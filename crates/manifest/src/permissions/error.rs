//! Why a text is not a rule.

use crate::text::quoted;

/// Why a text is not a rule of a permission, nor a path in the capsule's tree.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RuleError {
    /// A path that does not begin at the root.
    #[error("{} does not begin with `/`", quoted(.0))]
    RelativePath(String),
    /// A path with `..` in it.
    #[error("{} contains `..`", quoted(.0))]
    ParentInPath(String),
    /// A path no file can have.
    #[error("{} contains a NUL character", quoted(.0))]
    NulInPath(String),
    /// An address or name without ports.
    #[error("{} names no port", quoted(.0))]
    NoPort(String),
    /// A port without an address to listen on.
    #[error("{} names no address", quoted(.0))]
    NoAddress(String),
    /// Something else than a port where a port belongs.
    #[error("{} is not a port from 0 to 65535, a range `8000-8999`, or `*`", quoted(.0))]
    NotAPort(String),
    /// A range of ports whose first is above its last.
    #[error("the range {} runs backwards", quoted(.0))]
    BackwardPorts(String),
    /// Connecting to port 0.
    #[error("{}: nothing can be connected to on port 0", quoted(.0))]
    ConnectToPortZero(String),
    /// A URL where `host:port` belongs.
    #[error("{} is a URL, not `host:port`", quoted(.0))]
    Url(String),
    /// An IPv6 address without its brackets.
    #[error("the IPv6 address in {} is not in brackets", quoted(.0))]
    NoBrackets(String),
    /// Neither an address nor a block of addresses.
    #[error("{} is not an IP address or a block of addresses", quoted(.0))]
    NotAnAddress(String),
    /// A prefix longer than the address.
    #[error("{} has a longer prefix than the {bits} bits of its address", quoted(.text))]
    LongPrefix {
        /// The block as it was written.
        text: String,
        /// The most that is possible.
        bits: u8,
    },
    /// A block whose address has bits set behind its prefix.
    #[error("{} is not the first address of its block", quoted(.text))]
    HostBits {
        /// The block as it was written.
        text: String,
        /// The block it lies in.
        block: String,
    },
    /// A name no host can have.
    #[error("{} is not a host name", quoted(.0))]
    NotAHostName(String),
    /// A host name with other letters than ASCII ones.
    #[error("the host name {} has characters beyond ASCII", quoted(.0))]
    NotAscii(String),
    /// A wildcard somewhere else than as the first label.
    #[error("the `*` in {} is not its whole first label", quoted(.0))]
    Wildcard(String),
    /// A name where only an address can be listened on.
    #[error("{} is a name; only addresses can be listened on", quoted(.0))]
    ListenOnName(String),
    /// A name of a channel that is none.
    #[error("{} is not a channel name, nor a prefix followed by `*`", quoted(.0))]
    NotAChannelName(String),
    /// A name of a variable that is none.
    #[error("{} is not the name of an environment variable", quoted(.0))]
    NotAVariable(String),
}

impl RuleError {
    /// What to write instead.
    pub fn help(&self) -> Option<String> {
        let help = match self {
            RuleError::RelativePath(path) => {
                let path = path.trim_start_matches("./");
                format!("paths here are those of the capsule's own tree: write {}", quoted(&format!("/{path}")))
            }
            RuleError::ParentInPath(_) => "write the path without `..`".into(),
            RuleError::NoPort(host) => {
                format!("write {}, or {} for every port", quoted(&format!("{host}:443")), quoted(&format!("{host}:*")))
            }
            RuleError::NoAddress(port) => {
                let port = port.trim_start_matches(':');
                format!(
                    "write {}, or {} for every address",
                    quoted(&format!("127.0.0.1:{port}")),
                    quoted(&format!("*:{port}"))
                )
            }
            RuleError::BackwardPorts(range) => match range.split_once('-') {
                Some((first, last)) => format!("did you mean {}?", quoted(&format!("{last}-{first}"))),
                None => return None,
            },
            RuleError::Url(url) => format!("write {}", quoted(&host_of_url(url))),
            RuleError::NoBrackets(text) => match text.rsplit_once(':') {
                Some((address, port)) => format!("write {}", quoted(&format!("[{address}]:{port}"))),
                None => return None,
            },
            RuleError::NotAnAddress(_) => "write `10.0.0.0/8:5432` or `[fd00::1]:443`".into(),
            RuleError::HostBits { block, .. } => format!("did you mean {}?", quoted(block)),
            RuleError::NotAHostName(name) if name.is_empty() => "write `host:443`, or `*:443` for any host".into(),
            RuleError::NotAHostName(name) if name.contains(':') => "write the name alone, without a port".into(),
            RuleError::NotAHostName(name) if name.bytes().all(|byte| byte == b'.' || byte.is_ascii_digit()) => {
                "an IPv4 address has four numbers: `127.0.0.1`".into()
            }
            RuleError::NotAscii(_) => "write it in punycode: `xn--…`".into(),
            RuleError::Wildcard(_) => "write `*.example.com` for every name below example.com".into(),
            RuleError::ListenOnName(text) => match text.rsplit_once(':') {
                Some((_, port)) => {
                    format!(
                        "write {}, or {} for every address",
                        quoted(&format!("127.0.0.1:{port}")),
                        quoted(&format!("*:{port}"))
                    )
                }
                None => "write `127.0.0.1:8080`".into(),
            },
            RuleError::NulInPath(_)
            | RuleError::NotAPort(_)
            | RuleError::ConnectToPortZero(_)
            | RuleError::LongPrefix { .. }
            | RuleError::NotAHostName(_)
            | RuleError::NotAChannelName(_)
            | RuleError::NotAVariable(_) => return None,
        };
        Some(help)
    }
}

/// `https://example.com/x` → `example.com:443`.
fn host_of_url(url: &str) -> String {
    let (scheme, rest) = url.split_once("://").unwrap_or(("", url));
    let authority = rest.split(['/', '?', '#']).next().unwrap_or(rest);
    let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
    match (host.rsplit_once(':'), scheme) {
        (Some((_, port)), _) if port.parse::<u16>().is_ok() => host.to_owned(),
        (_, "http" | "ws") => format!("{host}:80"),
        _ => format!("{host}:443"),
    }
}
