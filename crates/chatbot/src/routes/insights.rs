//! What a tenant used, how well its questions are answered, and which are not.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::response::Response;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::access::Caller;
use crate::app::App;
use crate::body;
use crate::engine::Outcome;
use crate::ledger::{Book, Counters, Month};
use crate::problem::Problem;
use crate::tenant::{Limits, TenantId};
use crate::text::Language;

/// Questions in one answer, unless asked otherwise.
const QUESTIONS: usize = 50;
/// The most questions in one answer.
const MOST_QUESTIONS: usize = 500;

/// Which month is wanted.
#[derive(Debug, Deserialize)]
pub struct InsightsQuery {
    /// As in `2026-11`, in UTC; this month without it.
    month: Option<String>,
    /// The most questions, 1 to 500; 50 without it.
    limit: Option<usize>,
}

/// What was used, and what may be.
#[derive(Debug, Serialize, ToSchema)]
pub struct UsageReply {
    tenant: TenantId,
    month: String,
    used: Counters,
    limits: Limits,
    /// Messages left until the cap, if there is one.
    messages_left: Option<u64>,
    /// Model tokens left until the cap, if there is one.
    tokens_left: Option<u64>,
}

/// A month day by day.
#[derive(Debug, Serialize, ToSchema)]
pub struct AnalyticsReply {
    month: String,
    total: Counters,
    /// Share of finished replies that had an answer, 0 to 1, three digits.
    answered_share: Option<f64>,
    /// By day of the month.
    days: BTreeMap<u8, Counters>,
}

/// Questions that had no answer, the most frequent first.
#[derive(Debug, Serialize, ToSchema)]
pub struct UnansweredReply {
    month: String,
    questions: Vec<QuestionView>,
}

/// A question that had no answer.
#[derive(Debug, Serialize, ToSchema)]
pub struct QuestionView {
    /// Its text, personal data masked.
    question: String,
    count: u64,
    last_ms: u64,
    language: Language,
    /// What was said instead.
    outcome: Outcome,
}

type Asked = Result<Query<InsightsQuery>, QueryRejection>;

/// What was used in a month.
#[utoipa::path(
    get,
    path = "/v1/usage",
    tag = "insights",
    params(("month" = Option<String>, Query, description = "As in 2026-11, UTC; this month without it.")),
    responses((status = 200, description = "What was used.", body = UsageReply)),
)]
pub async fn usage(State(app): State<Arc<App>>, caller: Caller, asked: Asked) -> Result<Response, Problem> {
    let (month, book, _) = read(&app, &caller, asked).await?;
    let (used, limits) = (book.total(), caller.tenant.settings.limits);
    let left = |cap: Option<u64>, used: u64| cap.map(|cap| cap.saturating_sub(used));
    Ok(body::answer(&UsageReply {
        tenant: caller.tenant.id().clone(),
        month: month.to_string(),
        used,
        limits,
        messages_left: left(limits.messages_per_month, used.messages),
        tokens_left: left(limits.tokens_per_month, used.input_tokens + used.output_tokens),
    }))
}

/// A month's counts, day by day.
#[utoipa::path(
    get,
    path = "/v1/analytics",
    tag = "insights",
    params(("month" = Option<String>, Query, description = "As in 2026-11, UTC; this month without it.")),
    responses((status = 200, description = "The month, day by day.", body = AnalyticsReply)),
)]
pub async fn analytics(State(app): State<Arc<App>>, caller: Caller, asked: Asked) -> Result<Response, Problem> {
    let (month, book, _) = read(&app, &caller, asked).await?;
    let total = book.total();
    let good = total.answered + total.model_replies;
    let all = good + total.did_you_mean + total.handed_over + total.failed;
    let answered_share = (all > 0).then(|| (good as f64 / all as f64 * 1000.0).round() / 1000.0);
    Ok(body::answer(&AnalyticsReply { month: month.to_string(), total, answered_share, days: book.days }))
}

/// What the knowledge should answer and does not.
#[utoipa::path(
    get,
    path = "/v1/analytics/unanswered",
    tag = "insights",
    params(
        ("month" = Option<String>, Query, description = "As in 2026-11, UTC; this month without it."),
        ("limit" = Option<usize>, Query, description = "1 to 500; 50 without it."),
    ),
    responses((status = 200, description = "Questions without an answer.", body = UnansweredReply)),
)]
pub async fn unanswered(State(app): State<Arc<App>>, caller: Caller, asked: Asked) -> Result<Response, Problem> {
    let (month, book, limit) = read(&app, &caller, asked).await?;
    let mut questions: Vec<QuestionView> = book
        .unanswered
        .into_iter()
        .map(|(question, kept)| QuestionView {
            question,
            count: kept.count,
            last_ms: kept.last_ms,
            language: kept.language,
            outcome: kept.outcome,
        })
        .collect();
    questions.sort_by_key(|question| std::cmp::Reverse((question.count, question.last_ms)));
    questions.truncate(limit);
    Ok(body::answer(&UnansweredReply { month: month.to_string(), questions }))
}

async fn read(app: &App, caller: &Caller, asked: Asked) -> Result<(Month, Book, usize), Problem> {
    let invalid = |detail: String| Problem::invalid("invalid_query", detail);
    let Query(asked) = asked.map_err(|_| invalid("month is as in 2026-11, limit a whole number.".to_owned()))?;
    let month = match &asked.month {
        Some(month) => month.parse().map_err(|error| invalid(format!("{error}.")))?,
        None => Month::now().0,
    };
    let limit = asked.limit.unwrap_or(QUESTIONS);
    if !(1..=MOST_QUESTIONS).contains(&limit) {
        return Err(invalid(format!("limit must be from 1 to {MOST_QUESTIONS}.")));
    }
    Ok((month, app.ledger.book(caller.tenant.id(), month).await?, limit))
}
