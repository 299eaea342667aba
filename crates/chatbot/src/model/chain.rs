use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt as _;
use tokio::time::{Instant, timeout};

use super::prompt::NO_ANSWER;
use super::registry::Link;
use super::{End, ModelError, ModelName, Permit, Piece, Pieces, Prompt, RetryBudget, Tokens};

/// How often a model is asked the same question.
const ATTEMPTS: u32 = 2;
/// The longest wait before the second attempt; a random part of it is waited.
const BACKOFF: Duration = Duration::from_millis(400);
/// A model that wants to be left alone longer than this is passed over.
const LONGEST_RETRY_AFTER: Duration = Duration::from_secs(1);

/// How long models may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Patience {
    /// Until the first text of one attempt.
    pub first: Duration,
    /// Until the first text of all attempts and models together.
    pub begin: Duration,
    /// Between two pieces.
    pub idle: Duration,
    /// From the question to the end of the answer.
    pub total: Duration,
}

impl Default for Patience {
    /// Each a little less than a generation's own patience (20 s of silence, 120 s in all): there is
    /// time left for the FAQ engine, and a model's silence is seen here, where its health is judged.
    fn default() -> Self {
        let seconds = Duration::from_secs;
        Self { first: seconds(8), begin: seconds(18), idle: seconds(18), total: seconds(118) }
    }
}

/// The models that a question tries, in order.
#[derive(Debug, Clone)]
pub struct Chain {
    links: Vec<Arc<Link>>,
    budget: Arc<RetryBudget>,
    patience: Patience,
}

/// Why no model answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Unanswered {
    /// A model found no answer in the sources.
    Declined {
        /// Which.
        model: ModelName,
        /// What finding out cost.
        tokens: Option<Tokens>,
    },
    /// Every model that there was time for failed; why, in the order asked. `None`: its breaker is open.
    Failed(Vec<(ModelName, Option<ModelError>)>),
}

/// An answer that has begun: from here on a failure is the answer's end.
pub struct Answering {
    link: Arc<Link>,
    first: Option<Piece>,
    rest: Option<Pieces>,
    permit: Option<Permit>,
    idle: Duration,
    total: Duration,
    deadline: Instant,
}

impl fmt::Debug for Answering {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Answering").field("model", &self.link.name).finish_non_exhaustive()
    }
}

/// What a model said first.
enum Beginning {
    Answer(Piece, Option<Pieces>),
    Declined(Option<Tokens>),
}

impl Chain {
    pub(super) fn new(links: Vec<Arc<Link>>, budget: Arc<RetryBudget>, patience: Patience) -> Self {
        Self { links, budget, patience }
    }

    /// Whether there is any model to ask.
    pub fn is_empty(&self) -> bool {
        self.links.is_empty()
    }

    /// Asks one model after the other until one begins to answer.
    pub async fn ask(&self, prompt: &Prompt) -> Result<Answering, Unanswered> {
        let asked = Instant::now();
        let deadline = asked + self.patience.begin;
        let mut failures = Vec::new();
        for link in &self.links {
            // A model that is given too little time would be blamed for silence.
            if deadline.saturating_duration_since(Instant::now()) < self.patience.first / 2 {
                break;
            }
            match self.ask_one(link, prompt, deadline).await {
                Ok((Beginning::Answer(first, rest), permit)) => {
                    return Ok(Answering {
                        link: Arc::clone(link),
                        first: Some(first),
                        rest,
                        permit: Some(permit),
                        idle: self.patience.idle,
                        total: self.patience.total,
                        deadline: asked + self.patience.total,
                    });
                }
                Ok((Beginning::Declined(tokens), permit)) => {
                    link.succeeded(permit);
                    return Err(Unanswered::Declined { model: link.name.clone(), tokens });
                }
                Err(error) => failures.push((link.name.clone(), error)),
            }
        }
        Err(Unanswered::Failed(failures))
    }

