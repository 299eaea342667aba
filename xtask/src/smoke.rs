//! `smoke`: does a deployed chatbot serve this commit, and does it answer? Every request goes through curl, as anyone could repeat it.

use std::process::{Command, ExitCode};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use clap::Args;
use serde_json::{Value, json};

/// How long the version may take to appear: load balancers keep connections to the old version for a moment.
const PATIENCE: Duration = Duration::from_secs(15);

#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// Where the chatbot answers, as in http://127.0.0.1:9090.
    url: String,
    /// The commit that must answer; at least its first 7 characters.
    #[arg(long, value_name = "SHA", value_parser = commit)]
    commit: String,
}

/// One expectation that did not hold.
#[derive(Debug)]
struct Failure {
    expected: String,
    came: String,
    hint: &'static str,
}

type Check<'a> = (&'static str, Box<dyn Fn() -> Result<Option<Failure>> + 'a>);

pub(crate) fn run(arguments: &Arguments) -> Result<ExitCode> {
    let url = arguments.url.trim_end_matches('/');
    let checks: [Check<'_>; 5] = [
        ("version", Box::new(|| patiently(|| version(url, &arguments.commit)))),
        ("health", Box::new(|| health(url))),
        ("answer in Japanese", Box::new(|| answer(url, "パスワードを忘れました"))),
        ("answer in English", Box::new(|| answer(url, "I forgot my password"))),
        ("streamed answer", Box::new(|| stream(url))),
    ];
    let mut passed = true;
    for (name, check) in checks {
        match check().with_context(|| format!("{name}: the check itself failed"))? {
            None => eprintln!("ok      {name}"),
            Some(failure) => {
                passed = false;
                eprintln!("failed  {name}\n  expected: {}\n  came: {}", failure.expected, failure.came);
                eprintln!("  hint: {}", failure.hint);
            }
        }
    }
    Ok(if passed { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn commit(text: &str) -> Result<String, String> {
    if text.len() >= 7 && text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        Ok(text.to_ascii_lowercase())
    } else {
        Err("a commit's hexadecimal name is expected, of 7 characters or more".to_owned())
    }
}

/// Repeats a check until it holds or the patience ends.
fn patiently(check: impl Fn() -> Result<Option<Failure>>) -> Result<Option<Failure>> {
    let begin = Instant::now();
    loop {
        let found = check()?;
        if found.is_none() || begin.elapsed() >= PATIENCE {
            return Ok(found);
        }
        std::thread::sleep(Duration::from_millis(500));
    }
}

fn version(url: &str, commit: &str) -> Result<Option<Failure>> {
    let answer = curl(&[&format!("{url}/version")])?;
    let document: Value = serde_json::from_slice(&answer.body).unwrap_or_default();
    if answer.status == 200 && document["commit"].as_str().is_some_and(|found| found.starts_with(commit)) {
        return Ok(None);
    }
    let hint = match document["commit"].as_str() {
        Some(_) => {
            "another version answers: the deployment is not finished, was rolled back, or the URL is another environment's"
        }
        None => "nothing of SmartBot answers at this URL: `cargo xtask status` shows the right one",
    };
    Ok(Some(Failure { expected: format!("commit {commit} from {url}/version"), came: answer.told(), hint }))
}

fn health(url: &str) -> Result<Option<Failure>> {
    let answer = curl(&[&format!("{url}/health")])?;
    Ok((answer.status != 200).then(|| Failure {
        expected: format!("200 from {url}/health"),
        came: answer.told(),
        hint: "`cargo xtask logs ENV` shows what the containers print",
    }))
}

fn answer(url: &str, message: &str) -> Result<Option<Failure>> {
    let answer = chat(url, message, "application/json")?;
    let document: Value = serde_json::from_slice(&answer.body).unwrap_or_default();
    let answered = answer.status == 200 && document["answer"].as_str().is_some_and(|text| !text.trim().is_empty());
    Ok((!answered).then(|| Failure {
        expected: format!("200 and an `answer` to “{message}” from {url}/v1/chat"),
        came: answer.told(),
        hint: "the service runs but does not answer: is its knowledge file in the image?",
    }))
}

fn stream(url: &str) -> Result<Option<Failure>> {
    let answer = chat(url, "I forgot my password", "text/event-stream")?;
    let text = String::from_utf8_lossy(&answer.body);
    let complete = answer.status == 200 && text.lines().any(|line| line.trim_end() == "event: done");
    Ok((!complete).then(|| Failure {
        expected: format!("200 and a stream with `event: done` from {url}/v1/chat"),
        came: answer.told(),
        hint: "JSON answers but a stream does not end: something on the way cuts or collects it",
    }))
}

fn chat(url: &str, message: &str, accept: &str) -> Result<Answer> {
    let (url, body) = (format!("{url}/v1/chat"), json!({"message": message}).to_string());
    let accept = format!("accept: {accept}");
    curl(&["--header", "content-type: application/json", "--header", &accept, "--data-binary", &body, &url])
}

/// What came back; status 0 when there was no HTTP answer, and then the body is curl's explanation.
#[derive(Debug)]
struct Answer {
    status: u16,
    body: Vec<u8>,
}

impl Answer {
    fn told(&self) -> String {
        let text = String::from_utf8_lossy(&self.body);
        let text: String = text.trim().chars().take(300).collect();
        if self.status == 0 { text } else { format!("{} {text}", self.status) }
    }
}

fn curl(arguments: &[&str]) -> Result<Answer> {
    let output = Command::new("curl")
        .args(["--silent", "--show-error", "--no-buffer", "--connect-timeout", "5", "--max-time", "10"])
        .args(["--noproxy", "127.0.0.1,localhost", "--write-out", "\n%{http_code}"])
        .args(arguments)
        .output()
        .context("cannot start curl, which `smoke` makes its requests with")?;
    let end = output.stdout.iter().rposition(|byte| *byte == b'\n').unwrap_or(0);
    let (body, code) = output.stdout.split_at(end);
    if !output.status.success() {
        return Ok(Answer { status: 0, body: output.stderr });
    }
    let status = String::from_utf8_lossy(code).trim().parse().context("curl printed no status")?;
    Ok(Answer { status, body: body.to_vec() })
}
