use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use super::super::ConversationKey;
use super::log::Log;

/// The most files kept open. Each costs a descriptor and the last messages of its conversation.
const MOST: usize = 256;

/// The conversations used last.
#[derive(Debug, Default)]
pub(super) struct OpenFiles(Mutex<Shelf>);

#[derive(Debug, Default)]
struct Shelf {
    logs: HashMap<ConversationKey, Open>,
    /// Counts uses: the clock by which the oldest is found.
    now: u64,
}

#[derive(Debug)]
struct Open {
    log: Arc<Mutex<Log>>,
    used: u64,
}

impl OpenFiles {
    /// The file of a conversation, if it is open.
    pub(super) fn find(&self, key: &ConversationKey) -> Option<Arc<Mutex<Log>>> {
        let mut shelf = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        shelf.now += 1;
        let now = shelf.now;
        let open = shelf.logs.get_mut(key)?;
        open.used = now;
        Some(Arc::clone(&open.log))
    }

    /// Keeps a file open. When another thread opened it meanwhile, that one is kept: two would
    /// wait for each other's locks.
    pub(super) fn keep(&self, key: ConversationKey, log: Log) -> Arc<Mutex<Log>> {
        let mut shelf = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        shelf.now += 1;
        let now = shelf.now;
        if shelf.logs.len() >= MOST {
            // A quarter at once, so that the search for the oldest is rare.
            let mut uses: Vec<u64> = shelf.logs.values().map(|open| open.used).collect();
            let (_, &mut oldest, _) = uses.select_nth_unstable(MOST / 4);
            shelf.logs.retain(|_, open| open.used > oldest);
        }
        let open = shelf.logs.entry(key).or_insert_with(|| Open { log: Arc::new(Mutex::new(log)), used: now });
        Arc::clone(&open.log)
    }

    /// Closes a file.
    pub(super) fn close(&self, key: &ConversationKey) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).logs.remove(key);
    }
}
