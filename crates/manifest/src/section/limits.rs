//! `[limits]`: how much of each resource.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::diagnostic::Problems;
use crate::document::Raw;
use crate::section::{Fields, Section};
use crate::shape::{Key, Quantity, Shape};
use crate::suggestion::closest;
use crate::text::{quoted, string};
use crate::units::{read_count, read_duration, write_duration, write_rate, write_size};
use crate::written::Place;
use crate::{BitRate, Bytes, Cores, Guarantee, QuantityError};

/// A quantity that can be a limit.
trait Amount: Sized {
    const QUANTITY: &'static Quantity;
    fn read(text: &str) -> Result<Self, QuantityError>;
    /// As TOML.
    fn write(&self) -> String;
    fn is_zero(&self) -> bool;
}

macro_rules! limits {
    ($($name:ident: $amount:ty, $guarantee:ident, $zero:ident, $about:literal;)*) => {
        pub(crate) static SECTION: Section = Section {
            name: "limits",
            about: "How much of each resource it may use. What is not written, or is \"none\", has no limit; of what is not written, memory and open files have one.",
            keys: &[$(Key::optional(stringify!($name), Shape::Quantity(<$amount as Amount>::QUANTITY), $about)),*],
            rest: None,
        };

        impl crate::Limits {
            /// What has to be held for the limits that are set.
            pub fn guarantees(&self) -> BTreeSet<Guarantee> {
                let mut guarantees = BTreeSet::new();
                $(if self.$name.is_some() { guarantees.insert(Guarantee::$guarantee); })*
                guarantees
            }
        }

        impl Limits {
            /// Sets the value of a key, from the manifest or a flag. It has the key's shape.
            pub(crate) fn set(&mut self, name: &str, raw: Raw, problems: &mut Problems<'_>) {
                match name {
                    $(stringify!($name) if raw.is_text(NONE) => {
                        self.values.$name = None;
                        self.places.insert(stringify!($name), raw.place);
                        self.lifted.insert(stringify!($name));
                    })*
                    $(stringify!($name) => if let Some(amount) = amount(raw, Zero::$zero, problems) {
                        let (amount, place): ($amount, Place) = amount;
                        self.values.$name = Some(amount);
                        self.lifted.remove(stringify!($name));
                        self.places.insert(stringify!($name), place);
                    })*
                    _ => {}
                }
            }

            pub(crate) fn write(&self, toml: &mut String) {
                let mut lines = String::new();
                $(if let Some(amount) = &self.values.$name {
                    lines.push_str(&format!("{} = {}\n", stringify!($name), amount.write()));
                })*
                for name in &self.lifted {
                    lines.push_str(&format!("{name} = {}\n", string(NONE)));
                }
                if !lines.is_empty() {
                    toml.push_str(&format!("\n[limits]\n{lines}"));
                }
            }
        }
    };
}

limits! {
    memory: Bytes, MemoryLimit, Refused, "memory held at once; by default 1 GiB";
    cpu_time: Duration, CpuTimeLimit, Refused, "processor time over the whole run";
    wall_time: Duration, WallTimeLimit, Refused, "time from start to end";
    cores: Cores, CoresLimit, Refused, "processors at once: `1`, `0.5`";
    processes: u64, ProcessesLimit, Refused, "processes and threads at once";
    open_files: u64, OpenFilesLimit, Allowed, "open handles at once; by default 1024";
    disk: Bytes, DiskLimit, Allowed, "net growth of everything it can write to";
    file_size: Bytes, FileSizeLimit, Allowed, "size of any one file";
    bandwidth: BitRate, BandwidthLimit, Refused, "network traffic, both directions together";
    io_operations: u64, IoOperationsLimit, Allowed, "file and network operations over the whole run";
    io_bytes: Bytes, IoBytesLimit, Allowed, "bytes read and written, files and network together, over the whole run";
    output: Bytes, OutputLimit, Allowed, "bytes printed, standard output and error together";
    fuel: u64, FuelLimit, Refused, "instructions over the whole run, in the engine's own unit";
}

