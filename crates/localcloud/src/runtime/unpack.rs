//! Unpacks an image's layers into a folder, with suspicion: an image is input. Nothing outside the folder is written, made,
//! changed or removed, whatever paths, links and sizes a layer holds.

use std::cell::Cell;
use std::fs::{self, File};
use std::io::{self, BufReader, Read};
use std::path::{Component, Path, PathBuf};
use std::rc::Rc;

use flate2::read::MultiGzDecoder;
use serde::Deserialize;
use tar::EntryType;

/// How much an image may unpack to.
#[derive(Debug, Clone, Copy)]
struct Limits {
    bytes: u64,
    entries: usize,
}

/// More than this is no chatbot image but a decompression bomb.
const LIMITS: Limits = Limits { bytes: 4 << 30, entries: 200_000 };
/// Long names and extended headers are read into memory before anything is known of them.
const MAX_HEADERS: u64 = 1 << 20;

/// Why an image cannot be unpacked.
#[derive(Debug, thiserror::Error)]
pub enum UnpackError {
    /// A file cannot be read or written.
    #[error("{0}: {1}")]
    Io(PathBuf, io::Error),
    /// The image is malformed or asks for something dangerous.
    #[error("{0}")]
    Refused(String),
}

/// The part of an image configuration that running needs.
/// <https://github.com/opencontainers/image-spec/blob/main/config.md>
#[derive(Debug, Clone, Default, Deserialize)]
pub struct ImageConfig {
    /// Entry point, environment and command.
    #[serde(default)]
    pub config: RunConfig,
}

/// `config` of an image configuration.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct RunConfig {
    /// `KEY=VALUE` pairs.
    pub env: Option<Vec<String>>,
    /// The program and its first arguments.
    pub entrypoint: Option<Vec<String>>,
    /// Default arguments.
    pub cmd: Option<Vec<String>>,
}

/// Unpacks gzip-compressed or plain tar layers, lowest first, into `root`. The folder appears whole or not at all.
pub fn unpack(layers: &[PathBuf], root: &Path) -> Result<(), UnpackError> {
    unpack_within(layers, root, LIMITS)
}

fn unpack_within(layers: &[PathBuf], root: &Path, limits: Limits) -> Result<(), UnpackError> {
    if root.exists() {
        return Ok(());
    }
    // Two tasks of one image may start at the same time: each unpacks into a folder of its own, the first one to end wins.
    let partial = Partial(root.with_extension(format!("partial-{:016x}", crate::ids::random())));
    let at = |path: &Path| {
        let path = path.to_owned();
        move |error| UnpackError::Io(path, error)
    };
    fs::create_dir_all(&partial.0).map_err(at(&partial.0))?;
    let mut left = limits;
    for layer in layers {
        apply(layer, &partial.0, &mut left)?;
    }
    match fs::rename(&partial.0, root) {
        Ok(()) => Ok(()),
        Err(_) if root.exists() => Ok(()),
        Err(error) => Err(UnpackError::Io(root.to_owned(), error)),
    }
}

/// A folder that is removed again unless it got its name.
struct Partial(PathBuf);

impl Drop for Partial {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn apply(layer: &Path, root: &Path, left: &mut Limits) -> Result<(), UnpackError> {
    let failed = |error| UnpackError::Io(layer.to_owned(), error);
    let mut magic = [0; 2];
    let compressed =
        File::open(layer).and_then(|mut file| file.read_exact(&mut magic)).is_ok() && magic == [0x1f, 0x8b];
    let file = BufReader::new(File::open(layer).map_err(failed)?);
    // Every part of a gzip file counts, as for the engines that run the same image.
    let reader: Box<dyn Read> = if compressed { Box::new(MultiGzDecoder::new(file)) } else { Box::new(file) };
    // The sizes in tar headers may lie, the stream cannot.
    let allowance = Rc::new(Cell::new(MAX_HEADERS));
    let mut archive = tar::Archive::new(Metered { reader, allowance: Rc::clone(&allowance) });
    // Modes without setuid and setgid bits: a folder of this machine's is no place for them.
    archive.set_preserve_permissions(false);
    archive.set_preserve_ownerships(false);
    for entry in archive.entries().map_err(failed)? {
        let mut entry = entry.map_err(failed)?;
        left.entries = left.entries.saturating_sub(1);
        left.bytes = left.bytes.saturating_sub(entry.size().saturating_add(512));
        if left.entries == 0 || left.bytes == 0 {
            return Err(UnpackError::Refused("the image unpacks to more than the endpoint allows".to_owned()));
        }
        // This entry's content, and the headers of the next one.
        allowance.set(entry.size().saturating_add(MAX_HEADERS));
        let path = entry.path().map_err(failed)?.into_owned();
        let path = inside(&path)?;
        let kind = entry.header().entry_type();
        if path.as_os_str().is_empty() || kind == EntryType::XGlobalHeader {
            continue;
        }
        if let Some(hidden) = path.file_name().and_then(|name| name.to_str()).and_then(|name| name.strip_prefix(".wh."))
        {
            whiteout(root, &path, hidden).map_err(failed)?;
            continue;
        }
        match kind {
            EntryType::Regular | EntryType::Continuous | EntryType::Directory => {}
            EntryType::Symlink | EntryType::Link => {
                let target = entry.link_name().map_err(failed)?.unwrap_or_default().into_owned();
                check_link(&path, &target, kind == EntryType::Link)?;
            }
            _ => {
                return Err(UnpackError::Refused(format!(
                    "the image holds something else than files, folders and links, {}",
                    path.display()
                )));
            }
        }
        make_room(root, &path, kind).map_err(failed)?;
        // Refuses what would be written through a link that leads out of the root.
        if !entry.unpack_in(root).map_err(failed)? {
            return Err(UnpackError::Refused(format!("the image holds a path outside its root, {}", path.display())));
        }
    }
    // The archive ends before the stream does: a damaged end shows only there.
    allowance.set(MAX_HEADERS);
    io::copy(&mut archive.into_inner(), &mut io::sink()).map_err(failed)?;
    Ok(())
}

/// A reader that gives as much as it is allowed to and then fails.
struct Metered<R> {
    reader: R,
    allowance: Rc<Cell<u64>>,
}

impl<R: Read> Read for Metered<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let allowed = self.allowance.get();
        if allowed == 0 && !buffer.is_empty() {
            return Err(io::Error::other("more bytes than its headers say, or headers of more than a megabyte"));
        }
        let length = buffer.len().min(usize::try_from(allowed).unwrap_or(usize::MAX));
        let read = self.reader.read(&mut buffer[..length])?;
        self.allowance.set(allowed - read as u64);
        Ok(read)
    }
}

