use std::path::Path;

use proptest::prelude::*;

use super::{Change, Format, Knowledge, KnowledgeError, LARGEST_FILE, Mistake};
use crate::text::Language;

fn import(format: Format, text: &str) -> Result<Knowledge, Vec<Mistake>> {
    Knowledge::import(format, text.as_bytes(), "faq", None).map_err(|error| match error {
        KnowledgeError::Invalid { mistakes, .. } => mistakes,
        KnowledgeError::Read { .. } => panic!("nothing is read"),
    })
}

/// The mistakes of a text, each as people see it.
fn mistakes(format: Format, text: &str) -> Vec<String> {
    import(format, text).expect_err("not valid").iter().map(ToString::to_string).collect()
}

#[test]
fn the_built_in_knowledge_is_valid_and_bilingual() {
    let knowledge = Knowledge::built_in().expect("the built-in file parses");
    assert!(knowledge.entries.len() >= 20);
    assert!(knowledge.entries.iter().all(|entry| entry.ja.is_some() && entry.en.is_some()));
}

#[test]
fn the_built_in_knowledge_survives_json() {
    let knowledge = Knowledge::built_in().expect("valid");
    let json = serde_json::to_string_pretty(&knowledge).expect("JSON");
    assert_eq!(import(Format::Json, &json), Ok(knowledge));
}

#[test]
fn a_wrong_field_is_named_with_its_line() {
    let found = mistakes(Format::Yaml, "schema: 1\nnaem: x\n");
    assert!(found[0].starts_with("line 2: ") && found[0].contains("naem"), "{found:?}");
    let found = mistakes(Format::Yaml, "schema: 1\nname: x\nentries:\n  - id: a\n    en:\n      question: 1\n");
    assert!(found[0].starts_with("line 6: entries[0].en"), "{found:?}");
    let found = mistakes(Format::Json, "{\n \"schema\": 1,\n \"name\": \"x\",\n \"entires\": []}");
    assert!(found[0].starts_with("line 4: ") && found[0].contains("entires"), "{found:?}");
}

#[test]
fn every_contradiction_is_named_at_once_with_its_line() {
    let text = "\
schema: 2
name: x
synonyms:
  - [one]
entries:
  - id: a
  - id: a
    url: javascript:alert(1)
    en:
      question: ''
      answer: y
      phrasings:
        - fine
        - \" \"
";
    assert_eq!(
        mistakes(Format::Yaml, text),
        [
            "line 1: schema: is 2, this version reads 1",
            "line 4: synonyms[0]: needs two members or more",
            "line 6: entries[0]: has neither ja nor en",
            "line 7: entries[1].id: entries[0] has the id \"a\" already",
            "line 8: entries[1].url: is not an http:// or https:// address",
            "line 10: entries[1].en.question: is empty",
            "line 14: entries[1].en.phrasings[1]: is empty",
        ]
    );
}

#[test]
fn replies_left_out_are_built_in() {
    let text = "{schema: 1, name: x, entries: [{id: a, en: {question: q, answer: y}}]}";
    let knowledge = import(Format::Yaml, text).expect("valid");
    assert_eq!(knowledge.replies.len(), Language::ALL.len());
}

#[test]
fn csv_rows_become_entries() {
    let text = "\u{feff}id,Language,question,phrasings,answer,tags,url\n\
        hours,ja,営業時間は,何時から|何時まで,9時から18時です。,\"時間, 営業\",https://example.com/hours\n\
        hours,en,When are you open?,,\"From 9 to 18,\nMonday to Friday.\",hours,\n\
        ,,返品したい,,できます。,,\n";
    let knowledge = import(Format::Csv, text).expect("valid");
    let [hours, back] = &knowledge.entries[..] else { panic!("{knowledge:?}") };
    let ja = hours.ja.as_ref().expect("Japanese");
    assert_eq!((&*hours.id, ja.phrasings.len()), ("hours", 2));
    assert_eq!(hours.tags, ["時間", "営業", "hours"]);
    assert_eq!(hours.url.as_deref(), Some("https://example.com/hours"));
    assert!(hours.en.as_ref().is_some_and(|en| en.answer.contains("18,\nMonday")));
    assert!(back.id.starts_with("q-") && back.ja.is_some() && back.en.is_none(), "{back:?}");
    assert_eq!(import(Format::Csv, text).expect("valid").entries[1].id, back.id, "the same id every time");
}

