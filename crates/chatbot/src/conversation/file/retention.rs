//! Conversations that nobody has written in for long are forgotten.

use std::fs::{DirEntry, File};
use std::io::{BufRead as _, BufReader, ErrorKind};
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::super::StoreError;
use super::line::Line;
use super::segment::Segment;

/// Forgets every conversation whose last message is older than this; returns how many.
pub(super) fn sweep(directory: &Path, age: Duration) -> Result<usize, StoreError> {
    let Some(before) = SystemTime::now().checked_sub(age) else { return Ok(0) };
    let mut removed = 0;
    for tenant in entries(directory)? {
        // What begins with a dot is no tenant's.
        if tenant.file_name().as_encoded_bytes().starts_with(b".") || !tenant.file_type()?.is_dir() {
            continue;
        }
        for segment in entries(&tenant.path())? {
            removed += expire(&segment.path(), before)?;
        }
    }
    Ok(removed)
}

fn entries(directory: &Path) -> std::io::Result<Vec<DirEntry>> {
    match std::fs::read_dir(directory) {
        Ok(entries) => entries.collect(),
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => Ok(Vec::new()),
        Err(error) => Err(error),
    }
}

/// Forgets the old conversations of one segment. A young one, and one that another process is writing anew, is passed over.
fn expire(path: &Path, before: SystemTime) -> Result<usize, StoreError> {
    if path.extension().is_none_or(|extension| extension != "jsonl") {
        return Ok(0);
    }
    let before_ms = before.duration_since(UNIX_EPOCH).unwrap_or_default().as_millis() as u64;
    match begun_ms(path) {
        Ok(begun_ms) if begun_ms >= before_ms => Ok(0),
        Ok(_) => match Segment::open(path).and_then(|mut segment| segment.expire(path, before_ms)) {
            Ok(expired) => Ok(expired.unwrap_or(0)),
            Err(StoreError::NotFound) => Ok(0),
            Err(error) => Err(error),
        },
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(0),
        Err(error) => Err(error.into()),
    }
}

/// When the first conversation of a segment began, in milliseconds since 1970; of a segment that
/// holds none, when it was made.
fn begun_ms(path: &Path) -> std::io::Result<u64> {
    let file = File::open(path)?;
    let made = file.metadata()?.modified()?.duration_since(UNIX_EPOCH).unwrap_or_default().as_millis() as u64;
    let mut first = Vec::new();
    BufReader::new(file).read_until(b'\n', &mut first)?;
    let message = Line::parse(&first).ok().and_then(|line| line.message);
    Ok(message.map_or(made, |message| message.at_ms))
}
