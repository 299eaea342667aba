//! Quantities that carry their unit in the file: `30s`, `5m`, `512MiB`.

use std::fmt;
use std::time::Duration;

use serde::de::{Deserializer, Error as _, Unexpected, Visitor};
use serde::{Deserialize, Serialize, Serializer};

/// A length of time in whole seconds, written `30s`, `5m`, `2h` or `7d`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Span(u64);

impl Span {
    /// A span of that many seconds.
    pub const fn seconds(seconds: u64) -> Self {
        Span(seconds)
    }

    /// A span of that many minutes.
    pub const fn minutes(minutes: u64) -> Self {
        Span(minutes * 60)
    }

    /// A span of that many days.
    pub const fn days(days: u64) -> Self {
        Span(days * 86_400)
    }

    /// Whole seconds.
    pub const fn as_seconds(self) -> u64 {
        self.0
    }

    /// Whole minutes if the span is a multiple of one: AWS takes some waits in minutes only.
    pub const fn as_minutes(self) -> Option<u64> {
        if self.0.is_multiple_of(60) { Some(self.0 / 60) } else { None }
    }

    /// Whole days if the span is a multiple of one.
    pub const fn as_days(self) -> Option<u64> {
        if self.0.is_multiple_of(86_400) { Some(self.0 / 86_400) } else { None }
    }

    /// As the standard library's duration.
    pub const fn as_duration(self) -> Duration {
        Duration::from_secs(self.0)
    }
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = match self.0 {
            0 => "0s".to_owned(),
            s if s % 86_400 == 0 => format!("{}d", s / 86_400),
            s if s % 3_600 == 0 => format!("{}h", s / 3_600),
            s if s % 60 == 0 => format!("{}m", s / 60),
            s => format!("{s}s"),
        };
        f.pad(&text)
    }
}

/// An amount of memory in whole MiB, written `512MiB` or `1GiB`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Memory(u32);

impl Memory {
    /// That many MiB.
    pub const fn mebibytes(mebibytes: u32) -> Self {
        Memory(mebibytes)
    }

    /// Whole MiB, the unit of ECS.
    pub const fn as_mebibytes(self) -> u32 {
        self.0
    }
}

impl fmt::Display for Memory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0 >= 1024 && self.0.is_multiple_of(1024) {
            f.pad(&format!("{}GiB", self.0 / 1024))
        } else {
            f.pad(&format!("{}MiB", self.0))
        }
    }
}

/// What the visitor needs to know of a quantity.
trait Quantity: Sized {
    const WHAT: &'static str;
    const EXAMPLE: &'static str;
    /// Units with their factor to the base unit.
    const UNITS: &'static [(&'static str, u64)];
    fn from_base(base: u64) -> Option<Self>;
}

impl Quantity for Span {
    const WHAT: &'static str = "a duration";
    const EXAMPLE: &'static str = "a whole number and s, m, h or d, such as 30s or 5m";
    const UNITS: &'static [(&'static str, u64)] = &[("s", 1), ("m", 60), ("h", 3_600), ("d", 86_400)];
    fn from_base(base: u64) -> Option<Self> {
        Some(Span(base))
    }
}

impl Quantity for Memory {
    const WHAT: &'static str = "an amount of memory";
    const EXAMPLE: &'static str = "a whole number and MiB or GiB, such as 512MiB";
    const UNITS: &'static [(&'static str, u64)] = &[("MiB", 1), ("GiB", 1024)];
    fn from_base(base: u64) -> Option<Self> {
        u32::try_from(base).ok().map(Memory)
    }
}

fn parse<Q: Quantity>(text: &str) -> Option<Q> {
    let split = text.find(|c: char| !c.is_ascii_digit())?;
    let (number, unit) = text.split_at(split);
    let factor = Q::UNITS.iter().find(|(name, _)| *name == unit)?.1;
    Q::from_base(number.parse::<u64>().ok()?.checked_mul(factor)?)
}

struct QuantityVisitor<Q>(std::marker::PhantomData<Q>);

impl<Q: Quantity> Visitor<'_> for QuantityVisitor<Q> {
    type Value = Q;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", Q::WHAT, Q::EXAMPLE)
    }

    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Q, E> {
        parse(text).ok_or_else(|| E::invalid_value(Unexpected::Str(text), &self))
    }

    fn visit_u64<E: serde::de::Error>(self, number: u64) -> Result<Q, E> {
        if number == 0 {
            return Q::from_base(0).ok_or_else(|| E::custom("zero is not allowed"));
        }
        Err(E::custom(format_args!("`{number}` has no unit, expected {}: {}", Q::WHAT, Q::EXAMPLE)))
    }
}

macro_rules! quantity {
    ($name:ident) => {
        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                deserializer.deserialize_any(QuantityVisitor::<$name>(std::marker::PhantomData))
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl std::str::FromStr for $name {
            type Err = String;

            fn from_str(text: &str) -> Result<Self, Self::Err> {
                parse(text).ok_or_else(|| {
                    format!("`{text}` is not {}: write {}", <$name as Quantity>::WHAT, <$name as Quantity>::EXAMPLE)
                })
            }
        }
    };
}

quantity!(Span);
quantity!(Memory);

/// A whole number of percent between 1 and 99.
pub(crate) fn percent<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u8, D::Error> {
    let number = u64::deserialize(deserializer)?;
    match u8::try_from(number) {
        Ok(percent @ 1..=99) => Ok(percent),
        _ => Err(D::Error::custom(format_args!("{number} is not a share: write a whole number from 1 to 99"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantities_are_printed_as_they_are_written() {
        for text in ["0s", "30s", "90s", "5m", "2h", "7d"] {
            assert_eq!(text.parse::<Span>().unwrap().to_string(), text);
        }
        for text in ["512MiB", "1GiB", "1536MiB"] {
            assert_eq!(text.parse::<Memory>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn wrong_quantities_say_what_is_right() {
        for text in ["5", "5 m", "m", "", "-3s", "1.5h", "99999999999999999999s", "5min"] {
            let message = text.parse::<Span>().unwrap_err();
            assert!(message.contains("such as 30s or 5m"), "{message}");
        }
        assert!("512MB".parse::<Memory>().unwrap_err().contains("512MiB"));
    }
}
