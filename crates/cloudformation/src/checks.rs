//! Semantic checks of templates: what is valid by the schema, and wrong all the same.
//!
//! A rule is one function over all templates at hand; it reports fields. [`check`] runs every rule. The rules know
//! CloudFormation, not this crate's stacks, so that they serve any template.

mod access;
mod artifacts;
mod balancing;
mod builds;
mod dashboards;
mod deployments;
mod document;
mod metrics;
mod monitoring;
mod network;
mod pipelines;
mod references;
mod scaling;
mod schedule;
mod secrets;
mod services;
mod storage;
mod tasks;
mod yaml;

use std::fmt;

pub use document::{Document, Malformed};

use document::Field;

/// Something that will not work, or not as meant.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Finding {
    /// Name of the rule.
    pub rule: &'static str,
    /// Name of the stack or file.
    pub stack: String,
    /// Logical id of the resource.
    pub resource: String,
    /// Path of the field below the resource's properties.
    pub field: String,
    /// What is wrong.
    pub problem: String,
    /// What to do about it.
    pub hint: &'static str,
}

/// A rule.
#[derive(Debug, serde::Serialize)]
pub struct Rule {
    /// Name for people and scripts.
    pub name: &'static str,
    /// What it finds.
    pub finds: &'static str,
    #[serde(skip)]
    check: fn(&mut Report<'_>),
}

/// What the templates at hand are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// All stacks of a system: what none of them exports or emits does not exist.
    Whole,
    /// Some of them.
    Part,
}

/// All rules.
pub fn rules() -> impl Iterator<Item = &'static Rule> {
    let topics = [
        references::RULES,
        tasks::RULES,
        secrets::RULES,
        services::RULES,
        balancing::RULES,
        deployments::RULES,
        scaling::RULES,
        pipelines::RULES,
        artifacts::RULES,
        builds::RULES,
        storage::RULES,
        access::RULES,
        network::RULES,
        monitoring::RULES,
        metrics::RULES,
        dashboards::RULES,
    ];
    topics.into_iter().flatten()
}

/// Checks templates together.
pub fn check(templates: &[Document], scope: Scope) -> Vec<Finding> {
    let mut report = Report { templates, scope, rule: "", findings: Vec::new() };
    for rule in rules() {
        report.rule = rule.name;
        (rule.check)(&mut report);
    }
    report.findings
}

/// The templates under check, and what was found in them.
struct Report<'a> {
    templates: &'a [Document],
    scope: Scope,
    rule: &'static str,
    findings: Vec<Finding>,
}

impl<'a> Report<'a> {
    /// The properties of all resources of a type.
    fn resources(&self, kind: &'static str) -> impl Iterator<Item = Field<'a>> + use<'a> {
        let templates = self.templates;
        templates.iter().flat_map(move |document| document.resources(templates, kind))
    }

    /// The properties of all resources, with their types.
    fn all(&self) -> impl Iterator<Item = (&'a str, Field<'a>)> + use<'a> {
        let templates = self.templates;
        templates.iter().flat_map(move |document| document.all(templates))
    }

    /// Reports a field.
    fn add(&mut self, field: &Field<'_>, problem: impl Into<String>, hint: &'static str) {
        let (stack, resource) = field.place();
        self.findings.push(Finding {
            rule: self.rule,
            stack: stack.to_owned(),
            resource: resource.to_owned(),
            field: field.path().to_owned(),
            problem: problem.into(),
            hint,
        });
    }

    /// Reports a field unless the condition holds.
    fn require(&mut self, holds: bool, field: &Field<'_>, problem: impl FnOnce() -> String, hint: &'static str) {
        if !holds {
            self.add(field, problem(), hint);
        }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Finding { rule, stack, resource, field, problem, hint } = self;
        let field = if field.is_empty() { String::new() } else { format!("{field}: ") };
        write!(formatter, "{stack}: {resource}: {field}{problem} [{rule}]\n  hint: {hint}")
    }
}
