//! Replies that take time: written in the background, kept, and watched by any number of readers.
//!
//! A [`Generation`] is the message as far as it is written, in a `watch` channel. Readers hold a
//! receiver and a place of their own in the text ([`crate::stream`]), so a slow one holds up nobody
//! and nothing is queued for it. The reply goes on when its readers leave; it ends complete, cancelled or
//! failed, and is kept before anybody is told so.
//!
//! While it is written, the stored message carries a lease that its process renews. A lease
//! that ran out means the process is gone: whoever reads the message then marks it failed.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::StreamExt as _;
use tokio::sync::{Notify, watch};
use tokio::time::{Instant, MissedTickBehavior, interval, sleep_until, timeout};

use crate::answer::{Ending, Writing, Written};
use crate::app::App;
use crate::clock::now_ms;
use crate::conversation::{
    ConversationKey, ConversationStore, Failure, FinishReason, Message, MessageId, Provenance, State, Status,
    StoreError,
};
use crate::drain::Phase;
use crate::engine::Outcome;
use crate::handoff;
use crate::tenant::Tenant;
use crate::trace;
use crate::turn::count_reply;

/// How often the stored message is written again while more of it comes.
const RENEWAL: Duration = Duration::from_secs(3);
/// How long a message counts as being generated after its process last wrote it.
pub const LEASE_MS: u64 = 10_000;
/// How long a writer may be silent.
const SILENCE: Duration = Duration::from_secs(20);
/// How long a whole reply may take.
const TOTAL: Duration = Duration::from_secs(120);
/// How long a reply goes on when nobody reads it.
const ABANDONED: Duration = Duration::from_secs(30);
/// The most characters of a reply.
const LONGEST: usize = 32_000;
/// The most replies generated at once.
const MOST: usize = 1_000;
/// How long to try to keep the end of a reply.
const KEEPING: Duration = Duration::from_secs(5);

/// Every reply that this process is generating.
#[derive(Debug, Default)]
pub struct Hub {
    live: Mutex<HashMap<MessageId, Arc<Generation>>>,
    ended: Notify,
}

/// A reply that is being generated.
#[derive(Debug)]
pub struct Generation {
    key: ConversationKey,
    /// The message's number in its conversation.
    seq: u64,
    message: watch::Sender<Message>,
    cancelled: Notify,
}

/// What a reply becomes when its writer fails before the first word.
#[derive(Debug, Clone)]
pub struct Fallback {
    /// Whose reply it is.
    pub tenant: Arc<Tenant>,
    /// What was asked.
    pub question: String,
    /// The text.
    pub text: String,
    /// Where it comes from.
    pub provenance: Provenance,
}

impl Hub {
    /// A reply that this process is generating, if it is one of this conversation.
    pub fn find(&self, key: &ConversationKey, message_id: MessageId) -> Option<Arc<Generation>> {
        let live = self.live.lock().unwrap_or_else(PoisonError::into_inner);
        live.get(&message_id).filter(|generation| generation.key == *key).cloned()
    }

    /// True when another reply may be generated.
    pub fn has_room(&self) -> bool {
        self.len() < MOST
    }

    /// Replies being generated now.
    pub fn len(&self) -> usize {
        self.live.lock().unwrap_or_else(PoisonError::into_inner).len()
    }

    /// True when no reply is being generated.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Waits until no reply is being generated.
    pub async fn idle(&self) {
        loop {
            let ended = self.ended.notified();
            if self.is_empty() {
                return;
            }
            ended.await;
        }
    }

    /// Generates a reply that is already stored under its number, with the status
    /// [`Status::Generating`]. The receiver counts as its first reader.
    pub fn start(
        app: &Arc<App>,
        key: ConversationKey,
        seq: u64,
        message: Message,
        writing: Writing,
        fallback: Fallback,
    ) -> watch::Receiver<Message> {
        let id = message.id;
        let (sender, receiver) = watch::channel(message);
        let generation = Arc::new(Generation { key, seq, message: sender, cancelled: Notify::new() });
        let hub = &app.generations;
        hub.live.lock().unwrap_or_else(PoisonError::into_inner).insert(id, Arc::clone(&generation));
        let listed = Listed { app: Arc::clone(app), id };
        let trace = trace::current();
        tokio::spawn(async move {
            let run = generation.run(&listed.app, writing, fallback);
            match trace {
                Some(trace) => trace.scope(run).await,
                None => run.await,
            }
            drop(listed);
        });
        receiver
    }
}

