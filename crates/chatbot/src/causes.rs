//! An error with everything behind it, on one line.

use std::error::Error;

/// What an error and its causes say. What a cause only repeats is left out.
pub fn with_causes(error: &(dyn Error + 'static)) -> String {
    let mut told = error.to_string();
    let causes = std::iter::successors(Some(error), |&error| error.source()).skip(1);
    for cause in causes.map(ToString::to_string) {
        if !told.contains(&cause) {
            told.push_str(": ");
            told.push_str(&cause);
        }
    }
    told
}

#[cfg(test)]
mod tests {
    use super::with_causes;

    #[derive(Debug, thiserror::Error)]
    #[error("{0}")]
    struct Layer(&'static str, #[source] Option<Box<Layer>>);

    #[test]
    fn every_cause_is_told_once() {
        let error = Layer("the table: gone", Some(Box::new(Layer("gone", Some(Box::new(Layer("no route", None)))))));
        assert_eq!(with_causes(&error), "the table: gone: no route");
    }
}
