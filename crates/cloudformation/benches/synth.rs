//! Synthesis beside its peers: `cargo xtask bench synth` installs them and runs this.
//!
//! Every round measures all of them one after the other, so that a busy machine slows down all; the ratios count.

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use cloudformation::checks::{self, Document, Scope};
use cloudformation::{Stack, files, templates};
use environment::{Environment, EnvironmentName, Project};

const ROUNDS: usize = 5;
/// Runs of a round, of which the median counts: many of what takes milliseconds, few of what takes half a second.
const RUNS: usize = 31;
const SLOW_RUNS: usize = 3;

fn main() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let peers = Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/peers");
    let tools = root.join("target/tools-bench");
    let directory = root.join("environments");
    let project = Project::load(&directory).expect("the committed project");
    let environments = EnvironmentName::ALL.map(|name| Environment::load(&directory, name).expect("committed"));

    let checked = format!("ours, with {} checks", checks::rules().count());
    let mut rows: Vec<(&str, Vec<Sample>)> =
        ["ours", checked.as_str(), "troposphere", "aws-cdk-lib"].map(|name| (name, Vec::new())).into();
    for _ in 0..ROUNDS {
        rows[0].1.push(ours(&project, &environments, false));
        rows[1].1.push(ours(&project, &environments, true));
        let python = Command::new(tools.join("venv/bin/python")).arg(peers.join("troposphere_stacks.py")).peer(RUNS);
        rows[2].1.extend(python);
        let node = Command::new("node")
            .env("NODE_PATH", tools.join("node_modules"))
            .arg(peers.join("cdk_stacks.cjs"))
            .peer(SLOW_RUNS);
        rows[3].1.extend(node);
    }
    let own = median(&rows[0].1).map_or(f64::NAN, Sample::each);
    println!("{:<26}{:>10}{:>12}{:>16}{:>10}", "", "resources", "ms", "us a resource", "ratio");
    for (name, samples) in &rows {
        match median(samples) {
            Some(sample) => {
                let (each, ms) = (sample.each(), sample.milliseconds);
                println!("{name:<26}{:>10}{ms:>12.2}{each:>16.1}{:>10.1}", sample.resources, each / own);
            }
            None => println!("{name:<26} is not installed: cargo xtask bench synth"),
        }
    }
}

#[derive(Clone, Copy)]
struct Sample {
    resources: usize,
    milliseconds: f64,
}

impl Sample {
    /// Microseconds a resource.
    #[expect(clippy::cast_precision_loss, reason = "there are hundreds of resources")]
    fn each(self) -> f64 {
        self.milliseconds * 1000.0 / self.resources as f64
    }
}

/// Everything of both environments: all templates and all generated files, as text.
fn ours(project: &Project, environments: &[Environment], checked: bool) -> Sample {
    let mut resources = 0;
    let mut times = Vec::new();
    for _ in 0..RUNS {
        let start = Instant::now();
        let stacks: Vec<Stack> =
            environments.iter().flat_map(|of| templates(project, of).expect("supported")).collect();
        let bytes: usize = stacks.iter().map(|stack| stack.body().len()).sum();
        let files = files(project, environments).expect("supported");
        if checked {
            let document = |stack: &Stack| Document::new(stack.name.as_str(), stack.template.clone());
            let documents: Vec<_> = stacks.iter().map(document).collect();
            assert!(checks::check(&documents, Scope::Whole).is_empty());
        }
        times.push(start.elapsed());
        assert!(bytes > 0 && !files.is_empty());
        resources = stacks.iter().filter_map(|stack| Some(stack.template["Resources"].as_object()?.len())).sum();
    }
    times.sort_unstable();
    Sample { resources, milliseconds: milliseconds(times[RUNS / 2]) }
}

fn milliseconds(time: Duration) -> f64 {
    time.as_secs_f64() * 1000.0
}

fn median(samples: &[Sample]) -> Option<Sample> {
    let mut sorted = samples.to_vec();
    sorted.sort_by(|a, b| a.milliseconds.total_cmp(&b.milliseconds));
    sorted.get(samples.len() / 2).copied()
}

/// A program that prints its own median.
trait Peer {
    fn peer(&mut self, runs: usize) -> Option<Sample>;
}

impl Peer for Command {
    fn peer(&mut self, runs: usize) -> Option<Sample> {
        let output = self.arg(runs.to_string()).output().ok()?;
        if !output.status.success() {
            eprintln!("{}", String::from_utf8_lossy(&output.stderr));
            return None;
        }
        let printed: serde_json::Value = serde_json::from_slice(&output.stdout).ok()?;
        let resources = usize::try_from(printed["resources"].as_u64()?).ok()?;
        Some(Sample { resources, milliseconds: printed["milliseconds"].as_f64()? })
    }
}
