//! `--verify-reproducible`: the same commit once more, in another folder, with another target folder and another view of
//! CARGO_HOME. Equal digests are the proof; otherwise the first file that differs is named, with the place and what is there.

use std::ffi::OsStr;
use std::fmt;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use crate::assemble::Image;
use crate::contents::{self, Kind, LayerError, Limits};
use crate::digest::Digest;
use crate::error::Error;
use crate::git;
use crate::settings::Settings;

/// A second place to build in.
#[derive(Debug)]
pub struct Elsewhere {
    directory: PathBuf,
}

/// The first difference between two builds.
#[derive(Debug, PartialEq, Eq)]
pub struct Difference {
    /// The file in the image, or `configuration`.
    pub file: String,
    /// What differs.
    pub what: String,
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}` {}", self.file, self.what)
    }
}

impl Elsewhere {
    /// Clones the commit into `directory`, beside a CARGO_HOME that shares nothing but what was downloaded.
    ///
    /// # Errors
    /// git refuses, or the folders cannot be written.
    pub fn prepare(
        checkout: &Path,
        commit: &git::Commit,
        directory: PathBuf,
        settings: &Settings,
    ) -> Result<Self, Error> {
        if directory.exists() {
            std::fs::remove_dir_all(&directory).map_err(Error::io("replace", &directory))?;
        }
        let elsewhere = Self { directory };
        let home = elsewhere.cargo_home();
        std::fs::create_dir_all(home.join("registry")).map_err(Error::io("create", &home))?;
        if let Some(own) = &settings.cargo_home {
            // Sources are unpacked anew: what somebody changed in the unpacked ones must not be built in.
            for name in ["registry/index", "registry/cache", "config.toml", "config", "credentials.toml", "git"] {
                let original = own.join(name);
                if original.exists() {
                    symlink(&original, home.join(name)).map_err(Error::io("link", &original))?;
                }
            }
        }
        let place = elsewhere.checkout();
        let clone = ["clone", "--quiet", "--no-checkout", "--shared", "."].map(OsStr::new);
        git::git(checkout, &[&clone[..], &[place.as_os_str()]].concat())?;
        git::git(&place, &["checkout", "--quiet", commit.as_str()])?;
        Ok(elsewhere)
    }

    /// The second checkout.
    #[must_use]
    pub fn checkout(&self) -> PathBuf {
        self.directory.join("checkout")
    }

    /// The second target folder.
    #[must_use]
    pub fn target(&self) -> PathBuf {
        self.directory.join("another-target")
    }

    /// The second CARGO_HOME.
    #[must_use]
    pub fn cargo_home(&self) -> PathBuf {
        self.directory.join("cargo-home")
    }
}

impl Drop for Elsewhere {
    fn drop(&mut self) {
        // What stays is in the target folder, and replaced by the next one.
        let _ = std::fs::remove_dir_all(&self.directory);
    }
}

/// Compares two images file by file; nothing if they are the same. `binaries` are the two programs, for a closer look.
///
/// # Errors
/// A layer is not readable.
pub fn compare(one: &Image, other: &Image, binaries: [&[u8]; 2]) -> Result<Option<Difference>, LayerError> {
    if one.digest() == other.digest() {
        return Ok(None);
    }
    for (layer, twin) in one.layers().iter().zip(other.layers()) {
        if layer.digest() == twin.digest() {
            continue;
        }
        let (found, twins) =
            (contents::read(&layer.bytes, Limits::default())?, contents::read(&twin.bytes, Limits::default())?);
        for path in found.keys().chain(twins.keys()) {
            let what = match (found.get(path), twins.get(path)) {
                (Some(a), Some(b)) if a == b => continue,
                (Some(a), Some(b)) => match (&a.kind, &b.kind) {
                    (Kind::File { digest: ours, .. }, Kind::File { digest: theirs, .. }) if ours != theirs => {
                        first_difference(ours, theirs, binaries)
                    }
                    _ => format!("is {a:?} in the one and {b:?} in the other"),
                },
                _ => "is in one of the two only".to_owned(),
            };
            return Ok(Some(Difference { file: path.clone(), what }));
        }
        let what = format!("has the same files and other bytes: {} and {}", layer.digest(), twin.digest());
        return Ok(Some(Difference { file: "a layer".to_owned(), what }));
    }
    let what = "differs while all files are the same".to_owned();
    Ok(Some(Difference { file: "configuration".to_owned(), what }))
}

/// Where two files differ, and the text around that place in each: most often it is a path.
fn first_difference(ours: &Digest, theirs: &Digest, binaries: [&[u8]; 2]) -> String {
    let [one, other] = binaries;
    if Digest::of(one) != *ours || Digest::of(other) != *theirs {
        return format!("is {ours} in the one and {theirs} in the other");
    }
    let at = one.iter().zip(other).position(|(a, b)| a != b).unwrap_or(one.len().min(other.len()));
    format!("differs from byte {at} on: {:?} in the one, {:?} in the other", text_at(one, at), text_at(other, at))
}

fn text_at(bytes: &[u8], at: usize) -> String {
    let printable = |byte: &u8| (0x20..0x7f).contains(byte);
    let before = bytes[..at].iter().rev().take(40).take_while(|byte| printable(byte)).count();
    let after = bytes[at..].iter().take(60).take_while(|byte| printable(byte)).count();
    String::from_utf8_lossy(&bytes[at - before..at + after.max(1).min(bytes.len() - at)]).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_text_around_the_first_difference_is_shown() {
        let (one, other) = (b"\0\0/home/one/src\0".as_slice(), b"\0\0/home/two/src\0".as_slice());
        let said = first_difference(&Digest::of(one), &Digest::of(other), [one, other]);
        assert_eq!(said, r#"differs from byte 8 on: "/home/one/src" in the one, "/home/two/src" in the other"#);
        let said = first_difference(&Digest::of(b"ab"), &Digest::of(b"abc"), [b"ab", b"abc"]);
        assert!(said.starts_with("differs from byte 2 on"), "{said}");
    }
}
