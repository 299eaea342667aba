//! The model clients against a model that misbehaves on demand, in every dialect of this build.

pub(crate) mod fake;

use std::borrow::Cow;
#[cfg(feature = "bedrock")]
use std::sync::Arc;
use std::time::Duration;

#[cfg(feature = "bedrock")]
use chatbot::{aws::Aws, config::AwsSettings, model::Bedrock};

use chatbot::model::{
    Answering, End, Endpoint, Finish, LanguageModel, Line, ModelError, ModelName, Models, OpenAi, Patience, Piece,
    Prompt, Question, Source, Speaker, Tokens, Unanswered,
};
use chatbot::text::Language;
use chatbot::trace::{TRACEPARENT, Trace};
use http::{HeaderMap, HeaderValue};

use self::fake::{Act, FakeModel, Step, answer};

/// Long enough for a busy machine to answer, short enough to wait for.
const PATIENCE: Patience = Patience {
    first: Duration::from_secs(2),
    begin: Duration::from_secs(10),
    idle: Duration::from_secs(2),
    total: Duration::from_secs(30),
};

#[derive(Debug, Clone, Copy)]
enum Dialect {
    OpenAi,
    #[cfg(feature = "bedrock")]
    Bedrock,
}

const DIALECTS: &[Dialect] = &[
    Dialect::OpenAi,
    #[cfg(feature = "bedrock")]
    Dialect::Bedrock,
];

impl Dialect {
    fn model(self, fake: &FakeModel) -> Box<dyn LanguageModel> {
        match self {
            Dialect::OpenAi => {
                let endpoint = Endpoint::new(&fake.openai(), Some("sk-test")).expect("an endpoint");
                Box::new(OpenAi::new(&endpoint, "small"))
            }
            #[cfg(feature = "bedrock")]
            Dialect::Bedrock => {
                let settings = AwsSettings { region: Some("ap-northeast-1".to_owned()), endpoint: Some(fake.aws()) };
                Box::new(Bedrock::new(Arc::new(Aws::new(settings)), "vendor.small-v1:0"))
            }
        }
    }
}

fn name(n: usize) -> ModelName {
    format!("openai:m{n}").parse().expect("a name")
}

/// Models behind one another, one for each fake.
fn models(dialect: Dialect, fakes: &[&FakeModel], patience: Patience) -> Models {
    Models::new(fakes.iter().enumerate().map(|(n, fake)| (name(n), dialect.model(fake))), patience)
}

fn prompt() -> Prompt {
    let before = vec![
        Line { speaker: Speaker::Person, text: "こんにちは".to_owned() },
        Line { speaker: Speaker::Assistant, text: "はい".to_owned() },
    ];
    let sources = [Source { title: "送料".to_owned(), text: "全国一律500円です。".to_owned() }];
    let question = Question {
        persona: Some("あなたはAcmeの担当です。"),
        language: Language::Ja,
        sources: &sources,
        before,
        message: "送料はいくら?",
    };
    Prompt::new(question, |text| Cow::Borrowed(text))
}

async fn read(mut answering: Answering) -> (Vec<String>, Result<End, ModelError>) {
    let mut texts = Vec::new();
    loop {
        match answering.next().await.expect("an end") {
            Ok(Piece::Text(text)) => texts.push(text),
            Ok(Piece::End(end)) => return (texts, Ok(end)),
            Err(error) => return (texts, Err(error)),
        }
    }
}

/// What a chain of models with these scripts answers.
async fn ask(dialect: Dialect, scripts: &[&[Act]]) -> (Result<Answering, Unanswered>, Vec<FakeModel>) {
    let fakes: Vec<_> = scripts.iter().map(|acts| FakeModel::start(acts.iter().cloned())).collect();
    let models = models(dialect, &fakes.iter().collect::<Vec<_>>(), PATIENCE);
    (models.chain().ask(&prompt()).await, fakes)
}

