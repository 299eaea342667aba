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

/// The file, as far as it has been looked at.
#[derive(Debug)]
pub(super) struct LockedFile {
    file: File,
    /// How long it was.
    length: u64,
    /// Where its last whole line ends.
    end: u64,
}

/// The file has been written anew, or removed: it has to be opened again.
#[derive(Debug)]
pub(super) struct Replaced;

impl LockedFile {
    /// Opens a file; nothing is read yet.
    pub(super) fn open(path: &Path) -> std::io::Result<Self> {
        Ok(Self { file: private().read(true).write(true).open(path)?, length: 0, end: 0 })
    }

    /// Opens a file, a new one if there is none.
    pub(super) fn open_or_create(path: &Path) -> std::io::Result<Self> {
        Ok(Self { file: open_or_create(path)?, length: 0, end: 0 })
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
        let found = self.file.metadata()?;
        self.length = found.len();
        if found.nlink() > 0 {
            return Ok(Ok(()));
        }
        self.unlock()?;
        Ok(Err(Replaced))
    }

    /// Locks the file if nobody else holds it and it is as it was left.
    pub(super) fn lock_at_once(&self) -> bool {
        if self.file.try_lock().is_err() {
            return false;
        }
        let current = self.is_current();
        if !current {
            // Whoever waits for the lock next meets the same failure, and reports it.
            let _ = self.file.unlock();
        }
        current
    }

    pub(super) fn unlock(&self) -> std::io::Result<()> {
        self.file.unlock()
    }

    /// Whether the file is as it was left. It only ever grows by whole lines, so its length tells.
    pub(super) fn is_current(&self) -> bool {
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

    /// Appends lines, all or none.
    pub(super) fn put(&mut self, bytes: &[u8]) -> Result<(), StoreError> {
        // What a killed writer left behind must not look like the end of our last line.
        if self.length != self.end {
            self.file.set_len(self.end)?;
        }
        if let Err(error) = self.file.write_all_at(bytes, self.end) {
            // A full disk must not leave half a turn. The first error is the one that counts.
            let _ = self.file.set_len(self.end);
            return Err(error.into());
        }
        self.end += bytes.len() as u64;
        self.length = self.end;
        Ok(())
    }
}
