//! The embedded endpoint's life: up, twice up, status, down, up again, reset.

use std::net::TcpListener;
use std::process::{Command, Output};

use serde_json::Value;

use crate::{stderr, stdout, xtask};

/// An endpoint of its own; it is stopped however the test ends.
struct Place {
    directory: tempfile::TempDir,
    url: String,
}

impl Place {
    fn new() -> Self {
        let port = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("a port").port();
        let directory = tempfile::tempdir().expect("a directory");
        Self { directory, url: format!("http://127.0.0.1:{port}") }
    }

    fn local(&self, arguments: &[&str]) -> Output {
        let mut command: Command = xtask();
        command.env("AWS_ENDPOINT_URL", &self.url).env("SMARTASSIST_DATA_DIR", self.directory.path().join("data"));
        command.arg("local").args(arguments).output().expect("it runs")
    }

    fn document(&self, arguments: &[&str]) -> Value {
        let output = self.local(arguments);
        assert!(output.status.success(), "{arguments:?}: {}", stderr(&output));
        serde_json::from_slice(&output.stdout).expect("stdout is one JSON document")
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = self.local(&["down"]);
    }
}

#[test]
fn the_endpoint_comes_up_once_and_goes_down_with_its_state_kept() {
    let place = Place::new();
    let down = place.local(&["status"]);
    assert_eq!((down.status.code(), stdout(&down).as_str()), (Some(1), ""));
    assert!(stderr(&down).contains("is down\nhint: cargo xtask local up\n"), "{}", stderr(&down));

    let up = place.document(&["up", "--time-scale", "10", "--json"]);
    assert_eq!(up["schema"], 1);
    assert_eq!(up["endpoint"], place.url.as_str());
    assert_eq!(up["time_scale"], 10.0);
    assert_eq!(place.document(&["status", "--json"])["pid"], up["pid"]);

    // Up again changes nothing, and another time scale is refused and not silently ignored.
    assert_eq!(place.document(&["up", "--json"])["pid"], up["pid"]);
    let other = place.local(&["up", "--time-scale", "5"]);
    assert_eq!(other.status.code(), Some(64));
    assert!(stderr(&other).contains("hint: cargo xtask local down"), "{}", stderr(&other));

    assert_eq!(place.document(&["down", "--json"])["stopped"], true);
    assert_eq!(place.document(&["down", "--json"])["stopped"], false);
    assert!(place.directory.path().join("data/state").is_dir());

    // The port and the state are free at once.
    assert_eq!(place.document(&["up", "--json"])["time_scale"], 1.0);
    let reset = place.document(&["reset", "--json"]);
    assert_eq!(reset["stopped"], true);
    assert!(!place.directory.path().join("data").exists());
    assert_eq!(place.document(&["reset", "--json"])["removed"], Value::Null);
}

#[test]
fn a_failed_start_shows_why() {
    let place = Place::new();
    let data = place.directory.path().join("data");
    std::fs::create_dir(&data).expect("created");
    std::fs::write(data.join("state"), "not a folder").expect("written");
    let up = place.local(&["up"]);
    assert_eq!(up.status.code(), Some(69), "{}", stderr(&up));
    let text = stderr(&up);
    assert!(text.contains("Error: ") && text.contains("the endpoint ended at its start"), "{text}");
    assert!(text.contains("endpoint.log"), "{text}");
}

#[test]
fn another_program_on_the_port_is_not_taken_for_the_endpoint() {
    let server = crate::smoke::Chatbot::start("0123456789abcdef");
    let status = xtask().env("AWS_ENDPOINT_URL", &server.url).args(["local", "status"]).output().expect("it runs");
    assert_eq!(status.status.code(), Some(69));
    assert!(stderr(&status).contains("something else than the embedded endpoint answers"), "{}", stderr(&status));
}

#[test]
fn an_address_elsewhere_is_refused() {
    let status = xtask().env("AWS_ENDPOINT_URL", "http://192.0.2.1:80").args(["local", "down"]).output().expect("runs");
    assert_eq!(status.status.code(), Some(64));
    assert!(stderr(&status).contains("it is not on this machine\nhint: unset AWS_ENDPOINT_URL"), "{}", stderr(&status));
}
