//! The one layer: a tar archive that depends on its content alone, compressed with a pinned deflate.

use std::io::{self, Write as _};

use bytes::Bytes;
use flate2::{Compression, GzBuilder};
use tar::{EntryType, Header};

use crate::digest::Digest;
use crate::rootfs::{Entry, Node};

/// A compressed layer.
#[derive(Debug, Clone)]
pub struct Layer {
    /// The gzip file.
    pub blob: Bytes,
    /// The digest of the archive before compression, as the configuration lists it.
    pub diff_id: Digest,
}

/// Packs the entries.
///
/// Every time in the archive is 0, not the commit's: a commit that does not change the binary then gives the same layer,
/// and a push uploads nothing but its configuration.
///
/// # Errors
/// A path does not fit into a ustar header.
pub fn pack(entries: &[Entry]) -> io::Result<Layer> {
    let mut archive = tar::Builder::new(Vec::new());
    for entry in entries {
        let mut header = Header::new_ustar();
        let content: &[u8] = match &entry.node {
            Node::Directory => {
                header.set_entry_type(EntryType::Directory);
                &[]
            }
            Node::File(content) => {
                header.set_entry_type(EntryType::Regular);
                content
            }
        };
        header.set_path(entry.path)?;
        header.set_mode(entry.mode);
        header.set_uid(entry.owner);
        header.set_gid(entry.owner);
        header.set_mtime(0);
        header.set_size(content.len() as u64);
        header.set_cksum();
        archive.append(&header, content)?;
    }
    let archive = archive.into_inner()?;
    let diff_id = Digest::of(&archive);
    // Level 6 and zlib-rs: another backend or level gives other bytes and another digest. 255 is "unknown system".
    let mut gzip = GzBuilder::new().mtime(0).operating_system(255).write(Vec::new(), Compression::new(6));
    gzip.write_all(&archive)?;
    Ok(Layer { blob: gzip.finish()?.into(), diff_id })
}
