//! Filter patterns of CloudWatch Logs: terms (`error -debug ?a ?b "a phrase"`) and JSON selectors
//! (`{ $.level = "error" && $.status >= 500 }`). The space-delimited form (`[ip, user, …]`) is refused.

use serde_json::Value;

use crate::error::ApiError;

/// A pattern that has been read.
#[derive(Debug, PartialEq)]
pub(super) enum Pattern {
    Everything,
    Terms {
        all: Vec<String>,
        any: Vec<String>,
        none: Vec<String>,
    },
    /// Alternatives of conditions that must all hold.
    Json(Vec<Vec<Condition>>),
}

#[derive(Debug, PartialEq)]
pub(super) struct Condition {
    path: Vec<String>,
    operator: Operator,
    operand: String,
    quoted: bool,
}

#[derive(Debug, PartialEq, Clone, Copy)]
enum Operator {
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

/// Longest first, so that `>=` is not read as `>`.
const OPERATORS: [(&str, Operator); 6] = [
    ("!=", Operator::NotEqual),
    ("<=", Operator::LessOrEqual),
    (">=", Operator::GreaterOrEqual),
    ("=", Operator::Equal),
    ("<", Operator::Less),
    (">", Operator::Greater),
];

impl Pattern {
    pub(super) fn parse(text: &str) -> Result<Self, ApiError> {
        let text = text.trim();
        if text.is_empty() {
            return Ok(Self::Everything);
        }
        if text.starts_with('[') || text.starts_with('%') {
            return Err(ApiError::unsupported("a space-delimited or regular-expression filter pattern"));
        }
        if let Some(inner) = text.strip_prefix('{') {
            let inner = inner.strip_suffix('}').ok_or_else(|| invalid("the closing brace is missing"))?;
            let alternative = |text: &str| text.split("&&").map(Condition::parse).collect::<Result<Vec<_>, _>>();
            return Ok(Self::Json(inner.split("||").map(alternative).collect::<Result<_, _>>()?));
        }
        let (mut all, mut any, mut none) = (vec![], vec![], vec![]);
        let mut rest = text;
        while !rest.is_empty() {
            let (list, term) = match rest.as_bytes()[0] {
                b'?' => (&mut any, &rest[1..]),
                b'-' => (&mut none, &rest[1..]),
                _ => (&mut all, rest),
            };
            let (word, after) = match term.strip_prefix('"') {
                Some(quoted) => quoted.split_once('"').ok_or_else(|| invalid("a quote is not closed"))?,
                None => term.split_once(char::is_whitespace).unwrap_or((term, "")),
            };
            list.push(word.to_owned());
            rest = after.trim_start();
        }
        Ok(Self::Terms { all, any, none })
    }

    pub(super) fn matches(&self, message: &str) -> bool {
        match self {
            Self::Everything => true,
            Self::Terms { all, any, none } => {
                all.iter().all(|term| message.contains(term))
                    && (any.is_empty() || any.iter().any(|term| message.contains(term)))
                    && !none.iter().any(|term| message.contains(term))
            }
            Self::Json(alternatives) => serde_json::from_str::<Value>(message).is_ok_and(|value| {
                alternatives.iter().any(|conditions| conditions.iter().all(|condition| condition.holds(&value)))
            }),
        }
    }
}

impl Condition {
    fn parse(text: &str) -> Result<Self, ApiError> {
        let text = text.trim().trim_start_matches('(').trim_end_matches(')').trim();
        let at = text.find(['=', '<', '>', '!']).ok_or_else(|| invalid("a comparison is expected"))?;
        let (path, rest) = text.split_at(at);
        let found = OPERATORS.iter().find_map(|(sign, operator)| Some((*operator, rest.strip_prefix(sign)?)));
        let (operator, operand) = found.ok_or_else(|| invalid("the comparison is not known"))?;
        let path = path.trim().strip_prefix("$.").ok_or_else(|| invalid("a selector begins with `$.`"))?;
        let operand = operand.trim();
        let unquoted = operand.strip_prefix('"').and_then(|operand| operand.strip_suffix('"'));
        Ok(Self {
            path: path.split('.').map(str::to_owned).collect(),
            operator,
            operand: unquoted.unwrap_or(operand).to_owned(),
            quoted: unquoted.is_some(),
        })
    }

    fn holds(&self, value: &Value) -> bool {
        let found = self.path.iter().try_fold(value, |value, part| value.get(part));
        let Some(found) = found else { return false };
        let numbers = found.as_f64().zip(self.operand.parse::<f64>().ok()).filter(|_| !self.quoted);
        if let Some((left, right)) = numbers {
            return match self.operator {
                Operator::Equal => left == right,
                Operator::NotEqual => left != right,
                Operator::Less => left < right,
                Operator::LessOrEqual => left <= right,
                Operator::Greater => left > right,
                Operator::GreaterOrEqual => left >= right,
            };
        }
        let text = found.as_str().map_or_else(|| found.to_string(), str::to_owned);
        match self.operator {
            Operator::Equal => self.text_matches(&text),
            Operator::NotEqual => !self.text_matches(&text),
            _ => false,
        }
    }

    /// A `*` at either end stands for anything.
    fn text_matches(&self, text: &str) -> bool {
        match (self.operand.strip_prefix('*'), self.operand.strip_suffix('*')) {
            (Some(_), Some(_)) => text.contains(self.operand.trim_matches('*')),
            (Some(end), None) => text.ends_with(end),
            (None, Some(start)) => text.starts_with(start),
            (None, None) => text == self.operand,
        }
    }
}

fn invalid(why: &str) -> ApiError {
    ApiError::new("InvalidParameterException", format!("Invalid filter pattern: {why}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_select_as_documented() {
        let line = r#"{"level":"error","status":503,"request":{"path":"/v1/chat"},"message":"no reply"}"#;
        for (pattern, expected) in [
            ("", true),
            ("error", true),
            ("Error", false),
            ("error -reply", false),
            ("?nothing ?reply", true),
            (r#""no reply" error"#, true),
            (r#""reply no""#, false),
            (r#"{ $.level = "error" }"#, true),
            (r#"{ $.level = "warn" || $.status >= 500 }"#, true),
            (r#"{ $.level = "error" && $.status < 500 }"#, false),
            (r#"{ $.request.path = "/v1/*" }"#, true),
            (r#"{ $.absent != "x" }"#, false),
            ("{ $.status != 200 }", true),
        ] {
            assert_eq!(Pattern::parse(pattern).unwrap().matches(line), expected, "{pattern}");
        }
        for bad in ["{ $.a = 1", "\"open", "{ a = 1 }", "{ $.a }", "[ip, user]"] {
            assert!(Pattern::parse(bad).is_err(), "{bad}");
        }
    }
}
