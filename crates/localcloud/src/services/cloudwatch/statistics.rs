//! Statistics over periods.

use crate::error::ApiError;

use super::points::Point;

/// How the points of a period become one number.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Statistic {
    Average,
    Sum,
    Minimum,
    Maximum,
    SampleCount,
    /// `p99`, `p99.9`.
    Percentile(f64),
}

impl Statistic {
    pub(super) fn parse(name: &str) -> Result<Self, ApiError> {
        Ok(match name {
            "Average" => Self::Average,
            "Sum" => Self::Sum,
            "Minimum" => Self::Minimum,
            "Maximum" => Self::Maximum,
            "SampleCount" => Self::SampleCount,
            other => match other.strip_prefix('p').and_then(|percent| percent.parse::<f64>().ok()) {
                Some(percent) if (0.0..=100.0).contains(&percent) => Self::Percentile(percent),
                _ => return Err(ApiError::unsupported(format_args!("the statistic '{other}'"))),
            },
        })
    }

    /// The value over points, of which there is at least one.
    pub(super) fn of(self, points: &[&Point]) -> f64 {
        let count: f64 = points.iter().map(|point| point.count).sum();
        let sum: f64 = points.iter().map(|point| point.sum).sum();
        match self {
            Self::Average if count == 0.0 => 0.0,
            Self::Average => sum / count,
            Self::Sum => sum,
            Self::SampleCount => count,
            Self::Minimum => points.iter().map(|point| point.min).fold(f64::INFINITY, f64::min),
            Self::Maximum => points.iter().map(|point| point.max).fold(f64::NEG_INFINITY, f64::max),
            Self::Percentile(percent) => percentile(percent, points, count),
        }
    }
}

/// Nearest rank. A summary of several values counts as its average, which is all that is known of it.
fn percentile(percent: f64, points: &[&Point], count: f64) -> f64 {
    let average = |point: &Point| if point.count == 0.0 { point.sum } else { point.sum / point.count };
    let mut values: Vec<(f64, f64)> = points.iter().map(|point| (average(point), point.count)).collect();
    values.sort_by(|left, right| left.0.total_cmp(&right.0));
    let rank = (percent / 100.0 * count).max(f64::MIN_POSITIVE);
    let mut seen = 0.0;
    for (value, weight) in &values {
        seen += weight;
        if seen >= rank {
            return *value;
        }
    }
    values.last().map_or(0.0, |(value, _)| *value)
}

/// The points of each period that has any, by the period's beginning. `period` is in milliseconds.
pub(super) fn periods(points: &[Point], period: i64) -> Vec<(i64, Vec<&Point>)> {
    let mut periods: Vec<(i64, Vec<&Point>)> = vec![];
    for point in points {
        let begin = point.at - point.at.rem_euclid(period);
        match periods.last_mut() {
            Some((last, members)) if *last == begin => members.push(point),
            _ => periods.push((begin, vec![point])),
        }
    }
    periods
}

#[cfg(test)]
mod tests {
    use super::*;

    fn point(at: i64, value: f64) -> Point {
        Point { at, count: 1.0, sum: value, min: value, max: value, unit: None }
    }

    #[test]
    fn statistics_have_their_textbook_values() {
        let points: Vec<Point> = (1..=100).map(|value| point(value, value as f64)).collect();
        let all: Vec<&Point> = points.iter().collect();
        for (name, expected) in [
            ("Average", 50.5),
            ("Sum", 5050.0),
            ("Minimum", 1.0),
            ("Maximum", 100.0),
            ("SampleCount", 100.0),
            ("p50", 50.0),
            ("p99", 99.0),
            ("p100", 100.0),
        ] {
            assert_eq!(Statistic::parse(name).unwrap().of(&all), expected, "{name}");
        }
        assert!(Statistic::parse("TM(1:2)").is_err());
        assert_eq!(
            periods(&points, 50).iter().map(|(begin, members)| (*begin, members.len())).collect::<Vec<_>>(),
            [(0, 49), (50, 50), (100, 1)]
        );
    }
}
