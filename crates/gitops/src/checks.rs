//! Checks of what a cluster would get: documents that are valid by their schemas, and wrong together.
//!
//! A rule is one function over all documents of an overlay, ours or not; it reports a document and a field. [`check`] runs
//! every rule.

mod network;
mod pods;
mod scaling;

use std::fmt;

use serde::Serialize;
use serde_json::Value as Json;

/// Something that will not work, or not as meant.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// Name of the rule.
    pub rule: &'static str,
    /// The document: kind and name.
    pub document: String,
    /// Path of the field, as a JSON pointer.
    pub field: String,
    /// What is wrong.
    pub problem: String,
    /// What to do about it.
    pub hint: &'static str,
}

/// A rule.
#[derive(Debug, Serialize)]
pub struct Rule {
    /// Name for people and scripts.
    pub name: &'static str,
    /// What it finds.
    pub finds: &'static str,
    #[serde(skip)]
    check: fn(&mut Report<'_>),
}

/// All rules.
pub fn rules() -> impl Iterator<Item = &'static Rule> {
    [pods::RULES, network::RULES, scaling::RULES].into_iter().flatten()
}

/// Checks the documents of one overlay together.
pub fn check(documents: &[Json]) -> Vec<Finding> {
    let mut report = Report { documents, rule: "", findings: Vec::new() };
    for rule in rules() {
        report.rule = rule.name;
        (rule.check)(&mut report);
    }
    report.findings
}

/// The documents under check, and what was found in them.
struct Report<'a> {
    documents: &'a [Json],
    rule: &'static str,
    findings: Vec<Finding>,
}

impl<'a> Report<'a> {
    /// All documents of a kind.
    fn kind(&self, kind: &'static str) -> impl Iterator<Item = &'a Json> + use<'a> {
        self.documents.iter().filter(move |document| document["kind"] == kind)
    }

    /// Whether there is a document of this kind and name.
    fn has(&self, kind: &'static str, name: &str) -> bool {
        self.kind(kind).any(|document| name_of(document) == name)
    }

    /// Reports a field unless the condition holds.
    fn require(
        &mut self,
        holds: bool,
        document: &Json,
        field: &str,
        problem: impl FnOnce() -> String,
        hint: &'static str,
    ) {
        if !holds {
            let document = format!("{} {}", text(&document["kind"]), name_of(document));
            let (rule, field) = (self.rule, field.to_owned());
            self.findings.push(Finding { rule, document, field, problem: problem(), hint });
        }
    }
}

fn text(value: &Json) -> &str {
    value.as_str().unwrap_or_default()
}

fn name_of(document: &Json) -> &str {
    text(&document["metadata"]["name"])
}

fn items(value: &Json) -> impl Iterator<Item = &Json> {
    value.as_array().into_iter().flatten()
}

/// Where a workload says what its pods are.
const POD: &str = "/spec/template/spec";

/// Labels of a workload's pods.
fn pod_labels(workload: &Json) -> &Json {
    &workload["spec"]["template"]["metadata"]["labels"]
}

/// Whether a selector (a map of labels) takes these labels; one without any takes everything.
fn selects(selector: &Json, labels: &Json) -> bool {
    selector.as_object().is_none_or(|wanted| wanted.iter().all(|(key, value)| labels[key] == *value))
}

/// The ports of a workload's containers that a name or number leads to.
fn has_port(workload: &Json, port: &Json) -> bool {
    let containers = items(&workload["spec"]["template"]["spec"]["containers"]);
    let mut ports = containers.flat_map(|container| items(&container["ports"]));
    ports.any(|known| if port.is_string() { known["name"] == *port } else { known["containerPort"] == *port })
}

impl fmt::Display for Finding {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Finding { rule, document, field, problem, hint } = self;
        write!(formatter, "{document}: {field}: {problem} [{rule}]\n  hint: {hint}")
    }
}
