//! `cargo xtask bench chatbot`: SmartBot beside the Flask service it replaces, in the same run.
//!
//! A bare axum server shows what of it the framework and the system cost. Load alternates in short slices, so that whatever else the machine does falls on both.
//! Requests per second of processor time is what is compared: it hardly depends on the load
//! generator, which runs on the same machine.

mod bare;
mod load;
mod process;
mod report;
mod tenants;

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use clap::Parser;

use crate::load::{Load, Script};
use crate::process::{Server, Task, Usage, free_address};
use crate::report::Report;
use crate::tenants::Tenants;

const CONNECTIONS: usize = 32;
const STREAMS: usize = 1_000;
const STARTS: usize = 7;

/// Benchmarks SmartBot beside Flask + gunicorn. stdout is the result, stderr is for people.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask bench chatbot")]
struct Arguments {
    /// The release build of the service.
    #[arg(long, required_unless_present = "bare")]
    smartbot: Option<PathBuf>,
    /// Be the bare server: used by the benchmark itself.
    #[arg(long, hide = true)]
    bare: Option<std::net::SocketAddr>,
    /// Fewer and shorter slices: a first impression in under a minute.
    #[arg(long)]
    quick: bool,
    /// Print one JSON document.
    #[arg(long)]
    json: bool,
    /// Load for this long afterwards and watch the memory (30s, 10m). It writes some 2 GB of conversations a minute to
    /// TMPDIR.
    #[arg(long, value_parser = duration)]
    soak: Option<Duration>,
    /// Where the baseline's virtual environment is kept.
    #[arg(long, default_value = "target/bench")]
    cache: PathBuf,
}

fn main() -> Result<ExitCode> {
    let arguments = Arguments::parse();
    if let Some(address) = arguments.bare {
        bare::serve(address)?;
        return Ok(ExitCode::SUCCESS);
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let report = runtime.block_on(run(&arguments))?;
    if arguments.json {
        println!("{:#}", report.json());
    } else {
        print!("{report}");
    }
    Ok(ExitCode::SUCCESS)
}

async fn run(arguments: &Arguments) -> Result<Report> {
    let directory = tempfile::tempdir().context("cannot make a temporary directory")?;
    let tenants = tenants::write(directory.path())?;
    let mut report = Report::default();

    eprintln!("start to ready, {STARTS} times …");
    let smartbot = |tenants_file: Option<&Path>, delay_ms: u32| {
        start_smartbot(arguments, directory.path(), tenants_file, delay_ms)
    };
    let mut starts = Vec::new();
    for _ in 0..STARTS {
        starts.push(smartbot(None, 0)?.started_in);
    }
    starts.sort_unstable();
    report.at_most("start to ready", starts[STARTS / 2].as_secs_f64() * 1e3, "ms", 50.0);

    let bare = start_bare()?;
    let flask = start_flask(&arguments.cache, &[])?;
    let logging = start_flask(&arguments.cache, &["--access-logfile", "-"])?;
    let ours = smartbot(Some(&tenants.file), 0)?;
    report.note("start to ready with 50 tenants x 200 entries", ours.started_in.as_secs_f64() * 1e3, "ms");
    let side = |name, server, script| Side { name, server, script: Arc::new(script) };
    let sides = [
        side("bare axum", &bare, flask_script(&bare, &tenants)),
        side("Flask", &flask, flask_script(&flask, &tenants)),
        side("Flask with a log", &logging, flask_script(&logging, &tenants)),
        side("SmartBot", &ours, smartbot_script(&ours, &tenants, 0)),
    ];
    ratio(arguments.quick, &sides, &mut report).await?;
    limited(arguments.quick, &sides, &mut report).await?;
    drop((bare, flask, logging));

    eprintln!("every tenant once, then memory …");
    for number in 0..tenants::TENANTS {
        let script = Arc::new(smartbot_script(&ours, &tenants, number));
        load::run(&script, 4, Duration::from_millis(40)).await?;
    }
    let used = ours.usage()?;
    report.at_most("memory (RSS), 50 tenants x 200 entries", megabytes(used.rss), "MB", 64.0);
    report.note("memory (PSS)", megabytes(used.pss), "MB");
    if let Some(duration) = arguments.soak {
        soak(&ours, &tenants, duration, &mut report).await?;
    }
    drop(ours);

    eprintln!("{STREAMS} open streams …");
    let slow = smartbot(Some(&tenants.file), 1_000)?;
    let before = slow.usage()?.rss;
    let mut during = before;
    let script = Arc::new(smartbot_script(&slow, &tenants, 1));
    let whole = load::streams(&script, STREAMS, || {
        during = slow.usage()?.rss;
        Ok(())
    })
    .await?;
    report.at_least("of 1,000 streams open at once, whole", whole as f64, "", STREAMS as f64);
    report.note("memory of 1,000 open streams", megabytes(during.saturating_sub(before)), "MB");
    Ok(report)
}

/// One of the servers compared.
struct Side<'a> {
    name: &'static str,
    server: &'a Server,
    script: Arc<Script>,
}

