use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use super::{Candidate, Config, Store, Tenants, VARIABLES, Variables, healthcheck_address};

/// Notes every name asked for.
#[derive(Default)]
struct Recorder(std::cell::RefCell<Vec<String>>);

impl Variables for Recorder {
    fn get(&self, name: &str) -> Option<String> {
        self.0.borrow_mut().push(name.to_owned());
        None
    }
}

#[test]
fn nothing_set_is_a_valid_configuration() {
    let config = Config::read(&BTreeMap::new()).expect("defaults are valid");
    assert_eq!(config.listen.to_string(), "127.0.0.1:8080");
    assert_eq!(config.drain_delay, Duration::from_secs(5));
    assert_eq!(config.worker_threads, 1);
    assert_eq!(
        config.store,
        Store::FirstOf(vec![
            Candidate { base: "/data".into(), below: "conversations".into() },
            Candidate { base: "/tmp".into(), below: "smartbot-local-conversations".into() },
        ])
    );
}

#[test]
fn a_word_that_is_no_level_does_not_silence_the_log() {
    for wrong in ["loud", "info,chat", "chatbot=loud", "a=b=c"] {
        let errors = Config::read(&BTreeMap::from([("LOG_LEVEL", wrong)])).unwrap_err();
        assert!(errors.to_string().contains("LOG_LEVEL") && errors.to_string().contains("hint: "), "{errors}");
    }
    for right in ["WARN", "off", "info, chatbot::turn=trace"] {
        assert!(Config::read(&BTreeMap::from([("LOG_LEVEL", right)])).is_ok(), "{right}");
    }
}

#[test]
fn all_mistakes_are_reported_at_once() {
    let variables = BTreeMap::from([
        ("LISTEN", "8080"),
        ("LOG_LEVEL", "chatbot=loud"),
        ("WORKER_THREADS", "0"),
        ("DRAIN_DELAY_SECONDS", "5s"),
        ("CONVERSATION_STORE", "redis"),
        ("MODELS", "gpt-4o"),
        ("SMARTBOT_COMMIT", "a\u{7f}"),
    ]);
    let errors = Config::read(&variables).unwrap_err();
    let named: Vec<_> = errors.0.iter().map(|error| error.variable).collect();
    for name in variables.keys() {
        assert!(named.contains(name), "{name} in {errors}");
    }
    assert_eq!(errors.to_string().matches("hint:").count(), variables.len());
}

#[test]
fn a_memory_store_must_be_asked_for() {
    let memory = Config::read(&BTreeMap::from([("CONVERSATION_STORE", "memory")])).unwrap();
    assert_eq!(memory.store, Store::Memory);
    let directory =
        Config::read(&BTreeMap::from([("CONVERSATIONS_DIR", "/var/x"), ("CONVERSATION_STORE", "")])).unwrap();
    assert_eq!(directory.store, Store::Directory(PathBuf::from("/var/x")));
}

#[test]
fn what_models_need_is_asked_for() {
    let mistakes = |variables: &[(&'static str, &'static str)]| match Config::read(
        &variables.iter().copied().collect::<BTreeMap<_, _>>(),
    ) {
        Ok(config) => Ok(config.models.names.iter().map(ToString::to_string).collect::<Vec<_>>().join(",")),
        Err(errors) => Err(errors.0.iter().map(|error| error.variable).collect::<Vec<_>>()),
    };
    assert_eq!(mistakes(&[("MODELS", "openai:a")]), Err(vec!["OPENAI_API_KEY"]));
    assert_eq!(
        mistakes(&[("MODELS", "openai:a, openai:b"), ("OPENAI_API_KEY", "k")]),
        Ok("openai:a,openai:b".to_owned())
    );
    assert_eq!(mistakes(&[("MODELS", "openai:a,openai:a"), ("OPENAI_API_KEY", "k")]), Err(vec!["MODELS"]));
    let local = [("MODELS", "openai:a"), ("OPENAI_BASE_URL", "http://127.0.0.1:1/v1")];
    assert_eq!(mistakes(&local), Ok("openai:a".to_owned()));
    assert_eq!(mistakes(&[("MODELS", "openai:a"), ("OPENAI_BASE_URL", "localhost")]), Err(vec!["OPENAI_BASE_URL"]));
    let bedrock = mistakes(&[("MODELS", "bedrock:a.b-v1:0")]);
    let missing = if cfg!(feature = "bedrock") { vec!["AWS_REGION"] } else { vec!["MODELS", "AWS_REGION"] };
    assert_eq!(bedrock, Err(missing));
}

#[test]
fn a_table_needs_a_name_a_region_and_a_shared_secret() {
    let errors = Config::read(&BTreeMap::from([("CONVERSATION_STORE", "dynamodb")])).unwrap_err();
    let named: Vec<_> = errors.0.iter().map(|error| error.variable).collect();
    let missing = ["SESSION_SECRET", "CONVERSATIONS_TABLE", "AWS_REGION"];
    assert_eq!(named.strip_prefix(&["CONVERSATION_STORE"]).unwrap_or(&named), missing);
    assert_eq!(named.len() == missing.len(), cfg!(feature = "dynamodb"));
}

#[test]
fn tenants_are_in_a_file_or_in_the_table() {
    let read = |variables: &[(&'static str, &'static str)]| {
        let read = Config::read(&variables.iter().copied().collect::<BTreeMap<_, _>>());
        read.map(|config| config.tenants)
            .map_err(|errors| errors.0.iter().map(|error| error.variable).collect::<Vec<_>>())
    };
    assert_eq!(read(&[]), Ok(Tenants::Demo));
    assert_eq!(read(&[("TENANTS_FILE", "/t.json")]), Ok(Tenants::File(PathBuf::from("/t.json"))));
    assert_eq!(read(&[("TENANTS_STORE", "file")]), Err(vec!["TENANTS_FILE"]));
    assert_eq!(read(&[("TENANTS_STORE", "s3")]), Err(vec!["TENANTS_STORE"]));
    let both = read(&[("TENANTS_STORE", "dynamodb"), ("TENANTS_FILE", "/t.json")]);
    assert_eq!(both, Err(vec!["TENANTS_FILE", "TENANTS_STORE", "OPERATOR_KEY_SHA256"]));
}

#[test]
fn a_wildcard_address_is_checked_on_loopback() {
    let address = |listen| healthcheck_address(&BTreeMap::from([("LISTEN", listen)])).unwrap().to_string();
    assert_eq!(address("0.0.0.0:8080"), "127.0.0.1:8080");
    assert_eq!(address("[::]:8080"), "[::1]:8080");
    assert_eq!(address("127.0.0.11:8080"), "127.0.0.11:8080");
}

#[test]
fn every_variable_read_is_documented() {
    let recorder = Recorder::default();
    Config::read(&recorder).expect("defaults are valid");
    for name in recorder.0.take() {
        // TMPDIR is the system's, explained below the table.
        let documented = name == "TMPDIR" || VARIABLES.iter().any(|variable| variable.name == name);
        assert!(documented, "{name}");
    }
}

#[test]
fn the_readme_has_every_variable() {
    let readme = include_str!("../../README.md");
    for variable in VARIABLES {
        let row = format!(
            "| `{}` | {} | {} |",
            variable.name,
            if variable.default.is_empty() { "not set" } else { variable.default },
            variable.about
        );
        assert!(readme.contains(&row), "add to crates/chatbot/README.md:\n{row}");
    }
}
