//! Crons as AWS writes them: minutes, hours, day of month, month, day of week, year.

/// A cron's times within a week.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Cron {
    /// Bit `n` is minute `n`.
    minutes: u64,
    hours: u64,
    /// Bit 1 is Sunday, bit 7 Saturday.
    weekdays: u64,
}

const MONTHS: [&str; 12] = ["JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC"];
const DAYS: [&str; 7] = ["SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT"];

struct Kind {
    name: &'static str,
    low: u32,
    high: u32,
    words: &'static [&'static str],
}

const KINDS: [Kind; 6] = [
    Kind { name: "minutes", low: 0, high: 59, words: &[] },
    Kind { name: "hours", low: 0, high: 23, words: &[] },
    Kind { name: "day of month", low: 1, high: 31, words: &[] },
    Kind { name: "month", low: 1, high: 12, words: &MONTHS },
    Kind { name: "day of week", low: 1, high: 7, words: &DAYS },
    Kind { name: "year", low: 1970, high: 2199, words: &[] },
];

impl Cron {
    /// The six fields, without `cron(` and `)`; the error says what is wrong.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let fields: Vec<_> = text.split_whitespace().collect();
        if fields.len() != KINDS.len() {
            return Err(format!("`{text}` has {} fields; AWS wants six, the last one the year", fields.len()));
        }
        if (fields[2] == "?") == (fields[4] == "?") {
            return Err(format!("`{text}`: exactly one of day of month and day of week is `?`"));
        }
        let mut bits = [0; KINDS.len()];
        for ((kind, field), bits) in KINDS.iter().zip(&fields).zip(&mut bits) {
            let days = kind.name.starts_with("day");
            *bits = match *field {
                "?" if days => u64::MAX,
                field => kind.parse(field).ok_or_else(|| format!("`{field}` is no {} of a cron", kind.name))?,
            };
        }
        Ok(Cron { minutes: bits[0], hours: bits[1], weekdays: bits[4] })
    }

    /// Whether it is due at a minute of a week whose day 0 is Monday; days of the month and months are not looked at.
    pub(crate) fn is_due(self, day: u32, hour: u32, minute: u32) -> bool {
        let weekday = (day + 1) % 7 + 1;
        self.minutes >> minute & self.hours >> hour & self.weekdays >> weekday & 1 == 1
    }
}

impl Kind {
    /// The values of a field such as `*`, `5`, `5-9`, `*/5`, `MON-FRI`; all for `L`, `15W`, `6#3` and `6L`.
    fn parse(&self, field: &str) -> Option<u64> {
        field.split(',').try_fold(0, |bits, part| Some(bits | self.part(part)?))
    }

    fn part(&self, part: &str) -> Option<u64> {
        let (range, step) = match part.split_once('/') {
            Some((range, step)) => (range, step.parse().ok().filter(|step| *step > 0)?),
            None => (part, 1),
        };
        if self.is_special(range) {
            return Some(u64::MAX);
        }
        let (low, high) = match range.split_once('-') {
            _ if range == "*" => (self.low, self.high),
            Some((low, high)) => (self.value(low)?, self.value(high)?),
            // `5/15` counts from 5 on.
            None if part.contains('/') => (self.value(range)?, self.high),
            None => (self.value(range)?, self.value(range)?),
        };
        let values = (low..=high).step_by(step);
        // Years are checked, but not kept.
        (low <= high).then(|| values.filter(|value| *value < 64).fold(0, |bits, value| bits | 1 << value))
    }

    fn is_special(&self, text: &str) -> bool {
        let day = |end: char| text.strip_suffix(end).is_some_and(|day| self.value(day).is_some());
        match self.name {
            "day of month" => text == "L" || text == "LW" || day('W'),
            "day of week" => {
                let nth = |(day, nth)| self.value(day).is_some() && matches!(nth, "1" | "2" | "3" | "4" | "5");
                text == "L" || day('L') || text.split_once('#').is_some_and(nth)
            }
            _ => false,
        }
    }

    fn value(&self, text: &str) -> Option<u32> {
        let word = self.words.iter().position(|word| word.eq_ignore_ascii_case(text));
        let value = match word {
            Some(index) => u32::try_from(index).ok()? + 1,
            None => text.parse().ok()?,
        };
        (self.low..=self.high).contains(&value).then_some(value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_weekday_morning_is_due_on_five_days() {
        let cron = Cron::parse("30 8 ? * MON-FRI *").unwrap();
        let due: Vec<_> = (0..7).filter(|day| cron.is_due(*day, 8, 30)).collect();
        assert_eq!(due, [0, 1, 2, 3, 4]);
        assert!(!cron.is_due(0, 8, 31) && !cron.is_due(0, 9, 30));
    }

    #[test]
    fn steps_count_from_their_start() {
        let cron = Cron::parse("5/20 * * * ? *").unwrap();
        let due: Vec<_> = (0..60).filter(|minute| cron.is_due(6, 0, *minute)).collect();
        assert_eq!(due, [5, 25, 45]);
    }
}
