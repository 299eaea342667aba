//! Conversations that nobody has touched for long are removed.

use std::fs::{DirEntry, File};
use std::io::ErrorKind;
use std::path::Path;
use std::time::{Duration, SystemTime};

/// Removes every conversation whose last change is older than this; returns how many.
pub(super) fn sweep(directory: &Path, age: Duration) -> std::io::Result<usize> {
    let Some(before) = SystemTime::now().checked_sub(age) else { return Ok(0) };
    let mut removed = 0;
    for tenant in entries(directory)? {
        // What begins with a dot is no tenant's.
        if tenant.file_name().as_encoded_bytes().starts_with(b".") || !tenant.file_type()?.is_dir() {
            continue;
        }
        for shelf in entries(&tenant.path())? {
            for file in entries(&shelf.path())? {
                removed += usize::from(remove(&file.path(), before)?);
            }
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

fn remove(path: &Path, before: SystemTime) -> std::io::Result<bool> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(false),
        Err(error) => return Err(error),
    };
    // Whoever is writing to it now makes it young again.
    if file.metadata()?.modified()? >= before || file.try_lock().is_err() || file.metadata()?.modified()? >= before {
        return Ok(false);
    }
    std::fs::remove_file(path)?;
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_old_conversations_go() {
        let directory = tempfile::tempdir().unwrap();
        let shelf = directory.path().join("acme/ab");
        std::fs::create_dir_all(&shelf).unwrap();
        std::fs::create_dir_all(directory.path().join(".ledger/acme")).unwrap();
        let old = SystemTime::now() - Duration::from_secs(100);
        for (path, modified) in
            [("acme/ab/old.jsonl", old), ("acme/ab/new.jsonl", SystemTime::now()), (".ledger/acme/x", old)]
        {
            File::create(directory.path().join(path)).unwrap().set_modified(modified).unwrap();
        }
        assert_eq!(sweep(directory.path(), Duration::from_secs(50)).unwrap(), 1);
        assert!(!shelf.join("old.jsonl").exists() && shelf.join("new.jsonl").exists());
        assert!(directory.path().join(".ledger/acme/x").exists());
    }
}
