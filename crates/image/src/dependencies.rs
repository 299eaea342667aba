//! What a binary is made of: the packages that are compiled into it, and those that ran while it was compiled.
//!
//! The build's own messages name every package of this build with the features it was compiled with. `cargo metadata` would
//! name what any member of the workspace asks for, so it lists packages and features that are not in the binary. Cargo.lock
//! adds what the messages lack: checksums, and who needs whom.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use rustsec::cargo_lock;
use serde::Deserialize;

/// The packages of a binary, sorted by name and version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dependencies {
    /// The packages; exactly one of them is the root.
    pub packages: Vec<Package>,
}

/// One package.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Package {
    /// Its name.
    pub name: String,
    /// Its version.
    pub version: String,
    /// Where its source comes from.
    pub origin: Origin,
    /// Whether it is in the binary.
    pub role: Role,
    /// The features it was compiled with; empty if they are not known.
    pub features: Vec<String>,
    /// SHA-256 of its source archive, from Cargo.lock.
    pub checksum: Option<String>,
    /// Its licence as an SPDX expression, from its manifest.
    pub license: Option<String>,
    /// Positions of the packages it needs, ascending.
    pub dependencies: Vec<usize>,
    /// Whether it is the package that was built.
    pub root: bool,
}

/// Where a package's source comes from.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Origin {
    /// crates.io
    CratesIo,
    /// Another registry, with its address if it is known.
    Registry(Option<String>),
    /// A git repository, with its address if it is known.
    Git(Option<String>),
    /// A folder.
    Local,
}

/// What a package does for a binary.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Role {
    /// It runs at build time: procedural macros, build scripts, and what they need.
    Build,
    /// It is compiled into the binary.
    Runtime,
}

/// Why the packages of a build cannot be listed.
#[derive(Debug, thiserror::Error)]
pub enum DependenciesError {
    /// A package id in a form that is not known.
    #[error("cargo names a package in an unknown way: `{0}`")]
    Id(String),
    /// Cargo.lock.
    #[error("cannot read {}: {reason}", path.display())]
    Lock {
        /// The file.
        path: PathBuf,
        /// Why.
        reason: String,
    },
    /// The package that was built is not among those cargo reports.
    #[error("cargo built package `{0}` and does not report it")]
    Root(String),
}

/// A `compiler-artifact` message of cargo.
#[derive(Debug, Deserialize)]
pub struct Artifact {
    package_id: String,
    manifest_path: PathBuf,
    target: Target,
    features: Vec<String>,
    filenames: Vec<PathBuf>,
    /// The executable, if it is one.
    pub executable: Option<PathBuf>,
}

#[derive(Debug, Deserialize)]
struct Target {
    name: String,
    kind: Vec<String>,
}

/// Cargo.lock: the versions, checksums and dependencies of every build of the workspace.
#[derive(Debug)]
pub struct Lock(cargo_lock::Lockfile);

impl Lock {
    /// Reads the file.
    ///
    /// # Errors
    /// It is missing or damaged.
    pub fn read(path: &Path) -> Result<Self, DependenciesError> {
        cargo_lock::Lockfile::load(path)
            .map(Self)
            .map_err(|error| DependenciesError::Lock { path: path.to_owned(), reason: error.to_string() })
    }
}

impl Artifact {
    /// The name of what was compiled: a library's, a binary's.
    #[must_use]
    pub fn target_name(&self) -> &str {
        &self.target.name
    }

    /// The same for a build in a container, of which the manifests were copied to below `folder`.
    pub(crate) fn copied_to(&mut self, folder: &Path) {
        self.manifest_path = folder.join(self.manifest_path.strip_prefix("/").unwrap_or(&self.manifest_path));
    }

    /// Cargo keeps what runs on the machine that builds apart from what is built for `triple`, even if both are the same.
    fn role(&self, triple: &str) -> Role {
        let host_only = self.target.kind.iter().any(|kind| kind == "proc-macro" || kind == "custom-build");
        let for_target = self.filenames.iter().any(|file| file.components().any(|part| part.as_os_str() == triple));
        if for_target && !host_only { Role::Runtime } else { Role::Build }
    }
}

impl Dependencies {
    /// The packages of a build for `triple` whose root is the package `root`.
    ///
    /// # Errors
    /// cargo's messages are not understood.
    pub fn of_build(artifacts: &[Artifact], root: &str, triple: &str, lock: &Lock) -> Result<Self, DependenciesError> {
        let mut packages: BTreeMap<Id, Package> = BTreeMap::new();
        for artifact in artifacts {
            let id = Id::parse(&artifact.package_id)?;
            let role = artifact.role(triple);
            let package = packages.entry(id.clone()).or_insert_with(|| Package {
                root: id.name == root && id.origin == Origin::Local,
                name: id.name,
                version: id.version,
                origin: id.origin,
                role,
                features: Vec::new(),
                checksum: None,
                license: license(&artifact.manifest_path),
                dependencies: Vec::new(),
            });
            // Compiled both for the host and for the target: what counts is what is in the binary.
            if role > package.role {
                package.role = role;
                package.features.clear();
            }
            if role == package.role {
                package.features.extend(artifact.features.iter().cloned());
            }
        }
        if !packages.values().any(|package| package.root) {
            return Err(DependenciesError::Root(root.to_owned()));
        }
        let ids: Vec<Id> = packages.keys().cloned().collect();
        let mut packages: Vec<Package> = packages.into_values().collect();
        for locked in &lock.0.packages {
            let Ok(at) = ids.binary_search(&Id::of_lock(&locked.name, &locked.version, locked.source.as_ref())) else {
                continue;
            };
            packages[at].checksum = locked.checksum.as_ref().map(ToString::to_string);
            packages[at].dependencies = locked
                .dependencies
                .iter()
                .map(|needed| Id::of_lock(&needed.name, &needed.version, needed.source.as_ref()))
                .filter_map(|needed| ids.binary_search(&needed).ok())
                .collect();
        }
        for package in &mut packages {
            package.features.sort();
            package.features.dedup();
            package.dependencies.sort_unstable();
        }
        Ok(Self { packages })
    }

