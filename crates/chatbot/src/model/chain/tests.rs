use std::collections::VecDeque;
use std::sync::Mutex;

use futures_util::stream;

use super::super::{Finish, LanguageModel, ModelFuture, Models};
use super::*;

/// What a scripted model does with one question.
#[derive(Debug, Clone)]
enum Act {
    /// Refuses at once.
    Fail(ModelError),
    /// Says these pieces, each after the pause, and then hangs.
    Say(Vec<(u64, Result<Piece, ModelError>)>),
}

/// A model that follows a script; the last act repeats.
#[derive(Debug)]
struct Scripted {
    acts: Mutex<VecDeque<Act>>,
    asked: Arc<Mutex<u32>>,
}

impl LanguageModel for Scripted {
    fn ask<'a>(&'a self, _: &'a Prompt) -> ModelFuture<'a, Result<Pieces, ModelError>> {
        *self.asked.lock().unwrap() += 1;
        let mut acts = self.acts.lock().unwrap();
        let act = if acts.len() > 1 { acts.pop_front() } else { acts.front().cloned() };
        Box::pin(async move {
            match act.expect("an act") {
                Act::Fail(error) => Err(error),
                Act::Say(pieces) => {
                    let said = stream::iter(pieces).then(|(pause, piece)| async move {
                        tokio::time::sleep(Duration::from_secs(pause)).await;
                        piece
                    });
                    Ok(Box::pin(said.chain(stream::pending())) as Pieces)
                }
            }
        })
    }

    fn warm_up(&self) -> ModelFuture<'_, Result<(), ModelError>> {
        Box::pin(async { Ok(()) })
    }
}

struct Stage {
    models: Models,
    asked: Vec<Arc<Mutex<u32>>>,
}

impl Stage {
    fn new(scripts: Vec<Vec<Act>>) -> Self {
        let mut asked = Vec::new();
        let models: Vec<(ModelName, Box<dyn LanguageModel>)> = scripts
            .into_iter()
            .enumerate()
            .map(|(n, acts)| {
                let counter = Arc::new(Mutex::new(0));
                asked.push(Arc::clone(&counter));
                let model = Scripted { acts: Mutex::new(acts.into()), asked: counter };
                (name(n), Box::new(model) as Box<dyn LanguageModel>)
            })
            .collect();
        Self { models: Models::new(models, Patience::default()), asked }
    }

    async fn ask(&self) -> Result<Answering, Unanswered> {
        let prompt = Prompt { system: String::new(), lines: Vec::new(), max_tokens: 1 };
        self.models.chain().ask(&prompt).await
    }

    /// How often each model was asked.
    fn asked(&self) -> Vec<u32> {
        self.asked.iter().map(|counter| *counter.lock().unwrap()).collect()
    }
}

fn name(n: usize) -> ModelName {
    format!("openai:m{n}").parse().unwrap()
}

fn text(text: &str) -> (u64, Result<Piece, ModelError>) {
    (0, Ok(Piece::Text(text.to_owned())))
}

fn end() -> (u64, Result<Piece, ModelError>) {
    (0, Ok(Piece::End(End { finish: Finish::Stop, tokens: None })))
}

fn answer(words: &[&str]) -> Act {
    Act::Say(words.iter().map(|word| text(word)).chain([end()]).collect())
}

fn throttled(seconds: Option<u64>) -> Act {
    Act::Fail(ModelError::Throttled { retry_after: seconds.map(Duration::from_secs) })
}

/// The text of an answer, and the error that ended it, if one did.
async fn read(mut answering: Answering) -> (String, Option<ModelError>) {
    let mut all = String::new();
    while let Some(piece) = answering.next().await {
        match piece {
            Ok(Piece::Text(more)) => all.push_str(&more),
            Ok(Piece::End(_)) => {}
            Err(error) => return (all, Some(error)),
        }
    }
    (all, None)
}

#[tokio::test(start_paused = true)]
async fn the_first_model_answers_and_the_second_is_left_alone() {
    let stage = Stage::new(vec![vec![answer(&["a", "b"])], vec![answer(&["c"])]]);
    assert_eq!(read(stage.ask().await.unwrap()).await, ("ab".to_owned(), None));
    assert_eq!(stage.asked(), [1, 0]);
    assert_eq!(stage.models.links()[0].results(), [("answered", 1)]);
}

#[tokio::test(start_paused = true)]
async fn a_throttled_model_is_asked_once_more_and_then_the_next() {
    let stage = Stage::new(vec![vec![throttled(None), answer(&["late"])], vec![answer(&["c"])]]);
    assert_eq!(read(stage.ask().await.unwrap()).await.0, "late");
    let stage = Stage::new(vec![vec![throttled(None)], vec![answer(&["c"])]]);
    let answering = stage.ask().await.unwrap();
    assert_eq!(*answering.model(), name(1));
    assert_eq!(stage.asked(), [2, 1]);
}

#[tokio::test(start_paused = true)]
async fn a_model_that_wants_to_rest_and_one_that_refuses_are_passed_over() {
    let refusing = Act::Fail(ModelError::Refused("403".to_owned()));
    let stage = Stage::new(vec![vec![throttled(Some(30))], vec![refusing], vec![answer(&["c"])]]);
    assert_eq!(*stage.ask().await.unwrap().model(), name(2));
    assert_eq!(stage.asked(), [1, 1, 1]);
}

