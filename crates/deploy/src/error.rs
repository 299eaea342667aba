//! Why a command could not do its work. How a deployment ended is no error but a [`crate::Verdict`].

use std::fmt;

/// A failure of a command: what failed, why, and what to do about it.
#[derive(Debug)]
pub enum Error {
    /// The command line asks for something that does not exist.
    Usage(Message),
    /// The environment files are wrong. The text carries its own hints.
    Configuration(String),
    /// Preflight checks failed; all of them are listed.
    Preflight(Vec<Message>),
    /// Neither AWS nor the embedded endpoint answers.
    Unreachable(Message),
    /// Somebody has to say yes first.
    NotApproved(Message),
    /// AWS refused a call.
    Refused {
        /// AWS's error code.
        code: String,
        /// What, why and hint.
        message: Message,
    },
    /// Anything else.
    Unexpected(Message),
}

/// What failed, why, and what to do about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// What failed.
    pub what: String,
    /// Why; may be empty.
    pub why: String,
    /// What to do; may be empty.
    pub hint: String,
}

impl Message {
    /// A message of its three parts.
    pub fn new(what: impl Into<String>, why: impl Into<String>, hint: impl Into<String>) -> Self {
        Message { what: what.into(), why: why.into(), hint: hint.into() }
    }
}

impl fmt::Display for Message {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.what)?;
        if !self.why.is_empty() {
            write!(f, ": {}", self.why)?;
        }
        if !self.hint.is_empty() {
            write!(f, "\nhint: {}", self.hint)?;
        }
        Ok(())
    }
}

impl Error {
    /// The process's exit code.
    pub fn exit_code(&self) -> u8 {
        match self {
            Error::Unexpected(_) | Error::Refused { .. } => 1,
            Error::Usage(_) => 2,
            Error::Configuration(_) => 64,
            Error::Preflight(_) => 65,
            Error::Unreachable(_) => 69,
            Error::NotApproved(_) => 75,
        }
    }

    /// An unexpected failure.
    pub fn unexpected(what: impl Into<String>, why: impl Into<String>, hint: impl Into<String>) -> Self {
        Error::Unexpected(Message::new(what, why, hint))
    }

    /// AWS's error code, if AWS refused the call.
    pub(crate) fn aws_code(&self) -> Option<&str> {
        match self {
            Error::Refused { code, .. } => Some(code),
            _ => None,
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::Configuration(text) => f.write_str(text),
            Error::Preflight(findings) => {
                write!(f, "{} preflight check(s) failed; nothing was changed", findings.len())?;
                for finding in findings {
                    write!(f, "\n- {}", finding.to_string().replace('\n', "\n  "))?;
                }
                Ok(())
            }
            Error::Usage(message)
            | Error::Unreachable(message)
            | Error::NotApproved(message)
            | Error::Unexpected(message)
            | Error::Refused { message, .. } => message.fmt(f),
        }
    }
}

impl std::error::Error for Error {}

impl From<environment::Error> for Error {
    fn from(error: environment::Error) -> Self {
        Error::Configuration(error.to_string())
    }
}

impl From<environment::UnknownEnvironment> for Error {
    fn from(error: environment::UnknownEnvironment) -> Self {
        Error::Configuration(error.to_string())
    }
}

impl From<cloudformation::Unsupported> for Error {
    fn from(error: cloudformation::Unsupported) -> Self {
        Error::Configuration(error.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_preflight_findings_are_listed_with_their_hints() {
        let error = Error::Preflight(vec![
            Message::new("the checkout is dirty", "1 file", "commit it"),
            Message::new("an alarm fires", "errors", ""),
        ]);
        assert_eq!(
            error.to_string(),
            "2 preflight check(s) failed; nothing was changed\n- the checkout is dirty: 1 file\n  hint: commit it\n- an alarm fires: errors"
        );
        assert_eq!(error.exit_code(), 65);
    }
}
