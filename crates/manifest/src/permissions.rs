//! What a capsule may do: rules as data, and the one place that matches against them.
//!
//! Everything that is not granted by a rule is denied. The two exceptions are `clock` and `random`,
//! which show nothing of the host and are on unless the manifest says `false`.

use std::net::IpAddr;

use serde::Serialize;

/// The name of a permission, as it stands in the manifest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[non_exhaustive]
pub enum Permission {
    /// `fs.read`: read the content and metadata of files.
    #[serde(rename = "fs.read")]
    FsRead,
    /// `fs.write`: change the content of existing files.
    #[serde(rename = "fs.write")]
    FsWrite,
    /// `fs.create`: make new files, folders and links.
    #[serde(rename = "fs.create")]
    FsCreate,
    /// `fs.delete`: remove names.
    #[serde(rename = "fs.delete")]
    FsDelete,
    /// `fs.list`: enumerate folders.
    #[serde(rename = "fs.list")]
    FsList,
    /// `net.connect`: open connections, send datagrams.
    #[serde(rename = "net.connect")]
    NetConnect,
    /// `net.listen`: accept connections, receive datagrams.
    #[serde(rename = "net.listen")]
    NetListen,
    /// `net.resolve`: look up names beyond those `net.connect` lists.
    #[serde(rename = "net.resolve")]
    NetResolve,
    /// `env`: see variables of the host.
    #[serde(rename = "env")]
    Env,
    /// `args`: take arguments from the command line beside those of the manifest.
    #[serde(rename = "args")]
    Args,
    /// `clock`
    #[serde(rename = "clock")]
    Clock,
    /// `random`
    #[serde(rename = "random")]
    Random,
    /// `channel.send`
    #[serde(rename = "channel.send")]
    ChannelSend,
    /// `channel.receive`
    #[serde(rename = "channel.receive")]
    ChannelReceive,
    /// `log`
    #[serde(rename = "log")]
    Log,
}

/// Where a list of rules was written, for messages: `capsule.toml:14`, or the flag.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(transparent)]
pub struct Source(pub String);

/// All permissions of one capsule.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Permissions {
    /// `fs.*`
    pub files: FilePermissions,
    /// `net.*`
    pub network: NetworkPermissions,
    /// `env`: variables of the host the capsule sees (their values are in `Spec::environment`).
    pub environment: Vec<EnvironmentRule>,
    /// `args`
    pub args: bool,
    /// `clock`
    pub clock: bool,
    /// `random`
    pub random: bool,
    /// `channel.send`: names, `*` at the end matches any rest.
    pub channel_send: Vec<NamePattern>,
    /// `channel.receive`
    pub channel_receive: Vec<NamePattern>,
    /// `log`
    pub log: bool,
    /// Where each permission was written, for those that were.
    pub sources: std::collections::BTreeMap<Permission, Source>,
    /// Grant every file operation inside the tree and every network operation but those to special
    /// addresses, and let the caller record what was used. Only ever set by `--learn`.
    pub learn: bool,
}

/// `fs.*`: each a list of path prefixes in the capsule's own tree.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct FilePermissions {
    /// `fs.read`
    pub read: Vec<PathRule>,
    /// `fs.write`
    pub write: Vec<PathRule>,
    /// `fs.create`
    pub create: Vec<PathRule>,
    /// `fs.delete`
    pub delete: Vec<PathRule>,
    /// `fs.list`
    pub list: Vec<PathRule>,
}

/// A path prefix: covers the path itself and everything below it, by whole components. Absolute,
/// without `.`, `..` or empty components; `/` covers everything.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(transparent)]
pub struct PathRule(pub String);

/// `net.*`
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct NetworkPermissions {
    /// `net.connect`
    pub connect: Vec<ConnectRule>,
    /// `net.listen`
    pub listen: Vec<ListenRule>,
    /// `net.resolve`
    pub resolve: Vec<HostPattern>,
}

/// `host:ports`: who may be connected to.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize)]
pub struct ConnectRule {
    /// Whom.
    pub host: HostRule,
    /// On which ports.
    pub ports: Ports,
}

/// `address:ports`: where may be listened.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize)]
pub struct ListenRule {
    /// The local address, as a network; `0.0.0.0` and `::` match exactly these unspecified addresses.
    pub address: IpAddr,
    /// How many leading bits count.
    pub prefix: u8,
    /// On which ports; port 0 (the system chooses) is matched by a rule that has port 0 or `*`.
    pub ports: Ports,
}

/// The host part of a connect rule.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum HostRule {
    /// A name, or a wildcard for names.
    Name(HostPattern),
    /// An address (`prefix` is its full length) or a CIDR block.
    Network {
        /// The address.
        address: IpAddr,
        /// How many leading bits count.
        prefix: u8,
    },
    /// `*`: any name and any address that is not special.
    Any,
}

/// A host name in lower case without a trailing dot, or `*.example.com`, which matches every name
/// below `example.com` but not `example.com` itself.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(transparent)]
pub struct HostPattern(pub String);

/// Ports: all of them, or an inclusive range.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
pub struct Ports {
    /// The first.
    pub first: u16,
    /// The last.
    pub last: u16,
}

/// A name, or a prefix followed by `*`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(transparent)]
pub struct NamePattern(pub String);

/// The name of a variable of the host.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(transparent)]
pub struct EnvironmentRule(pub String);

/// A block of addresses that stand for something other than a host on the public internet
/// (IANA special-purpose registries, RFC 6890), or for a cloud's metadata service.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Block {
    /// 0.0.0.0/8, ::
    Unspecified,
    /// 127.0.0.0/8, ::1
    Loopback,
    /// 169.254.0.0/16, fe80::/10: also where clouds keep their metadata service.
    LinkLocal,
    /// 10/8, 172.16/12, 192.168/16, 100.64/10, fc00::/7
    Private,
    /// 224.0.0.0/4, ff00::/8
    Multicast,
    /// 255.255.255.255
    Broadcast,
    /// What else is reserved, documentation and translation prefixes included.
    Reserved,
}
