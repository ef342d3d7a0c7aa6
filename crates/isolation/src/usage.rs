//! What an instance used, and the limits on it.

use std::fmt;
use std::time::Duration;

use ringfence_manifest::{BitRate, Bytes, Cores, Guarantee};
use serde::{Serialize, Serializer};

/// What an instance used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Usage {
    /// Bytes of memory held now.
    pub memory: u64,
    /// The most bytes of memory held at once.
    pub memory_peak: u64,
    /// Processor time.
    #[serde(serialize_with = "seconds")]
    pub cpu_time: Duration,
    /// Time since the start.
    #[serde(serialize_with = "seconds")]
    pub wall_time: Duration,
    /// Handles open now, the standard streams not counted.
    pub open_files: u64,
    /// The most handles open at once.
    pub open_files_peak: u64,
    /// Net growth of everything it can write to, in bytes.
    pub disk: u64,
    /// File and network operations.
    pub io_operations: u64,
    /// Bytes read and written, files and network together.
    pub io_bytes: u64,
    /// Bytes sent and received over the network.
    pub network_bytes: u64,
    /// Bytes printed.
    pub output: u64,
    /// Instructions, when they are counted.
    pub fuel: u64,
}

fn seconds<S: Serializer>(duration: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_f64(duration.as_secs_f64())
}

macro_rules! limit_kinds {
    ($($name:ident = $text:literal, $guarantee:ident;)*) => {
        /// Which limit, by its key in the manifest.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
        pub enum LimitKind {
            $(#[doc = concat!("`limits.", $text, "`")] #[serde(rename = $text)] $name,)*
        }

        impl LimitKind {
            /// Every limit.
            pub const ALL: &'static [LimitKind] = &[$(LimitKind::$name,)*];

            /// The key in the manifest.
            pub const fn name(self) -> &'static str {
                match self { $(LimitKind::$name => $text,)* }
            }

            /// The guarantee that a backend must hold to be given this limit.
            pub const fn guarantee(self) -> Guarantee {
                match self { $(LimitKind::$name => Guarantee::$guarantee,)* }
            }
        }
    };
}

limit_kinds! {
    Memory = "memory", MemoryLimit;
    CpuTime = "cpu_time", CpuTimeLimit;
    WallTime = "wall_time", WallTimeLimit;
    Cores = "cores", CoresLimit;
    Processes = "processes", ProcessesLimit;
    OpenFiles = "open_files", OpenFilesLimit;
    Disk = "disk", DiskLimit;
    FileSize = "file_size", FileSizeLimit;
    Bandwidth = "bandwidth", BandwidthLimit;
    IoOperations = "io_operations", IoOperationsLimit;
    IoBytes = "io_bytes", IoBytesLimit;
    Output = "output", OutputLimit;
    Fuel = "fuel", FuelLimit;
}

impl fmt::Display for LimitKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// A limit that tripped, with the usage measured. Times are in nanoseconds, sizes in bytes, rates
/// in bits per second, cores in thousandths.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Limit {
    /// Which.
    pub limit: LimitKind,
    /// How much was allowed.
    pub allowed: u64,
    /// How much was used, or would have been with the operation that tripped it.
    pub used: u64,
}

impl fmt::Display for Limit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let amount = |value: u64| match self.limit {
            LimitKind::Memory | LimitKind::Disk | LimitKind::FileSize | LimitKind::IoBytes | LimitKind::Output => {
                Bytes(value).to_string()
            }
            LimitKind::CpuTime | LimitKind::WallTime => format!("{:?}", Duration::from_nanos(value)),
            LimitKind::Bandwidth => BitRate(value).to_string(),
            LimitKind::Cores => Cores(u32::try_from(value).unwrap_or(u32::MAX)).to_string(),
            LimitKind::Processes | LimitKind::OpenFiles | LimitKind::IoOperations | LimitKind::Fuel => {
                value.to_string()
            }
        };
        write!(f, "{}: {} used, {} allowed", self.limit, amount(self.used), amount(self.allowed))
    }
}
