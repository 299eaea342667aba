//! How well retrieval finds the right document in data that is not part of the project.
//!
//! `JSQUAD_FILE=…/jsquad-valid.json cargo test --release -p chatbot --test it -- --ignored evaluation --nocapture`

use std::collections::HashMap;
use std::time::Instant;

use chatbot::retrieval::Index;
use serde_json::Value;

/// JSQuAD (SQuAD format): for each question, is its paragraph the first hit, or among the first five?
#[test]
#[ignore = "needs JSQUAD_FILE, a data set that is not part of the project"]
fn japanese_questions_find_their_paragraph() {
    let path = std::env::var("JSQUAD_FILE").expect("JSQUAD_FILE names the data set");
    let data: Value = serde_json::from_slice(&std::fs::read(path).expect("the file is readable")).expect("JSON");
    let list = |value: &Value, name: &str| value[name].as_array().expect("an array").clone();
    let text = |value: &Value, name: &str| value[name].as_str().expect("a text").to_owned();

    let mut documents: Vec<String> = Vec::new();
    let mut known: HashMap<String, usize> = HashMap::new();
    let mut questions = Vec::new();
    for paragraph in list(&data, "data").iter().flat_map(|article| list(article, "paragraphs")) {
        let context = text(&paragraph, "context");
        let document = *known.entry(context.clone()).or_insert_with(|| {
            documents.push(context);
            documents.len() - 1
        });
        questions.extend(list(&paragraph, "qas").iter().map(|question| (text(question, "question"), document)));
    }
    let index = Index::build(
        documents.iter().map(|document| [(chatbot::retrieval::Field::Answer, document.as_str())]),
        Default::default(),
    );
    let since = Instant::now();
    let ranks: Vec<Option<usize>> = questions
        .iter()
        .map(|(question, document)| index.search(question, 5).iter().position(|hit| hit.document == *document))
        .collect();
    let each = since.elapsed() / questions.len() as u32;
    let share = |within: usize| {
        ranks.iter().filter(|rank| rank.is_some_and(|rank| rank < within)).count() as f64 / ranks.len() as f64
    };
    println!(
        "{} questions, {} paragraphs: H@1 {:.3}, H@5 {:.3}, {each:?} each",
        ranks.len(),
        documents.len(),
        share(1),
        share(5)
    );
    assert!(share(1) >= 0.90 && share(5) >= 0.95);
}
