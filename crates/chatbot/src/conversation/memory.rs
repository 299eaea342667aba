use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use super::{
    Conversation, ConversationKey, ConversationStore, Feedback, Glance, Message, State, Status, StoreError,
    StoreFuture, StoredMessage,
};

/// Conversations in memory: gone with the process. Only when configured (`CONVERSATION_STORE=memory`).
#[derive(Debug, Default)]
pub struct MemoryStore {
    conversations: Mutex<HashMap<ConversationKey, Conversation>>,
}

impl MemoryStore {
    fn with<T>(
        &self,
        key: &ConversationKey,
        change: impl FnOnce(&mut Conversation) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let mut conversations = self.conversations.lock().unwrap_or_else(PoisonError::into_inner);
        change(conversations.get_mut(key).ok_or(StoreError::NotFound)?)
    }
}

impl ConversationStore for MemoryStore {
    fn create<'a>(
        &'a self,
        key: &'a ConversationKey,
        owner: Option<&'a str>,
        messages: &'a [Message],
    ) -> StoreFuture<'a, ()> {
        Box::pin(async move {
            let mut conversations = self.conversations.lock().unwrap_or_else(PoisonError::into_inner);
            let messages = (1..).zip(messages.iter().cloned()).map(|(seq, message)| StoredMessage { seq, message });
            let conversation =
                Conversation { owner: owner.map(str::to_owned), state: State::Bot, messages: messages.collect() };
            conversations.insert(key.clone(), conversation);
            Ok(())
        })
    }

    fn append<'a>(&'a self, key: &'a ConversationKey, seen: State, messages: &'a [Message]) -> StoreFuture<'a, u64> {
        Box::pin(async move {
            self.with(key, |conversation| {
                if conversation.state != seen {
                    return Err(StoreError::Conflict);
                }
                let first = conversation.messages.len() as u64 + 1;
                let messages = (first..).zip(messages.iter().cloned());
                conversation.messages.extend(messages.map(|(seq, message)| StoredMessage { seq, message }));
                Ok(first)
            })
        })
    }

    fn revise<'a>(&'a self, key: &'a ConversationKey, seq: u64, message: &'a Message) -> StoreFuture<'a, ()> {
        Box::pin(async move {
            self.with(key, |conversation| {
                let kept = numbered(conversation, seq)?;
                if kept.status != Status::Generating {
                    return Err(StoreError::Conflict);
                }
                *kept = message.clone();
                Ok(())
            })
        })
    }

    fn rate<'a>(&'a self, key: &'a ConversationKey, seq: u64, feedback: Feedback) -> StoreFuture<'a, ()> {
        Box::pin(async move {
            self.with(key, |conversation| {
                numbered(conversation, seq)?.feedback = Some(feedback);
                Ok(())
            })
        })
    }

    fn transition<'a>(&'a self, key: &'a ConversationKey, from: State, to: State) -> StoreFuture<'a, ()> {
        Box::pin(async move {
            self.with(key, |conversation| {
                if conversation.state != from {
                    return Err(StoreError::Conflict);
                }
                conversation.state = to;
                Ok(())
            })
        })
    }

    fn glance<'a>(&'a self, key: &'a ConversationKey) -> StoreFuture<'a, Glance> {
        Box::pin(async move { self.with(key, |conversation| Ok(conversation.glance())) })
    }

    fn load<'a>(&'a self, key: &'a ConversationKey, limit: usize) -> StoreFuture<'a, Conversation> {
        Box::pin(async move {
            self.with(key, |conversation| {
                let skip = conversation.messages.len().saturating_sub(limit);
                Ok(with_messages(conversation, conversation.messages[skip..].to_vec()))
            })
        })
    }

    fn page<'a>(&'a self, key: &'a ConversationKey, after: u64, limit: usize) -> StoreFuture<'a, Conversation> {
        Box::pin(async move {
            self.with(key, |conversation| {
                let messages = conversation.messages.iter().filter(|stored| stored.seq > after).take(limit);
                Ok(with_messages(conversation, messages.cloned().collect()))
            })
        })
    }

    fn delete<'a>(&'a self, key: &'a ConversationKey) -> StoreFuture<'a, ()> {
        Box::pin(async move {
            let mut conversations = self.conversations.lock().unwrap_or_else(PoisonError::into_inner);
            conversations.remove(key).map(drop).ok_or(StoreError::NotFound)
        })
    }

    fn check(&self) -> StoreFuture<'_, ()> {
        Box::pin(async { Ok(()) })
    }
}

fn numbered(conversation: &mut Conversation, seq: u64) -> Result<&mut Message, StoreError> {
    let position = seq.checked_sub(1).ok_or(StoreError::NotFound)?;
    let stored = conversation.messages.get_mut(position as usize).ok_or(StoreError::NotFound)?;
    Ok(&mut stored.message)
}

fn with_messages(conversation: &Conversation, messages: Vec<StoredMessage>) -> Conversation {
    Conversation { owner: conversation.owner.clone(), state: conversation.state, messages }
}
