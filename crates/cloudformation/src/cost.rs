//! What a month costs: from a dated price table, the generated templates and the environment's own assumptions.
//!
//! What is billed by the hour for being there is counted in the templates; what is billed by use comes from
//! `cost` in the environment's file.

mod brief;
mod prices;
mod savings;
mod usage;

use environment::{Environment, Project};

pub use brief::{Comparison, brief, brief_says};
pub use prices::{Item, PriceError, Prices, Row};
pub use savings::{Saving, savings};

use crate::stack::{Unsupported, templates};

/// What AWS bills and no line counts: too little to matter here, or nothing that the settings tell.
pub const NOT_COUNTED: [&str; 5] = [
    "taxes and support",
    "data between zones",
    "storage of access and flow logs, backups of the conversations table, and the search of build logs for credentials",
    "requests to S3, KMS and Secrets Manager, messages of SNS, traces, and the functions of deployments",
    "what language models and e-mail, Slack and PagerDuty cost",
];

/// Hours that AWS's own calculators give a month.
pub(crate) const HOURS: f64 = 730.0;

/// How the month goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scenario {
    /// As the settings say.
    Base,
    /// As many tasks as scaling allows, all month.
    Peak,
    /// The peak, and ten deployments every day.
    TenDeploys,
}

/// A line of the bill.
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
pub struct Line {
    /// What for.
    pub name: String,
    /// How the sum comes about.
    pub basis: String,
    /// US dollars a month.
    pub usd: f64,
}

/// A bill.
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
pub struct Estimate {
    /// Whose: an environment's, or what the environments share.
    pub of: String,
    /// Its lines.
    pub lines: Vec<Line>,
}

impl Estimate {
    /// US dollars a month.
    pub fn total(&self) -> f64 {
        self.lines.iter().map(|line| line.usd).sum()
    }

    /// Adds a line unless nothing of it is used.
    fn add(&mut self, name: &str, usd: f64, basis: String) {
        if usd > 0.0 {
            self.lines.push(Line { name: name.to_owned(), basis, usd });
        }
    }

    /// Adds a line of so many units at a price each.
    fn count(&mut self, name: &str, units: f64, unit: &str, price: f64) {
        self.add(name, units * price, format!("{} {unit} x ${price}", rounded(units)));
    }
}

/// The bill of an environment.
pub fn of_environment(
    project: &Project,
    environment: &Environment,
    prices: &Prices,
    scenario: Scenario,
) -> Result<Estimate, Unsupported> {
    let stacks = templates(project, environment)?;
    let own = stacks.iter().filter(|stack| !stack.kind.is_shared()).map(|stack| &stack.template);
    Ok(usage::environment(environment, &own.collect::<Vec<_>>(), prices, scenario))
}

/// The bill of what the environments share: images, pipeline and builds. The first environment's assumptions count.
pub fn shared(
    project: &Project,
    environment: &Environment,
    prices: &Prices,
    scenario: Scenario,
) -> Result<Estimate, Unsupported> {
    let stacks = templates(project, environment)?;
    let shared = stacks.iter().filter(|stack| stack.kind.is_shared()).map(|stack| &stack.template);
    Ok(usage::shared(project, environment, &shared.collect::<Vec<_>>(), prices, scenario))
}

/// Two places at most, none where there are none.
fn rounded(number: f64) -> String {
    let text = format!("{number:.2}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}
