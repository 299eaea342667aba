//! `cargo xtask eval`: how good the answers are, on the project's own questions and on public sets.

use std::path::{Path, PathBuf};

use anyhow::Result;
use chatbot::engine::{Engine, Thresholds};
use chatbot::evaluation::{self, FaqPart, Measured, Set};
use clap::Parser;
use serde_json::{Map, Value, json};

/// Measures retrieval and abstention. Without a file: the project's own questions.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask eval")]
struct Arguments {
    /// A file in the format of SQuAD (SQuAD, XQuAD, JSQuAD); repeatable.
    #[arg(long, value_name = "FILE")]
    squad: Vec<PathBuf>,
    /// JSTS: pairs of Japanese sentences with their similarity, one JSON object a line.
    #[arg(long, value_name = "FILE")]
    jsts: Vec<PathBuf>,
    /// Banking77: CSV of text and intent.
    #[arg(long, value_name = "FILE")]
    banking: Vec<PathBuf>,
    /// Phrasings of each intent that are known; the rest is asked.
    #[arg(long, default_value_t = 10)]
    phrasings: usize,
    /// A knowledge file with a CSV of questions beside it, as in crates/chatbot/evaluation.
    #[arg(long, value_name = "FILE")]
    faq: Vec<PathBuf>,
    /// Coverage from which on a hit is the answer.
    #[arg(long, default_value_t = Thresholds::default().answer)]
    answer: f32,
    /// Coverage from which on hits are suggested.
    #[arg(long, default_value_t = Thresholds::default().suggest)]
    suggest: f32,
    /// Print one JSON document.
    #[arg(long)]
    json: bool,
}

fn main() -> Result<()> {
    let mut arguments = Arguments::parse();
    let files = [&arguments.squad, &arguments.jsts, &arguments.banking, &arguments.faq];
    if files.into_iter().all(Vec::is_empty) {
        let own = Path::new(env!("CARGO_MANIFEST_DIR")).join("evaluation");
        arguments.faq = ["aozora-market.yaml", "kintai-cloud.yaml"].map(|name| own.join(name)).into();
    }
    let results = measure(&arguments)?;
    if arguments.json {
        let sets: Map<String, Value> = results.into_iter().map(|(name, measured)| (name, json!(measured))).collect();
        println!("{:#}", json!({"schema": 1, "sets": sets}));
    } else {
        results.iter().for_each(|(name, measured)| print(name, measured));
    }
    Ok(())
}

fn measure(arguments: &Arguments) -> Result<Vec<(String, Measured)>> {
    let thresholds = Thresholds { answer: arguments.answer, suggest: arguments.suggest };
    let mut results = Vec::new();
    let mut add = |path: &Path, set: Set| results.push((name(path), set.measure(thresholds)));
    for path in &arguments.squad {
        add(path, evaluation::squad(path)?);
    }
    for path in &arguments.jsts {
        add(path, evaluation::jsts(path)?);
    }
    for path in &arguments.banking {
        add(path, evaluation::banking(path, arguments.phrasings)?);
    }
    for path in &arguments.faq {
        for (part, label) in [(FaqPart::Dev, "dev"), (FaqPart::HeldOut, "held out")] {
            let (knowledge, questions) = evaluation::faq(path, part)?;
            let engine = Engine::with_thresholds(knowledge, thresholds);
            let measured = evaluation::measure_engine(&engine, &questions, thresholds);
            results.push((format!("{}, {label}", name(path)), measured));
        }
    }
    Ok(results)
}

fn name(path: &Path) -> String {
    path.file_name().unwrap_or(path.as_os_str()).to_string_lossy().into_owned()
}

fn print(name: &str, measured: &Measured) {
    println!("{name}: {} questions, {} documents", measured.questions, measured.documents);
    println!("  hit@1 {:.4}  hit@5 {:.4}  MRR {:.4}", measured.hit_at_1, measured.hit_at_5, measured.mrr);
    println!("  search p50 {:.1} us, p99 {:.1} us", measured.p50_us, measured.p99_us);
    if let Some(abstention) = &measured.abstention {
        println!("  known from unknown ({}): AUROC {:.4}", abstention.unknown, abstention.auroc);
        println!(
            "  from coverage {}: {:.1} % of the known answered, {:.1} % of these rightly; {:.1} % of the unknown answered",
            abstention.answer,
            abstention.answered * 100.0,
            abstention.precision * 100.0,
            abstention.answered_wrongly * 100.0
        );
        println!("  from coverage {}: {:.1} % of the known helped", abstention.suggest, abstention.helped * 100.0);
    }
}
