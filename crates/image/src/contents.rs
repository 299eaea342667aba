//! What a layer holds, read with suspicion: a layer is input, whoever made it.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::io::{self, Read};
use std::path::{Component, Path};
use std::rc::Rc;

use flate2::read::MultiGzDecoder;
use sha2::{Digest as _, Sha256};
use tar::EntryType;

use crate::digest::Digest;

/// One entry of a layer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// Permission bits.
    pub mode: u32,
    /// Owner.
    pub uid: u64,
    /// Group.
    pub gid: u64,
    /// What it is.
    pub kind: Kind,
}

/// What an entry is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kind {
    /// A directory.
    Directory,
    /// A regular file.
    File {
        /// Its length.
        size: u64,
        /// Its content.
        digest: Digest,
    },
    /// A link, symbolic or hard.
    Link {
        /// Where it points.
        target: String,
    },
}

/// How much a layer may hold.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Bytes before compression.
    pub bytes: u64,
    /// Entries.
    pub entries: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { bytes: 1 << 30, entries: 100_000 }
    }
}

/// Long names and extended headers are read into memory before anything is known of them.
const MAX_HEADERS: u64 = 1 << 20;

/// Why a layer is refused.
#[derive(Debug, thiserror::Error)]
pub enum LayerError {
    /// Not a tar archive, or a damaged one.
    #[error("it is no readable archive")]
    Archive(#[from] io::Error),
    /// It unpacks to more than any image of ours: a decompression bomb.
    #[error("it holds more than {} bytes or {} entries", .0.bytes, .0.entries)]
    TooLarge(Limits),
    /// A path that leads out of the root.
    #[error("its entry `{0}` leads out of the root")]
    Outside(String),
    /// A device, a pipe, or something newer.
    #[error("its entry `{0}` is neither file, directory nor link")]
    Special(String),
    /// A header that promises more bytes than there are.
    #[error("its entry `{path}` has {actual} bytes where its header says {promised}")]
    Size {
        /// The entry.
        path: String,
        /// Of the header.
        promised: u64,
        /// There.
        actual: u64,
    },
}

/// Reads a layer, gzip or plain, by path (without a leading or trailing slash).
///
/// # Errors
/// It is no archive, or one that nobody should unpack.
pub fn read(layer: &[u8], limits: Limits) -> Result<BTreeMap<String, Found>, LayerError> {
    let reader: Box<dyn Read + '_> =
        if layer.starts_with(&[0x1f, 0x8b]) { Box::new(MultiGzDecoder::new(layer)) } else { Box::new(layer) };
    // Headers may lie about sizes; the stream itself is what is counted.
    let allowance = Rc::new(Cell::new(MAX_HEADERS));
    let mut archive = tar::Archive::new(Metered { reader, allowance: Rc::clone(&allowance) });
    let mut found = BTreeMap::new();
    let mut left = limits;
    for entry in archive.entries()? {
        let mut entry = entry?;
        let promised = entry.size();
        left.entries = left.entries.saturating_sub(1);
        left.bytes = left.bytes.saturating_sub(promised.saturating_add(512));
        if left.entries == 0 || left.bytes == 0 {
            return Err(LayerError::TooLarge(limits));
        }
        // This entry's content, and the headers of the next one.
        allowance.set(promised.saturating_add(MAX_HEADERS));
        let path = inside(&entry.path()?)?;
        let header = entry.header();
        let (mode, uid, gid) = (header.mode()? & 0o7777, header.uid()?, header.gid()?);
        let kind = match header.entry_type() {
            EntryType::Directory => Kind::Directory,
            EntryType::Regular | EntryType::Continuous => {
                let mut hash = Sha256::new();
                let actual = io::copy(&mut entry, &mut hash)?;
                if actual != promised {
                    return Err(LayerError::Size { path, promised, actual });
                }
                Kind::File { size: promised, digest: hash.into() }
            }
            EntryType::Symlink | EntryType::Link => {
                let hard = header.entry_type() == EntryType::Link;
                let target = entry.link_name()?.map(|target| target.to_string_lossy().into_owned()).unwrap_or_default();
                check_link(&path, &target, hard)?;
                Kind::Link { target }
            }
            EntryType::XGlobalHeader => continue,
            _ => return Err(LayerError::Special(path)),
        };
        // The root itself has no name.
        if !path.is_empty() {
            found.insert(path, Found { mode, uid, gid, kind });
        }
    }
    Ok(found)
}

/// The path without `/` and `./` at its front.
fn inside(path: &Path) -> Result<String, LayerError> {
    let mut parts = Vec::new();
    for part in path.components() {
        match part {
            Component::Normal(part) => parts.push(part.to_string_lossy().into_owned()),
            Component::RootDir | Component::CurDir => {}
            Component::ParentDir | Component::Prefix(_) => {
                return Err(LayerError::Outside(path.display().to_string()));
            }
        }
    }
    Ok(parts.join("/"))
}

/// A relative target may climb as high as the root; an absolute one means the image's own root. A hard link's target counts
/// from the root.
fn check_link(path: &str, target: &str, hard: bool) -> Result<(), LayerError> {
    let absolute = hard || target.starts_with('/');
    let mut depth = if absolute { 0 } else { path.matches('/').count() };
    for part in Path::new(target).components() {
        match part {
            Component::Normal(_) => depth += 1,
            Component::RootDir | Component::CurDir => {}
            Component::ParentDir | Component::Prefix(_) => {
                depth = depth.checked_sub(1).ok_or_else(|| LayerError::Outside(format!("{path} -> {target}")))?;
            }
        }
    }
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