#[test]
fn csv_mistakes_have_line_and_column() {
    assert_eq!(mistakes(Format::Csv, ""), ["line 1: the file is empty; its first row names the columns"]);
    let found = mistakes(Format::Csv, "question,anser\nq,a\n");
    assert!(found[0].starts_with("line 1: \"anser\": is not a column"), "{found:?}");
    assert_eq!(found[1], "line 1: answer: the column is missing");
    let text = "id,question,answer,language\na,q,x,\nb,q,\nc,q,x,fr\na,q,x,\n";
    assert_eq!(
        mistakes(Format::Csv, text),
        [
            "line 3: the row has 3 fields, the header 4",
            "line 4: language: \"fr\" is neither ja nor en",
            "line 5: id: \"a\" is there already in en: ids must differ",
        ]
    );
    assert_eq!(mistakes(Format::Csv, "question,answer\nq1,a\n\"q\n2\",\n"), ["line 3: entries[1].en.answer: is empty"]);
}

#[test]
fn markdown_sections_become_entries() {
    let text = "\
# Example Store

Answers for customers.

## 送料はいくらですか
<!--
id: shipping
tags: 配送、送料
url: https://example.com/shipping
also: 配送料を知りたい
also: 送料無料の条件
-->

全国一律500円です。

### 離島

800円です。

```
## not a heading
```

## What is shipping? ##
<!-- id: shipping -->
500 yen.
";
    let knowledge = import(Format::Markdown, text).expect("valid");
    assert_eq!(knowledge.name, "Example Store");
    let [shipping] = &knowledge.entries[..] else { panic!("{knowledge:?}") };
    let ja = shipping.ja.as_ref().expect("Japanese");
    assert_eq!(&*ja.question, "送料はいくらですか");
    assert_eq!(ja.phrasings, ["配送料を知りたい", "送料無料の条件"]);
    assert!(ja.answer.starts_with("全国一律") && ja.answer.ends_with("```"), "{}", ja.answer);
    assert_eq!(shipping.tags, ["配送", "送料"]);
    let en = shipping.en.as_ref().expect("English");
    assert_eq!((&*en.question, en.answer.as_str()), ("What is shipping?", "500 yen."));
}

#[test]
fn markdown_mistakes_have_a_line() {
    assert_eq!(mistakes(Format::Markdown, "text alone"), ["entries: is empty"]);
    let found = mistakes(Format::Markdown, "## Q\n<!--\nidd: a\nnothing\n-->\nA\n");
    assert!(found[0].starts_with("line 3: \"idd\": is not a key"), "{found:?}");
    assert_eq!(found[1], "line 4: \"nothing\" is not `key: value`");
    assert_eq!(mistakes(Format::Markdown, "## Q\n<!-- id: a\nA\n")[1], "line 2: the comment is not closed with -->");
    assert_eq!(mistakes(Format::Markdown, "## Q?\n\n## P?\nA\n"), ["line 1: entries[0].en.answer: is empty"]);
}

#[test]
fn entries_alone_keep_the_rest() {
    let current = Knowledge { synonyms: vec![vec!["a".into(), "b".into()]], ..Knowledge::built_in().expect("valid") };
    let new = Knowledge::import(Format::Csv, b"question,answer\nq,a\n", "faq.csv", Some(&current)).expect("valid");
    assert_eq!((&new.name, &new.replies, &new.synonyms), (&current.name, &current.replies, &current.synonyms));
    assert_eq!(new.entries.len(), 1);
}

