//! The dependency list inside the binary, in the format of `cargo auditable`: scanners find it in any image or file system
//! that holds the binary, without our help. <https://github.com/rust-secure-code/cargo-auditable/blob/master/PARSING.md>

use std::io::{self, Read, Write as _};

use auditable_serde::{DependencyKind, Source, VersionInfo};
use flate2::Compression;
use flate2::read::MultiGzDecoder;
use flate2::write::ZlibEncoder;
use serde::Deserialize;

use crate::assemble::Image;
use crate::dependencies::{Dependencies, Origin, Package, Role};
use crate::elf::{self, ElfError};
use crate::error::Error;

/// The section's name.
pub const SECTION: &str = ".dep-v0";
/// The format of a list from `cargo metadata` is 1; what cargo reports of the build itself is exact, which is 8.
const FORMAT: u32 = 8;
/// No list of a real program is larger.
const LARGEST_LIST: usize = 8 << 20;
/// No layer of ours is larger, unpacked.
const LARGEST_LAYER: u64 = 1 << 30;

/// Why a dependency list cannot be put into a binary or read from it.
#[derive(Debug, thiserror::Error)]
pub enum AuditableError {
    /// The binary's headers.
    #[error("cannot put the dependency list into the binary: {0}")]
    Binary(#[from] ElfError),
    /// A version that is none.
    #[error("`{name}` has the version `{version}`, which is not one")]
    Version {
        /// The package.
        name: String,
        /// Its version.
        version: String,
    },
    /// The list cannot be written.
    #[error("cannot write the dependency list: {0}")]
    Write(String),
    /// The list in a binary cannot be read.
    #[error("the dependency list in the binary is damaged: {0}")]
    Damaged(String),
}

/// The binary with its dependency list. The same binary and list give the same bytes.
///
/// # Errors
/// The binary has no section headers, or a package no proper version.
pub fn embed(binary: &[u8], dependencies: &Dependencies) -> Result<Vec<u8>, AuditableError> {
    Ok(elf::with_section(binary, SECTION, &section(dependencies)?)?)
}

/// The section's content.
///
/// # Errors
/// A package has no proper version.
pub fn section(dependencies: &Dependencies) -> Result<Vec<u8>, AuditableError> {
    let json = serde_json::to_vec(&encode(dependencies)?).map_err(|error| AuditableError::Write(error.to_string()))?;
    let mut zlib = ZlibEncoder::new(Vec::new(), Compression::new(6));
    let compressed = zlib.write_all(&json).and_then(|()| zlib.finish());
    compressed.map_err(|error| AuditableError::Write(error.to_string()))
}

/// The dependency list in a binary, if it has one. Checksums, licences and features are not in it.
///
/// # Errors
/// There is a list, and it is damaged.
pub fn extract(binary: &[u8]) -> Result<Option<Dependencies>, AuditableError> {
    match auditable_info::audit_info_from_slice(binary, LARGEST_LIST) {
        Ok(info) => Ok(Some(decode(info))),
        Err(auditable_info::Error::NoAuditData) => Ok(None),
        Err(error) => Err(AuditableError::Damaged(error.to_string())),
    }
}

/// The dependency list in an image's entry point, if it has one.
///
/// # Errors
/// The image cannot be read, or the list is damaged.
pub fn of_image(image: &Image) -> Result<Option<Dependencies>, Error> {
    match entry_point(image).map_err(|reason| Error::Unreadable { digest: image.digest().clone(), reason })? {
        Some(binary) => Ok(extract(&binary)?),
        None => Ok(None),
    }
}

/// The program that an image runs, from the topmost layer that has it.
fn entry_point(image: &Image) -> Result<Option<Vec<u8>>, String> {
    #[derive(Deserialize)]
    struct Configuration {
        config: Option<Execution>,
    }
    #[derive(Deserialize)]
    #[serde(rename_all = "PascalCase")]
    struct Execution {
        entrypoint: Option<Vec<String>>,
    }
    let Some((config, layers)) = image.blobs.split_last() else { return Ok(None) };
    let config: Configuration = serde_json::from_slice(&config.bytes).map_err(|error| error.to_string())?;
    let command = config.config.and_then(|config| config.entrypoint).unwrap_or_default();
    let Some(program) = command.first() else { return Ok(None) };
    for layer in layers.iter().rev() {
        let found = file(&layer.bytes, program.trim_start_matches('/')).map_err(|error| error.to_string())?;
        if found.is_some() {
            return Ok(found);
        }
    }
    Ok(None)
}

/// One file of a layer. Whoever made the layer, it is read to a limit and written nowhere.
fn file(layer: &[u8], wanted: &str) -> io::Result<Option<Vec<u8>>> {
    let plain: Box<dyn Read + '_> =
        if layer.starts_with(&[0x1f, 0x8b]) { Box::new(MultiGzDecoder::new(layer)) } else { Box::new(layer) };
    for entry in tar::Archive::new(plain.take(LARGEST_LAYER)).entries()? {
        let mut entry = entry?;
        if entry.path()?.to_string_lossy().trim_start_matches("./") == wanted {
            let mut content = Vec::new();
            entry.read_to_end(&mut content)?;
            return Ok(Some(content));
        }
    }
    Ok(None)
}

fn encode(dependencies: &Dependencies) -> Result<VersionInfo, AuditableError> {
    let mut packages = Vec::new();
    for package in &dependencies.packages {
        let version = package
            .version
            .parse()
            .map_err(|_| AuditableError::Version { name: package.name.clone(), version: package.version.clone() })?;
        packages.push(auditable_serde::Package {
            name: package.name.clone(),
            version,
            source: match package.origin {
                Origin::CratesIo => Source::CratesIo,
                Origin::Registry(_) => Source::Registry,
                Origin::Git(_) => Source::Git,
                Origin::Local => Source::Local,
            },
            kind: match package.role {
                Role::Build => DependencyKind::Build,
                Role::Runtime => DependencyKind::Runtime,
            },
            dependencies: package.dependencies.clone(),
            root: package.root,
        });
    }
    Ok(VersionInfo { packages, format: FORMAT })
}

fn decode(info: VersionInfo) -> Dependencies {
    let package = |package: auditable_serde::Package| Package {
        name: package.name,
        version: package.version.to_string(),
        origin: match package.source {
            Source::CratesIo => Origin::CratesIo,
            Source::Git => Origin::Git(None),
            Source::Local => Origin::Local,
            // Whatever else a newer format may name is some registry that is not known here.
            _ => Origin::Registry(None),
        },
        role: match package.kind {
            DependencyKind::Build => Role::Build,
            DependencyKind::Runtime => Role::Runtime,
        },
        features: Vec::new(),
        checksum: None,
        license: None,
        dependencies: package.dependencies,
        root: package.root,
    };
    Dependencies { packages: info.packages.into_iter().map(package).collect() }
}