#[tokio::test]
async fn an_answer_arrives_piece_by_piece_with_its_cost() {
    for &dialect in DIALECTS {
        let (answering, fakes) = ask(dialect, &[&[answer(&["全国一律", "500円", "です。"])]]).await;
        let (texts, end) = read(answering.expect("an answer")).await;
        assert_eq!(texts, ["全国一律", "500円", "です。"], "{dialect:?}");
        assert_eq!(end, Ok(End { finish: Finish::Stop, tokens: Some(Tokens { input: 11, output: 7 }) }));
        let asked = &fakes[0].asked()[0];
        let said = asked.body.to_string();
        for part in ["あなたはAcmeの担当です。", "全国一律500円です。", "こんにちは", "送料はいくら?"]
        {
            assert!(said.contains(part), "{dialect:?} {part}: {said}");
        }
        match dialect {
            Dialect::OpenAi => {
                assert_eq!(
                    (asked.path.as_str(), asked.authorization.as_str()),
                    ("/v1/chat/completions", "Bearer sk-test")
                );
                let roles: Vec<_> =
                    asked.body["messages"].as_array().unwrap().iter().map(|line| &line["role"]).collect();
                assert_eq!(roles, ["system", "user", "assistant", "user"]);
            }
            #[cfg(feature = "bedrock")]
            Dialect::Bedrock => {
                assert_eq!(asked.path, "/model/vendor.small-v1%3A0/converse-stream");
                assert!(asked.authorization.starts_with("AWS4-HMAC-SHA256"), "{}", asked.authorization);
            }
        }
    }
}

#[tokio::test]
async fn a_model_is_told_the_trace_that_it_is_asked_in() {
    let given = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    let headers = HeaderMap::from_iter([(TRACEPARENT, HeaderValue::from_static(given))]);
    for &dialect in DIALECTS {
        let (answering, fakes) = Trace::of(&headers).scope(ask(dialect, &[&[answer(&["yes"])]])).await;
        read(answering.expect("an answer")).await.1.expect("an end");
        let told = fakes[0].asked().remove(0).traceparent;
        assert!(told.starts_with("00-4bf92f3577b34da6a3ce929d0e0e4736-") && told != given, "{dialect:?}: {told:?}");
        let (_, fakes) = ask(dialect, &[&[answer(&["yes"])]]).await;
        assert_eq!(fakes[0].asked()[0].traceparent, "", "{dialect:?}: there is none");
    }
}

#[tokio::test]
async fn throttling_is_waited_out_once_and_then_the_next_model_answers() {
    let throttled = Act::Refuse(429, None, "ThrottlingException");
    for &dialect in DIALECTS {
        let (answering, fakes) = ask(dialect, &[&[throttled.clone(), answer(&["later"])], &[answer(&["other"])]]).await;
        assert_eq!(read(answering.expect("an answer")).await.0, ["later"], "{dialect:?}");
        assert_eq!((fakes[0].asked().len(), fakes[1].asked().len()), (2, 0));

        let (answering, fakes) = ask(dialect, &[std::slice::from_ref(&throttled), &[answer(&["other"])]]).await;
        assert_eq!(read(answering.expect("an answer")).await.0, ["other"], "{dialect:?}");
        assert_eq!((fakes[0].asked().len(), fakes[1].asked().len()), (2, 1));
    }
    let (answering, fakes) =
        ask(Dialect::OpenAi, &[&[Act::Refuse(429, Some(30), "rate_limit_exceeded")], &[answer(&["other"])]]).await;
    assert_eq!(read(answering.expect("an answer")).await.0, ["other"]);
    assert_eq!(fakes[0].asked().len(), 1, "30 seconds are too long to wait");
}

#[tokio::test]
async fn a_slow_first_word_is_another_models_turn() {
    for &dialect in DIALECTS {
        for slow in [Act::Stream(vec![Step::Hang]), Act::Stream(vec![Step::Say(""), Step::Hang])] {
            let (slow, quick) = (FakeModel::start([slow]), FakeModel::start([answer(&["quick"])]));
            let patience = Patience { first: Duration::from_millis(300), ..PATIENCE };
            let models = models(dialect, &[&slow, &quick], patience);
            let answering = models.chain().ask(&prompt()).await.expect("an answer");
            assert_eq!(*answering.model(), name(1), "{dialect:?}");
            assert_eq!(slow.asked().len(), 1, "silence is not asked twice");
            assert_eq!(models.links()[0].results(), [("answered", 0), ("silent", 1)]);
        }
    }
}

