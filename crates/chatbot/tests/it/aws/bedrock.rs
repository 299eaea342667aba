use std::borrow::Cow;
use std::sync::Arc;

use chatbot::model::{Bedrock, Finish, LanguageModel, Models, Patience, Piece, Prompt, Question, Source};
use chatbot::text::Language;
use serde_json::json;

use super::{aws, endpoint};
use crate::client::{ask, get};
use crate::program::Program;

const MODEL: &str = "bedrock:anthropic.claude-3-5-sonnet-20240620-v1:0";

#[tokio::test]
async fn converse_stream_answers() {
    let name: chatbot::model::ModelName = MODEL.parse().unwrap();
    let bedrock = Bedrock::new(Arc::new(aws()), &name.id);
    assert_eq!(bedrock.warm_up().await, Ok(()));
    let models = Models::new([(name, Box::new(bedrock) as Box<dyn LanguageModel>)], Patience::default());
    let sources = [Source { title: "送料".to_owned(), text: "全国一律500円です。".to_owned() }];
    let question = Question {
        persona: None,
        language: Language::Ja,
        sources: &sources,
        before: Vec::new(),
        message: "送料はいくら?",
    };
    let mut answering =
        models.chain().ask(&Prompt::new(question, |text| Cow::Borrowed(text))).await.expect("an answer");
    let mut text = String::new();
    let end = loop {
        match answering.next().await.expect("an end").expect("no failure") {
            Piece::Text(more) => text.push_str(&more),
            Piece::End(end) => break end,
        }
    };
    assert!(!text.is_empty());
    assert_eq!(end.finish, Finish::Stop);
    assert!(end.tokens.is_some_and(|tokens| tokens.input > 0 && tokens.output > 0), "{end:?}");
}

#[test]
fn the_program_answers_through_bedrock() {
    let endpoint = endpoint();
    let directory = tempfile::tempdir().unwrap();
    let server = Program::start(
        directory.path(),
        &[
            ("MODELS", MODEL),
            ("AWS_REGION", "ap-northeast-1"),
            ("AWS_ENDPOINT_URL", endpoint.as_str()),
            ("AWS_ACCESS_KEY_ID", "test"),
            ("AWS_SECRET_ACCESS_KEY", "test"),
        ],
    );
    let question = json!({"message": "Can an invoice be sent to our tax office in Osaka by fax?"});
    let (status, reply) = ask(server.address, &question);
    assert_eq!((status, &reply["source"], &reply["model"]), (200, &json!("model"), &json!(MODEL)), "{reply}");
    assert!(reply["usage"]["output_tokens"].as_u64().is_some_and(|tokens| tokens > 0), "{reply}");
    assert_eq!(get(server.address, "/ready").status, 200);
}
