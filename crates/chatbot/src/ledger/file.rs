use std::collections::HashMap;
use std::fs::File;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use super::{Book, Books, Counters, Month};
use crate::conversation::{StoreError, StoreFuture};
use crate::disk::{blocking, make_directory, replace};
use crate::tenant::TenantId;

/// Books in files: `<dir>/<tenant>/<month>.json`, replaced whole under a lock.
#[derive(Debug)]
pub struct FileBooks {
    directory: PathBuf,
}

impl FileBooks {
    /// Books below a directory that need not exist yet.
    pub fn new(directory: PathBuf) -> Self {
        Self { directory }
    }

    fn path(&self, tenant: &TenantId, month: Month) -> PathBuf {
        self.directory.join(tenant.as_str()).join(format!("{month}.json"))
    }
}

impl Books for FileBooks {
    fn add<'a>(&'a self, tenant: &'a TenantId, month: Month, more: Book) -> StoreFuture<'a, Counters> {
        let path = self.path(tenant, month);
        Box::pin(async move { blocking(move || add(&path, more)).await })
    }

    fn read<'a>(&'a self, tenant: &'a TenantId, month: Month) -> StoreFuture<'a, Book> {
        let path = self.path(tenant, month);
        Box::pin(async move { blocking(move || read(&path)).await })
    }
}

fn add(path: &Path, more: Book) -> Result<Counters, StoreError> {
    if let Some(parent) = path.parent() {
        make_directory(parent)?;
    }
    let locked = File::create(path.with_extension("lock"))?;
    locked.lock()?;
    let mut book = read(path)?;
    book.add(more);
    replace(path, &serde_json::to_vec(&book).map_err(|error| StoreError::Io(error.into()))?)?;
    Ok(book.total())
}

fn read(path: &Path) -> Result<Book, StoreError> {
    match std::fs::read(path) {
        Ok(text) => serde_json::from_slice(&text).map_err(|error| StoreError::Damaged(error.to_string())),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(Book::default()),
        Err(error) => Err(error.into()),
    }
}

/// Books in memory, gone with the process.
#[derive(Debug, Default)]
pub struct MemoryBooks(Mutex<HashMap<(TenantId, Month), Book>>);

impl Books for MemoryBooks {
    fn add<'a>(&'a self, tenant: &'a TenantId, month: Month, more: Book) -> StoreFuture<'a, Counters> {
        Box::pin(async move {
            let mut books = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            let book = books.entry((tenant.clone(), month)).or_default();
            book.add(more);
            Ok(book.total())
        })
    }

    fn read<'a>(&'a self, tenant: &'a TenantId, month: Month) -> StoreFuture<'a, Book> {
        Box::pin(async move {
            let books = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            Ok(books.get(&(tenant.clone(), month)).cloned().unwrap_or_default())
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::Outcome;
    use crate::ledger::Ledger;
    use crate::tenant::Limits;
    use crate::text::Language;

    #[tokio::test]
    async fn two_processes_count_together_and_the_cap_holds() {
        let directory = tempfile::tempdir().unwrap();
        let ledger = || Ledger::new(Box::new(FileBooks::new(directory.path().join("ledger"))));
        let (blue, green, tenant) = (ledger(), ledger(), TenantId::default());
        let limits = Limits { messages_per_month: Some(5), ..Limits::default() };
        for ledger in [&blue, &green] {
            assert!(ledger.admit(&tenant, &limits).await.is_ok());
            for _ in 0..3 {
                ledger.count(&tenant, |book, day| {
                    book.day(day).messages += 1;
                    book.question("what?", 7, Language::En, Outcome::Handover);
                });
            }
            ledger.flush().await;
        }
        assert_eq!(green.admit(&tenant, &limits).await.unwrap_err().code, "monthly_limit_reached");
        assert!(ledger().admit(&tenant, &limits).await.is_err(), "after a restart too");
        blue.count(&tenant, |book, day| book.day(day).rated_up += 1);
        blue.flush().await;
        assert!(blue.admit(&tenant, &limits).await.is_err());
        let book = blue.book(&tenant, Month::now().0).await.unwrap();
        assert_eq!((book.total().messages, book.unanswered["what?"].count), (6, 6));
    }

    #[test]
    fn questions_have_a_bound_and_the_frequent_ones_stay() {
        let mut book = Book::default();
        for number in 0..600_u64 {
            let mut more = Book::default();
            more.question(&number.to_string(), number, Language::En, Outcome::Handover);
            more.question("often", number, Language::En, Outcome::Handover);
            book.add(more);
        }
        assert_eq!(book.unanswered.len(), 500);
        assert_eq!(book.unanswered["often"].count, 600);
        assert!(!book.unanswered.contains_key("0") && book.unanswered.contains_key("599"));
    }

    #[test]
    fn months_are_written_and_read() {
        assert_eq!("2026-11".parse::<Month>().unwrap().to_string(), "2026-11");
        for text in ["2026-13", "2026-1", "2026", "../../x", "26-11"] {
            assert!(text.parse::<Month>().is_err(), "{text}");
        }
    }
}
