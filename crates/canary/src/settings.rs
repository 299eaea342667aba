//! What a function reads from its environment. The service stack sets exactly [`VARIABLES`].

use std::time::Duration;

/// Every variable of ours, in the order of [`Settings`]. A test compares them with the generated template.
pub const VARIABLES: [&str; 8] = [
    "TEST_URL",
    "PRODUCTION_URL",
    "CONVERSATIONS",
    "ALARMS",
    "LOAD_BALANCER",
    "TARGET_GROUPS",
    "ERROR_PERCENT",
    "LATENCY_SECONDS",
];

/// Lambda's own variable with the function's `Handler`.
const HANDLER: &str = "_HANDLER";

/// Which of the two functions this is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Duty {
    /// ValidateCanary: talks to the new version on the test listener, before it takes production traffic.
    Validate,
    /// MonitorCanary: watches the new version once it has all production traffic.
    Monitor,
}

impl Duty {
    /// By the function's `Handler`.
    pub fn of_handler(handler: &str) -> Option<Self> {
        match handler {
            "bootstrap.validate" => Some(Duty::Validate),
            "bootstrap.monitor" => Some(Duty::Monitor),
            _ => None,
        }
    }

    /// The function's name, for people.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Duty::Validate => "ValidateCanary",
            Duty::Monitor => "MonitorCanary",
        }
    }
}

/// What a function is told.
#[derive(Debug, Clone, PartialEq)]
pub struct Settings {
    /// Which function this is.
    pub duty: Duty,
    /// Where the new version answers before customers reach it.
    pub test_url: String,
    /// Where customers reach the service.
    pub production_url: String,
    /// Conversations to hold.
    pub conversations: u32,
    /// Names of the alarms that must be quiet.
    pub alarms: Vec<String>,
    /// The load balancer as metrics name it.
    pub load_balancer: String,
    /// Both target groups as metrics name them.
    pub target_groups: [String; 2],
    /// Share of requests that may fail, percent.
    pub error_percent: f64,
    /// What 99 of 100 answers have to keep.
    pub latency: Duration,
}

/// A variable that is missing or says nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{name}: {problem}")]
pub struct SettingsError {
    name: &'static str,
    problem: String,
    hint: &'static str,
}

impl SettingsError {
    /// What to do about it.
    pub const fn hint(&self) -> &'static str {
        self.hint
    }
}

impl Settings {
    /// Reads them with a function from a variable's name to its value.
    ///
    /// # Errors
    /// A variable is missing or says nothing.
    pub fn read(variable: impl Fn(&str) -> Option<String>) -> Result<Self, SettingsError> {
        let wrong = |name, problem, hint| SettingsError { name, problem, hint };
        let text = |name: &'static str| {
            let hint = "the service stack sets it: update the stack, or set it as crates/canary/README.md says";
            variable(name).filter(|value| !value.is_empty()).ok_or_else(|| wrong(name, "is not set".to_owned(), hint))
        };
        let url = |name: &'static str| {
            let url = text(name)?.trim_end_matches('/').to_owned();
            let scheme = url.starts_with("https://") || url.starts_with("http://");
            if scheme { Ok(url) } else { Err(wrong(name, format!("`{url}` is no URL"), "such as https://example.com")) }
        };
        let number = |name: &'static str| {
            let value = text(name)?;
            let parsed = value.parse::<f64>().ok().filter(|number| number.is_finite() && *number >= 0.0);
            parsed.ok_or_else(|| wrong(name, format!("`{value}` is no number"), "such as 2 or 0.5"))
        };
        let list = |value: String| value.split(',').filter(|name| !name.is_empty()).map(str::to_owned).collect();

        let handler = text(HANDLER)?;
        let duty = Duty::of_handler(&handler).ok_or_else(|| {
            let hint = "the function's Handler is bootstrap.validate or bootstrap.monitor";
            wrong(HANDLER, format!("`{handler}` is none of the two functions"), hint)
        })?;
        let conversations = text("CONVERSATIONS")?;
        let conversations = conversations.parse().ok().filter(|count| *count > 0).ok_or_else(|| {
            wrong("CONVERSATIONS", format!("`{conversations}` is no number of conversations"), "at least 1")
        })?;
        let groups: Vec<String> = list(text("TARGET_GROUPS")?);
        let target_groups = groups.try_into().map_err(|groups: Vec<String>| {
            let hint = "blue and green, as in targetgroup/a/1,targetgroup/b/2";
            wrong("TARGET_GROUPS", format!("{} target groups", groups.len()), hint)
        })?;
        Ok(Settings {
            duty,
            test_url: url("TEST_URL")?,
            production_url: url("PRODUCTION_URL")?,
            conversations,
            alarms: list(variable("ALARMS").unwrap_or_default()),
            load_balancer: text("LOAD_BALANCER")?,
            target_groups,
            error_percent: number("ERROR_PERCENT")?,
            latency: Duration::try_from_secs_f64(number("LATENCY_SECONDS")?)
                .map_err(|error| wrong("LATENCY_SECONDS", error.to_string(), "seconds, such as 2"))?,
        })
    }
}
