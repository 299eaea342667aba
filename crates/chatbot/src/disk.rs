//! Files that only this user may read: conversations, keys and webhook secrets are in them.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{Error, ErrorKind, Result, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::Path;

/// Options for a file that is private when it is made.
pub fn private() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.mode(0o600);
    options
}

/// Makes a private directory, and those it is in, unless it is there.
pub fn make_directory(path: &Path) -> Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(path)
}

/// Opens a file for reading and writing; one that is not there is made, with its directory.
pub fn open_or_create(path: &Path) -> Result<File> {
    let open = || private().read(true).write(true).create(true).truncate(false).open(path);
    match open() {
        Err(error) if error.kind() == ErrorKind::NotFound => {
            if let Some(parent) = path.parent() {
                make_directory(parent)?;
            }
            open()
        }
        opened => opened,
    }
}

/// Writes a file so that whoever reads sees the old or the new one, never a part. One writer at a time.
pub fn replace(path: &Path, bytes: &[u8]) -> Result<()> {
    let new = path.with_extension("new");
    private().write(true).create(true).truncate(true).open(&new)?.write_all(bytes)?;
    std::fs::rename(&new, path)
}

/// Does file work beside the event loop.
pub async fn blocking<T, E>(
    work: impl FnOnce() -> std::result::Result<T, E> + Send + 'static,
) -> std::result::Result<T, E>
where
    T: Send + 'static,
    E: From<Error> + Send + 'static,
{
    tokio::task::spawn_blocking(work).await.unwrap_or_else(|error| Err(Error::other(error).into()))
}
