//! Quantities as text: `64 MiB`, `1m30s`, `10 Mbit/s`, `1.5`.

use std::str::FromStr;
use std::time::Duration;

use super::{BitRate, Bytes, Cores};
use crate::text::quoted;

/// Why a text is not a quantity.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum QuantityError {
    /// Not a number, with or without a unit.
    #[error("{} is not {what}", quoted(.text))]
    NotANumber {
        /// The text.
        text: String,
        /// What it should have been: `a size`.
        what: &'static str,
        /// What one looks like.
        example: &'static str,
    },
    /// A number without its unit.
    #[error("{} is not {what}: its unit is missing", quoted(.text))]
    NoUnit {
        /// The text.
        text: String,
        /// What it should have been.
        what: &'static str,
        /// What one looks like.
        example: &'static str,
    },
    /// A unit that does not exist.
    #[error("{} is not {what}: there is no unit {}", quoted(.text), quoted(.unit))]
    UnknownUnit {
        /// The text.
        text: String,
        /// What it should have been.
        what: &'static str,
        /// The unit that was written.
        unit: String,
        /// Those that exist.
        units: Vec<&'static str>,
    },
    /// More than can be counted.
    #[error("{} is more than can be counted", quoted(.0))]
    TooLarge(String),
}

impl QuantityError {
    /// What to write instead.
    pub fn help(&self) -> Option<String> {
        match self {
            QuantityError::NotANumber { example, .. } | QuantityError::NoUnit { example, .. } => {
                Some(format!("write it like `{example}`"))
            }
            QuantityError::UnknownUnit { unit, units, .. } => {
                let meant = MEANT.iter().find(|(wrong, _)| wrong == unit).map(|(_, right)| right);
                let near = meant.filter(|near| units.contains(near));
                let near = near.or_else(|| units.iter().find(|known| known.eq_ignore_ascii_case(unit)));
                Some(match near {
                    Some(near) => format!("did you mean `{near}`?"),
                    None => format!("the units are {}", units.join(", ")),
                })
            }
            QuantityError::TooLarge(_) => None,
        }
    }
}

/// What is often written for a unit.
const MEANT: &[(&str, &str)] = &[
    ("k", "KiB"),
    ("K", "KiB"),
    ("M", "MiB"),
    ("G", "GiB"),
    ("T", "TiB"),
    ("Ki", "KiB"),
    ("Mi", "MiB"),
    ("Gi", "GiB"),
    ("Ti", "TiB"),
    ("bps", "bit/s"),
    ("kbps", "kbit/s"),
    ("Mbps", "Mbit/s"),
    ("Gbps", "Gbit/s"),
    ("kb/s", "kbit/s"),
    ("Mb/s", "Mbit/s"),
    ("Gb/s", "Gbit/s"),
    ("Mbit", "Mbit/s"),
    ("Gbit", "Gbit/s"),
    ("sec", "s"),
    ("secs", "s"),
    ("second", "s"),
    ("seconds", "s"),
    ("min", "m"),
    ("mins", "m"),
    ("minute", "m"),
    ("minutes", "m"),
    ("hour", "h"),
    ("hours", "h"),
    ("day", "d"),
    ("days", "d"),
];

/// One way of measuring: what it is called, and the worth of each unit in the smallest one.
struct Measure {
    what: &'static str,
    example: &'static str,
    units: &'static [(&'static str, u64)],
    /// The worth of a number without a unit; `None` when it has to have one.
    bare: Option<u64>,
}

const SIZE: Measure = Measure {
    what: "a size",
    example: "64 MiB",
    units: &[
        ("B", 1),
        ("kB", 1_000),
        ("MB", 1_000_000),
        ("GB", 1_000_000_000),
        ("TB", 1_000_000_000_000),
        ("KiB", 1 << 10),
        ("MiB", 1 << 20),
        ("GiB", 1 << 30),
        ("TiB", 1 << 40),
    ],
    bare: Some(1),
};

const TIME: Measure = Measure {
    what: "a duration",
    example: "1m30s",
    units: &[
        ("ns", 1),
        ("us", 1_000),
        ("µs", 1_000),
        ("ms", 1_000_000),
        ("s", 1_000_000_000),
        ("m", 60_000_000_000),
        ("h", 3_600_000_000_000),
        ("d", 86_400_000_000_000),
    ],
    bare: None,
};

const RATE: Measure = Measure {
    what: "a rate",
    example: "10 Mbit/s",
    units: &[
        ("bit/s", 1),
        ("kbit/s", 1_000),
        ("Mbit/s", 1_000_000),
        ("Gbit/s", 1_000_000_000),
        ("B/s", 8),
        ("kB/s", 8_000),
        ("MB/s", 8_000_000),
        ("GB/s", 8_000_000_000),
        ("KiB/s", 8 << 10),
        ("MiB/s", 8 << 20),
        ("GiB/s", 8 << 30),
    ],
    bare: None,
};

const CORES: Measure = Measure { what: "a number of processors", example: "1.5", units: &[], bare: Some(1_000) };

const COUNT: Measure = Measure { what: "a whole number", example: "10_000", units: &[], bare: Some(1) };

