//! The line that moves while blobs are sent: how much of all of them is on its way, and how fast.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use image::Digest;

use crate::terminal::bytes;

/// What is known of the uploads under way.
#[derive(Default)]
pub(crate) struct Bar {
    started: Option<Instant>,
    drawn: Option<Instant>,
    blobs: BTreeMap<Digest, (u64, u64)>,
}

const WIDTH: usize = 24;
/// Drawn at most this often: a terminal is slower than a network.
const PACE: Duration = Duration::from_millis(100);

impl Bar {
    /// Takes note of a blob's state; the line to draw now, if it is time for one.
    pub(crate) fn update(&mut self, digest: &Digest, sent: u64, size: u64) -> Option<String> {
        let started = *self.started.get_or_insert_with(Instant::now);
        self.blobs.insert(digest.clone(), (sent, size));
        if self.drawn.is_some_and(|drawn| drawn.elapsed() < PACE) {
            return None;
        }
        self.drawn = Some(Instant::now());
        Some(self.line(started.elapsed()))
    }

    /// True if a line of ours is on the screen; it is not any more after this.
    pub(crate) fn take_drawn(&mut self) -> bool {
        self.drawn.take().is_some()
    }

    fn line(&self, elapsed: Duration) -> String {
        let (sent, size) = self.blobs.values().fold((0, 0), |(sent, size), blob| (sent + blob.0, size + blob.1));
        let filled = usize::try_from(sent * WIDTH as u64 / size.max(1)).unwrap_or(WIDTH).min(WIDTH);
        let plural = if self.blobs.len() == 1 { "" } else { "s" };
        format!(
            "{:>12} [{}{}] {} of {} in {} blob{plural}, {}",
            "Uploading",
            "=".repeat(filled),
            " ".repeat(WIDTH - filled),
            bytes(sent),
            bytes(size),
            self.blobs.len(),
            rate(sent, elapsed)
        )
    }
}

/// Bytes in a second, for people.
pub(crate) fn rate(count: u64, time: Duration) -> String {
    let nanoseconds = time.as_nanos().max(1);
    let second = u128::from(count) * 1_000_000_000 / nanoseconds;
    format!("{}/s", bytes(u64::try_from(second).unwrap_or(u64::MAX)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_counts_all_blobs_together() {
        let mut bar = Bar::default();
        let first = bar.update(&Digest::of(b"a"), 1_000_000, 4_000_000);
        assert!(first.is_some_and(|line| line.contains("1.0 MB of 4.0 MB in 1 blob,")));
        assert_eq!(bar.update(&Digest::of(b"b"), 2_000_000, 2_000_000), None, "too soon for another line");
        let line = bar.line(Duration::from_secs(2));
        assert_eq!(line, "   Uploading [============            ] 3.0 MB of 6.0 MB in 2 blobs, 1.5 MB/s");
        assert!(bar.take_drawn() && !bar.take_drawn());
    }
}