    /// Asks one model, a second time if that may help; `None` when its breaker is open.
    async fn ask_one(
        &self,
        link: &Link,
        prompt: &Prompt,
        deadline: Instant,
    ) -> Result<(Beginning, Permit), Option<ModelError>> {
        self.budget.deposit();
        let mut last = None;
        for attempt in 1..=ATTEMPTS {
            let Some(permit) = link.breaker.admit() else {
                if last.is_none() {
                    link.passed_over();
                }
                return Err(last);
            };
            let error = match self.begin(link, prompt, deadline).await {
                Ok(beginning) => return Ok((beginning, permit)),
                Err(error) => error,
            };
            link.failed(permit, &error);
            let wait = match &error {
                ModelError::Throttled { retry_after: Some(wait) } => *wait,
                _ => BACKOFF.mul_f64(fastrand::f64()),
            };
            let again = attempt < ATTEMPTS
                && error.is_transient()
                && wait <= LONGEST_RETRY_AFTER
                && Instant::now() + wait < deadline
                && self.budget.withdraw();
            tracing::warn!(model = %link.name, %error, attempt, again, "a model gave no answer");
            last = Some(error);
            if !again {
                break;
            }
            tokio::time::sleep(wait).await;
        }
        Err(last)
    }

    /// One attempt: until there is text to show.
    async fn begin(&self, link: &Link, prompt: &Prompt, deadline: Instant) -> Result<Beginning, ModelError> {
        let patience = self.patience.first.min(deadline.saturating_duration_since(Instant::now()));
        let begin = async {
            let mut pieces = link.model.ask(prompt).await?;
            let mut text = String::new();
            loop {
                match pieces.next().await {
                    Some(Ok(Piece::Text(more))) => {
                        text.push_str(&more);
                        // What may become the word for "no answer" is held back until it is more, or not it.
                        if !NO_ANSWER.starts_with(text.trim()) && !is_declining(&text) {
                            return Ok(Beginning::Answer(Piece::Text(text), Some(pieces)));
                        }
                    }
                    Some(Ok(Piece::End(end))) if is_declining(&text) => return Ok(Beginning::Declined(end.tokens)),
                    Some(Ok(Piece::End(_))) => return Err(ModelError::Unreadable("an empty answer".to_owned())),
                    Some(Err(error)) => return Err(error),
                    None => return Err(ModelError::Cut("the stream ended early".to_owned())),
                }
            }
        };
        timeout(patience, begin).await.unwrap_or(Err(ModelError::Silent(patience)))
    }
}

/// Whether a text is the word for "no answer", perhaps with a full stop or quotation marks around it.
fn is_declining(text: &str) -> bool {
    text.trim_matches(|c: char| !c.is_ascii_alphanumeric()) == NO_ANSWER
}

impl Answering {
    /// The model that answers.
    pub fn model(&self) -> &ModelName {
        &self.link.name
    }

    /// The next piece; after the end or an error there is none.
    ///
    /// Dropping an answer before its end stops the model and says nothing about its health.
    pub async fn next(&mut self) -> Option<Result<Piece, ModelError>> {
        if let Some(first) = self.first.take() {
            return Some(Ok(first));
        }
        let pieces = self.rest.as_mut()?;
        let left = self.deadline.saturating_duration_since(Instant::now());
        let next = match timeout(self.idle.min(left), pieces.next()).await {
            Ok(Some(next)) => next,
            Ok(None) => Err(ModelError::Cut("the stream ended early".to_owned())),
            Err(_) if left <= self.idle => Err(ModelError::Late(self.total)),
            Err(_) => Err(ModelError::Silent(self.idle)),
        };
        match &next {
            Ok(Piece::Text(_)) => {}
            Ok(Piece::End(End { .. })) => self.finish(None),
            Err(error) => {
                tracing::warn!(model = %self.link.name, %error, "an answer broke off");
                self.finish(Some(error));
            }
        }
        Some(next)
    }

    fn finish(&mut self, error: Option<&ModelError>) {
        self.rest = None;
        match (self.permit.take(), error) {
            (Some(permit), None) => self.link.succeeded(permit),
            (Some(permit), Some(error)) => self.link.failed(permit, error),
            (None, _) => {}
        }
    }
}

#[cfg(test)]
mod tests;
