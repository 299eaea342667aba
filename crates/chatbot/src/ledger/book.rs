use std::collections::BTreeMap;
use std::fmt;
use std::ops::Add;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use time::{Date, OffsetDateTime};
use utoipa::ToSchema;

use crate::engine::Outcome;
use crate::text::Language;

/// Different questions kept a month.
const MOST_QUESTIONS: usize = 500;

/// A calendar month in UTC.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Month {
    year: i32,
    month: u8,
}

impl Month {
    /// This month, and the day in it.
    pub fn now() -> (Self, u8) {
        let (year, month, day) = OffsetDateTime::now_utc().to_calendar_date();
        (Self { year, month: month.into() }, day)
    }

    /// Seconds until the next month begins.
    pub fn seconds_left() -> u32 {
        let now = OffsetDateTime::now_utc();
        let next = now.month().next();
        let year = now.year() + i32::from(next == time::Month::January);
        let left = Date::from_calendar_date(year, next, 1).map(|date| date.midnight().assume_utc() - now);
        left.map_or(1, |left| left.whole_seconds().max(1) as u32)
    }
}

impl fmt::Display for Month {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:04}-{:02}", self.year, self.month)
    }
}

/// Text that is no month.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a month is written as in 2026-11")]
pub struct InvalidMonth;

impl FromStr for Month {
    type Err = InvalidMonth;

    fn from_str(text: &str) -> Result<Self, InvalidMonth> {
        let (year, month) = text.split_once('-').ok_or(InvalidMonth)?;
        if year.len() != 4 || month.len() != 2 {
            return Err(InvalidMonth);
        }
        let (year, month) = (year.parse().map_err(|_| InvalidMonth)?, month.parse().map_err(|_| InvalidMonth)?);
        if (1..=12).contains(&month) { Ok(Self { year, month }) } else { Err(InvalidMonth) }
    }
}

/// A tenant's month.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Book {
    /// Counts by day of the month.
    pub days: BTreeMap<u8, Counters>,
    /// Questions without an answer, by their text, masked.
    pub unanswered: BTreeMap<String, Unanswered>,
}

/// A question that the knowledge does not answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unanswered {
    /// How often it was asked.
    pub count: u64,
    /// When it was asked last, in milliseconds since 1970.
    pub last_ms: u64,
    /// The language it was asked in.
    pub language: Language,
    /// What was said instead.
    pub outcome: Outcome,
}

/// Everything counted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub struct Counters {
    /// Conversations begun.
    pub conversations: u64,
    /// Messages of end users.
    pub messages: u64,
    /// Replies from the knowledge.
    pub answered: u64,
    /// Replies that offered what may be meant.
    pub did_you_mean: u64,
    /// Replies that had no answer.
    pub handed_over: u64,
    /// Replies that a language model wrote.
    pub model_replies: u64,
    /// Replies that did not come to their end.
    pub failed: u64,
    /// Characters of end users' messages.
    pub input_characters: u64,
    /// Characters of replies.
    pub output_characters: u64,
    /// Tokens that models read.
    pub input_tokens: u64,
    /// Tokens that models wrote.
    pub output_tokens: u64,
    /// Conversations for which a person was asked.
    pub handoffs: u64,
    /// Replies rated good.
    pub rated_up: u64,
    /// Replies rated bad.
    pub rated_down: u64,
}

impl Add for Counters {
    type Output = Self;

    fn add(self, more: Self) -> Self {
        Self {
            conversations: self.conversations + more.conversations,
            messages: self.messages + more.messages,
            answered: self.answered + more.answered,
            did_you_mean: self.did_you_mean + more.did_you_mean,
            handed_over: self.handed_over + more.handed_over,
            model_replies: self.model_replies + more.model_replies,
            failed: self.failed + more.failed,
            input_characters: self.input_characters + more.input_characters,
            output_characters: self.output_characters + more.output_characters,
            input_tokens: self.input_tokens + more.input_tokens,
            output_tokens: self.output_tokens + more.output_tokens,
            handoffs: self.handoffs + more.handoffs,
            rated_up: self.rated_up + more.rated_up,
            rated_down: self.rated_down + more.rated_down,
        }
    }
}

impl Book {
    /// The day's counters.
    pub fn day(&mut self, day: u8) -> &mut Counters {
        self.days.entry(day).or_default()
    }

    /// The month's sum.
    pub fn total(&self) -> Counters {
        self.days.values().fold(Counters::default(), |sum, day| sum + *day)
    }

    /// Notes a question without an answer.
    pub fn question(&mut self, text: &str, at_ms: u64, language: Language, outcome: Outcome) {
        let noted = self.unanswered.entry(text.to_owned());
        let noted = noted.or_insert(Unanswered { count: 0, last_ms: at_ms, language, outcome });
        (noted.count, noted.last_ms, noted.outcome) = (noted.count + 1, at_ms, outcome);
    }

    /// Adds another book's counts. Of too many questions those asked least and longest ago are forgotten.
    pub fn add(&mut self, more: Book) {
        for (day, counters) in more.days {
            let kept = self.day(day);
            *kept = *kept + counters;
        }
        for (text, question) in more.unanswered {
            match self.unanswered.get_mut(&text) {
                Some(kept) => {
                    kept.count += question.count;
                    kept.last_ms = kept.last_ms.max(question.last_ms);
                    kept.outcome = question.outcome;
                }
                None => drop(self.unanswered.insert(text, question)),
            }
        }
        while self.unanswered.len() > MOST_QUESTIONS {
            let least = self.unanswered.iter().min_by_key(|(_, question)| (question.count, question.last_ms));
            let Some(least) = least.map(|(text, _)| text.clone()) else { return };
            self.unanswered.remove(&least);
        }
    }
}
