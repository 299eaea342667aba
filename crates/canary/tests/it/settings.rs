//! What the functions are told.

use std::collections::BTreeMap;
use std::time::Duration;

use canary::{Duty, Settings};

use crate::world;

fn variables() -> BTreeMap<&'static str, String> {
    let mut all = BTreeMap::from(world::settings("example.com"));
    all.insert("_HANDLER", "bootstrap.monitor".to_owned());
    all
}

#[test]
fn they_are_read() {
    let all = variables();
    let settings = Settings::read(|name| all.get(name).cloned()).expect("complete");
    assert_eq!(settings.duty, Duty::Monitor);
    assert_eq!(settings.test_url, "http://example.com/test", "without its last slash");
    assert_eq!(settings.target_groups[1], "targetgroup/green/2");
    assert_eq!(settings.latency, Duration::from_secs(2));
}

#[test]
fn what_says_nothing_is_named() {
    let wrong = [
        ("_HANDLER", "index.handler"),
        ("TEST_URL", "example.com"),
        ("PRODUCTION_URL", ""),
        ("CONVERSATIONS", "0"),
        ("LOAD_BALANCER", ""),
        ("TARGET_GROUPS", "targetgroup/blue/1"),
        ("ERROR_PERCENT", "many"),
        ("LATENCY_SECONDS", "-1"),
    ];
    for (name, value) in wrong {
        let mut all = variables();
        all.insert(name, value.to_owned());
        let error = Settings::read(|name| all.get(name).cloned()).expect_err(name);
        assert!(error.to_string().starts_with(name), "{error}");
        assert!(!error.hint().is_empty());
    }
}
