//! Markdown: a page of questions as headings of the second level, each followed by its answer.
//!
//! A comment right below a heading, invisible on the page, holds what else there is to say:
//! `id`, `language`, `url`, `tags`, and one `also` for each other phrasing.

use super::Mistake;
use super::csv::several;
use super::draft::{Draft, Part};

pub(super) fn read(text: &str) -> Result<Draft, Vec<Mistake>> {
    let mut draft = Draft::default();
    let mut section: Option<Part> = None;
    let mut place = Place::Answer;
    let mut fence: Option<&str> = None;
    for (line, content) in (1..).zip(text.lines()) {
        let content = content.trim_end();
        if let Place::Comment { start } = place {
            place = if comment(line, content, section.as_mut(), &mut draft.mistakes) {
                Place::Answer
            } else {
                Place::Comment { start }
            };
            continue;
        }
        let marker = ["```", "~~~"].into_iter().find(|marker| content.trim_start().starts_with(marker));
        match (fence, marker) {
            (None, Some(marker)) => fence = Some(marker),
            (Some(open), Some(marker)) if open == marker => fence = None,
            _ => {}
        }
        if fence.is_none() && marker.is_none() {
            if let Some(question) = heading(content, "##") {
                close(section.take(), &mut draft);
                section = Some(Part { line, question: question.to_owned(), ..Part::default() });
                place = Place::Heading;
                continue;
            }
            if let Some(name) = heading(content, "#") {
                close(section.take(), &mut draft);
                draft.name.get_or_insert_with(|| name.to_owned());
                continue;
            }
        }
        let Some(part) = &mut section else { continue };
        if matches!(place, Place::Heading) {
            if let Some(rest) = content.trim_start().strip_prefix("<!--") {
                let closed = comment(line, rest, Some(part), &mut draft.mistakes);
                place = if closed { Place::Answer } else { Place::Comment { start: line } };
                continue;
            }
            if !content.is_empty() {
                place = Place::Answer;
            }
        }
        part.answer.push_str(content);
        part.answer.push('\n');
    }
    if let Place::Comment { start } = place {
        draft.mistakes.push(Mistake::new(start, "", "the comment is not closed with -->"));
    }
    close(section, &mut draft);
    if draft.mistakes.is_empty() { Ok(draft) } else { Err(draft.mistakes) }
}

/// Where in a section a line is.
#[derive(Clone, Copy)]
enum Place {
    /// Below the heading, where a comment may begin.
    Heading,
    /// Inside the comment that begins at a line.
    Comment {
        start: usize,
    },
    Answer,
}

/// The text of a heading of exactly this level.
fn heading<'a>(content: &'a str, level: &str) -> Option<&'a str> {
    let text = content.strip_prefix(level)?;
    text.starts_with([' ', '\t']).then(|| text.trim().trim_end_matches('#').trim_end())
}

/// One line of a comment; true when the comment ends with it.
fn comment(line: usize, content: &str, part: Option<&mut Part>, mistakes: &mut Vec<Mistake>) -> bool {
    let (content, closed) = match content.split_once("-->") {
        Some((content, _)) => (content.trim(), true),
        None => (content.trim(), false),
    };
    let Some(part) = part.filter(|_| !content.is_empty()) else { return closed };
    let Some((key, value)) = content.split_once(':') else {
        mistakes.push(Mistake::new(line, "", format!("{content:?} is not `key: value`")));
        return closed;
    };
    let (key, value) = (key.trim(), value.trim().to_owned());
    match key {
        "id" => part.id = Some(value),
        "language" => part.language = Some(value.to_lowercase()),
        "url" => part.url = Some(value),
        "tags" => part.tags.extend(several(&value, &[',', '、'])),
        "also" => part.phrasings.push(value),
        other => {
            let known = "there are id, language, url, tags and also";
            mistakes.push(Mistake::new(line, format!("{other:?}"), format!("is not a key; {known}")));
        }
    }
    closed
}

fn close(section: Option<Part>, draft: &mut Draft) {
    if let Some(mut part) = section {
        part.answer = part.answer.trim().to_owned();
        draft.add(part);
    }
}