/// `[limits]`. Two are equal when they limit the same.
#[derive(Clone, Debug, Default)]
pub struct Limits {
    /// The limits that were written.
    pub values: crate::Limits,
    /// Where each was written, by the name of its key.
    pub places: BTreeMap<&'static str, Place>,
    /// Those that were written to be none, by the names of their keys: they have no default either.
    pub lifted: BTreeSet<&'static str>,
}

/// In the place of an amount: no limit, not even the default.
const NONE: &str = "none";

impl PartialEq for Limits {
    fn eq(&self, other: &Self) -> bool {
        self.values == other.values && self.lifted == other.lifted
    }
}

impl Eq for Limits {}

impl Limits {
    pub(crate) fn read(fields: Fields, problems: &mut Problems<'_>) -> Self {
        let mut limits = Limits::default();
        for (name, raw) in fields.rest() {
            limits.set(&name.value, raw, problems);
        }
        limits
    }

    /// Sets what the text of `--limit` says: `memory=64MiB`.
    pub(crate) fn set_flag(&mut self, text: &str, place: &Place, problems: &mut Problems<'_>) {
        let (name, value) = text.split_once('=').unwrap_or((text, ""));
        let names = || SECTION.keys.iter().map(|key| key.name);
        match SECTION.key(name) {
            Some(_) => self.set(name, Raw::text(value, place.clone()), problems),
            None => {
                let help = match closest(name, names()) {
                    Some(near) => format!("did you mean `{near}`?"),
                    None => format!("the limits are {}", names().collect::<Vec<_>>().join(", ")),
                };
                problems.report(place, format!("there is no limit {}", quoted(name)), Some(help));
            }
        }
    }

    /// The limits that hold, and the names of those that nobody wrote.
    pub(crate) fn with_defaults(&self) -> (crate::Limits, BTreeSet<&'static str>) {
        let mut limits = self.values.clone();
        let mut defaults = BTreeSet::new();
        if limits.memory.is_none() && !self.lifted.contains("memory") {
            limits.memory = Some(Bytes(1 << 30));
            defaults.insert("memory");
        }
        if limits.open_files.is_none() && !self.lifted.contains("open_files") {
            limits.open_files = Some(1024);
            defaults.insert("open_files");
        }
        (limits, defaults)
    }
}

/// Whether a limit of nothing makes sense.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Zero {
    Allowed,
    Refused,
}

fn amount<A: Amount>(raw: Raw, zero: Zero, problems: &mut Problems<'_>) -> Option<(A, Place)> {
    let text = raw.into_quantity()?;
    let amount = super::parsed(&text, A::read(&text.value), QuantityError::help, problems)?;
    if zero == Zero::Refused && amount.is_zero() {
        problems.report(&text.place, "with a limit of 0 nothing can run", Some("write more, or leave it out".into()));
        return None;
    }
    Some((amount, text.place))
}

impl Amount for Bytes {
    const QUANTITY: &'static Quantity = &Quantity {
        what: "a size such as \"64 MiB\"",
        pattern: r"^[0-9][0-9_]*(\.[0-9]+)? ?([kMGT]?B|[KMGT]iB)?$",
        number: Some("integer"),
    };

    fn read(text: &str) -> Result<Self, QuantityError> {
        text.parse()
    }

    fn write(&self) -> String {
        string(&write_size(*self))
    }

    fn is_zero(&self) -> bool {
        self.0 == 0
    }
}

impl Amount for Duration {
    const QUANTITY: &'static Quantity = &Quantity {
        what: "a duration such as \"1m30s\"",
        pattern: r"^([0-9][0-9_]*(\.[0-9]+)? ?(ns|us|µs|ms|s|m|h|d) ?)+$",
        number: None,
    };

    fn read(text: &str) -> Result<Self, QuantityError> {
        read_duration(text)
    }

    fn write(&self) -> String {
        string(&write_duration(*self))
    }

    fn is_zero(&self) -> bool {
        Duration::is_zero(self)
    }
}

