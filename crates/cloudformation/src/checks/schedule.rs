//! Schedules as AWS writes them: `cron(...)`, `rate(...)` and `at(...)`.

use crate::cron::Cron;

/// What is wrong with a schedule.
pub(super) fn problem(expression: &str) -> Option<String> {
    let inside = |name: &str| expression.strip_prefix(name)?.strip_prefix('(')?.strip_suffix(')');
    if let Some(fields) = inside("cron") {
        Cron::parse(fields).err()
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
