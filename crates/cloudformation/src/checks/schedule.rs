//! Schedules as AWS writes them: `cron(...)`, `rate(...)` and `at(...)`.

/// What is wrong with a schedule.
pub(super) fn problem(expression: &str) -> Option<String> {
    let inside = |name: &str| expression.strip_prefix(name)?.strip_prefix('(')?.strip_suffix(')');
    if let Some(fields) = inside("cron") {
        cron(fields)
    } else if let Some(rate) = inside("rate") {
        rate_problem(rate)
    } else if let Some(time) = inside("at") {
        let shaped = time.len() == 19 && time.as_bytes()[10] == b'T';
        (!shaped).then(|| format!("`{time}` is no time such as 2026-01-31T09:00:00"))
    } else {
        Some(format!("`{expression}` is neither cron(...), rate(...) nor at(...)"))
    }
}

fn rate_problem(rate: &str) -> Option<String> {
    let parts: Vec<_> = rate.split_whitespace().collect();
    let [value, unit] = parts[..] else { return Some(format!("`{rate}` is no value and unit")) };
    let Some(value) = value.parse::<u32>().ok().filter(|value| *value > 0) else {
        return Some(format!("`{value}` is no positive number"));
    };
    let singular = ["minute", "hour", "day"];
    let fits = if value == 1 { singular.contains(&unit) } else { singular.iter().any(|one| unit == format!("{one}s")) };
    (!fits).then(|| format!("`{value} {unit}` is no rate; 1 takes the singular, more take the plural"))
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

fn cron(text: &str) -> Option<String> {
    let fields: Vec<_> = text.split_whitespace().collect();
    if fields.len() != KINDS.len() {
        return Some(format!("`{text}` has {} fields; AWS wants six, the last one the year", fields.len()));
    }
    if (fields[2] == "?") == (fields[4] == "?") {
        return Some(format!("`{text}`: exactly one of day of month and day of week is `?`"));
    }
    let days = [2, 4];
    let bad = KINDS.iter().zip(&fields).enumerate().find(|(index, (kind, field))| {
        let unspecified = **field == "?" && days.contains(index);
        !unspecified && !field.split(',').all(|part| kind.takes(part))
    });
    bad.map(|(_, (kind, field))| format!("`{field}` is no {} of a cron", kind.name))
}

impl Kind {
    /// `*`, `5`, `5-9`, `*/5`, `MON-FRI`; `L`, `15W`, `6#3` and `6L` for days.
    fn takes(&self, part: &str) -> bool {
        let (range, step) = part.split_once('/').map_or((part, None), |(range, step)| (range, Some(step)));
        if step.is_some_and(|step| step.parse::<u32>().map_or(true, |step| step == 0)) {
            return false;
        }
        if range == "*" {
            return true;
        }
        match range.split_once('-') {
            Some((from, to)) => self.value(from).zip(self.value(to)).is_some_and(|(from, to)| from <= to),
            None => self.value(range).is_some() || self.special(range),
        }
    }

    fn special(&self, text: &str) -> bool {
        match self.name {
            "day of month" => {
                text == "L" || text == "LW" || text.strip_suffix('W').is_some_and(|day| self.value(day).is_some())
            }
            "day of week" => {
                let nth = text
                    .split_once('#')
                    .is_some_and(|(day, nth)| self.value(day).is_some() && matches!(nth, "1" | "2" | "3" | "4" | "5"));
                nth || text == "L" || text.strip_suffix('L').is_some_and(|day| self.value(day).is_some())
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
    use super::problem;

    #[test]
    fn schedules_that_aws_takes() {
        for good in [
            "cron(30 8 ? * MON-FRI *)",
            "cron(0/15 * * * ? *)",
            "cron(0 22 ? * SAT,SUN 2026-2030)",
            "cron(0 0 L * ? *)",
            "cron(0 9 ? * 2#1 *)",
            "rate(1 hour)",
            "rate(5 minutes)",
            "at(2026-01-31T09:00:00)",
        ] {
            assert_eq!(problem(good), None, "{good}");
        }
    }

    #[test]
    fn schedules_that_aws_refuses() {
        for bad in [
            "30 8 * * 1-5",
            "cron(30 8 * * 1-5)",
            "cron(30 8 * * MON-FRI *)",
            "cron(30 8 ? * ? *)",
            "cron(61 8 ? * MON *)",
            "cron(30 24 ? * MON *)",
            "cron(30 8 ? * FRI-MON *)",
            "cron(30 8 ? * MOON *)",
            "cron(*/0 8 ? * MON *)",
            "cron(? 8 ? * MON *)",
            "rate(1 hours)",
            "rate(5 minute)",
            "rate(0 minutes)",
            "at(tomorrow)",
        ] {
            assert!(problem(bad).is_some(), "{bad}");
        }
    }
}