impl Measure {
    /// One number with its unit.
    fn read(&self, text: &str) -> Result<u64, QuantityError> {
        let (worth, rest) = self.read_first(text, text)?;
        if rest.is_empty() { Ok(worth) } else { Err(self.not_a_number(text)) }
    }

    /// The number and unit at the beginning of `text`, and what comes after. `whole` is for messages.
    fn read_first<'a>(&self, text: &'a str, whole: &str) -> Result<(u64, &'a str), QuantityError> {
        let end = text.find(|c: char| !(c.is_ascii_digit() || c == '_' || c == '.')).unwrap_or(text.len());
        let (number, rest) = text.split_at(end);
        let decimal = Decimal::read(number).ok_or_else(|| self.not_a_number(whole))?;
        let rest = rest.strip_prefix(' ').unwrap_or(rest);
        let end = rest.find(|c: char| c.is_ascii_digit() || c == ' ').unwrap_or(rest.len());
        let (unit, rest) = rest.split_at(end);
        let worth = if unit.is_empty() {
            self.bare.ok_or_else(|| QuantityError::NoUnit {
                text: whole.to_owned(),
                what: self.what,
                example: self.example,
            })?
        } else if self.units.is_empty() {
            return Err(self.not_a_number(whole));
        } else {
            self.units.iter().find(|(name, _)| *name == unit).map(|(_, worth)| *worth).ok_or_else(|| {
                QuantityError::UnknownUnit {
                    text: whole.to_owned(),
                    what: self.what,
                    unit: unit.to_owned(),
                    units: self.units.iter().map(|(name, _)| *name).collect(),
                }
            })?
        };
        let amount = decimal.times(worth).ok_or_else(|| QuantityError::TooLarge(whole.to_owned()))?;
        Ok((amount, rest))
    }

    fn not_a_number(&self, text: &str) -> QuantityError {
        QuantityError::NotANumber { text: text.to_owned(), what: self.what, example: self.example }
    }
}

/// A number with decimals, exactly: `digits / 10^decimals`.
struct Decimal {
    digits: u128,
    decimals: u32,
}

impl Decimal {
    /// Digits with `_` between them, and perhaps a `.` with at most nine decimals.
    fn read(text: &str) -> Option<Decimal> {
        let (whole, fraction) = text.split_once('.').map_or((text, None), |(whole, part)| (whole, Some(part)));
        let is_number = |part: &str| {
            part.starts_with(|c: char| c.is_ascii_digit())
                && part.ends_with(|c: char| c.is_ascii_digit())
                && part.bytes().all(|byte| byte.is_ascii_digit() || byte == b'_')
                && !part.contains("__")
        };
        if !is_number(whole) || fraction.is_some_and(|part| !is_number(part)) {
            return None;
        }
        let fraction = fraction.unwrap_or("").replace('_', "");
        let digits: String = whole.bytes().filter(|&byte| byte != b'_').map(char::from).collect();
        if fraction.len() > 9 || digits.len() > 24 {
            return None;
        }
        Some(Decimal { digits: format!("{digits}{fraction}").parse().ok()?, decimals: fraction.len() as u32 })
    }

    /// So many times `worth`, without what is left of a whole.
    fn times(&self, worth: u64) -> Option<u64> {
        let amount = self.digits.checked_mul(worth.into())? / 10u128.pow(self.decimals);
        u64::try_from(amount).ok()
    }
}

impl FromStr for Bytes {
    type Err = QuantityError;

    fn from_str(text: &str) -> Result<Self, QuantityError> {
        SIZE.read(text).map(Bytes)
    }
}

impl FromStr for BitRate {
    type Err = QuantityError;

    fn from_str(text: &str) -> Result<Self, QuantityError> {
        RATE.read(text).map(BitRate)
    }
}

impl FromStr for Cores {
    type Err = QuantityError;

    fn from_str(text: &str) -> Result<Self, QuantityError> {
        let thousandths = CORES.read(text)?;
        u32::try_from(thousandths).map(Cores).map_err(|_| QuantityError::TooLarge(text.to_owned()))
    }
}

/// `1m30s`: numbers with units, the largest first or in any order.
///
/// # Errors
/// What is wrong with the text.
pub fn read_duration(text: &str) -> Result<Duration, QuantityError> {
    let (mut total, mut rest) = TIME.read_first(text, text)?;
    while !rest.is_empty() {
        let (part, after) = TIME.read_first(rest.strip_prefix(' ').unwrap_or(rest), text)?;
        total = total.checked_add(part).ok_or_else(|| QuantityError::TooLarge(text.to_owned()))?;
        rest = after;
    }
    Ok(Duration::from_nanos(total))
}

/// `10_000`.
pub(crate) fn read_count(text: &str) -> Result<u64, QuantityError> {
    if text.contains('.') { Err(COUNT.not_a_number(text)) } else { COUNT.read(text) }
}

/// The text that stands for exactly this many bytes.
pub(crate) fn write_size(size: Bytes) -> String {
    exactly(size.0, &["TiB", "GiB", "MiB", "KiB", "B"], &SIZE)
}

