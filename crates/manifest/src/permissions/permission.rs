//! The names of the permissions.

use std::fmt;

use serde::Serialize;

macro_rules! permissions {
    ($($(#[$doc:meta])* $name:ident = $text:literal;)*) => {
        /// The name of a permission, as it stands in the manifest.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
        #[non_exhaustive]
        pub enum Permission {
            $($(#[$doc])* #[serde(rename = $text)] $name,)*
        }

        impl Permission {
            /// Every permission.
            pub const ALL: &'static [Permission] = &[$(Permission::$name,)*];

            /// The name in manifests and on the command line.
            pub const fn name(self) -> &'static str {
                match self { $(Permission::$name => $text,)* }
            }
        }
    };
}

permissions! {
    /// `fs.read`: read the content and metadata of files.
    FsRead = "fs.read";
    /// `fs.write`: change the content of existing files.
    FsWrite = "fs.write";
    /// `fs.create`: make new files, folders and links.
    FsCreate = "fs.create";
    /// `fs.delete`: remove names.
    FsDelete = "fs.delete";
    /// `fs.list`: enumerate folders.
    FsList = "fs.list";
    /// `net.connect`: open connections, send datagrams.
    NetConnect = "net.connect";
    /// `net.listen`: accept connections, receive datagrams.
    NetListen = "net.listen";
    /// `net.resolve`: look up names beyond those `net.connect` lists.
    NetResolve = "net.resolve";
    /// `env`: see variables of the host.
    Env = "env";
    /// `args`: take arguments from the command line beside those of the manifest.
    Args = "args";
    /// `clock`
    Clock = "clock";
    /// `random`
    Random = "random";
    /// `channel.send`
    ChannelSend = "channel.send";
    /// `channel.receive`
    ChannelReceive = "channel.receive";
    /// `log`
    Log = "log";
}

impl Permission {
    /// The permission of that name.
    pub fn from_name(name: &str) -> Option<Permission> {
        Self::ALL.iter().copied().find(|permission| permission.name() == name)
    }

    /// Whether it is on or off, rather than a list of rules.
    pub const fn is_switch(self) -> bool {
        matches!(self, Permission::Args | Permission::Clock | Permission::Random | Permission::Log)
    }
}

impl fmt::Display for Permission {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}
