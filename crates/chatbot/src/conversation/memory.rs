use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use super::{ConversationKey, ConversationStore, Message, StoreError, StoreFuture, StoredMessage};

/// Conversations in memory: gone with the process. Only when configured (`CONVERSATION_STORE=memory`).
#[derive(Debug, Default)]
pub struct MemoryStore {
    conversations: Mutex<HashMap<ConversationKey, Vec<StoredMessage>>>,
}

impl ConversationStore for MemoryStore {
    fn append<'a>(&'a self, key: &'a ConversationKey, messages: Vec<Message>, create: bool) -> StoreFuture<'a, u64> {
        Box::pin(async move {
            let mut conversations = self.conversations.lock().unwrap_or_else(PoisonError::into_inner);
            if !create && !conversations.contains_key(key) {
                return Err(StoreError::NotFound);
            }
            let kept = conversations.entry(key.clone()).or_default();
            let first = kept.len() as u64 + 1;
            kept.extend((first..).zip(messages).map(|(seq, message)| StoredMessage { seq, message }));
            Ok(first)
        })
    }

    fn recent<'a>(&'a self, key: &'a ConversationKey, limit: usize) -> StoreFuture<'a, Vec<StoredMessage>> {
        Box::pin(async move {
            let conversations = self.conversations.lock().unwrap_or_else(PoisonError::into_inner);
            let kept = conversations.get(key).ok_or(StoreError::NotFound)?;
            Ok(kept[kept.len().saturating_sub(limit)..].to_vec())
        })
    }

    fn check(&self) -> StoreFuture<'_, ()> {
        Box::pin(async { Ok(()) })
    }
}
