//! The variants of a system that are generated and validated beside the committed environments.
//!
//! They begin with an environment in an account that has everything switched on, over HTTPS. Our own checks judge every combination, validators that take long a covering set: there every two choices meet.

use std::collections::BTreeSet;

use environment::{
    Architecture, Builder, Canary, Capacity, Endpoint, Engine, Environment, Linear, Nat, Project, Span, Strategy,
};

/// A project and its environments, with choices made.
#[derive(Debug, Clone)]
pub struct Variant {
    /// The choices: `ecs-canary-no-nat-…`.
    pub name: String,
    /// The project.
    pub project: Project,
    /// Its environments.
    pub environments: Vec<Environment>,
}

/// A setting that a variant may have.
struct Choice {
    name: &'static str,
    apply: fn(&mut Project, &mut Environment),
}

const fn choice(name: &'static str, apply: fn(&mut Project, &mut Environment)) -> Choice {
    Choice { name, apply }
}

/// What can be chosen apart from each other.
const AXES: [&[Choice]; 6] = [
    &[
        choice("codedeploy", |_, of| of.deployment.engine = Engine::Codedeploy),
        choice("ecs", |_, of| of.deployment.engine = Engine::Ecs),
    ],
    &[
        choice("all-at-once", |_, of| of.deployment.strategy = Strategy::AllAtOnce),
        choice("canary", |_, of| {
            of.deployment.strategy = Strategy::Canary(Canary { percent: 25, duration: Span::minutes(3) });
        }),
        choice("linear", |_, of| {
            of.deployment.strategy = Strategy::Linear(Linear { percent: 20, every: Span::minutes(2) });
        }),
    ],
    &[
        choice("one-nat", |_, of| of.network.nat = Nat::Single),
        choice("nat-per-zone", |_, of| {
            of.network.nat = Nat::PerZone;
            of.network.zones = 3;
        }),
        choice("no-nat", |_, of| {
            of.network.nat = Nat::None;
            of.network.endpoints = vec![
                Endpoint::S3,
                Endpoint::EcrApi,
                Endpoint::EcrDkr,
                Endpoint::Logs,
                Endpoint::Secretsmanager,
                Endpoint::Ssm,
            ];
        }),
    ],
    &[
        choice("x86", |_, of| of.task.architecture = Architecture::X86_64),
        choice("arm", |_, of| {
            of.task.architecture = Architecture::Arm64;
            of.task.capacity = Capacity::Spot;
        }),
    ],
    &[
        choice("oci", |project, _| project.build.builder = Builder::Oci),
        choice("docker", |project, _| {
            project.build.builder = Builder::Docker;
            project.build.image = "aws/codebuild/amazonlinux-x86_64-standard:5.0".to_owned();
        }),
    ],
    &[
        choice("https", |_, _| {}),
        choice("http", |_, of| {
            of.location.account = None;
            of.edge.domain = None;
            of.edge.certificate = None;
            of.edge.port = 9080;
            of.edge.test_port = 9081;
        }),
    ],
];

/// Every combination.
pub fn all(project: &Project, environments: &[Environment]) -> Vec<Variant> {
    combinations().iter().map(|row| variant(project, environments, row)).collect()
}

/// Few combinations in which every two choices of different axes meet.
pub fn covering(project: &Project, environments: &[Environment]) -> Vec<Variant> {
    covering_rows().iter().map(|row| variant(project, environments, row)).collect()
}

fn covering_rows() -> Vec<Vec<usize>> {
    let candidates = combinations();
    let mut open: BTreeSet<Pair> = candidates.iter().flat_map(|row| pairs(row)).collect();
    let mut chosen = Vec::new();
    while !open.is_empty() {
        let gain = |row: &&Vec<usize>| pairs(row).filter(|pair| open.contains(pair)).count();
        // The first of the best, so that the set is always the same.
        let Some(best) = candidates.iter().rev().max_by_key(gain) else { break };
        for pair in pairs(best) {
            open.remove(&pair);
        }
        chosen.push(best.clone());
    }
    chosen
}

/// Two axes, each with an index of its choices.
type Pair = ((usize, usize), (usize, usize));

fn pairs(row: &[usize]) -> impl Iterator<Item = Pair> {
    (0..row.len()).flat_map(move |a| (a + 1..row.len()).map(move |b| ((a, row[a]), (b, row[b]))))
}

/// An index of a choice for each axis.
fn combinations() -> Vec<Vec<usize>> {
    AXES.iter().fold(vec![Vec::new()], |rows, axis| {
        let extended = rows.iter().flat_map(|row| (0..axis.len()).map(|index| [row.clone(), vec![index]].concat()));
        extended.collect()
    })
}

fn variant(project: &Project, environments: &[Environment], row: &[usize]) -> Variant {
    let choices: Vec<&Choice> = AXES.iter().zip(row).map(|(axis, index)| &axis[*index]).collect();
    let mut project = project.clone();
    let mut environments = environments.to_vec();
    for environment in &mut environments {
        choices.iter().for_each(|choice| (choice.apply)(&mut project, environment));
    }
    let name = choices.iter().map(|choice| choice.name).collect::<Vec<_>>().join("-");
    Variant { name, project, environments }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn few_combinations_cover_every_two_choices() {
        let wanted: BTreeSet<Pair> = combinations().iter().flat_map(|row| pairs(row)).collect();
        let chosen = covering_rows();
        let met: BTreeSet<Pair> = chosen.iter().flat_map(|row| pairs(row)).collect();
        assert_eq!(met, wanted);
        assert!(chosen.len() <= 12, "{} rows", chosen.len());
    }
}
