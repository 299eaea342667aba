//! The figures, beside what was to be reached.

use std::fmt;

use serde_json::{Value, json};

/// Everything measured, in order.
#[derive(Debug, Default)]
pub(crate) struct Report(Vec<Line>);

#[derive(Debug)]
struct Line {
    name: String,
    value: Option<f64>,
    unit: &'static str,
    goal: Option<Goal>,
    why_not: Option<String>,
}

#[derive(Debug, Clone, Copy)]
enum Goal {
    AtLeast(f64),
    AtMost(f64),
}

impl Report {
    pub(crate) fn note(&mut self, name: &str, value: f64, unit: &'static str) {
        self.add(name, Some(value), unit, None, None);
    }

    pub(crate) fn at_least(&mut self, name: &str, value: f64, unit: &'static str, goal: f64) {
        self.add(name, Some(value), unit, Some(Goal::AtLeast(goal)), None);
    }

    pub(crate) fn at_most(&mut self, name: &str, value: f64, unit: &'static str, goal: f64) {
        self.add(name, Some(value), unit, Some(Goal::AtMost(goal)), None);
    }

    pub(crate) fn skip(&mut self, name: &str, why: &str) {
        self.add(name, None, "", None, Some(why.to_owned()));
    }

    fn add(&mut self, name: &str, value: Option<f64>, unit: &'static str, goal: Option<Goal>, why_not: Option<String>) {
        self.0.push(Line { name: name.to_owned(), value, unit, goal, why_not });
    }

    pub(crate) fn json(&self) -> Value {
        let lines: Vec<Value> = self.0.iter().map(Line::json).collect();
        json!({"schema": 1, "benchmark": "chatbot", "processors": processors(), "measurements": lines})
    }
}

impl Line {
    fn met(&self) -> Option<bool> {
        match (self.value?, self.goal?) {
            (value, Goal::AtLeast(goal)) => Some(value >= goal),
            (value, Goal::AtMost(goal)) => Some(value <= goal),
        }
    }

    fn json(&self) -> Value {
        let (at_least, at_most) = match self.goal {
            Some(Goal::AtLeast(goal)) => (Some(goal), None),
            Some(Goal::AtMost(goal)) => (None, Some(goal)),
            None => (None, None),
        };
        let mut line = json!({"name": self.name.trim(), "value": self.value, "unit": self.unit});
        let optional = [
            ("at_least", at_least.map(Value::from)),
            ("at_most", at_most.map(Value::from)),
            ("met", self.met().map(Value::from)),
            ("skipped", self.why_not.clone().map(Value::from)),
        ];
        for (name, value) in optional {
            if let Some(value) = value {
                line[name] = value;
            }
        }
        line
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for line in &self.0 {
            match (line.value, &line.why_not) {
                (Some(value), _) => write!(f, "{:<50} {value:>12.2} {:<3}", line.name, line.unit)?,
                (None, why) => write!(f, "{:<50} not measured: {}", line.name, why.as_deref().unwrap_or_default())?,
            }
            match (line.goal, line.met()) {
                (Some(Goal::AtLeast(goal)), met) => write!(f, " goal >= {goal}: {}", verdict(met))?,
                (Some(Goal::AtMost(goal)), met) => write!(f, " goal <= {goal}: {}", verdict(met))?,
                (None, _) => {}
            }
            writeln!(f)?;
        }
        Ok(())
    }
}

fn verdict(met: Option<bool>) -> &'static str {
    if met == Some(true) { "met" } else { "missed" }
}

fn processors() -> usize {
    std::thread::available_parallelism().map_or(1, std::num::NonZero::get)
}
