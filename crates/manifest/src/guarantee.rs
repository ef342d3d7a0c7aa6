//! One thing a level can promise.

use std::fmt;

use serde::{Deserialize, Serialize};

macro_rules! guarantees {
    ($($name:ident = $text:literal, $what:literal;)*) => {
        /// One thing a level can promise.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[non_exhaustive]
        pub enum Guarantee {
            $(#[doc = $what] #[serde(rename = $text)] $name,)*
        }

        impl Guarantee {
            /// Every guarantee.
            pub const ALL: &'static [Guarantee] = &[$(Guarantee::$name,)*];

            /// The name in manifests and on the command line.
            pub const fn name(self) -> &'static str {
                match self { $(Guarantee::$name => $text,)* }
            }

            /// What it means, in a line.
            pub const fn meaning(self) -> &'static str {
                match self { $(Guarantee::$name => $what,)* }
            }
        }
    };
}

guarantees! {
    MemoryIsolated = "memory-isolated", "reads and writes no memory but its own";
    OwnAddressSpace = "own-address-space", "lives in an address space that holds nothing of the host's";
    OwnKernel = "own-kernel", "its system calls do not reach the host's kernel";
    HardwareBoundary = "hardware-boundary", "the processor separates it from the host";
    MonitorConfined = "monitor-confined", "what runs it has walls of its own: a fault there leads no further";
    MemoryEncrypted = "memory-encrypted", "the host cannot read its memory";
    Attested = "attested", "hardware vouches for what was started";
    FilesystemConfined = "filesystem-confined", "reaches the files its manifest grants and no others";
    NetworkConfined = "network-confined", "reaches the addresses its manifest grants and no others";
    EnvironmentConfined = "environment-confined", "sees no variable of the host";
    SystemCallsConfined = "system-calls-confined", "makes the system calls its profile lets through and no others";
    ProcessesHidden = "processes-hidden", "sees and signals no process of the host";
    KillWorks = "kill-works", "can be stopped at any moment, in guest code and in host calls";
    NothingLeft = "nothing-left", "leaves nothing open or running when it ends";
    DenialsReported = "denials-reported", "everything it is denied is an event";
    MemoryLimit = "memory-limit", "cannot hold more memory than its limit";
    CpuTimeLimit = "cpu-time-limit", "cannot use more processor time than its limit";
    WallTimeLimit = "wall-time-limit", "cannot last longer than its limit";
    CoresLimit = "cores-limit", "cannot use more processors at once than its limit";
    ProcessesLimit = "processes-limit", "cannot have more processes and threads than its limit";
    OpenFilesLimit = "open-files-limit", "cannot hold more open handles than its limit";
    DiskLimit = "disk-limit", "cannot add more to the disk than its limit";
    FileSizeLimit = "file-size-limit", "cannot make a file larger than its limit";
    BandwidthLimit = "bandwidth-limit", "cannot use more network bandwidth than its limit";
    IoOperationsLimit = "io-operations-limit", "cannot do more file and network operations than its limit";
    IoBytesLimit = "io-bytes-limit", "cannot read and write more bytes than its limit";
    OutputLimit = "output-limit", "cannot print more than its limit";
    FuelLimit = "fuel-limit", "executes at most so many instructions, the same number on every machine";
}

impl Guarantee {
    /// The guarantee of that name.
    pub fn from_name(name: &str) -> Option<Guarantee> {
        Self::ALL.iter().copied().find(|guarantee| guarantee.name() == name)
    }

    /// What every capsule is promised without asking: a backend that cannot hold one of these
    /// refuses every capsule.
    pub const ALWAYS: &'static [Guarantee] = &[
        Guarantee::MemoryIsolated,
        Guarantee::FilesystemConfined,
        Guarantee::NetworkConfined,
        Guarantee::EnvironmentConfined,
        Guarantee::KillWorks,
        Guarantee::NothingLeft,
    ];
}

impl fmt::Display for Guarantee {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}
