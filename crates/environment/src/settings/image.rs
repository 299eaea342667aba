//! What an image must show before it runs here.

use std::fmt;
use std::path::PathBuf;

use serde::{Deserialize, Serialize, Serializer};

/// What an image must show before it runs here; nothing unless it is asked for.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ImageSettings {
    /// Who must have signed it.
    pub signature: Option<SignatureSettings>,
    /// What a scan may have found.
    pub scan: Option<ScanSettings>,
}

/// Who must have signed an image.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SignatureSettings {
    /// Public keys in PEM files (`image keygen` makes them), beside the environment file or below it: `release.pub`. A
    /// signature by one of them is enough, so that keys can be replaced.
    pub keys: Vec<PathBuf>,
}

/// What a scan may have found.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct ScanSettings {
    /// A finding this bad or worse stops an image; so does one whose severity nobody has judged.
    pub threshold: Severity,
    /// What an image means that nobody could scan.
    #[serde(default)]
    pub unscanned: Unscanned,
    /// Findings that somebody has taken responsibility for.
    #[serde(default)]
    pub exceptions: Vec<ScanException>,
}

/// How bad a finding is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Good to know.
    Informational,
    /// CVSS 0.1 to 3.9.
    Low,
    /// CVSS 4.0 to 6.9.
    Medium,
    /// CVSS 7.0 to 8.9.
    High,
    /// CVSS 9.0 to 10.0.
    Critical,
}

/// What an image means that nobody could scan.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Unscanned {
    /// It stops.
    #[default]
    Refuse,
    /// It goes on, and the verdict says that nobody looked.
    Allow,
}

/// A finding that does not stop an image for now.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct ScanException {
    /// Its name: `RUSTSEC-2024-0001`, `CVE-2024-0001`.
    pub advisory: String,
    /// Why it is no danger here.
    pub reason: String,
    /// The last day on which this holds: `2026-12-31`.
    pub expires: Day,
}

/// A day of the calendar, written `2026-12-31`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(try_from = "String")]
pub struct Day {
    year: u16,
    month: u8,
    day: u8,
}

impl TryFrom<String> for Day {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let parse = || {
            let (year, rest) = text.split_once('-')?;
            let (month, day) = rest.split_once('-')?;
            let digits = |part: &str, length| part.len() == length && part.bytes().all(|b| b.is_ascii_digit());
            if !digits(year, 4) || !digits(month, 2) || !digits(day, 2) {
                return None;
            }
            let (year, month, day) = (year.parse().ok()?, month.parse().ok()?, day.parse().ok()?);
            let known = Day { year, month, day };
            known.exists().then_some(known)
        };
        parse().ok_or_else(|| format!("`{text}` is no day of the calendar: write it as 2026-12-31"))
    }
}

impl Day {
    fn exists(self) -> bool {
        let leap = self.year.is_multiple_of(4) && (!self.year.is_multiple_of(100) || self.year.is_multiple_of(400));
        let days = match self.month {
            1 | 3 | 5 | 7 | 8 | 10 | 12 => 31,
            4 | 6 | 9 | 11 => 30,
            2 if leap => 29,
            2 => 28,
            _ => 0,
        };
        (1..=days).contains(&self.day)
    }
}

impl fmt::Display for Day {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:04}-{:02}-{:02}", self.year, self.month, self.day)
    }
}

impl Serialize for Day {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_are_of_the_calendar() {
        for text in ["2026-12-31", "2024-02-29", "2000-02-29"] {
            assert_eq!(Day::try_from(text.to_owned()).expect("a day").to_string(), text);
        }
        for text in
            ["2026-02-29", "1900-02-29", "2026-13-01", "2026-00-01", "2026-1-1", "2026-12-00", "tomorrow", "+026-01-01"]
        {
            assert!(Day::try_from(text.to_owned()).is_err(), "{text}");
        }
    }
}
