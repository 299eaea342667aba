//! `image function`: the archive of a Lambda function. One static binary called `bootstrap`, which the runtimes `provided.*`
//! start, in a zip whose bytes depend on the binary alone.

use std::io::{Cursor, Write as _};
use std::path::{Path, PathBuf};

use serde::Serialize;
use sha2::{Digest as _, Sha256};
use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, ZipWriter};

use super::input::Input;
use super::{Request, architecture_of, source};
use crate::error::Error;
use crate::progress::{Progress, Step};
use crate::settings::Settings;
use crate::tag;
use crate::target::Architecture;

/// What Lambda starts.
const ENTRY: &str = "bootstrap";

/// The result, as `--json` prints it.
#[derive(Debug, Clone, Serialize)]
pub struct Report {
    /// The version of this document.
    pub schema: u32,
    /// The archive.
    pub archive: PathBuf,
    /// Its SHA-256, hexadecimal.
    pub sha256: String,
    /// Its bytes.
    pub size: u64,
    /// The processor that it runs on.
    pub architecture: Architecture,
    /// The commit.
    pub commit: String,
    /// Whether the tree had uncommitted changes.
    pub dirty: bool,
}

/// Builds the program of a request, or takes the binary given, and writes the archive: to `archive`, or to
/// `target/function/<tag>.zip`.
///
/// # Errors
/// The build fails, the binary is not static or for another processor, or the archive cannot be written.
pub fn run(
    request: &Request,
    archive: Option<&Path>,
    settings: &Settings,
    progress: Progress<'_>,
) -> Result<Report, Error> {
    let source = source(request, settings)?;
    if source.dirty.is_some() {
        progress(Step::Dirty);
    }
    let input = Input::prepare(request, &source, settings, progress)?;
    let architecture = architecture_of(&input, request)?;
    let bytes = zip(&input.binary);
    let archive = match archive {
        Some(file) => request.directory.join(file),
        None => {
            input.target_directory.join("function").join(format!("{}.zip", tag::of_build(&source, &[])?[0].as_str()))
        }
    };
    if let Some(parent) = archive.parent() {
        std::fs::create_dir_all(parent).map_err(Error::io("create", parent))?;
    }
    std::fs::write(&archive, &bytes).map_err(Error::io("write", &archive))?;
    let sha256 = Sha256::digest(&bytes).iter().map(|byte| format!("{byte:02x}")).collect();
    Ok(Report {
        schema: 1,
        archive,
        sha256,
        size: bytes.len() as u64,
        architecture,
        commit: source.commit.to_string(),
        dirty: source.dirty.is_some(),
    })
}

/// One executable entry, without a time of its own.
///
/// # Panics
/// Never: writing to memory does not fail, and one entry is no entry twice.
fn zip(binary: &[u8]) -> Vec<u8> {
    let options = SimpleFileOptions::default()
        .compression_method(CompressionMethod::Deflated)
        .last_modified_time(zip::DateTime::default())
        .unix_permissions(0o755);
    let mut zip = ZipWriter::new(Cursor::new(Vec::new()));
    zip.start_file(ENTRY, options).expect("the only entry");
    zip.write_all(binary).expect("written to memory");
    zip.finish().expect("written to memory").into_inner()
}