impl Amount for BitRate {
    const QUANTITY: &'static Quantity = &Quantity {
        what: "a rate such as \"10 Mbit/s\"",
        pattern: r"^[0-9][0-9_]*(\.[0-9]+)? ?([kMG]?(bit|B)|[KMG]iB)/s$",
        number: None,
    };

    fn read(text: &str) -> Result<Self, QuantityError> {
        text.parse()
    }

    fn write(&self) -> String {
        string(&write_rate(*self))
    }

    fn is_zero(&self) -> bool {
        self.0 == 0
    }
}

impl Amount for Cores {
    const QUANTITY: &'static Quantity = &Quantity {
        what: "a number of processors such as 1 or 0.5",
        pattern: r"^[0-9][0-9_]*(\.[0-9]+)?$",
        number: Some("number"),
    };

    fn read(text: &str) -> Result<Self, QuantityError> {
        text.parse()
    }

    fn write(&self) -> String {
        self.to_string()
    }

    fn is_zero(&self) -> bool {
        self.0 == 0
    }
}

impl Amount for u64 {
    const QUANTITY: &'static Quantity =
        &Quantity { what: "a whole number", pattern: r"^[0-9][0-9_]*$", number: Some("integer") };

    fn read(text: &str) -> Result<Self, QuantityError> {
        read_count(text)
    }

    fn write(&self) -> String {
        // TOML's integers end before those of 64 bits do.
        if i64::try_from(*self).is_ok() { self.to_string() } else { string(&self.to_string()) }
    }

    fn is_zero(&self) -> bool {
        *self == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_limit_needs_its_own_guarantee() {
        let limits = crate::Limits { fuel: Some(1), disk: Some(Bytes(0)), ..crate::Limits::default() };
        assert_eq!(limits.guarantees(), BTreeSet::from([Guarantee::FuelLimit, Guarantee::DiskLimit]));
    }

    #[test]
    fn a_limit_that_is_none_has_no_default_and_can_be_set_again() {
        let mut problems = Problems::new("capsule.toml", "");
        let mut limits = Limits::default();
        let place = Place::Nowhere;
        limits.set_flag("memory=none", &place, &mut problems);
        limits.set_flag("cpu_time=1s", &place, &mut problems);
        limits.set_flag("cpu_time=none", &place, &mut problems);
        let (found, defaults) = limits.with_defaults();
        assert_eq!((found.memory, found.cpu_time, found.open_files), (None, None, Some(1024)));
        assert_eq!(defaults, BTreeSet::from(["open_files"]));
        let mut written = String::new();
        limits.write(&mut written);
        assert_eq!(written, "\n[limits]\ncpu_time = \"none\"\nmemory = \"none\"\n");
        limits.set_flag("memory=1MiB", &place, &mut problems);
        assert_eq!(limits.with_defaults().0.memory, Some(Bytes(1 << 20)));
        assert!(problems.finish(Some(())).is_ok());
    }

    #[test]
    fn there_is_a_key_for_each_limit() {
        let all = crate::Limits {
            memory: Some(Bytes(1)),
            cpu_time: Some(Duration::from_secs(1)),
            wall_time: Some(Duration::from_secs(1)),
            cores: Some(Cores(1)),
            processes: Some(1),
            open_files: Some(1),
            disk: Some(Bytes(1)),
            file_size: Some(Bytes(1)),
            bandwidth: Some(BitRate(1)),
            io_operations: Some(1),
            io_bytes: Some(Bytes(1)),
            output: Some(Bytes(1)),
            fuel: Some(1),
        };
        assert_eq!(all.guarantees().len(), SECTION.keys.len());
    }
}