/// A link may lead anywhere inside the image: a relative one climbs no higher than the root, an absolute one means the
/// image's own root. (Whatever it says, nothing is ever written through it to a place outside.)
fn check_link(path: &Path, target: &Path, hard: bool) -> Result<(), UnpackError> {
    let mut depth = if hard || target.is_absolute() { 0 } else { path.components().count().saturating_sub(1) };
    for part in target.components() {
        match part {
            Component::Normal(_) => depth += 1,
            Component::RootDir | Component::CurDir => {}
            Component::ParentDir | Component::Prefix(_) => {
                depth = depth.checked_sub(1).ok_or_else(|| {
                    UnpackError::Refused(format!(
                        "the image holds a link out of its root, {} -> {}",
                        path.display(),
                        target.display()
                    ))
                })?;
            }
        }
    }
    Ok(())
}

/// An entry replaces what a lower layer put in its place, also where the one is a folder and the other is not.
fn make_room(root: &Path, path: &Path, kind: EntryType) -> io::Result<()> {
    let place = root.join(path);
    // Behind a link that leads out of the root there is nothing of this image; unpacking refuses the entry.
    let parent = place.parent().unwrap_or(root);
    if !parent.canonicalize().is_ok_and(|parent| root.canonicalize().is_ok_and(|root| parent.starts_with(root))) {
        return Ok(());
    }
    match fs::symlink_metadata(&place) {
        Ok(there) if there.is_dir() && kind != EntryType::Directory => fs::remove_dir_all(&place),
        Ok(there) if !there.is_dir() && kind == EntryType::Directory => fs::remove_file(&place),
        _ => Ok(()),
    }
}

/// The path without a leading `/` or `./`; an error when it has `..`.
fn inside(path: &Path) -> Result<PathBuf, UnpackError> {
    let mut clean = PathBuf::new();
    for part in path.components() {
        match part {
            Component::Normal(part) => clean.push(part),
            Component::RootDir | Component::CurDir => {}
            Component::ParentDir | Component::Prefix(_) => {
                return Err(UnpackError::Refused(format!(
                    "the image holds a path outside its root, {}",
                    path.display()
                )));
            }
        }
    }
    Ok(clean)
}

/// A whiteout removes what lower layers put there.
/// <https://github.com/opencontainers/image-spec/blob/main/layer.md#whiteouts>
fn whiteout(root: &Path, path: &Path, hidden: &str) -> io::Result<()> {
    let folder = root.join(path.parent().unwrap_or(Path::new("")));
    // A link in the way could lead out of the root: then there is nothing of this image to remove.
    if !folder.canonicalize().is_ok_and(|folder| root.canonicalize().is_ok_and(|root| folder.starts_with(root))) {
        return Ok(());
    }
    let remove = |path: &Path| match fs::symlink_metadata(path) {
        Ok(kind) if kind.is_dir() => fs::remove_dir_all(path),
        Ok(_) => fs::remove_file(path),
        Err(_) => Ok(()),
    };
    if hidden == ".wh..opq" {
        for entry in fs::read_dir(&folder)? {
            remove(&entry?.path())?;
        }
        return Ok(());
    }
    if matches!(hidden, "" | "." | "..") {
        return Ok(());
    }
    remove(&folder.join(hidden))
}

#[cfg(test)]
mod tests;