/// Takes a reply off the list when its task ends, by a panic too.
struct Listed {
    app: Arc<App>,
    id: MessageId,
}

impl Drop for Listed {
    fn drop(&mut self) {
        let hub = &self.app.generations;
        hub.live.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.id);
        hub.ended.notify_waiters();
    }
}

/// How a reply ended.
enum End {
    Written(Ending),
    Declined,
    Unanswered,
    Failed(Failure),
    Cancelled,
    /// Another process wrote the end.
    Elsewhere,
}

impl Generation {
    /// Reads along from now on.
    pub fn subscribe(&self) -> watch::Receiver<Message> {
        self.message.subscribe()
    }

    /// Stops it; what is written is kept.
    pub fn cancel(&self) {
        self.cancelled.notify_one();
    }

    async fn run(&self, app: &App, writing: Writing, fallback: Fallback) {
        let end = self.write(app, writing).await;
        let failing = matches!(end, End::Unanswered);
        let end = match end {
            End::Declined | End::Unanswered if self.message.borrow().text.is_empty() => None,
            End::Declined | End::Unanswered => Some(End::Failed(Failure::Model)),
            end => Some(end),
        };
        let (tenant, question) = (Arc::clone(&fallback.tenant), fallback.question.clone());
        let message = self.finished(end, fallback);
        let kept = match message {
            Some(message) => self.keep(app, message).await,
            None => None,
        };
        match kept {
            Some(message) => {
                count_reply(app, &self.key, &question, &message);
                let helpless = message.provenance.as_ref().is_some_and(|from| from.outcome == Outcome::Handover);
                if failing && helpless && tenant.settings.handoff.is_some() {
                    // Nobody who could answer is within reach, so somebody who can is asked for.
                    let reason = Some("No language model could be reached.");
                    if let Err(problem) = handoff::request(app, &tenant, &self.key, State::Bot, reason).await {
                        tracing::info!(problem = problem.code, "a person could not be asked for");
                    }
                }
                self.message.send_replace(message);
            }
            None => self.take_over(app).await,
        }
    }

    /// Adds what the writer gives until something ends it.
    async fn write(&self, app: &App, mut writing: Writing) -> End {
        let mut renewal = interval(RENEWAL);
        renewal.set_missed_tick_behavior(MissedTickBehavior::Delay);
        renewal.reset();
        let started = Instant::now();
        let (mut heard, mut read) = (started, started);
        let mut length = 0;
        loop {
            let piece = tokio::select! {
                biased;
                () = self.cancelled.notified() => return End::Cancelled,
                () = app.drain.reached(Phase::Closing) => return End::Failed(Failure::Draining),
                piece = writing.next() => piece,
                () = sleep_until((heard + SILENCE).min(started + TOTAL)) => return End::Failed(Failure::Timeout),
                now = renewal.tick() => {
                    if self.message.receiver_count() > 0 {
                        read = now;
                    } else if now.duration_since(read) >= ABANDONED {
                        return End::Failed(Failure::Abandoned);
                    }
                    match self.renew(app).await {
                        Err(StoreError::Conflict | StoreError::NotFound) => return End::Elsewhere,
                        // The lease outlives some failures; the end is tried again anyway.
                        Err(_) => app.metrics.store_failure(),
                        Ok(()) => {}
                    }
                    continue;
                }
            };
            heard = Instant::now();
            match piece {
                Some(Written::Text(text)) => {
                    length += text.chars().count();
                    self.message.send_modify(|message| message.text.push_str(&text));
                    if length > LONGEST {
                        return End::Failed(Failure::Model);
                    }
                }
                Some(Written::End(ending)) => return End::Written(ending),
                Some(Written::Declined) => return End::Declined,
                Some(Written::Failed) | None => return End::Unanswered,
            }
        }
    }

