//! What git says, and the tags that follow.

use std::fs;

use image::Tag;
use image::git::Source;
use image::tag::{self, Stage, TagError};

use crate::fixture::{commit_all, git};

fn names(source: &Source, stages: &[Stage]) -> Vec<String> {
    tag::of_build(source, stages).expect("tags").iter().map(ToString::to_string).collect()
}

#[test]
fn a_clean_commit_is_named_by_seven_digits_its_environments_and_its_version() {
    let checkout = tempfile::tempdir().expect("a directory");
    fs::write(checkout.path().join("file"), "one").expect("a file");
    let commit = commit_all(checkout.path());
    let short = &commit[..7];
    git(checkout.path(), &["tag", "v1.2.3"]);
    git(checkout.path(), &["tag", "nightly"]);

    let source = Source::read(checkout.path(), None).expect("a source");
    assert_eq!(source.commit.as_str(), commit);
    assert_eq!(source.time, 1_700_000_000);
    let expected = [
        short.to_owned(),
        format!("staging-{short}"),
        format!("prod-{short}"),
        "v1.2.3".to_owned(),
        format!("v1.2.3-{short}"),
    ];
    assert_eq!(names(&source, &[Stage::Staging, Stage::Production]), expected);
}

#[test]
fn uncommitted_changes_are_named_by_their_content_and_never_for_production() {
    let checkout = tempfile::tempdir().expect("a directory");
    let file = checkout.path().join("file");
    fs::write(&file, "one").expect("a file");
    let commit = commit_all(checkout.path());
    git(checkout.path(), &["tag", "v1.2.3"]);
    let tag = |content: &str| {
        fs::write(&file, content).expect("a change");
        let source = Source::read(checkout.path(), None).expect("a source");
        assert!(matches!(tag::of_build(&source, &[Stage::Production]), Err(TagError::DirtyProduction)));
        let names = names(&source, &[]);
        assert_eq!(names.len(), 1, "a changed tree is no version: {names:?}");
        names[0].clone()
    };
    let two = tag("two");
    assert!(two.starts_with(&format!("{}-dirty-", &commit[..7])), "{two}");
    assert_ne!(two, tag("three"));
    assert_eq!(two, tag("two"));

    fs::write(&file, "one").expect("as it was");
    let detail = checkout.path().join("imageDetail.json");
    fs::write(&detail, "{}").expect("a file");
    assert!(Source::read(checkout.path(), None).expect("a source").dirty.is_some(), "an untracked file is a change");
    let own = Source::read(checkout.path(), Some(&detail)).expect("a source");
    assert_eq!(own.dirty, None, "what the build itself writes is none");
}

#[test]
fn latest_and_malformed_tags_are_refused() {
    for text in ["latest", "Latest", "LATEST"] {
        assert!(matches!(text.parse::<Tag>(), Err(TagError::Latest)), "{text}");
    }
    for text in ["", "-a", ".a", "a b", "a/b", "a:b", &"a".repeat(129)] {
        assert!(matches!(text.parse::<Tag>(), Err(TagError::Invalid(_))), "{text}");
    }
    for text in ["v1.2.3", "v10.20.30-rc.1"] {
        assert!(tag::is_version(text), "{text}");
    }
    for text in ["1.2.3", "v1.2", "v1.2.3.4", "v1.2.x", "v1.2.3-", "v1.2.3+build"] {
        assert!(!tag::is_version(text), "{text}");
    }
}

#[test]
fn a_directory_outside_of_git_is_explained() {
    let scratch = tempfile::tempdir().expect("a directory");
    let error = Source::read(scratch.path(), None).expect_err("no checkout");
    assert!(error.hint().contains("--binary"), "{error}");
}
