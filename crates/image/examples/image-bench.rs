//! `cargo xtask bench image`: this builder beside `docker build` and `docker push` of the same checkout, in one run and in
//! turns, because only ratios of the same minute mean something on a busy machine.
//!
//! What is measured: a rebuild without any change (cargo's own part of it beside it), a rebuild after one changed line, the
//! image's compressed size, and the push of an image that the registry has. Docker's side needs an engine with BuildKit, the
//! push needs `docker-registry`; what is missing is said and left out.

use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Instant;

use anyhow::{Context as _, Result, bail};
use clap::Parser;
use serde_json::{Value, json};

/// Measures the image builder beside Docker.
#[derive(Debug, Parser)]
struct Arguments {
    /// The builder.
    #[arg(long, value_name = "PATH")]
    image: PathBuf,
    /// Rounds; the median counts.
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    /// The image that Docker compiles in.
    #[arg(long, value_name = "IMAGE", env = "RUST_IMAGE", default_value = "rust:1.95-slim")]
    base_image: String,
    /// More arguments for `docker build`, as one text: secrets, a network.
    #[arg(long, value_name = "TEXT", default_value = "", allow_hyphen_values = true)]
    docker_arguments: String,
    /// Leave Docker out.
    #[arg(long)]
    no_docker: bool,
    /// Print the result as JSON.
    #[arg(long)]
    json: bool,
}

/// Seconds of the rounds of one measurement.
#[derive(Debug, Default, Clone)]
struct Samples(Vec<f64>);

impl Samples {
    fn median(&self) -> Option<f64> {
        let mut sorted = self.0.clone();
        sorted.sort_by(f64::total_cmp);
        sorted.get(sorted.len() / 2).copied()
    }
}

/// The checkout that is built: a clone of its own, so that a changed line is nobody's work.
struct Bench {
    arguments: Arguments,
    checkout: PathBuf,
    docker: bool,
}

fn main() -> Result<()> {
    let arguments = Arguments::parse();
    let folder = std::env::current_dir().context("cannot find the current directory")?.join("target/bench-image");
    let bench = Bench::prepare(arguments, &folder)?;
    let mut result = bench.builds()?;
    result["push"] = bench.pushes(&folder)?;
    if bench.arguments.json {
        writeln!(std::io::stdout(), "{result}")?;
    } else {
        print(&result)?;
    }
    Ok(())
}

impl Bench {
    fn prepare(arguments: Arguments, folder: &Path) -> Result<Self> {
        let checkout = folder.join("checkout");
        if checkout.exists() {
            fs::remove_dir_all(&checkout).context("cannot remove the last run's checkout")?;
        }
        fs::create_dir_all(folder).context("cannot create the bench's folder")?;
        succeed(Command::new("git").args(["clone", "--quiet", "."]).arg(&checkout))?;
        let docker = !arguments.no_docker && has_engine();
        if !docker {
            eprintln!("no Docker engine with BuildKit: its side is left out");
        }
        let bench = Self { arguments, checkout, docker };
        eprintln!("first builds: everything is compiled once");
        bench.build()?;
        if bench.docker {
            bench.docker_build()?;
        }
        Ok(bench)
    }

    fn builds(&self) -> Result<Value> {
        let [mut unchanged, mut cargo, mut docker_unchanged] = [const { Samples(Vec::new()) }; 3];
        let [mut changed, mut docker_changed] = [const { Samples(Vec::new()) }; 2];
        let mut size = 0;
        for round in 0..self.arguments.rounds {
            eprintln!("round {} of {}", round + 1, self.arguments.rounds);
            let (seconds, report) = self.build()?;
            unchanged.0.push(seconds);
            cargo.0.push(report["seconds"]["cargo"].as_f64().context("the builder names no time of cargo")?);
            size = report["size"].as_u64().context("the builder names no size")?;
            if self.docker {
                docker_unchanged.0.push(self.docker_build()?);
            }
            self.change_a_line(round)?;
            changed.0.push(self.build()?.0);
            if self.docker {
                docker_changed.0.push(self.docker_build()?);
            }
        }
        let added: Vec<f64> = unchanged.0.iter().zip(&cargo.0).map(|(all, cargo)| all - cargo).collect();
        Ok(json!({
            "schema": 1,
            "rounds": self.arguments.rounds,
            "compressed_bytes": size,
            "unchanged": {
                "seconds": unchanged.median(),
                "cargo_seconds": cargo.median(),
                "added_seconds": Samples(added).median(),
                "docker_seconds": docker_unchanged.median(),
            },
            "one_line": { "seconds": changed.median(), "docker_seconds": docker_changed.median() },
        }))
    }