    async fn renew(&self, app: &App) -> Result<(), StoreError> {
        let mut message = self.message.borrow().clone();
        message.lease_until_ms = Some(now_ms() + LEASE_MS);
        app.store.revise(&self.key, self.seq, &message).await
    }

    /// The message as it is to be kept; `None` when another process has kept it.
    fn finished(&self, end: Option<End>, fallback: Fallback) -> Option<Message> {
        let mut message = self.message.borrow().clone();
        message.lease_until_ms = None;
        let Some(end) = end else {
            message.text = fallback.text;
            message.status = Status::Complete;
            message.provenance = Some(fallback.provenance.into());
            return Some(message);
        };
        let output_characters = message.text.chars().count() as u64;
        let provenance = message.provenance.as_mut();
        let note = |finish_reason, ending: Option<Ending>| {
            let Some(provenance) = provenance else { return };
            provenance.finish_reason = finish_reason;
            provenance.usage.output_characters = output_characters;
            if let Some(ending) = ending {
                provenance.model = Some(ending.model);
                provenance.usage.input_tokens = ending.input_tokens;
                provenance.usage.output_tokens = ending.output_tokens;
            }
        };
        match end {
            End::Written(ending) => {
                message.status = Status::Complete;
                note(ending.finish_reason, Some(ending));
            }
            End::Cancelled => {
                message.status = Status::Cancelled;
                note(FinishReason::Cancelled, None);
            }
            End::Failed(failure) => {
                message.status = Status::Failed;
                message.failure = Some(failure);
                note(FinishReason::Error, None);
            }
            // Settled before.
            End::Declined | End::Unanswered | End::Elsewhere => return None,
        }
        Some(message)
    }

    /// Keeps the end of the message; `None` when it has another end already or is gone.
    async fn keep(&self, app: &App, message: Message) -> Option<Message> {
        let tried = timeout(KEEPING, async {
            loop {
                match app.store.revise(&self.key, self.seq, &message).await {
                    Ok(()) => return true,
                    Err(StoreError::Conflict | StoreError::NotFound) => return false,
                    Err(error) => {
                        app.metrics.store_failure();
                        tracing::warn!(error = %error, "the end of a reply is not kept yet");
                        tokio::time::sleep(Duration::from_millis(200)).await;
                    }
                }
            }
        });
        match tried.await {
            Ok(true) => Some(message),
            Ok(false) => None,
            Err(_) => {
                // Its readers still get it; whoever comes later finds it failed.
                tracing::error!("the end of a reply could not be kept");
                Some(message)
            }
        }
    }

    /// Shows readers the end that another process wrote.
    async fn take_over(&self, app: &App) {
        let kept = stored(app.store.as_ref(), &self.key, self.seq).await;
        self.message.send_modify(|message| match kept {
            Ok(kept) if kept.status != Status::Generating => *message = kept,
            _ => {
                message.status = Status::Failed;
                message.failure = Some(Failure::Interrupted);
            }
        });
    }
}

/// A message by its number. One whose process is gone is marked failed, for everybody.
pub async fn stored(store: &dyn ConversationStore, key: &ConversationKey, seq: u64) -> Result<Message, StoreError> {
    let conversation = store.page(key, seq.saturating_sub(1), 1).await?;
    let message = conversation.messages.into_iter().next().ok_or(StoreError::NotFound)?.message;
    if !message.is_orphaned(now_ms()) {
        return Ok(message);
    }
    let failed = interrupted(message);
    match store.revise(key, seq, &failed).await {
        // Somebody else was faster; what they wrote says the same or more.
        Ok(()) | Err(StoreError::Conflict) => Ok(failed),
        Err(error) => Err(error),
    }
}

/// The message of a process that is gone.
pub fn interrupted(message: Message) -> Message {
    Message { status: Status::Failed, failure: Some(Failure::Interrupted), lease_until_ms: None, ..message }
}

#[cfg(test)]
mod tests;
