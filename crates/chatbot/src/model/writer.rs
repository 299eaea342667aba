use std::sync::Arc;

use futures_util::stream::unfold;

use super::{
    Answering, Chain, End, Finish, Line, ModelName, Models, Piece, Prompt, Question, Source, Speaker, Unanswered,
};
use crate::answer::{self, AnswerWriter, Ending, Writing, Written};
use crate::conversation::{FinishReason, Role, StoredMessage};

/// Writes answers with the models that a tenant has chosen.
#[derive(Debug)]
pub struct ModelWriter {
    models: Arc<Models>,
}

impl ModelWriter {
    /// A writer over the models of this deployment.
    pub fn new(models: Arc<Models>) -> Self {
        Self { models }
    }
}

impl AnswerWriter for ModelWriter {
    fn write(&self, question: answer::Question) -> Option<Writing> {
        // Without an entry there is no source, and without a source no answer.
        if question.passages.is_empty() {
            return None;
        }
        let chain = self.models.chain_for(&question.tenant)?;
        let prompt = prompt(&question);
        Some(Box::pin(unfold(Stage::Asking(chain, prompt), Stage::step)))
    }
}

/// Where an answer is.
enum Stage {
    Asking(Chain, Prompt),
    Answering(Answering),
    Over,
}

impl Stage {
    async fn step(self) -> Option<(Written, Self)> {
        let mut answering = match self {
            Self::Asking(chain, prompt) => match chain.ask(&prompt).await {
                Ok(answering) => answering,
                Err(unanswered) => {
                    report(&unanswered);
                    let written = match unanswered {
                        Unanswered::Declined { .. } => Written::Declined,
                        Unanswered::Failed(_) => Written::Failed,
                    };
                    return Some((written, Self::Over));
                }
            },
            Self::Answering(answering) => answering,
            Self::Over => return None,
        };
        Some(match answering.next().await {
            Some(Ok(Piece::Text(text))) => (Written::Text(text), Self::Answering(answering)),
            Some(Ok(Piece::End(end))) => (Written::End(ending(answering.model(), end)), Self::Over),
            Some(Err(_)) | None => (Written::Failed, Self::Over),
        })
    }
}

fn report(unanswered: &Unanswered) {
    match unanswered {
        Unanswered::Declined { model, .. } => tracing::info!(%model, "the entries do not hold the answer"),
        Unanswered::Failed(models) => tracing::warn!(asked = models.len(), "no model answered"),
    }
}

fn ending(model: &ModelName, end: End) -> Ending {
    Ending {
        model: model.to_string(),
        finish_reason: match end.finish {
            Finish::Stop | Finish::Filtered => FinishReason::Stop,
            Finish::Length => FinishReason::Length,
        },
        input_tokens: end.tokens.map(|tokens| tokens.input),
        output_tokens: end.tokens.map(|tokens| tokens.output),
    }
}

fn prompt(question: &answer::Question) -> Prompt {
    let sources: Vec<Source> = question
        .passages
        .iter()
        .map(|passage| Source { title: passage.citation.title.to_string(), text: passage.answer.clone() })
        .collect();
    let question = Question {
        persona: question.tenant.settings.model.system_prompt.as_deref(),
        language: question.language,
        sources: &sources,
        before: question.history.iter().map(line).collect(),
        message: &question.message,
    };
    Prompt::new(question, crate::privacy::mask)
}

fn line(stored: &StoredMessage) -> Line {
    let speaker = match stored.message.role {
        Role::User => Speaker::Person,
        Role::Assistant | Role::Agent => Speaker::Assistant,
    };
    Line { speaker, text: stored.message.text.clone() }
}