    /// One build: wall time of the whole program, and its report.
    fn build(&self) -> Result<(f64, Value)> {
        let mut command = self.builder();
        command.args(["build", "--json"]);
        let (seconds, output) = timed(&mut command)?;
        Ok((seconds, serde_json::from_slice(&output.stdout).context("the builder prints no JSON")?))
    }

    fn builder(&self) -> Command {
        let mut command = Command::new(&self.arguments.image);
        // Not in the checkout, which is made anew for each run.
        let target = self.checkout.with_file_name("cargo");
        command.current_dir(&self.checkout).env("CARGO_TARGET_DIR", &target).env("CARGO_BUILD_BUILD_DIR", &target);
        command
    }

    fn docker_build(&self) -> Result<f64> {
        let mut command = Command::new("docker");
        command
            .env("DOCKER_BUILDKIT", "1")
            .args(["build", "--quiet", "--tag", DOCKER_NAME, "--build-arg"])
            .arg(format!("RUST_IMAGE={}", self.arguments.base_image))
            .args(self.arguments.docker_arguments.split_whitespace())
            .arg(".")
            .current_dir(&self.checkout);
        Ok(timed(&mut command)?.0)
    }

    fn change_a_line(&self, round: usize) -> Result<()> {
        let path = self.checkout.join("crates/chatbot/src/main.rs");
        let source = fs::read_to_string(&path).context("cannot read the chatbot's source")?;
        fs::write(&path, format!("{source}\nconst _: usize = {round};\n")).context("cannot change the chatbot's source")
    }

    /// Pushes an image that the registry has, through a proxy that counts requests.
    fn pushes(&self, folder: &Path) -> Result<Value> {
        let data = folder.join("registry");
        let _ = fs::remove_dir_all(&data);
        let Some(registry) = Registry::start(&data)? else {
            eprintln!("docker-registry is not installed: the push is left out");
            return Ok(Value::Null);
        };
        let counter = Counter::start(&registry.address)?;
        let layout = folder.join("pushed");
        succeed(self.builder().args(["build", "--allow-dirty", "--layout"]).arg(&layout))?;
        let ours = || {
            let repository = format!("{}/bench/ours", counter.address);
            timed(self.builder().arg("push").arg(&layout).arg(repository)).map(|(seconds, _)| seconds)
        };
        let theirs = format!("{}/bench/docker:1", counter.address);
        let docker = || timed(Command::new("docker").args(["push", "--quiet", &theirs])).map(|(seconds, _)| seconds);
        ours()?;
        if self.docker {
            succeed(Command::new("docker").args(["tag", DOCKER_NAME, &theirs]))?;
            docker()?;
        }
        let [mut seconds, mut docker_seconds] = [const { Samples(Vec::new()) }; 2];
        let mut counted = (Vec::new(), Vec::new());
        for _ in 0..self.arguments.rounds {
            counter.take();
            seconds.0.push(ours()?);
            counted.0 = counter.take();
            if self.docker {
                docker_seconds.0.push(docker()?);
                counted.1 = counter.take();
            }
        }
        let uploads =
            |requests: &[String]| requests.iter().filter(|request| request.contains("/blobs/uploads/")).count();
        Ok(json!({
            "seconds": seconds.median(),
            "requests": counted.0.len(),
            "uploads": uploads(&counted.0),
            "docker_seconds": docker_seconds.median(),
            "docker_requests": self.docker.then_some(counted.1.len()),
            "docker_uploads": self.docker.then(|| uploads(&counted.1)),
        }))
    }
}

const DOCKER_NAME: &str = "smartbot-bench:1";

fn has_engine() -> bool {
    let version = Command::new("docker").args(["version", "--format", "{{.Client.Version}}"]).output();
    let Some(version) = version.ok().filter(|output| output.status.success()) else { return false };
    let major = String::from_utf8_lossy(&version.stdout).split('.').next().and_then(|major| major.parse::<u32>().ok());
    // Later clients drive BuildKit through a plug-in.
    let plugin =
        || Command::new("docker").args(["buildx", "version"]).output().is_ok_and(|output| output.status.success());
    major.is_some_and(|major| major < 23) || plugin()
}

fn timed(command: &mut Command) -> Result<(f64, Output)> {
    let started = Instant::now();
    let output = command.stdin(Stdio::null()).output().with_context(|| format!("cannot start {command:?}"))?;
    let seconds = started.elapsed().as_secs_f64();
    if !output.status.success() {
        bail!("{command:?} failed: {}", String::from_utf8_lossy(&output.stderr));
    }
    Ok((seconds, output))
}

fn succeed(command: &mut Command) -> Result<()> {
    timed(command).map(|_| ())
}

/// docker-registry on a free port, open to everybody.
struct Registry {
    child: Child,
    address: String,
}

