//! What people see: progress and errors on stderr, the result on stdout.

use std::io::{self, IsTerminal as _, Write as _};
use std::process::ExitCode;
use std::sync::{Mutex, PoisonError};

use anyhow::Context as _;
use image::progress::Step;
use image::{Error, Kind};

use crate::bar::{Bar, rate};

/// stderr, with colour only where a person looks at it.
pub(crate) struct Terminal {
    colour: bool,
    /// The moving line, where somebody sees it move.
    bar: Option<Mutex<Bar>>,
}

impl Terminal {
    pub(crate) fn new() -> Self {
        let refused = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        let person = io::stderr().is_terminal();
        Self { colour: person && !refused, bar: person.then(Mutex::default) }
    }

    pub(crate) fn show(&self, step: &Step<'_>) {
        let mut bar = self.bar.as_ref().map(|bar| bar.lock().unwrap_or_else(PoisonError::into_inner));
        if let (Step::Sent { digest, sent, size }, Some(bar)) = (step, &mut bar) {
            if let Some(line) = bar.update(digest, *sent, *size) {
                // As below: nobody may read any more.
                let _ = write!(io::stderr(), "\r\x1b[2K{line}");
            }
            return;
        }
        let (verb, text) = match step {
            Step::Dirty => ("Warning", "the working tree has uncommitted changes; the tag says so".to_owned()),
            Step::Isolating => {
                ("Cleaning", "another checkout used this build directory last; own crates are compiled anew".to_owned())
            }
            Step::Compiling { target } => ("Building", format!("static release binary for {target}")),
            Step::DockerBuild { base } => ("Building", format!("with Docker, compiling in {base}")),
            Step::BaseUnpinned { image } => {
                ("Warning", format!("{image} exists in this engine alone: it has no digest to be pinned by"))
            }
            Step::BuildingAgain { directory } => {
                ("Building", format!("the same commit again in {}", directory.display()))
            }
            Step::Reproduced { digest } => ("Verified", format!("the second build is {digest} too")),
            Step::Built { digest, size, layout } => {
                ("Built", format!("{digest} ({}) in {}", bytes(*size), layout.display()))
            }
            Step::BlobPresent { digest } => ("Present", format!("blob {}", digest.short())),
            Step::Uploading { digest, size } => ("Uploading", format!("blob {} ({})", digest.short(), bytes(*size))),
            Step::BlobMounted { digest } => ("Mounted", format!("blob {}", digest.short())),
            Step::Resuming { digest, offset } => {
                ("Resuming", format!("blob {} after {}", digest.short(), bytes(*offset)))
            }
            Step::Uploaded { digest, size, time } => {
                let (length, rate) = (bytes(*size), rate(*size, *time));
                ("Uploaded", format!("blob {} ({length} in {:.1} s, {rate})", digest.short(), time.as_secs_f64()))
            }
            Step::TagPresent { tag } => ("Present", format!("tag {tag}")),
            Step::Tagged { tag, moved_from: None } => ("Tagged", tag.to_string()),
            Step::Tagged { tag, moved_from: Some(old) } => ("Tagged", format!("{tag} (it named {old} before)")),
            Step::Signed { digest, key } => ("Signed", format!("{digest} with the key {key}")),
            Step::SignaturePresent { digest } => ("Present", format!("signature of {digest}")),
            Step::Provenance { revision, builder } => ("Verified", format!("commit {revision}, built by {builder}")),
            Step::NoProvenance => ("Warning", "no signed provenance: only who signed the image is known".to_owned()),
            Step::BillFromBinary => (
                "Warning",
                "no bill of materials is attached; this one is made from the list in the binary, without checksums and licences"
                    .to_owned(),
            ),
            Step::Retrying { reason, pause } => ("Retrying", format!("in {:.1} s: {reason}", pause.as_secs_f64())),
            _ => return,
        };
        let mut stderr = io::stderr().lock();
        if bar.is_some_and(|mut bar| bar.take_drawn()) {
            let _ = write!(stderr, "\r\x1b[2K");
        }
        // Progress that nobody can read any more is no reason to fail.
        let _ = if self.colour {
            writeln!(stderr, "\x1b[1;32m{verb:>12}\x1b[0m {text}")
        } else {
            writeln!(stderr, "{verb:>12} {text}")
        };
    }
}

/// One result on stdout.
pub(crate) fn line(text: &str) -> anyhow::Result<()> {
    writeln!(io::stdout().lock(), "{text}").context("cannot write to stdout")
}

/// A document on stdout, as it is.
pub(crate) fn raw(bytes: &[u8]) -> anyhow::Result<()> {
    io::stdout().lock().write_all(bytes).context("cannot write to stdout")
}

/// What failed, why, and what to do; the exit code says of which kind it is.
pub(crate) fn fail(error: &anyhow::Error) -> ExitCode {
    let mut stderr = io::stderr().lock();
    let known = error.downcast_ref::<Error>();
    let _ = writeln!(stderr, "error: {error}");
    for cause in error.chain().skip(1) {
        let _ = writeln!(stderr, "  caused by: {cause}");
    }
    if let Some(hint) = known.and_then(Error::hint) {
        let _ = writeln!(stderr, "hint: {hint}");
    }
    match known.map(Error::kind) {
        Some(Kind::Configuration) => ExitCode::from(64),
        Some(Kind::Refused) => ExitCode::from(65),
        Some(Kind::Unreachable) => ExitCode::from(69),
        Some(Kind::Failure) | None => ExitCode::FAILURE,
    }
}

/// A size for people.
pub(crate) fn bytes(count: u64) -> String {
    #[expect(clippy::cast_precision_loss, reason = "shown with one digit")]
    let count_f = count as f64;
    match count {
        0..1_000 => format!("{count} B"),
        1_000..1_000_000 => format!("{:.1} kB", count_f / 1e3),
        _ => format!("{:.1} MB", count_f / 1e6),
    }
}
