//! One image in a repository: by digest, or by a tag.

use std::fmt;
use std::str::FromStr;

use super::{RegistryError, Repository};
use crate::digest::Digest;
use crate::tag::Tag;

/// An image in a repository, as in `registry.example.com/team/app@sha256:…` or `registry.example.com/team/app:v1.2.3`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reference {
    /// Where it is.
    pub repository: Repository,
    /// Which one it is.
    pub version: Version,
}

/// What tells an image from the others of its repository.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Version {
    /// Itself.
    Digest(Digest),
    /// A name that somebody gave it.
    Tag(Tag),
}

impl FromStr for Reference {
    type Err = RegistryError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let invalid = || RegistryError::Reference(text.to_owned());
        if let Some((repository, digest)) = text.split_once('@') {
            // `name:tag@digest` is written too; the digest is what counts.
            let end = repository.rsplit_once('/').and_then(|(before, last)| Some(before.len() + 1 + last.find(':')?));
            let repository = &repository[..end.unwrap_or(repository.len())];
            let digest = digest.parse().map_err(|_| invalid())?;
            return Ok(Self { repository: repository.parse()?, version: Version::Digest(digest) });
        }
        let (repository, tag) = text.rsplit_once(':').filter(|(_, tag)| !tag.contains('/')).ok_or_else(invalid)?;
        let tag = tag.parse().map_err(|_| invalid())?;
        Ok(Self { repository: repository.parse()?, version: Version::Tag(tag) })
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.version {
            Version::Digest(digest) => write!(f, "{}@{digest}", self.repository),
            Version::Tag(tag) => write!(f, "{}:{tag}", self.repository),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reference_names_a_digest_or_a_tag_and_never_latest() {
        let digest = format!("sha256:{}", "a".repeat(64));
        for (text, shown) in [
            (format!("127.0.0.1:5000/team/app@{digest}"), format!("127.0.0.1:5000/team/app@{digest}")),
            (format!("127.0.0.1:5000/team/app:v1@{digest}"), format!("127.0.0.1:5000/team/app@{digest}")),
            ("registry.example.com/app:v1.2.3".to_owned(), "registry.example.com/app:v1.2.3".to_owned()),
        ] {
            assert_eq!(text.parse::<Reference>().expect("a reference").to_string(), shown);
        }
        for text in [
            "127.0.0.1:5000/app",
            "registry.example.com/app",
            "registry.example.com/app:latest",
            "app:v1",
            "a.b/c@sha256:0",
        ] {
            assert!(text.parse::<Reference>().is_err(), "{text}");
        }
    }
}
