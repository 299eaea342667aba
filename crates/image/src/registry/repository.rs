//! Where a repository is.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use super::RegistryError;

/// A repository at a registry, as in `registry.example.com/team/app`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Repository {
    registry: String,
    name: String,
}

impl Repository {
    /// Host and port as written.
    #[must_use]
    pub fn registry(&self) -> &str {
        &self.registry
    }

    /// The path at the registry.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Whether it is ECR, as its address tells. The embedded endpoint's address tells nothing.
    #[must_use]
    pub fn is_ecr(&self) -> bool {
        self.registry.contains(".dkr.ecr.") && self.registry.contains(".amazonaws.com")
    }

    /// The address of the API. Plain HTTP is spoken with this machine only.
    #[must_use]
    pub fn base(&self) -> String {
        // Docker Hub's name is not its address.
        let host = if self.registry == "docker.io" { "registry-1.docker.io" } else { &self.registry };
        let scheme = if is_loopback(host) { "http" } else { "https" };
        format!("{scheme}://{host}")
    }
}

/// Whether `host[:port]` is this machine.
pub(super) fn is_loopback(authority: &str) -> bool {
    let host = match authority.strip_prefix('[') {
        Some(rest) => rest.split(']').next().unwrap_or(rest),
        None => authority.rsplit_once(':').map_or(authority, |(host, _)| host),
    };
    host == "localhost" || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

impl FromStr for Repository {
    type Err = RegistryError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let invalid = || RegistryError::Repository(text.to_owned());
        let (registry, name) = text.split_once('/').ok_or_else(invalid)?;
        // As in Docker: the first part is a host only if it looks like one.
        let host = registry.contains('.') || registry.contains(':') || registry == "localhost";
        let host = host && registry.bytes().all(|b| b.is_ascii_alphanumeric() || b".:-[]".contains(&b));
        let part = |part: &str| {
            let inner = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
            part.bytes().next().is_some_and(inner)
                && part.bytes().last().is_some_and(inner)
                && part.bytes().all(|b| inner(b) || b"._-".contains(&b))
        };
        if !host || !name.split('/').all(part) {
            return Err(invalid());
        }
        Ok(Self { registry: registry.to_owned(), name: name.to_owned() })
    }
}

impl fmt::Display for Repository {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.registry, self.name)
    }
}