impl Registry {
    fn start(data: &Path) -> Result<Option<Self>> {
        fs::create_dir_all(data).context("cannot create the registry's folder")?;
        let config = data.join("config.yml");
        let text = format!(
            "version: 0.1\nlog: {{level: info}}\nstorage: {{filesystem: {{rootdirectory: {}}}}}\nhttp: {{addr: '127.0.0.1:0'}}\n",
            data.display()
        );
        fs::write(&config, text).context("cannot write the registry's configuration")?;
        let mut command = Command::new("docker-registry");
        let Ok(mut child) = command.arg("serve").arg(&config).stdout(Stdio::null()).stderr(Stdio::piped()).spawn()
        else {
            return Ok(None);
        };
        let mut lines = BufReader::new(child.stderr.take().context("no pipe")?).lines();
        let address = lines.by_ref().map_while(Result::ok).find_map(|line| {
            let (_, rest) = line.split_once("listening on ")?;
            rest.split(['"', ',', ' ']).next().map(str::to_owned)
        });
        std::thread::spawn(move || lines.for_each(drop));
        let address = address.context("docker-registry does not say where it listens")?;
        Ok(Some(Self { child, address }))
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A proxy that takes note of every request line.
struct Counter {
    address: String,
    requests: Arc<Mutex<Vec<String>>>,
}

impl Counter {
    fn start(target: &str) -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").context("no free port")?;
        let address = listener.local_addr().context("no address")?.to_string();
        let requests = Arc::new(Mutex::new(Vec::new()));
        let (target, noted) = (target.to_owned(), Arc::clone(&requests));
        std::thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                let Ok(server) = TcpStream::connect(&target) else { continue };
                let (Ok(client_back), Ok(server_back)) = (client.try_clone(), server.try_clone()) else { continue };
                let noted = Arc::clone(&noted);
                std::thread::spawn(move || forward(client, server, &noted));
                std::thread::spawn(move || {
                    let (mut from, mut to) = (server_back, client_back);
                    let _ = std::io::copy(&mut from, &mut to);
                    let _ = to.shutdown(Shutdown::Both);
                });
            }
        });
        Ok(Self { address, requests })
    }

    /// What was noted since the last time.
    fn take(&self) -> Vec<String> {
        std::mem::take(&mut *self.requests.lock().unwrap_or_else(std::sync::PoisonError::into_inner))
    }
}

fn forward(mut client: TcpStream, mut server: TcpStream, noted: &Mutex<Vec<String>>) {
    let mut buffer = [0; 16 * 1024];
    while let Ok(read @ 1..) = client.read(&mut buffer) {
        let text = String::from_utf8_lossy(&buffer[..read]);
        let lines = text.split("\r\n").filter(|line| line.ends_with(" HTTP/1.1")).map(str::to_owned);
        noted.lock().unwrap_or_else(std::sync::PoisonError::into_inner).extend(lines);
        if server.write_all(&buffer[..read]).is_err() {
            break;
        }
    }
    let _ = server.shutdown(Shutdown::Both);
}

fn print(result: &Value) -> Result<()> {
    let seconds = |value: &Value| value.as_f64().map_or("-".to_owned(), |seconds| format!("{seconds:.2} s"));
    let ratio = |ours: &Value, theirs: &Value| match (ours.as_f64(), theirs.as_f64()) {
        (Some(ours), Some(theirs)) => format!("{:.1} times as long", theirs / ours),
        _ => "not measured".to_owned(),
    };
    let (unchanged, one_line, push) = (&result["unchanged"], &result["one_line"], &result["push"]);
    let mut lines = Vec::new();
    for (what, part) in [("no change", unchanged), ("one line", one_line), ("push, unchanged", push)] {
        lines.push(format!(
            "{what:<16} ours {:>9}   docker {:>9}   {}",
            seconds(&part["seconds"]),
            seconds(&part["docker_seconds"]),
            ratio(&part["seconds"], &part["docker_seconds"])
        ));
    }
    lines.push(format!(
        "{:<16} {} of it is cargo's, {} the builder's",
        "no change",
        seconds(&unchanged["cargo_seconds"]),
        seconds(&unchanged["added_seconds"])
    ));
    lines.push(format!("{:<16} {} bytes compressed", "size", result["compressed_bytes"]));
    if !push.is_null() {
        lines.push(format!(
            "{:<16} ours {} requests, {} uploads; docker {} requests, {} uploads",
            "push, unchanged", push["requests"], push["uploads"], push["docker_requests"], push["docker_uploads"]
        ));
    }
    writeln!(std::io::stdout(), "{}", lines.join("\n")).context("cannot write to stdout")
}
