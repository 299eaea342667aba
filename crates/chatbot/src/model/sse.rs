//! Server-sent events from a model, read piece by piece.

use bytes::{Buf as _, BytesMut};

/// No event of a model is longer.
const LONGEST: usize = 1024 * 1024;

/// Finds events in a body that arrives in arbitrary pieces.
#[derive(Debug, Default)]
pub(super) struct Events {
    unread: BytesMut,
    /// How much of `unread` holds no line end, so that a slow line is not searched again and again.
    searched: usize,
    data: Vec<u8>,
    has_data: bool,
}

/// An event that is larger than any a model sends.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct TooLong;

impl Events {
    /// Takes bytes as they come.
    pub(super) fn feed(&mut self, bytes: &[u8]) {
        self.unread.extend_from_slice(bytes);
    }

    /// The data of the next complete event.
    pub(super) fn next(&mut self) -> Result<Option<Vec<u8>>, TooLong> {
        while let Some(line) = self.line() {
            if line.is_empty() {
                if std::mem::take(&mut self.has_data) {
                    return Ok(Some(std::mem::take(&mut self.data)));
                }
                continue;
            }
            // Names, ids, retry times and comments (": ping") carry nothing that is used here.
            let Some(value) = line.strip_prefix(b"data:") else { continue };
            if std::mem::replace(&mut self.has_data, true) {
                self.data.push(b'\n');
            }
            self.data.extend_from_slice(value.strip_prefix(b" ").unwrap_or(value));
            if self.data.len() > LONGEST {
                return Err(TooLong);
            }
        }
        if self.unread.len() > LONGEST { Err(TooLong) } else { Ok(None) }
    }

    /// The next complete line without its end. A lone CR ends no line: no model sends one.
    fn line(&mut self) -> Option<BytesMut> {
        let Some(end) = self.unread[self.searched..].iter().position(|&b| b == b'\n') else {
            self.searched = self.unread.len();
            return None;
        };
        let mut line = self.unread.split_to(self.searched + end);
        self.unread.advance(1);
        self.searched = 0;
        if line.last() == Some(&b'\r') {
            line.truncate(line.len() - 1);
        }
        Some(line)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn all(events: &mut Events) -> Vec<String> {
        std::iter::from_fn(|| events.next().expect("short")).map(|data| String::from_utf8(data).unwrap()).collect()
    }

    #[test]
    fn data_is_found_among_everything_else() {
        let mut events = Events::default();
        events.feed(b": ping\n\nevent: x\nid: 3\ndata: one\n\ndata:two\r\ndata: lines\r\n\r\n\n\ndata: unfinished\n");
        assert_eq!(all(&mut events), ["one", "two\nlines"]);
        events.feed(b"\n");
        assert_eq!(all(&mut events), ["unfinished"]);
    }

    #[test]
    fn endless_events_are_refused() {
        let mut one_line = Events::default();
        one_line.feed(&vec![b'x'; LONGEST + 1]);
        assert_eq!(one_line.next(), Err(TooLong));
        let mut many_lines = Events::default();
        many_lines.feed(&b"data: xxxxxxxxxxxxxxxx\n".repeat(LONGEST / 16));
        assert_eq!(many_lines.next(), Err(TooLong));
    }

    proptest! {
        #[test]
        fn where_the_pieces_are_cut_changes_nothing(cuts in proptest::collection::vec(0_usize..60, 0..8)) {
            let body = "data: {\"a\":\"日本\"}\n\n: c\r\ndata: 2\r\n\r\ndata: [DONE]\n\n".as_bytes();
            let mut cuts: Vec<usize> = cuts.into_iter().map(|cut| cut.min(body.len())).collect();
            cuts.sort_unstable();
            let mut events = Events::default();
            let mut found = Vec::new();
            let mut from = 0;
            for cut in cuts.into_iter().chain([body.len()]) {
                events.feed(&body[from..cut]);
                found.extend(all(&mut events));
                from = cut;
            }
            prop_assert_eq!(found, ["{\"a\":\"日本\"}", "2", "[DONE]"]);
        }
    }
}