#[tokio::test(start_paused = true)]
async fn a_slow_first_word_is_waited_for_only_so_long() {
    let slow = |pause| Act::Say(vec![(pause, Ok(Piece::Text("slow".to_owned()))), end()]);
    let stage = Stage::new(vec![vec![slow(7)], vec![answer(&["c"])]]);
    assert_eq!(read(stage.ask().await.unwrap()).await.0, "slow");
    let stage = Stage::new(vec![vec![slow(9)], vec![answer(&["c"])]]);
    assert_eq!(read(stage.ask().await.unwrap()).await.0, "c");
    assert_eq!(stage.asked(), [1, 1]);
    assert_eq!(stage.models.links()[0].results(), [("answered", 0), ("silent", 1)]);
}

#[tokio::test(start_paused = true)]
async fn many_slow_models_leave_time_for_the_engine() {
    let hanging = || vec![Act::Say(Vec::new())];
    let stage = Stage::new(vec![hanging(), hanging(), hanging(), hanging()]);
    let asked = Instant::now();
    assert!(stage.ask().await.is_err());
    assert!(asked.elapsed() < Patience::default().begin);
    assert_eq!(stage.asked(), [1, 1, 0, 0]);
}

#[tokio::test(start_paused = true)]
async fn after_the_first_word_nothing_is_asked_again() {
    let cut = ModelError::Cut("x".to_owned());
    let breaking = Act::Say(vec![text("half"), (0, Err(cut.clone()))]);
    let stage = Stage::new(vec![vec![breaking], vec![answer(&["c"])]]);
    assert_eq!(read(stage.ask().await.unwrap()).await, ("half".to_owned(), Some(cut)));
    assert_eq!(stage.asked(), [1, 0]);
    assert_eq!(stage.models.links()[0].results(), [("answered", 0), ("cut", 1)]);
}

#[tokio::test(start_paused = true)]
async fn a_silent_stream_and_an_endless_one_end() {
    let hanging = Act::Say(vec![text("half")]);
    let stage = Stage::new(vec![vec![hanging]]);
    let patience = Patience::default();
    assert_eq!(read(stage.ask().await.unwrap()).await, ("half".to_owned(), Some(ModelError::Silent(patience.idle))));

    let endless = Act::Say((0..100).map(|_| (5, Ok(Piece::Text("x".to_owned())))).collect());
    let stage = Stage::new(vec![vec![endless]]);
    let (said, error) = read(stage.ask().await.unwrap()).await;
    assert_eq!(error, Some(ModelError::Late(patience.total)));
    assert_eq!(said.len(), 23, "one word every five seconds, for two minutes");
}

#[tokio::test(start_paused = true)]
async fn no_answer_is_recognised_however_it_is_cut() {
    for words in
        [&["NO_ANSWER"][..], &["NO", "_ANS", "WER"], &["\"NO_ANSWER\""], &["NO_ANSWER", ".\n"], &[" NO_ANSWER"]]
    {
        let stage = Stage::new(vec![vec![answer(words)], vec![answer(&["c"])]]);
        let declined = Unanswered::Declined { model: name(0), tokens: None };
        assert_eq!(stage.ask().await.map(drop), Err(declined), "{words:?}");
        assert_eq!(stage.asked(), [1, 0]);
    }
    let stage = Stage::new(vec![vec![answer(&["NO", "PE, ", "sorry"])]]);
    assert_eq!(read(stage.ask().await.unwrap()).await.0, "NOPE, sorry");
}

#[tokio::test(start_paused = true)]
async fn an_empty_answer_is_none() {
    let stage = Stage::new(vec![vec![answer(&[])], vec![answer(&["c"])]]);
    assert_eq!(read(stage.ask().await.unwrap()).await.0, "c");
}

#[tokio::test(start_paused = true)]
async fn a_failing_model_is_soon_no_longer_asked_and_comes_back() {
    let down = Act::Fail(ModelError::Unreachable("refused".to_owned()));
    let mut script = vec![down; 6];
    script.push(answer(&["back"]));
    let stage = Stage::new(vec![script, vec![answer(&["c"])]]);
    for _ in 0..20 {
        assert_eq!(read(stage.ask().await.unwrap()).await.0, "c");
    }
    assert_eq!(stage.asked(), [6, 20], "the breaker opened after the sixth failure");
    assert!(!stage.models.links()[0].is_healthy());

    tokio::time::advance(Duration::from_secs(15)).await;
    assert_eq!(read(stage.ask().await.unwrap()).await.0, "back");
    assert!(stage.models.links()[0].is_healthy());
}

#[tokio::test(start_paused = true)]
async fn when_every_model_fails_the_reasons_are_told() {
    let refusing = || Act::Fail(ModelError::Refused("404".to_owned()));
    let stage = Stage::new(vec![vec![refusing()], vec![refusing()]]);
    let reason = Some(ModelError::Refused("404".to_owned()));
    let failed = Unanswered::Failed(vec![(name(0), reason.clone()), (name(1), reason)]);
    assert_eq!(stage.ask().await.map(drop), Err(failed));
}

#[tokio::test]
async fn a_tenants_order_holds_only_configured_models() {
    let stage = Stage::new(vec![vec![answer(&["a"])], vec![answer(&["b"])]]);
    let prompt = Prompt { system: String::new(), lines: Vec::new(), max_tokens: 1 };
    let chain = stage.models.chain_of(&[name(7), name(1)]);
    assert_eq!(*chain.ask(&prompt).await.unwrap().model(), name(1));
    assert!(stage.models.chain_of(&[name(7)]).is_empty());
}
