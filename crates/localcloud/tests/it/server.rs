//! Starting, status and shutdown of the served endpoint.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};

/// A `localcloud serve` process on a free port with a data directory of its own.
pub(crate) struct Endpoint {
    extra: Vec<String>,
    /// `127.0.0.1:<port>`.
    pub(crate) address: String,
    /// The process.
    pub(crate) child: Child,
    data: tempfile::TempDir,
}

impl Endpoint {
    /// Starts one and waits until it serves.
    pub(crate) fn start(extra: &[&str]) -> Self {
        // Not what this machine happens to have: tests of containers say so.
        let runtime: &[&str] = if extra.contains(&"--runtime") { &[] } else { &["--runtime", "process"] };
        let extra = &[runtime, extra].concat();
        let data = tempfile::tempdir().expect("a folder");
        let (child, address) = spawn(data.path(), "127.0.0.1:0", extra);
        Self { extra: extra.iter().map(ToString::to_string).collect(), address, child, data }
    }

    /// Its data directory.
    pub(crate) fn data_dir(&self) -> &std::path::Path {
        self.data.path()
    }

    /// `kill -9`, then a new process over the same state on the same port.
    pub(crate) fn kill_and_restart(&mut self) {
        self.kill();
        let extra: Vec<&str> = self.extra.iter().map(String::as_str).collect();
        (self.child, self.address) = spawn(self.data.path(), &self.address, &extra);
    }
}

impl Drop for Endpoint {
    fn drop(&mut self) {
        self.kill();
        self.stop_tasks();
    }
}

impl Endpoint {
    /// Its data directory.
    pub(crate) fn data(&self) -> &std::path::Path {
        self.data.path()
    }

    /// `kill -9`, once or again.
    pub(crate) fn kill(&mut self) {
        self.child.kill().expect("killed");
        self.child.wait().expect("gone");
    }

    /// Stops the tasks that it leaves behind and removes their volumes; true when all have ended.
    pub(crate) fn stop_tasks(&self) -> bool {
        let mut command = Command::new(env!("CARGO_BIN_EXE_localcloud"));
        command
            .args(["stop-tasks", "--remove-volumes", "--patience", "20", "--data-dir"])
            .arg(self.data.path())
            .stdout(Stdio::null());
        command.status().is_ok_and(|status| status.success())
    }
}

fn spawn(data: &std::path::Path, listen: &str, extra: &[&str]) -> (Child, String) {
    let mut child = Command::new(env!("CARGO_BIN_EXE_localcloud"))
        .args(["serve", "--listen", listen, "--data-dir"])
        .arg(data)
        .args(extra)
        .stdout(Stdio::piped())
        .spawn()
        .expect("localcloud starts");
    let mut line = String::new();
    BufReader::new(child.stdout.take().expect("stdout")).read_line(&mut line).expect("its URL");
    (child, line.trim().trim_start_matches("http://").to_owned())
}

fn request(address: &str, head: &str) -> String {
    let mut stream = TcpStream::connect(address).expect("it accepts");
    write!(stream, "{head}\r\nConnection: close\r\n\r\n").expect("sent");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("answered");
    answer
}

#[test]
fn status_says_where_it_is_and_how_fast_time_passes() {
    let endpoint = Endpoint::start(&["--time-scale", "60"]);
    let answer = request(&endpoint.address, &format!("GET /_localcloud/status HTTP/1.1\r\nHost: {}", endpoint.address));
    let body = answer.split_once("\r\n\r\n").expect("a body").1;
    let status: serde_json::Value = serde_json::from_str(body).expect("JSON");
    assert_eq!(status["endpoint"], format!("http://{}", endpoint.address));
    assert_eq!(status["time_scale"], 60.0);
    assert_eq!(status["schema"], 1);
}

#[test]
fn a_foreign_host_is_refused() {
    let endpoint = Endpoint::start(&[]);
    let answer = request(&endpoint.address, "GET /_localcloud/status HTTP/1.1\r\nHost: evil.example");
    assert!(answer.starts_with("HTTP/1.1 403"), "{answer}");
}

#[test]
fn the_shutdown_request_ends_it_with_success() {
    let mut endpoint = Endpoint::start(&[]);
    request(
        &endpoint.address,
        &format!("POST /_localcloud/shutdown HTTP/1.1\r\nContent-Length: 0\r\nHost: {}", endpoint.address),
    );
    assert!(endpoint.child.wait().expect("it ends").success());
}
