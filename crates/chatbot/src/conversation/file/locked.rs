//! A file that several processes append lines to, one at a time.

use std::fs::{File, TryLockError};
use std::io::{BufRead as _, BufReader, Read as _, Seek as _, SeekFrom};
use std::os::unix::fs::{FileExt as _, MetadataExt as _};
use std::path::Path;
use std::time::{Duration, Instant};

use super::super::StoreError;
use crate::disk::{open_or_create, private};

/// How long to wait for another writer.
const LOCK_PATIENCE: Duration = Duration::from_secs(2);

/// The bytes that stay allocated for what will be written next.
const KEPT: usize = 16 * 1024;

/// The file, as far as it has been looked at.
#[derive(Debug)]
pub(super) struct LockedFile {
    file: File,
    /// How long it was.
    length: u64,
    /// Where its last whole line ends, when everything put is written.
    end: u64,
    /// What was put and is not written yet.
    unwritten: Vec<u8>,
    /// Whether this process holds the lock.
    locked: bool,
}

/// The file has been written anew, or removed: it has to be opened again.
#[derive(Debug)]
pub(super) struct Replaced;

impl LockedFile {
    /// Opens a file; nothing is read yet.
    pub(super) fn open(path: &Path) -> std::io::Result<Self> {
        Ok(Self::of(private().read(true).write(true).open(path)?))
    }

    /// Opens a file, a new one if there is none.
    pub(super) fn open_or_create(path: &Path) -> std::io::Result<Self> {
        Ok(Self::of(open_or_create(path)?))
    }

    pub(super) fn of(file: File) -> Self {
        Self { file, length: 0, end: 0, unwritten: Vec::new(), locked: false }
    }

    /// Tries for the file until the patience ends, so that a stuck process cannot stop this one.
    /// Notes how long the file is.
    pub(super) fn lock(&mut self) -> Result<Result<(), Replaced>, StoreError> {
        let since = Instant::now();
        loop {
            match self.file.try_lock() {
                Ok(()) => break,
                Err(TryLockError::Error(error)) => return Err(error.into()),
                Err(TryLockError::WouldBlock) if since.elapsed() > LOCK_PATIENCE => return Err(StoreError::Busy),
                Err(TryLockError::WouldBlock) => std::thread::sleep(Duration::from_millis(2)),
            }
        }
        self.locked = true;
        let found = self.file.metadata()?;
        self.length = found.len();
        if found.nlink() > 0 {
            return Ok(Ok(()));
        }
        self.unlock()?;
        Ok(Err(Replaced))
    }

    /// Locks the file if nobody else holds it and it is as it was left.
    pub(super) fn lock_at_once(&mut self) -> bool {
        if self.locked {
            return true;
        }
        if self.file.try_lock().is_err() {
            return false;
        }
        self.locked = self.is_current();
        if !self.locked {
            // Whoever waits for the lock next meets the same failure, and reports it.
            let _ = self.file.unlock();
        }
        self.locked
    }

    pub(super) fn unlock(&mut self) -> std::io::Result<()> {
        self.locked = false;
        self.file.unlock()
    }

    pub(super) fn is_locked(&self) -> bool {
        self.locked
    }

    /// Whether the file is as it was left. It only ever grows by whole lines, so its length tells;
    /// while it is locked nobody else writes to it.
    pub(super) fn is_current(&self) -> bool {
        if self.locked {
            return true;
        }
        let found = self.file.metadata();
        self.length == self.end && found.is_ok_and(|found| found.len() == self.end && found.nlink() > 0)
    }

    /// Reads the lines that have not been read yet.
    pub(super) fn new_lines(&mut self, each: impl FnMut(&[u8]) -> Result<(), StoreError>) -> Result<(), StoreError> {
        self.end = self.read(self.end, each)?;
        Ok(())
    }

    /// Reads every line.
    pub(super) fn lines(&self, each: impl FnMut(&[u8]) -> Result<(), StoreError>) -> Result<(), StoreError> {
        self.read(0, each).map(drop)
    }

    /// Reads the whole lines from a place on; returns where they end. What a killed writer left there is no line.
    fn read(&self, start: u64, mut each: impl FnMut(&[u8]) -> Result<(), StoreError>) -> Result<u64, StoreError> {
        if start == self.length {
            return Ok(start);
        }
        let mut file = &self.file;
        file.seek(SeekFrom::Start(start))?;
        let mut reader = BufReader::with_capacity(64 * 1024, file.take(self.length - start));
        let (mut line, mut end) = (Vec::new(), start);
        while reader.read_until(b'\n', &mut line)? > 0 && line.last() == Some(&b'\n') {
            end += line.len() as u64;
            each(&line[..line.len() - 1])?;
            line.clear();
        }
        Ok(end)
    }

    /// Takes lines to be appended: what `write` adds, or nothing if it fails.
    pub(super) fn put<T>(
        &mut self,
        write: impl FnOnce(&mut Vec<u8>) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let before = self.unwritten.len();
        let written = write(&mut self.unwritten);
        if written.is_err() {
            self.unwritten.truncate(before);
        }
        self.end += (self.unwritten.len() - before) as u64;
        written
    }

    /// Where the file will end.
    pub(super) fn end(&self) -> u64 {
        self.end
    }

    /// Where the file ends, without what is not written yet.
    pub(super) fn written(&self) -> u64 {
        self.end - self.unwritten.len() as u64
    }

    /// Writes what was put, all or none.
    pub(super) fn write(&mut self) -> std::io::Result<()> {
        if self.unwritten.is_empty() {
            return Ok(());
        }
        let start = self.written();
        let mut lines = std::mem::take(&mut self.unwritten);
        self.end = start;
        // What a killed writer left behind must not look like the end of our last line.
        if self.length != start {
            self.file.set_len(start)?;
        }
        if let Err(error) = self.file.write_all_at(&lines, start) {
            // A full disk must not leave half a turn. The first error is the one that counts.
            let _ = self.file.set_len(start);
            return Err(error);
        }
        self.end = start + lines.len() as u64;
        self.length = self.end;
        // The next ones have the same place.
        lines.clear();
        lines.shrink_to(KEPT);
        self.unwritten = lines;
        Ok(())
    }
}