/// What a side did for the processor time it took.
#[derive(Default)]
struct Sum {
    load: Load,
    cpu: Duration,
}

impl Sum {
    async fn measure(side: &Side<'_>, slice: Duration) -> Result<Self> {
        let Usage { cpu: before, .. } = side.server.usage()?;
        let load = load::run(&side.script, CONNECTIONS, slice).await?;
        Ok(Self { load, cpu: side.server.usage()?.cpu.saturating_sub(before) })
    }

    fn per_cpu_second(&self) -> f64 {
        self.load.requests as f64 / self.cpu.as_secs_f64().max(1e-3)
    }
}

/// Requests for the processor time they take. Flask is what is to be beaten as the brief starts it, without a line of log a
/// request; SmartBot writes one, so what Flask takes with it is told beside that.
async fn ratio(quick: bool, sides: &[Side<'_>; 4], report: &mut Report) -> Result<()> {
    let (rounds, slice) = if quick { (5, Duration::from_secs(1)) } else { (20, Duration::from_secs(2)) };
    eprintln!("{rounds} rounds of {} s each side, {CONNECTIONS} connections …", slice.as_secs());
    for side in sides {
        Sum::measure(side, Duration::from_millis(500)).await?;
    }
    let mut sums = [(); 4].map(|()| Sum::default());
    let mut ratios = Vec::new();
    for _ in 0..rounds {
        let mut rates = Vec::new();
        for (side, sum) in sides.iter().zip(&mut sums) {
            let part = Sum::measure(side, slice).await?;
            rates.push(part.per_cpu_second());
            sum.cpu += part.cpu;
            sum.load.add(part.load);
        }
        ratios.push(rates[3] / rates[1]);
    }
    ratios.sort_unstable_by(f64::total_cmp);
    for (Side { name, .. }, sum) in sides.iter().zip(&sums) {
        refuse_failures(name, &sum.load)?;
        report.note(&format!("{name}: requests a second"), sum.load.per_second(), "/s");
        report.note(&format!("{name}: p50"), sum.load.percentile(0.5).as_secs_f64() * 1e3, "ms");
        report.note(&format!("{name}: p99"), sum.load.percentile(0.99).as_secs_f64() * 1e3, "ms");
        report.note(&format!("{name}: processor time a request"), 1e6 / sum.per_cpu_second(), "us");
    }
    let [_, flask, logging, ours] = sums.map(|sum| sum.per_cpu_second());
    report.at_least("requests a CPU second, SmartBot : Flask", ours / flask, "x", 20.0);
    report.note("  least of the rounds", ratios[0], "x");
    report.note("  most of the rounds", ratios[ratios.len() - 1], "x");
    report.note("requests a CPU second, SmartBot : Flask with a log", ours / logging, "x");
    Ok(())
}

/// All of them with what one task has.
async fn limited(quick: bool, sides: &[Side<'_>; 4], report: &mut Report) -> Result<()> {
    let task = match Task::create() {
        Ok(task) => task,
        Err(error) => {
            report.skip("0.25 vCPU, 512 MB", &format!("{error:#}"));
            return Ok(());
        }
    };
    let slice = Duration::from_secs(if quick { 3 } else { 10 });
    eprintln!("0.25 vCPU and 512 MB, {} s each …", slice.as_secs());
    for side in sides {
        let name = side.name;
        task.admit(side.server)?;
        let sum = Sum::measure(side, slice).await;
        task.release(side.server)?;
        let sum = sum?;
        refuse_failures(name, &sum.load)?;
        let rate = sum.load.per_second();
        match name {
            "SmartBot" => report.at_least("0.25 vCPU, SmartBot: requests a second", rate, "/s", 10_000.0),
            _ => report.note(&format!("0.25 vCPU, {name}: requests a second"), rate, "/s"),
        }
        report.note(&format!("0.25 vCPU, {name}: p99"), sum.load.percentile(0.99).as_secs_f64() * 1e3, "ms");
    }
    Ok(())
}

/// Memory under load that goes on: the last third beside the second.
async fn soak(server: &Server, tenants: &Tenants, duration: Duration, report: &mut Report) -> Result<()> {
    eprintln!("soak, {} s …", duration.as_secs());
    let started = Instant::now();
    let mut samples = Vec::new();
    let mut requests = 0;
    for number in (0..tenants::TENANTS).cycle() {
        if started.elapsed() >= duration {
            break;
        }
        let script = Arc::new(smartbot_script(server, tenants, number));
        let load = load::run(&script, CONNECTIONS, (duration / 100).min(Duration::from_secs(2))).await?;
        refuse_failures("SmartBot", &load)?;
        requests += load.requests;
        samples.push(server.usage()?.rss);
    }
    let third = samples.len() / 3;
    let mean = |part: &[u64]| megabytes(part.iter().sum::<u64>()) / part.len().max(1) as f64;
    let (middle, end) = (mean(&samples[third..2 * third]), mean(&samples[2 * third..]));
    report.note("soak: requests", requests as f64, "");
    report.note("soak: memory in the second third", middle, "MB");
    report.note("soak: memory in the last third", end, "MB");
    report.at_most("soak: growth", (end / middle - 1.0) * 100.0, "%", 2.0);
    Ok(())
}

fn refuse_failures(name: &str, load: &Load) -> Result<()> {
    match &load.refusal {
        None => Ok(()),
        Some(refusal) => {
            bail!("{name} refused {} of {} requests, the first with {refusal}", load.failures, load.requests)
        }
    }
}

fn start_smartbot(arguments: &Arguments, directory: &Path, tenants: Option<&Path>, delay_ms: u32) -> Result<Server> {
    let address = free_address()?;
    let mut command = Command::new(arguments.smartbot.as_deref().context("--smartbot is needed")?);
    command
        .env_clear()
        .env("LISTEN", address.to_string())
        .env("CONVERSATIONS_DIR", directory.join("conversations"))
        .env("DRAIN_DELAY_SECONDS", "0")
        .env("STREAM_DELTA_DELAY_MS", delay_ms.to_string());
    if let Some(tenants) = tenants {
        command.env("TENANTS_FILE", tenants);
    }
    Server::start(&mut command, address, "/ready")
}

fn smartbot_script(server: &Server, tenants: &Tenants, tenant: usize) -> Script {
    let key = format!("Authorization: Bearer {}\r\n", tenants.keys[tenant]);
    Script::new(server.address, "/v1/chat", &key, &tenants.questions, 10)
}

fn flask_script(server: &Server, tenants: &Tenants) -> Script {
    Script::new(server.address, "/chat", "", &tenants.questions, 0)
}

/// The least that a request costs here: axum with one route that answers a constant.
fn start_bare() -> Result<Server> {
    let address = free_address()?;
    let mut command = Command::new(std::env::current_exe()?);
    Server::start(command.arg("--bare").arg(address.to_string()), address, "/health")
}

/// The brief's service: one worker with four threads. Its virtual environment is made once.
fn start_flask(cache: &Path, options: &[&str]) -> Result<Server> {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("bench/baseline");
    let venv = std::path::absolute(cache)?.join("venv");
    let gunicorn = venv.join("bin/gunicorn");
    if !gunicorn.exists() {
        eprintln!("installing Flask and gunicorn below {} …", venv.display());
        finish(Command::new("python3").args(["-m", "venv"]).arg(&venv))?;
        finish(
            Command::new(venv.join("bin/pip")).args(["install", "--quiet", "-r"]).arg(source.join("requirements.txt")),
        )?;
    }
    let address = free_address()?;
    let mut command = Command::new(gunicorn);
    command.current_dir(&source).args(["--workers", "1", "--threads", "4", "--log-level", "error"]);
    command.args(options).env("PYTHONDONTWRITEBYTECODE", "1").arg("--bind").arg(address.to_string()).arg("app:app");
    Server::start(&mut command, address, "/health")
}

fn finish(command: &mut Command) -> Result<()> {
    let status = command.stdout(std::process::Stdio::null()).status();
    let status = status.with_context(|| format!("cannot start {}", command.get_program().display()))?;
    if !status.success() {
        bail!(
            "{} failed ({status})\n  hint: python3 with venv is needed, and a package index",
            command.get_program().display()
        );
    }
    Ok(())
}

fn megabytes(bytes: u64) -> f64 {
    bytes as f64 / 1e6
}

fn duration(text: &str) -> Result<Duration, String> {
    let (number, unit) = text.split_at(text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len()));
    let seconds = match unit {
        "s" | "" => 1,
        "m" => 60,
        _ => return Err(format!("{text:?} is not a duration such as 30s or 10m")),
    };
    number.parse().map(|number: u64| Duration::from_secs(number * seconds)).map_err(|error| error.to_string())
}
