//! What tenants use and what they could not answer: counted in memory, kept by month.
//!
//! Counts are written every [`FLUSH`] and at the end of a drain, so a crash loses seconds of
//! counting, never a message. A month's book is shared by all processes: each adds what it counted and gets
//! back the sum, which is what the monthly caps are measured by.

mod book;
#[cfg(feature = "dynamodb")]
mod dynamodb;
mod file;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use foldhash::HashMap;
use http::StatusCode;

pub use book::{Book, Counters, Month, Unanswered};
#[cfg(feature = "dynamodb")]
pub use dynamodb::DynamoBooks;
pub use file::{FileBooks, MemoryBooks};

use crate::conversation::StoreFuture;
use crate::problem::Problem;
use crate::tenant::{Limits, TenantId};

/// How often counts are written.
pub const FLUSH: Duration = Duration::from_secs(2);

/// Where books are kept.
pub trait Books: Send + Sync + fmt::Debug {
    /// Adds to a month's book, atomically; returns the month's sum with it.
    fn add<'a>(&'a self, tenant: &'a TenantId, month: Month, more: Book) -> StoreFuture<'a, Counters>;

    /// A month's book; empty when nothing was counted.
    fn read<'a>(&'a self, tenant: &'a TenantId, month: Month) -> StoreFuture<'a, Book>;
}

/// Counts, and knows the sums.
#[derive(Debug)]
pub struct Ledger {
    books: Box<dyn Books>,
    accounts: Mutex<HashMap<TenantId, Account>>,
}

#[derive(Debug, Default)]
struct Account {
    /// The month that `kept` is of; none: nothing was read yet.
    month: Option<Month>,
    /// Everybody's sum, when the book was last written or read.
    kept: Counters,
    /// Counted here and not written yet, by month: around midnight there are two.
    pending: BTreeMap<Month, Book>,
}

impl Ledger {
    /// A ledger over books.
    pub fn new(books: Box<dyn Books>) -> Self {
        Self { books, accounts: Mutex::default() }
    }

    /// Counts something for a tenant, now.
    pub fn count(&self, tenant: &TenantId, add: impl FnOnce(&mut Book, u8)) {
        let (month, day) = Month::now();
        let mut accounts = self.accounts.lock().unwrap_or_else(PoisonError::into_inner);
        let account = match accounts.get_mut(tenant) {
            Some(account) => account,
            None => accounts.entry(tenant.clone()).or_default(),
        };
        add(account.pending.entry(month).or_default(), day);
    }

    /// Whether a tenant may send another message this month.
    pub async fn admit(&self, tenant: &TenantId, limits: &Limits) -> Result<(), Problem> {
        let Some(most) = limits.messages_per_month else { return Ok(()) };
        if self.used(tenant).await?.messages < most { Ok(()) } else { Err(over(most)) }
    }

    /// Whether a tenant may still use model tokens this month.
    pub async fn admits_tokens(&self, tenant: &TenantId, limits: &Limits) -> Result<bool, Problem> {
        let Some(most) = limits.tokens_per_month else { return Ok(true) };
        let used = self.used(tenant).await?;
        Ok(used.input_tokens + used.output_tokens < most)
    }

    /// A month's book, with what is not written yet.
    pub async fn book(&self, tenant: &TenantId, month: Month) -> Result<Book, Problem> {
        let mut book = self.books.read(tenant, month).await?;
        let accounts = self.accounts.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(pending) = accounts.get(tenant).and_then(|account| account.pending.get(&month)) {
            book.add(pending.clone());
        }
        Ok(book)
    }

    /// This month's sum.
    async fn used(&self, tenant: &TenantId) -> Result<Counters, Problem> {
        let (month, _) = Month::now();
        let known = |ledger: &Self| {
            let accounts = ledger.accounts.lock().unwrap_or_else(PoisonError::into_inner);
            let account = accounts.get(tenant).filter(|account| account.month == Some(month))?;
            Some(account.used())
        };
        if let Some(used) = known(self) {
            return Ok(used);
        }
        let kept = self.books.read(tenant, month).await?.total();
        let mut accounts = self.accounts.lock().unwrap_or_else(PoisonError::into_inner);
        let account = accounts.entry(tenant.clone()).or_default();
        account.settle(month, kept);
        Ok(account.used())
    }

    /// Writes what was counted. What cannot be written is tried again the next time.
    pub async fn flush(&self) {
        let pending: Vec<(TenantId, Month, Book)> = {
            let mut accounts = self.accounts.lock().unwrap_or_else(PoisonError::into_inner);
            let of = |(tenant, account): (&TenantId, &mut Account)| {
                std::mem::take(&mut account.pending)
                    .into_iter()
                    .map(|(month, book)| (tenant.clone(), month, book))
                    .collect::<Vec<_>>()
            };
            accounts.iter_mut().flat_map(of).collect()
        };
        for (tenant, month, book) in pending {
            let added = self.books.add(&tenant, month, book.clone()).await;
            let mut accounts = self.accounts.lock().unwrap_or_else(PoisonError::into_inner);
            let account = accounts.entry(tenant).or_default();
            match added {
                Ok(kept) => account.settle(month, kept),
                Err(error) => {
                    tracing::warn!(error = %error, "usage could not be written yet");
                    account.pending.entry(month).or_default().add(book);
                }
            }
        }
    }
}

impl Account {
    fn settle(&mut self, month: Month, kept: Counters) {
        if self.month.is_none_or(|settled| month >= settled) {
            (self.month, self.kept) = (Some(month), kept);
        }
    }

    fn used(&self) -> Counters {
        let pending = self.month.and_then(|month| self.pending.get(&month)).map(Book::total);
        self.kept + pending.unwrap_or_default()
    }
}

fn over(most: u64) -> Problem {
    let detail = format!("The plan allows {most} messages a calendar month (UTC).");
    Problem::new(StatusCode::TOO_MANY_REQUESTS, "monthly_limit_reached", "The month's messages are used up", detail)
        .retry_after(Month::seconds_left())
}
