//! `cost`: what a month costs, and what other settings would save.

use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::{Parser, ValueEnum};
use cloudformation::cost::{self, Comparison, Estimate, Prices, Saving};
use environment::{Environment, EnvironmentName, Project};
use serde_json::json;

/// Shows what a month costs in US dollars: an environment, or all of them with what they share; then what other
/// settings would save. Prices: crates/cloudformation/prices/, each row with its source and date.
#[derive(Debug, Parser)]
#[command(name = "cost", bin_name = "cargo xtask cost", version)]
struct Cli {
    /// Environment; without it all of them, and what they share.
    environment: Option<EnvironmentName>,
    /// How the month goes.
    #[arg(long, value_enum, default_value_t = Scenario::Base)]
    scenario: Scenario,
    /// The brief's own assumptions and sums instead, beside today's list prices.
    #[arg(long, conflicts_with = "environment")]
    brief: bool,
    /// Another price table.
    #[arg(long, value_name = "FILE")]
    prices: Option<PathBuf>,
    /// Directory of project.yaml and the environments.
    #[arg(long, value_name = "DIR", default_value = "environments")]
    environments: PathBuf,
    /// Print the result as JSON.
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Scenario {
    /// As the settings say.
    Base,
    /// As many tasks as scaling allows.
    Peak,
    /// The peak, and ten deployments a day.
    TenDeploys,
}

impl From<Scenario> for cost::Scenario {
    fn from(scenario: Scenario) -> Self {
        match scenario {
            Scenario::Base => cost::Scenario::Base,
            Scenario::Peak => cost::Scenario::Peak,
            Scenario::TenDeploys => cost::Scenario::TenDeploys,
        }
    }
}

fn main() -> ExitCode {
    match run(&Cli::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        // Whoever reads has enough, as `head` does.
        Err(error)
            if error.downcast_ref::<io::Error>().is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe) =>
        {
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("error: {error:#}");
            let configuration = error.is::<environment::Error>() || error.is::<cloudformation::Unsupported>();
            if configuration { ExitCode::from(64) } else { ExitCode::FAILURE }
        }
    }
}

fn run(cli: &Cli) -> Result<()> {
    let prices = match &cli.prices {
        Some(path) => read(path)?,
        None => Prices::parse(Prices::TOKYO)?,
    };
    let unverified = prices.rows().filter(|row| !row.verified).count();
    if unverified > 0 {
        let all = prices.rows().count();
        eprintln!(
            "{unverified} of {all} prices ({}) are unverified: nobody has compared them with AWS's list",
            prices.region()
        );
    }
    if cli.brief {
        return show_brief(&prices, cli.scenario.into(), cli.json);
    }
    let project = Project::load(&cli.environments)?;
    let environments = match cli.environment {
        None => Environment::load_all(&cli.environments)?,
        Some(name) => vec![Environment::load(&cli.environments, name)?],
    };
    let mut bills = Vec::new();
    let mut savings = Vec::new();
    for environment in &environments {
        bills.push(cost::of_environment(&project, environment, &prices, cli.scenario.into())?);
        savings.push((environment.name, cost::savings(&project, environment, &prices, cli.scenario.into())?));
        if cli.environment.is_none() && environment.name == EnvironmentName::Production {
            bills.push(cost::shared(&project, environment, &prices, cli.scenario.into())?);
        }
    }
    show(&bills, &savings, cli.json)
}

fn read(path: &Path) -> Result<Prices> {
    let text = std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    Prices::parse(&text).with_context(|| path.display().to_string())
}

fn show(bills: &[Estimate], savings: &[(EnvironmentName, Vec<Saving>)], as_json: bool) -> Result<()> {
    let mut out = io::stdout();
    let total: f64 = bills.iter().map(Estimate::total).sum();
    if as_json {
        let savings: Vec<_> =
            savings.iter().map(|(name, savings)| json!({"environment": name.as_str(), "settings": savings})).collect();
        let document = json!({
            "schema": 1,
            "usd_a_month": total,
            "bills": bills,
            "savings": savings,
            "not_counted": cost::NOT_COUNTED,
        });
        writeln!(out, "{document:#}")?;
        return Ok(());
    }
    for bill in bills {
        writeln!(out, "{}: ${:.2} a month", bill.of, bill.total())?;
        for line in &bill.lines {
            writeln!(out, "  {:<26}{:>9.2}  {}", line.name, line.usd, line.basis)?;
        }
    }
    writeln!(out, "together: ${total:.2} a month")?;
    for (name, savings) in savings {
        writeln!(out, "{name}: with another setting, a month costs")?;
        for Saving { setting, usd, effect } in savings {
            let change = if *usd < 0.0 { "more" } else { "less" };
            writeln!(out, "  {:>9.2} {change}  {setting} ({effect})", usd.abs())?;
        }
    }
    writeln!(out, "not counted: {}", cost::NOT_COUNTED.join("; "))?;
    Ok(())
}

fn show_brief(prices: &Prices, scenario: cost::Scenario, as_json: bool) -> Result<()> {
    let mut out = io::stdout();
    let (lines, says) = (cost::brief(prices, scenario), cost::brief_says(scenario));
    let brief: f64 = lines.iter().map(|line| line.brief).sum();
    let list: f64 = lines.iter().map(|line| line.list).sum();
    if as_json {
        let document = json!({
            "schema": 1,
            "brief_usd_a_month": brief,
            "brief_says": says,
            "list_usd_a_month": list,
            "lines": lines,
        });
        writeln!(out, "{document:#}")?;
        return Ok(());
    }
    writeln!(out, "{:<14}{:>8}{:>9}{:>9}", "", "brief", "list", "more")?;
    for line in lines {
        let Comparison { name, assumes, brief, list, because } = &line;
        writeln!(out, "{name:<14}{brief:>8.2}{list:>9.2}{:>+9.2}  {assumes}", list - brief)?;
        writeln!(out, "{:<42}{because}", "")?;
    }
    writeln!(out, "{:<14}{brief:>8.2}{list:>9.2}{:>+9.2}  the brief says {says}", "together", list - brief)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_consistent() {
        super::Cli::command().debug_assert();
    }
}