/// The text that stands for exactly this rate.
pub(crate) fn write_rate(rate: BitRate) -> String {
    exactly(rate.0, &["Gbit/s", "Mbit/s", "kbit/s", "bit/s"], &RATE)
}

/// The text that stands for exactly this duration.
pub(crate) fn write_duration(duration: Duration) -> String {
    let mut rest = u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
    let mut text = String::new();
    for unit in ["h", "m", "s", "ms", "us", "ns"] {
        let worth = TIME.units.iter().find(|(name, _)| *name == unit).map_or(1, |(_, worth)| *worth);
        if rest >= worth {
            text.push_str(&format!("{}{unit}", rest / worth));
            rest %= worth;
        }
    }
    if text.is_empty() { "0s".to_owned() } else { text }
}

/// The amount in the first of `units` (the largest comes first) that it is a whole number of.
fn exactly(amount: u64, units: &[&str], measure: &Measure) -> String {
    for wanted in units {
        let worth = measure.units.iter().find(|(name, _)| name == wanted).map_or(1, |(_, worth)| *worth);
        if amount >= worth && amount.is_multiple_of(worth) {
            return format!("{} {wanted}", amount / worth);
        }
    }
    format!("0 {}", units.last().copied().unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_size_is_a_number_with_or_without_a_unit() {
        for (text, bytes) in [
            ("64 MiB", 64 << 20),
            ("64MiB", 64 << 20),
            ("1_000 kB", 1_000_000),
            ("1.5 GiB", 3 << 29),
            ("0", 0),
            ("4096", 4096),
        ] {
            assert_eq!(text.parse(), Ok(Bytes(bytes)), "{text}");
        }
    }

    #[test]
    fn a_duration_may_have_several_parts() {
        for (text, milliseconds) in
            [("2s", 2_000), ("500ms", 500), ("1m30s", 90_000), ("1h 30m", 5_400_000), ("0.5s", 500)]
        {
            assert_eq!(read_duration(text), Ok(Duration::from_millis(milliseconds)), "{text}");
        }
    }

    #[test]
    fn a_rate_may_be_in_bits_or_bytes() {
        assert_eq!("10 Mbit/s".parse(), Ok(BitRate(10_000_000)));
        assert_eq!("1 MB/s".parse(), Ok(BitRate(8_000_000)));
    }

    #[test]
    fn processors_may_be_parts_of_one() {
        assert_eq!("1.5".parse(), Ok(Cores(1_500)));
        assert_eq!("0.25".parse(), Ok(Cores(250)));
        assert_eq!("2".parse(), Ok(Cores(2_000)));
    }

    #[test]
    fn what_is_no_quantity_is_refused() {
        for text in [
            "", " ", "MiB", "-1", "+1", "1__0", "_1", "1_", "1.", ".5", "1.2.3", "1 MiB 2", "1  MiB", "1e3", "0x10",
            "é",
        ] {
            assert!(text.parse::<Bytes>().is_err(), "{text}");
        }
        for text in ["", "s", "1", "1s2", "1 2s", "-1s"] {
            assert!(read_duration(text).is_err(), "{text}");
        }
        for text in ["1.5", "1 MiB", "x"] {
            assert!(read_count(text).is_err(), "{text}");
        }
        assert!(matches!("99999999999 TiB".parse::<Bytes>(), Err(QuantityError::TooLarge(_))));
        assert!(matches!("10 ".parse::<BitRate>(), Err(QuantityError::NoUnit { .. })));
    }

    #[test]
    fn a_unit_close_to_one_that_exists_is_suggested() {
        let help = |text: &str| text.parse::<Bytes>().unwrap_err().help().unwrap();
        assert_eq!(help("64 Mib"), "did you mean `MiB`?");
        assert_eq!(help("64 mb"), "did you mean `MB`?");
        assert_eq!(help("64 M"), "did you mean `MiB`?");
        assert_eq!(help("64 apples"), "the units are B, kB, MB, GB, TB, KiB, MiB, GiB, TiB");
        let help = |text: &str| text.parse::<BitRate>().unwrap_err().help().unwrap();
        assert_eq!(help("10 Mbps"), "did you mean `Mbit/s`?");
        assert_eq!(help("10 mbit/s"), "did you mean `Mbit/s`?");
        assert_eq!(read_duration("2 sec").unwrap_err().help().unwrap(), "did you mean `s`?");
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_back(amount: u64, shift in 0u32..64) {
            let amount = amount >> shift;
            prop_assert_eq!(write_size(Bytes(amount)).parse(), Ok(Bytes(amount)));
            prop_assert_eq!(write_rate(BitRate(amount)).parse(), Ok(BitRate(amount)));
            let duration = Duration::from_nanos(amount);
            prop_assert_eq!(read_duration(&write_duration(duration)), Ok(duration));
            let cores = Cores(amount as u32);
            prop_assert_eq!(cores.to_string().parse(), Ok(cores));
        }

        #[test]
        fn any_text_is_a_quantity_or_an_error(text in "\\PC*") {
            let _ = (text.parse::<Bytes>(), text.parse::<BitRate>(), text.parse::<Cores>(), read_duration(&text), read_count(&text));
        }
    }
}