#[test]
fn what_is_no_text_or_too_much_is_refused() {
    let import = |bytes: &[u8]| Knowledge::import(Format::Csv, bytes, "faq.csv", None).unwrap_err().to_string();
    let shift_jis = b"question,answer\n\x8e\xbf\x96\xe2,a\n";
    assert!(import(shift_jis).contains("line 2: this is not UTF-8"));
    assert!(import(&vec![b'a'; LARGEST_FILE + 1]).contains("the most is 2097152"));
    let many = format!("question,answer\n{}", "q,a\n".repeat(30));
    assert!(import(many.as_bytes()).ends_with("; and 9 more"), "29 rows repeat the first one's id");
    let long = format!("question,answer\n{},a\n", "q".repeat(501));
    assert!(import(long.as_bytes()).contains("has 501 characters, the most is 500"));
}

#[test]
fn formats_are_recognised() {
    assert_eq!(Format::of_path(Path::new("a/b.YML")), Some(Format::Yaml));
    assert_eq!(Format::of_path(Path::new("faq.md")), Some(Format::Markdown));
    assert_eq!(Format::of_path(Path::new("faq")), None);
    assert_eq!(Format::of_media_type("text/csv; charset=utf-8"), Some(Format::Csv));
    assert_eq!(Format::of_media_type("text/plain"), None);
}

#[test]
fn a_diff_names_what_changes() {
    let old = Knowledge::built_in().expect("valid");
    assert!(old.diff(&old).is_empty());
    let mut new = old.clone();
    let gone = new.entries.remove(0).id;
    new.entries[0].en.as_mut().expect("English").answer.push('!');
    new.entries[0].ja = None;
    let id = new.entries[0].id.clone();
    let mut more = new.entries[1].clone();
    more.id = "more".into();
    new.entries.push(more);
    new.name.push('2');
    let diff = old.diff(&new);
    assert_eq!((diff.removed, diff.added), (vec![gone.to_string()], vec!["more".to_owned()]));
    assert_eq!(diff.changed, [Change { id: id.to_string(), fields: vec!["ja".to_owned(), "en.answer".to_owned()] }]);
    assert_eq!((diff.unchanged, diff.settings), (old.entries.len() - 2, vec!["name"]));
}

/// Texts that look like files of each format more often than random bytes would.
fn like_a_file() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        Just("schema: 1\n".to_owned()),
        Just("entries:\n".to_owned()),
        Just("- id: a\n".to_owned()),
        Just("  en: {question: q, answer: a}\n".to_owned()),
        Just("question,answer\n".to_owned()),
        Just("\"q\n\",a\n".to_owned()),
        Just("## Q\n<!--\n".to_owned()),
        Just("also: x -->\n".to_owned()),
        Just("```\n".to_owned()),
        Just("&a [*a, *b]\n".to_owned()),
        Just("{\"schema\": 1, \"name\": ".to_owned()),
        "\\PC{0,12}[\n\t ,:\"\\]}]{0,3}",
    ];
    proptest::collection::vec(piece, 0..12).prop_map(|pieces| pieces.concat())
}

proptest! {
    #[test]
    fn no_file_is_too_strange(text in like_a_file(), bytes in any::<Vec<u8>>()) {
        for format in [Format::Yaml, Format::Json, Format::Csv, Format::Markdown] {
            for bytes in [text.as_bytes(), &bytes] {
                match Knowledge::import(format, bytes, "faq", None) {
                    // What is taken can be written and read again.
                    Ok(knowledge) => {
                        let json = serde_json::to_string(&knowledge).expect("JSON");
                        prop_assert_eq!(import(Format::Json, &json), Ok(knowledge));
                    }
                    Err(KnowledgeError::Invalid { mistakes, .. }) => {
                        let most = bytes.iter().filter(|&&byte| byte == b'\n').count() + 1;
                        prop_assert!(!mistakes.is_empty());
                        prop_assert!(mistakes.iter().all(|mistake| mistake.line.is_none_or(|line| line <= most + 1)));
                    }
                    Err(KnowledgeError::Read { .. }) => panic!("nothing is read"),
                }
            }
        }
    }
}
