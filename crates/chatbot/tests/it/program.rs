//! The real `smartbot`, started on a port of its own and always ended.

use std::io::{BufRead as _, BufReader, Read as _};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use serde_json::Value;

pub(crate) struct Program {
    child: Child,
    pub(crate) address: SocketAddr,
    log: Arc<Mutex<String>>,
    reader: Option<JoinHandle<()>>,
}

/// A command with nothing of the test's environment in it.
pub(crate) fn command(variables: &[(&str, &str)]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_smartbot"));
    command.env_clear().envs(variables.iter().copied());
    command
}

/// Runs the program to its end.
pub(crate) fn run(arguments: &[&str], variables: &[(&str, &str)]) -> Output {
    command(variables).args(arguments).output().expect("smartbot starts")
}

impl Program {
    /// Starts a server on a free port, its conversations in a directory.
    pub(crate) fn start(conversations: &Path, variables: &[(&str, &str)]) -> Self {
        let mut child = command(&[("LISTEN", "127.0.0.1:0"), ("DRAIN_DELAY_SECONDS", "0")])
            .env("CONVERSATIONS_DIR", conversations)
            .envs(variables.iter().copied())
            .stdout(Stdio::piped())
            .spawn()
            .expect("smartbot starts");
        let mut output = BufReader::new(child.stdout.take().expect("piped"));
        let log = Arc::new(Mutex::new(String::new()));
        let address = loop {
            let mut line = String::new();
            if output.read_line(&mut line).expect("UTF-8") == 0 {
                panic!("smartbot ended: {:?}", child.wait());
            }
            let entry: Value = serde_json::from_str(&line).expect("every log line is JSON");
            log.lock().unwrap().push_str(&line);
            if entry["message"] == "listening" {
                break entry["address"].as_str().expect("an address").parse().expect("an address");
            }
        };
        let kept = Arc::clone(&log);
        let reader = std::thread::spawn(move || {
            for line in output.lines() {
                let mut kept = kept.lock().unwrap();
                kept.push_str(&line.expect("UTF-8"));
                kept.push('\n');
            }
        });
        Self { child, address, log, reader: Some(reader) }
    }

    pub(crate) fn terminate(&self) {
        let status = Command::new("kill").args(["-TERM", &self.child.id().to_string()]).status();
        assert!(status.expect("kill runs").success());
    }

    /// Ends it at once, as a crash would.
    pub(crate) fn kill(mut self) {
        self.child.kill().expect("it runs");
        self.child.wait().expect("it ends");
    }

    /// Waits for its end; returns how it ended and what it logged.
    pub(crate) fn wait(mut self) -> (ExitStatus, String) {
        let since = Instant::now();
        let status = loop {
            match self.child.try_wait().expect("it can be waited for") {
                Some(status) => break status,
                None if since.elapsed() > Duration::from_secs(20) => {
                    panic!("smartbot does not end")
                }
                None => std::thread::sleep(Duration::from_millis(10)),
            }
        };
        if let Some(reader) = self.reader.take() {
            reader.join().expect("the log is read");
        }
        let log = self.log.lock().unwrap().clone();
        (status, log)
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        // Already ended is fine.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Standard error as text.
pub(crate) fn stderr(output: &Output) -> String {
    let mut text = String::new();
    (&output.stderr[..]).read_to_string(&mut text).expect("UTF-8");
    text
}
