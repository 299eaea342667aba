//! CSV: a header row that names the columns, then one entry in one language a row.

use csv::{ReaderBuilder, StringRecord};

use super::Mistake;
use super::draft::{Draft, Part};

const COLUMNS: [&str; 7] = ["id", "language", "question", "phrasings", "answer", "tags", "url"];
const NEEDED: [&str; 2] = ["question", "answer"];

pub(super) fn read(text: &str) -> Result<Draft, Vec<Mistake>> {
    let mut reader = ReaderBuilder::new().has_headers(false).flexible(true).from_reader(text.as_bytes());
    let mut records = reader.records();
    let header = match records.next() {
        Some(Ok(header)) => header,
        Some(Err(error)) => return Err(vec![malformed(&error)]),
        None => return Err(vec![Mistake::new(1, "", "the file is empty; its first row names the columns")]),
    };
    let columns = columns(&header)?;
    let mut draft = Draft::default();
    for record in records {
        match record {
            Ok(record) => row(&record, &columns, &mut draft),
            Err(error) => draft.mistakes.push(malformed(&error)),
        }
    }
    if draft.mistakes.is_empty() { Ok(draft) } else { Err(draft.mistakes) }
}

/// The name of each column, in the order of the file.
fn columns(header: &StringRecord) -> Result<Vec<&'static str>, Vec<Mistake>> {
    let mut columns = Vec::new();
    let mut mistakes = Vec::new();
    for name in header {
        let name = name.trim().to_lowercase();
        match COLUMNS.into_iter().find(|known| *known == name) {
            Some(known) if columns.contains(&known) => {
                mistakes.push(Mistake::new(1, known, "the column is there twice"));
            }
            Some(known) => columns.push(known),
            None => {
                let problem = format!("is not a column; there are {}", COLUMNS.join(", "));
                mistakes.push(Mistake::new(1, format!("{name:?}"), problem));
            }
        }
    }
    let missing = NEEDED.into_iter().filter(|needed| !columns.contains(needed));
    mistakes.extend(missing.map(|needed| Mistake::new(1, needed, "the column is missing")));
    if mistakes.is_empty() { Ok(columns) } else { Err(mistakes) }
}

fn row(record: &StringRecord, columns: &[&str], draft: &mut Draft) {
    let line = record.position().map_or(0, |position| position.line() as usize);
    if record.len() != columns.len() {
        let problem = format!("the row has {} fields, the header {}", record.len(), columns.len());
        draft.mistakes.push(Mistake::new(line, "", problem));
        return;
    }
    let mut part = Part { line, ..Part::default() };
    for (column, value) in columns.iter().zip(record) {
        let value = value.trim();
        let given = || (!value.is_empty()).then(|| value.to_owned());
        match *column {
            "id" => part.id = given(),
            "language" => part.language = given().map(|language| language.to_lowercase()),
            "question" => value.clone_into(&mut part.question),
            "phrasings" => part.phrasings = several(value, &['|', '\n']),
            "answer" => value.clone_into(&mut part.answer),
            "tags" => part.tags = several(value, &['|', ',', '、', '\n']),
            _ => part.url = given(),
        }
    }
    draft.add(part);
}

/// The texts in one cell.
pub(super) fn several(value: &str, separators: &[char]) -> Vec<String> {
    value.split(separators).map(str::trim).filter(|text| !text.is_empty()).map(str::to_owned).collect()
}

fn malformed(error: &csv::Error) -> Mistake {
    let line = error.position().map(|position| position.line() as usize);
    Mistake { line, field: String::new(), problem: error.to_string() }
}
