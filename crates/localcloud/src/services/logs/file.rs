//! A stream's events: one append-only file of lines, cheap to write at any rate and whole after a kill.
//!
//! A line is `timestamp TAB ingestion time TAB message as JSON string`. An event's number is its line's.

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use crate::cloud::Cloud;
use crate::error::ApiError;

/// One event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Event {
    /// Milliseconds since the epoch, as the sender says.
    pub(super) timestamp: i64,
    /// Milliseconds since the epoch, when it arrived.
    pub(super) ingested: i64,
    pub(super) message: String,
}

/// What `DescribeLogStreams` says of a stream, from its first and last line.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Summary {
    pub(super) bytes: u64,
    pub(super) first: Option<i64>,
    pub(super) last: Option<i64>,
    pub(super) last_ingested: Option<i64>,
}

/// Where a stream's events lie. Names are encoded so that any name is one file inside the folder.
pub(super) fn path(cloud: &Cloud, group: &str, stream: &str) -> PathBuf {
    folder(cloud, group).join(encode(stream))
}

/// Where a group's streams lie.
pub(super) fn folder(cloud: &Cloud, group: &str) -> PathBuf {
    cloud.data_dir().join("logs").join(encode(group))
}

fn encode(name: &str) -> String {
    let mut encoded = String::with_capacity(name.len());
    for byte in name.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' => encoded.push(char::from(byte)),
            other => encoded.push_str(&format!("%{other:02x}")),
        }
    }
    if encoded.len() <= 200 {
        return encoded;
    }
    // Longer than file names may be: a digest is as good a name as any.
    crate::services::ecr::layers::digest_of(name.as_bytes()).replace(':', "-")
}

/// Appends events.
pub(super) fn append(path: &Path, events: &[Event]) -> io::Result<()> {
    let mut text = Vec::new();
    for event in events {
        write!(text, "{}\t{}\t", event.timestamp, event.ingested)?;
        serde_json::to_writer(&mut text, &event.message)?;
        text.push(b'\n');
    }
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder)?;
    }
    let mut file = OpenOptions::new().read(true).append(true).create(true).open(path)?;
    if ends_torn(&mut file)? {
        // A kill cut the last line off: end it, so that only itself is lost.
        file.write_all(b"\n")?;
    }
    file.write_all(&text)
}

fn ends_torn(file: &mut File) -> io::Result<bool> {
    if file.metadata()?.len() == 0 {
        return Ok(false);
    }
    let mut last = [0];
    file.seek(SeekFrom::End(-1))?;
    file.read_exact(&mut last)?;
    Ok(last != *b"\n")
}

/// Reads all events with their numbers. A torn line keeps its number and gives no event.
pub(super) fn read(path: &Path, mut visit: impl FnMut(u64, Event)) -> io::Result<u64> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(0),
        Err(error) => return Err(error),
    };
    let mut reader = BufReader::with_capacity(256 << 10, file);
    let mut line = Vec::new();
    let mut number = 0;
    loop {
        line.clear();
        reader.read_until(b'\n', &mut line)?;
        if line.last() != Some(&b'\n') {
            // The end, or a line that is being written right now.
            return Ok(number);
        }
        if let Some(event) = parse(&line) {
            visit(number, event);
        }
        number += 1;
    }
}

fn parse(line: &[u8]) -> Option<Event> {
    let mut parts = line.splitn(3, |byte| *byte == b'\t');
    let mut number = || std::str::from_utf8(parts.next()?).ok()?.parse::<i64>().ok();
    let (timestamp, ingested) = (number()?, number()?);
    let message = serde_json::from_slice(parts.next()?).ok()?;
    Some(Event { timestamp, ingested, message })
}

/// Looks at both ends of the file only.
pub(super) fn summary(path: &Path) -> io::Result<Summary> {
    let mut file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Summary::default()),
        Err(error) => return Err(error),
    };
    let bytes = file.metadata()?.len();
    let mut first = Vec::new();
    BufReader::new(&mut file).take(1 << 20).read_until(b'\n', &mut first)?;
    let tail = bytes.min(1 << 20);
    file.seek(SeekFrom::Start(bytes - tail))?;
    let mut end = Vec::new();
    file.take(tail).read_to_end(&mut end)?;
    let last = end.split_inclusive(|byte| *byte == b'\n').rev().find_map(parse);
    Ok(Summary {
        bytes,
        first: parse(&first).map(|event| event.timestamp),
        last: last.as_ref().map(|event| event.timestamp),
        last_ingested: last.map(|event| event.ingested),
    })
}

/// Removes a file or folder that may not be there.
pub(super) fn remove(path: &Path) -> io::Result<()> {
    let removed = if path.is_dir() { fs::remove_dir_all(path) } else { fs::remove_file(path) };
    match removed {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// Runs file work beside the async runtime.
pub(super) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> Result<T, ApiError> {
    tokio::task::spawn_blocking(work)
        .await
        .map_err(ApiError::internal)?
        .map_err(|error| ApiError::internal(format_args!("a log file cannot be used: {error}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(timestamp: i64, message: &str) -> Event {
        Event { timestamp, ingested: timestamp + 1, message: message.to_owned() }
    }

    fn all(path: &Path) -> Vec<(u64, Event)> {
        let mut events = vec![];
        read(path, |number, event| events.push((number, event))).unwrap();
        events
    }

    #[test]
    fn events_come_back_and_a_torn_line_costs_only_itself() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a/b");
        append(&path, &[event(1, "tab\tnewline\n\"quote\" 日本")]).unwrap();
        let mut file = OpenOptions::new().append(true).open(&path).unwrap();
        file.write_all(b"2\t3\t\"cut of").unwrap();
        assert_eq!(all(&path).len(), 1);
        append(&path, &[event(5, "after")]).unwrap();
        assert_eq!(all(&path), vec![(0, event(1, "tab\tnewline\n\"quote\" 日本")), (2, event(5, "after"))]);
        let summary = summary(&path).unwrap();
        assert_eq!((summary.first, summary.last, summary.last_ingested), (Some(1), Some(5), Some(6)));
    }

    #[test]
    fn every_name_is_one_file() {
        assert_eq!(encode("/ecs/app"), "%2fecs%2fapp");
        assert_eq!(encode(".."), "%2e%2e");
        assert!(encode(&"/".repeat(512)).len() < 100);
    }
}
