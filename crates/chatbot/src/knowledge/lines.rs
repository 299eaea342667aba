use std::collections::BTreeMap;

/// Where fields are written: a path such as `entries[3].en.question`, and its line.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Lines(BTreeMap<String, usize>);

impl Lines {
    pub(super) fn note(&mut self, path: String, line: usize) {
        self.0.insert(path, line);
    }

    /// The line of a field, or of the nearest thing around it that has one.
    pub(super) fn of(&self, path: &str) -> Option<usize> {
        let mut path = path;
        loop {
            if let Some(&line) = self.0.get(path) {
                return Some(line);
            }
            path = &path[..path.rfind(['.', '['])?];
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Lines;

    #[test]
    fn what_is_missing_is_where_it_should_be() {
        let mut lines = Lines::default();
        lines.note("entries".to_owned(), 3);
        lines.note("entries[0]".to_owned(), 4);
        assert_eq!(lines.of("entries[0].en.question"), Some(4));
        assert_eq!(lines.of("entries[1].id"), Some(3));
        assert_eq!(lines.of("name"), None);
    }
}
