//! What git knows of the source: commit, commit time, uncommitted changes, version tags. By running `git`.

use std::ffi::OsStr;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::str::FromStr;
use std::thread;

use sha2::{Digest as _, Sha256};

use crate::tag;

/// A full or abbreviated commit id, lower-case hexadecimal, at least seven digits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Commit(String);

/// Where an image's content comes from.
#[derive(Debug, Clone)]
pub struct Source {
    /// The commit checked out.
    pub commit: Commit,
    /// The commit's time, seconds since 1970.
    pub time: i64,
    /// The id of the commit's tree, when known: equal trees are equal sources.
    pub tree: Option<String>,
    /// A short hash of the uncommitted changes, if there are any.
    pub dirty: Option<String>,
    /// Version tags (`v1.2.3`) that point at the commit, sorted.
    pub versions: Vec<String>,
}

/// What went wrong with git.
#[derive(Debug, thiserror::Error)]
pub enum GitError {
    /// git itself does not start.
    #[error("cannot run git")]
    Start(#[source] io::Error),
    /// git ran and refused.
    #[error("`git {arguments}` failed in {}: {message}", dir.display())]
    Refused {
        /// What was asked.
        arguments: String,
        /// Where.
        dir: PathBuf,
        /// git's own words.
        message: String,
    },
    /// git answered in a form that is not known.
    #[error("`git {arguments}` answered {answer:?}, which is not understood")]
    Answer {
        /// What was asked.
        arguments: String,
        /// What came.
        answer: String,
    },
    /// A changed file could not be read for the hash of the changes.
    #[error("cannot read the changed file {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Not a commit id.
    #[error("`{0}` is not a commit id: 7 to 64 lower-case hexadecimal digits")]
    Commit(String),
}

impl GitError {
    /// What to do about it.
    #[must_use]
    pub fn hint(&self) -> &'static str {
        match self {
            Self::Start(_) => "install git and have it on PATH",
            Self::Refused { .. } => {
                "run in a checkout with at least one commit, or package a binary with `--binary PATH --commit SHA`"
            }
            Self::Answer { .. } => "report this with the output of `git --version`",
            Self::Read { .. } => "check the file's permissions, or commit it",
            Self::Commit(_) => "give what `git rev-parse HEAD` prints",
        }
    }
}

impl Commit {
    /// The first seven digits: the form in every tag. Always seven, so that a tag does not depend on how many objects
    /// a clone happens to hold.
    #[must_use]
    pub fn short(&self) -> &str {
        &self.0[..7]
    }

    /// The id as given.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Commit {
    type Err = GitError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let valid = (7..=64).contains(&text.len()) && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
        if valid { Ok(Self(text.to_owned())) } else { Err(GitError::Commit(text.to_owned())) }
    }
}

impl fmt::Display for Commit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Source {
    /// Reads the source state of the checkout around `dir`. `written` is a file this build writes itself: it is no change.
    ///
    /// # Errors
    /// git is missing, or `dir` is in no checkout with a commit.
    pub fn read(dir: &Path, written: Option<&Path>) -> Result<Self, GitError> {
        // git takes longer to start than to answer, so it is asked everything at once.
        let (root, head, names, listing) = thread::scope(|scope| {
            let ask = |arguments: &'static [&str]| scope.spawn(move || git(dir, arguments));
            let root = ask(&["rev-parse", "--show-toplevel"]);
            let head = ask(&["log", "-1", "--format=%H %ct %T", "HEAD"]);
            let names = ask(&["tag", "--points-at", "HEAD"]);
            let listing = ask(&["status", "--porcelain=v1", "-z", "--no-renames", "--untracked-files=all"]);
            (joined(root), joined(head), joined(names), joined(listing))
        });
        let (root, head, names) = (PathBuf::from(line(&root?)), line(&head?), line(&names?));
        let mut words = head.split(' ');
        let (Some(commit), Some(Ok(time)), Some(tree)) = (words.next(), words.next().map(str::parse), words.next())
        else {
            return Err(GitError::Answer { arguments: "log -1".to_owned(), answer: head });
        };
        let mut versions: Vec<String> = names.lines().filter(|name| tag::is_version(name)).map(str::to_owned).collect();
        versions.sort();
        let written = written.map(|path| dir.join(path));
        Ok(Self {
            commit: commit.parse()?,
            time,
            tree: Some(tree.to_owned()),
            dirty: changes(&listing?, &root, written.as_deref())?,
            versions,
        })
    }

    /// The commit as the image names it: marked if the tree has other content.
    #[must_use]
    pub fn revision(&self) -> String {
        match &self.dirty {
            None => self.commit.to_string(),
            Some(hash) => format!("{}-dirty-{hash}", self.commit),
        }
    }

    /// A source known by its commit alone, for a binary that was built elsewhere.
    #[must_use]
    pub fn given(commit: Commit, time: i64) -> Self {
        Self { commit, time, tree: None, dirty: None, versions: Vec::new() }
    }
}

/// A hash over every uncommitted change and untracked file that `git status` lists, or nothing when there is none.
fn changes(listing: &[u8], root: &Path, written: Option<&Path>) -> Result<Option<String>, GitError> {
    let mut hash = Sha256::new();
    let mut dirty = false;
    for entry in listing.split(|b| *b == 0).filter(|entry| entry.len() > 3) {
        let path = root.join(String::from_utf8_lossy(&entry[3..]).as_ref());
        if written.is_some_and(|written| same_file(written, &path)) {
            continue;
        }
        dirty = true;
        hash.update(entry);
        hash.update([0]);
        // A deleted file has its listing entry only; a link is its target.
        let content = match std::fs::symlink_metadata(&path) {
            Ok(meta) if meta.is_symlink() => {
                std::fs::read_link(&path).map(|target| target.to_string_lossy().into_owned().into_bytes())
            }
            Ok(meta) if meta.is_file() => std::fs::read(&path),
            Ok(_) => Ok(Vec::new()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
            Err(error) => Err(error),
        }
        .map_err(|source| GitError::Read { path: path.clone(), source })?;
        hash.update((content.len() as u64).to_be_bytes());
        hash.update(&content);
    }
    Ok(dirty.then(|| format!("{:x}", hash.finalize())[..8].to_owned()))
}

fn same_file(one: &Path, other: &Path) -> bool {
    match (one.canonicalize(), other.canonicalize()) {
        (Ok(one), Ok(other)) => one == other,
        _ => false,
    }
}

fn joined<T>(thread: thread::ScopedJoinHandle<'_, T>) -> T {
    thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}

/// An answer as text, without the end of its last line.
fn line(answer: &[u8]) -> String {
    String::from_utf8_lossy(answer).trim_end().to_owned()
}

/// Runs git in a folder; its stdout.
pub(crate) fn git<S: AsRef<OsStr>>(dir: &Path, arguments: &[S]) -> Result<Vec<u8>, GitError> {
    let output = Command::new("git")
        .arg("-C")
        .arg(dir)
        .args(arguments)
        // `status` may refresh the index; a build must not take the lock from a person's own git.
        .env("GIT_OPTIONAL_LOCKS", "0")
        .output()
        .map_err(GitError::Start)?;
    if output.status.success() {
        return Ok(output.stdout);
    }
    Err(GitError::Refused {
        arguments: arguments.iter().map(|argument| argument.as_ref().to_string_lossy()).collect::<Vec<_>>().join(" "),
        dir: dir.to_owned(),
        message: String::from_utf8_lossy(&output.stderr).trim().to_owned(),
    })
}
