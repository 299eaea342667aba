//! How a deployment ended: the document of `deploy`, `promote`, `reject` and `rollback`.

use serde::Serialize;

/// How it ended. Only `succeeded` and `unchanged` mean that what was asked for serves.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// What was asked for serves (or waits for approval, in the case of `deploy`).
    Succeeded,
    /// It served already.
    Unchanged,
    /// It failed; what served before still serves.
    Failed,
    /// It failed after it had begun, and a rollback deployment restored what served before.
    RolledBack,
    /// A person turned it down.
    Rejected,
    /// Still running when we stopped watching.
    Timeout,
    /// Still running; the person at the terminal stopped watching.
    Detached,
}

impl Verdict {
    /// The process's exit code.
    pub fn exit_code(self) -> u8 {
        match self {
            Verdict::Succeeded | Verdict::Unchanged => 0,
            Verdict::Failed => 66,
            Verdict::RolledBack => 67,
            Verdict::Rejected => 68,
            Verdict::Timeout | Verdict::Detached => 70,
        }
    }
}

/// A step and how long it took.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Phase {
    /// `Build/Build` for an action of the pipeline, `production/AllowTraffic` for a lifecycle event.
    pub name: String,
    /// As AWS calls it.
    pub status: String,
    /// How long it took, or has taken until now.
    pub seconds: Option<f64>,
}

/// The document of `deploy`, `promote`, `reject` and `rollback`.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Outcome {
    /// Version of this document.
    pub schema: u32,
    /// `deploy`, `promote`, `reject` or `rollback`.
    pub command: &'static str,
    /// `staging` or `production`.
    pub environment: String,
    /// How it ended.
    pub verdict: Verdict,
    /// The first cause of a failure, and where to look.
    pub cause: Option<String>,
    /// Commit of what serves now.
    pub commit: Option<String>,
    /// Digest of what serves now.
    pub digest: Option<String>,
    /// Where it serves.
    pub url: Option<String>,
    /// The steps.
    pub phases: Vec<Phase>,
    /// Id of the pipeline execution.
    pub execution: Option<String>,
    /// Id of the CodeDeploy deployment that gave the verdict.
    pub deployment: Option<String>,
    /// Seconds that the command took.
    pub seconds: f64,
    /// What to do next.
    pub next: Option<String>,
}

impl Outcome {
    /// An outcome with nothing known but the verdict.
    pub(crate) fn new(command: &'static str, environment: &str, verdict: Verdict) -> Self {
        Outcome {
            schema: 1,
            command,
            environment: environment.to_owned(),
            verdict,
            cause: None,
            commit: None,
            digest: None,
            url: None,
            phases: Vec::new(),
            execution: None,
            deployment: None,
            seconds: 0.0,
            next: None,
        }
    }

    /// The process's exit code. A rejection is what `reject` was asked for.
    pub fn exit_code(&self) -> u8 {
        match (self.command, self.verdict) {
            ("reject", Verdict::Rejected) => 0,
            (_, verdict) => verdict.exit_code(),
        }
    }

    /// A few lines for people.
    pub fn summary(&self) -> String {
        let verdict = match self.verdict {
            Verdict::Succeeded => "succeeded",
            Verdict::Unchanged => "unchanged",
            Verdict::Failed => "failed; the version before still serves",
            Verdict::RolledBack => "failed and rolled back; the version before serves",
            Verdict::Rejected => "rejected",
            Verdict::Timeout => "still running; we stopped watching",
            Verdict::Detached => "still running; detached",
        };
        let mut text = format!("{} {}: {verdict} ({:.1}s)\n", self.command, self.environment, self.seconds);
        let rows = [
            ("cause", &self.cause),
            ("commit", &self.commit),
            ("digest", &self.digest),
            ("url", &self.url),
            ("execution", &self.execution),
            ("deployment", &self.deployment),
            ("next", &self.next),
        ];
        for (name, value) in rows {
            if let Some(value) = value {
                text.push_str(&format!("  {name:<10} {}\n", value.replace('\n', "\n             ")));
            }
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_success_is_success() {
        let codes = [
            (Verdict::Succeeded, 0),
            (Verdict::Unchanged, 0),
            (Verdict::Failed, 66),
            (Verdict::RolledBack, 67),
            (Verdict::Rejected, 68),
            (Verdict::Timeout, 70),
            (Verdict::Detached, 70),
        ];
        for (verdict, code) in codes {
            assert_eq!(Outcome::new("promote", "production", verdict).exit_code(), code);
        }
        assert_eq!(Outcome::new("reject", "production", Verdict::Rejected).exit_code(), 0);
    }
}
