//! `smoke` against a tiny server that answers as a chatbot does.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::process::Output;
use std::sync::{Arc, Mutex};

use crate::{stderr, xtask};

const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";

/// A server that lives as long as the test's process.
pub(crate) struct Chatbot {
    pub(crate) url: String,
    commit: Arc<Mutex<String>>,
}

impl Chatbot {
    pub(crate) fn start(commit: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let url = format!("http://{}", listener.local_addr().expect("an address"));
        let commit = Arc::new(Mutex::new(commit.to_owned()));
        let shared = Arc::clone(&commit);
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let _ = answer(stream, &shared.lock().expect("not poisoned"));
            }
        });
        Self { url, commit }
    }

    fn smoke(&self) -> Output {
        xtask().args(["smoke", &self.url, "--commit", COMMIT]).output().expect("it runs")
    }
}

fn answer(mut stream: TcpStream, commit: &str) -> std::io::Result<()> {
    let mut reader = BufReader::new(stream.try_clone()?);
    let (mut head, mut line) = (String::new(), String::new());
    while reader.read_line(&mut line)? > 2 {
        head += &line.to_ascii_lowercase();
        line.clear();
    }
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")?.trim().parse().ok());
    let mut body = vec![0; length.unwrap_or(0)];
    reader.read_exact(&mut body)?;
    let (status, text) = match head.split_whitespace().nth(1).unwrap_or_default() {
        "/version" => ("200 OK", format!("{{\"commit\": \"{commit}\"}}")),
        "/health" => ("200 OK", "ok".to_owned()),
        // A broken version answers with nothing.
        "/v1/chat" if commit.starts_with("bad") => ("500 Internal Server Error", "{}".to_owned()),
        "/v1/chat" if head.contains("accept: text/event-stream") => ("200 OK", "event: done\ndata: {}\n\n".to_owned()),
        "/v1/chat" => ("200 OK", "{\"answer\": \"はい\"}".to_owned()),
        _ => ("404 Not Found", "not found".to_owned()),
    };
    write!(stream, "HTTP/1.1 {status}\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{text}", text.len())
}

#[test]
fn the_expected_version_passes() {
    let output = Chatbot::start(COMMIT).smoke();
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    let names = ["version", "health", "answer in Japanese", "answer in English", "streamed answer"];
    let expected: String = names.iter().map(|name| format!("ok      {name}\n")).collect();
    assert_eq!(stderr(&output), expected);
}

#[test]
fn a_version_that_appears_a_moment_later_passes() {
    let chatbot = Chatbot::start("ffffffffffff");
    let commit = Arc::clone(&chatbot.commit);
    std::thread::spawn(move || {
        std::thread::sleep(std::time::Duration::from_secs(1));
        *commit.lock().expect("not poisoned") = COMMIT.to_owned();
    });
    let output = chatbot.smoke();
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
}

#[test]
fn every_failure_says_what_was_expected_and_what_came() {
    let output = Chatbot::start("bad0000").smoke();
    assert_eq!(output.status.code(), Some(1));
    let text = stderr(&output);
    assert!(text.contains(&format!("failed  version\n  expected: commit {COMMIT}")), "{text}");
    assert!(text.contains("came: 200 {\"commit\": \"bad0000\"}\n  hint: another version answers"), "{text}");
    assert!(text.contains("ok      health\n") && text.contains("failed  streamed answer"), "{text}");
    assert!(text.contains("came: 500 {}"), "{text}");
}

#[test]
fn a_word_that_is_no_commit_is_wrong_usage() {
    let output = xtask().args(["smoke", "http://127.0.0.1:9", "--commit", "main"]).output().expect("it runs");
    assert_eq!(output.status.code(), Some(2));
}
