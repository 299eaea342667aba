//! Tags: names for people. The digest identifies an image; `latest` does not exist.

use std::fmt;
use std::str::FromStr;

use serde::Serialize;

use crate::git::Source;

/// A tag that this project may give to an image.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(transparent)]
pub struct Tag(String);

/// The environment a tag can name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Stage {
    /// `staging-<shortsha>`
    Staging,
    /// `prod-<shortsha>`
    #[value(alias = "prod")]
    Production,
}

/// A tag that is not given.
#[derive(Debug, thiserror::Error)]
pub enum TagError {
    /// `latest` moves, so it says nothing about what runs.
    #[error("the tag `latest` is refused: it moves, so it cannot say which version runs")]
    Latest,
    /// The registry protocol would refuse it.
    #[error("`{0}` is not a valid tag: at most 128 letters, digits, `_`, `.` and `-`, not beginning with `.` or `-`")]
    Invalid(String),
    /// A tree with uncommitted changes cannot be named for production.
    #[error("the working tree has uncommitted changes: an image of it cannot be tagged for production")]
    DirtyProduction,
}

impl TagError {
    /// What to do about it.
    #[must_use]
    pub fn hint(&self) -> &'static str {
        match self {
            Self::Latest => "name the commit, as in `staging-1a2b3c4`, or a version, as in `v1.2.3`",
            Self::Invalid(_) => "name the commit, as in `1a2b3c4`, or a version, as in `v1.2.3`",
            Self::DirtyProduction => "commit the changes and build again (`git status` lists them)",
        }
    }
}

impl Tag {
    /// Whether it names what runs in production: `prod-…`, or a version.
    #[must_use]
    pub fn is_release(&self) -> bool {
        self.0.starts_with("prod-") || self.0.starts_with("production-") || is_version(&self.0)
    }

    /// The text of the tag.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Tag {
    type Err = TagError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text.eq_ignore_ascii_case("latest") {
            return Err(TagError::Latest);
        }
        let word = |b: u8| b.is_ascii_alphanumeric() || b == b'_';
        let valid = text.len() <= 128
            && text.bytes().next().is_some_and(word)
            && text.bytes().all(|b| word(b) || b == b'.' || b == b'-');
        if valid { Ok(Self(text.to_owned())) } else { Err(TagError::Invalid(text.to_owned())) }
    }
}

impl fmt::Display for Tag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The tag that names the source itself: `<shortsha>`, or `<shortsha>-dirty-<hash>`.
///
/// # Errors
/// Never for a [`Source`] read from git; a commit given by hand is checked before.
pub fn of_source(source: &Source) -> Result<Tag, TagError> {
    match &source.dirty {
        None => source.commit.short().parse(),
        Some(hash) => format!("{}-dirty-{hash}", source.commit.short()).parse(),
    }
}

/// All tags of a build: the commit, one for each environment asked for, and on a version tag `v1.2.3` and
/// `v1.2.3-<shortsha>`.
///
/// # Errors
/// A dirty tree cannot be named for production.
pub fn of_build(source: &Source, stages: &[Stage]) -> Result<Vec<Tag>, TagError> {
    let own = of_source(source)?;
    let mut tags = vec![own.clone()];
    for stage in stages {
        let prefix = match stage {
            Stage::Staging => "staging",
            Stage::Production if source.dirty.is_some() => return Err(TagError::DirtyProduction),
            Stage::Production => "prod",
        };
        tags.push(format!("{prefix}-{own}").parse()?);
    }
    // A dirty tree is not the version, whatever tag its last commit has.
    if source.dirty.is_none() {
        for version in &source.versions {
            tags.push(version.parse()?);
            tags.push(format!("{version}-{own}").parse()?);
        }
    }
    let mut seen = std::collections::BTreeSet::new();
    tags.retain(|tag| seen.insert(tag.clone()));
    Ok(tags)
}

/// Whether a git tag names a version: `v1.2.3` with an optional pre-release.
#[must_use]
pub fn is_version(text: &str) -> bool {
    let Some(rest) = text.strip_prefix('v') else { return false };
    let (core, pre) = rest.split_once('-').map_or((rest, None), |(core, pre)| (core, Some(pre)));
    let mut numbers = core.split('.');
    let three = (0..3).all(|_| numbers.next().is_some_and(|n| !n.is_empty() && n.bytes().all(|b| b.is_ascii_digit())))
        && numbers.next().is_none();
    three && pre.is_none_or(|p| !p.is_empty() && p.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'.' || b == b'-'))
}