#[tokio::test]
async fn a_failure_in_the_middle_keeps_the_text_and_is_told() {
    for &dialect in DIALECTS {
        for (fault, label) in [
            (Step::Throttle, "throttled"),
            (Step::Fail, "cut"),
            (Step::Stop, "cut"),
            (Step::Cut, "cut"),
            (Step::Hang, "silent"),
        ] {
            let broken = Act::Stream(vec![Step::Say("half an "), Step::Say("answer"), fault.clone()]);
            let (answering, fakes) = ask(dialect, &[&[broken], &[answer(&["other"])]]).await;
            let (texts, end) = read(answering.expect("a beginning")).await;
            assert_eq!(texts, ["half an ", "answer"], "{dialect:?} {fault:?}");
            let error = end.expect_err("a failure");
            assert_eq!(error.label(), label, "{dialect:?} {fault:?}: {error}");
            assert!(!error.to_string().contains("secret"), "{error}");
            assert_eq!(
                (fakes[0].asked().len(), fakes[1].asked().len()),
                (1, 0),
                "no second question after the first word"
            );
        }
    }
}

#[tokio::test]
async fn refusals_name_status_and_code_but_never_the_question() {
    for &dialect in DIALECTS {
        let (answering, fakes) = ask(dialect, &[&[Act::Refuse(403, None, "AccessDeniedException")]]).await;
        let Err(Unanswered::Failed(failures)) = answering else { panic!("{answering:?}") };
        let [(_, Some(ModelError::Refused(told)))] = &failures[..] else { panic!("{failures:?}") };
        assert!(told.contains("AccessDeniedException") && !told.contains("secret"), "{told}");
        assert_eq!(fakes[0].asked().len(), 1, "a refusal is final");

        let (answering, fakes) = ask(dialect, &[&[Act::Refuse(503, None, "ServiceUnavailableException")]]).await;
        let Err(Unanswered::Failed(failures)) = answering else { panic!("{answering:?}") };
        assert!(matches!(&failures[..], [(_, Some(ModelError::Failed(_)))]), "{failures:?}");
        assert_eq!(fakes[0].asked().len(), 2);
    }
}

#[tokio::test]
async fn nobody_there_and_something_else_there() {
    let gone = std::net::TcpListener::bind("127.0.0.1:0").expect("a port").local_addr().expect("an address");
    let endpoint = Endpoint::new(&format!("http://{gone}/v1"), None).expect("an endpoint");
    let error = OpenAi::new(&endpoint, "small").ask(&prompt()).await.map(drop).expect_err("nobody is there");
    assert!(matches!(error, ModelError::Unreachable(_)), "{error:?}");

    let page = FakeModel::start([Act::Html]);
    let error = Dialect::OpenAi.model(&page).ask(&prompt()).await.map(drop).expect_err("a web page is there");
    assert_eq!(error, ModelError::Unreadable("not an event stream".to_owned()));
}

#[tokio::test]
async fn a_person_who_leaves_stops_the_model() {
    for &dialect in DIALECTS {
        let (answering, fakes) = ask(dialect, &[&[Act::Stream(vec![Step::Say("word"), Step::Hang])]]).await;
        let mut answering = answering.expect("a beginning");
        assert_eq!(answering.next().await, Some(Ok(Piece::Text("word".to_owned()))));
        drop(answering);
        let left = async {
            while fakes[0].left() == 0 {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(10), left).await.expect("the connection is closed");
    }
}

#[tokio::test]
async fn an_answer_at_its_largest_says_so() {
    for &dialect in DIALECTS {
        let (answering, _) = ask(dialect, &[&[Act::Stream(vec![Step::Say("long"), Step::EndAtLength])]]).await;
        assert_eq!(
            read(answering.expect("an answer")).await.1.map(|end| end.finish),
            Ok(Finish::Length),
            "{dialect:?}"
        );
    }
}

#[tokio::test]
async fn warming_up_needs_an_answer_not_a_success() {
    for &dialect in DIALECTS {
        let fake = FakeModel::start([answer(&["x"])]);
        assert_eq!(dialect.model(&fake).warm_up().await, Ok(()), "{dialect:?}");
        assert_eq!(fake.asked().len(), 0, "no question is spent on it");
    }
}