    /// The package that was built.
    #[must_use]
    pub fn root(&self) -> Option<&Package> {
        self.packages.iter().find(|package| package.root)
    }

    /// What is compiled into the binary.
    pub fn runtime(&self) -> impl Iterator<Item = &Package> {
        self.packages.iter().filter(|package| package.role == Role::Runtime)
    }
}

impl Package {
    /// Its package URL, <https://github.com/package-url/purl-spec>.
    #[must_use]
    pub fn purl(&self) -> String {
        let base = format!("pkg:cargo/{}@{}", self.name, self.version.replace('+', "%2B"));
        let qualified = |key: &str, value: &str| {
            let value: String = form_urlencoded::byte_serialize(value.as_bytes()).collect();
            format!("{base}?{key}={value}")
        };
        match &self.origin {
            Origin::Registry(Some(address)) => qualified("repository_url", address),
            Origin::Git(Some(address)) => qualified("vcs_url", &format!("git+{address}")),
            // Without it, it would be the name of whatever crates.io has under this name.
            Origin::Local => qualified("download_url", "file://."),
            Origin::CratesIo | Origin::Registry(None) | Origin::Git(None) => base,
        }
    }
}

/// What tells a package from all others; its order is that of the list.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Id {
    name: String,
    version: String,
    origin: Origin,
}

impl Id {
    /// Cargo's package id specification: `registry+https://…#serde@1.0.0`, `path+file:///…/chatbot#0.1.0`.
    fn parse(text: &str) -> Result<Self, DependenciesError> {
        let unknown = || DependenciesError::Id(text.to_owned());
        let (source, fragment) = text.rsplit_once('#').ok_or_else(unknown)?;
        let address = source.split('?').next().unwrap_or(source);
        let (name, version) = match fragment.rsplit_once('@') {
            Some(pair) => pair,
            None => (address.rsplit('/').next().unwrap_or(address), fragment),
        };
        let origin = Origin::parse(source).ok_or_else(unknown)?;
        Ok(Self { name: name.to_owned(), version: version.to_owned(), origin })
    }

    fn of_lock(name: &cargo_lock::Name, version: &cargo_lock::Version, source: Option<&cargo_lock::SourceId>) -> Self {
        // The part after `#` is a git commit, which the package id does not have.
        let origin = source.and_then(|source| Origin::parse(source.to_string().split('#').next()?));
        Self { name: name.to_string(), version: version.to_string(), origin: origin.unwrap_or(Origin::Local) }
    }
}

impl Origin {
    fn parse(source: &str) -> Option<Self> {
        let (kind, address) = source.split_once('+')?;
        match kind {
            "registry" if address == "https://github.com/rust-lang/crates.io-index" => Some(Self::CratesIo),
            "registry" | "sparse" => Some(Self::Registry(Some(address.to_owned()))),
            "git" => Some(Self::Git(Some(address.to_owned()))),
            "path" => Some(Self::Local),
            _ => None,
        }
    }
}

/// The licence in a package's manifest. cargo writes the manifests of published packages in one form, a key on each line;
/// a member of a workspace may say `license.workspace = true`, which names none here.
fn license(manifest: &Path) -> Option<String> {
    let text = std::fs::read_to_string(manifest).ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("license = \""))?;
    // `MIT/Apache-2.0` is how crates wrote it before there were expressions.
    line.strip_suffix('"').map(|license| license.replace('/', " OR "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn package_ids_of_every_kind_are_read() {
        let cases = [
            ("registry+https://github.com/rust-lang/crates.io-index#serde@1.0.0", "serde", "1.0.0", Origin::CratesIo),
            ("path+file:///work/crates/chatbot#0.1.0", "chatbot", "0.1.0", Origin::Local),
            ("path+file:///work/crates/folder#name@0.1.0", "name", "0.1.0", Origin::Local),
            (
                "git+https://example.com/x/name.git?rev=1#name@2.0.0",
                "name",
                "2.0.0",
                Origin::Git(Some("https://example.com/x/name.git?rev=1".to_owned())),
            ),
        ];
        for (text, name, version, origin) in cases {
            let id = Id::parse(text).expect("an id");
            assert_eq!((id.name.as_str(), id.version.as_str(), id.origin), (name, version, origin), "{text}");
        }
        assert!(Id::parse("serde 1.0.0").is_err());
        assert!(Id::parse("magic+x#serde@1.0.0").is_err());
    }
}
