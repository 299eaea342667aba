//! Everything that can be configured, read from variables in this module and nowhere else.
//!
//! Reading never stops at the first mistake: [`Config::read`] reports all of them.

mod backends;
mod tenants;
mod variables;

use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use tracing_subscriber::filter::{LevelFilter, Targets};

pub use self::backends::{AwsSettings, Models};
pub use self::tenants::Tenants;
pub use self::variables::{VARIABLES, Variable};
use crate::model::Provider;

use crate::tenant::unhex;

/// Where variables come from: the process, or a map in tests.
pub trait Variables {
    /// The value of a variable, if it is set.
    fn get(&self, name: &str) -> Option<String>;
}

/// The variables of this process.
#[derive(Debug, Clone, Copy)]
pub struct ProcessVariables;

impl Variables for ProcessVariables {
    fn get(&self, name: &str) -> Option<String> {
        // A value that is not UTF-8 is kept, damaged, so that parsing refuses it with its name.
        std::env::var_os(name).map(|value| value.to_string_lossy().into_owned())
    }
}

impl Variables for BTreeMap<&str, &str> {
    fn get(&self, name: &str) -> Option<String> {
        BTreeMap::get(self, name).map(|value| (*value).to_owned())
    }
}

/// The complete configuration.
#[derive(Debug, Clone)]
pub struct Config {
    /// `LISTEN`: address and port to listen on, default `127.0.0.1:8080`.
    pub listen: SocketAddr,
    /// `LOG_LEVEL`: what is logged, default `info`.
    pub log: Targets,
    /// `TENANTS_STORE`, `TENANTS_FILE`: the tenants, default one that is open to everybody.
    pub tenants: Tenants,
    /// `OPERATOR_KEY_SHA256`: who may manage tenants, default nobody.
    pub operator_key: Option<[u8; 32]>,
    /// `SESSION_SECRET`: signs widget sessions, default one kept beside the conversations.
    pub session_secret: Option<Hidden>,
    /// `KNOWLEDGE_FILE`: the demo's questions and answers, default built in.
    pub knowledge_file: Option<PathBuf>,
    /// `CONVERSATION_STORE` and `CONVERSATIONS_DIR`: where conversations are kept.
    pub store: Store,
    /// `CONVERSATION_DAYS`: how long a conversation is kept after its last message, default 90 days.
    pub retention: Duration,
    /// `MODELS`, `OPENAI_BASE_URL` and `OPENAI_API_KEY`: the language models, default none.
    pub models: Models,
    /// `AWS_REGION` and `AWS_ENDPOINT_URL`: for Bedrock and DynamoDB.
    pub aws: AwsSettings,
    /// `STREAM_DELTA_DELAY_MS`: pause between two pieces of a streamed answer, default none.
    pub delta_delay: Duration,
    /// `DRAIN_DELAY_SECONDS`: how long to keep serving after SIGTERM, default 5.
    pub drain_delay: Duration,
    /// `DRAIN_DEADLINE_SECONDS`: how long open replies may take after that, default 45.
    pub drain_deadline: Duration,
    /// `MAX_CONNECTIONS`: connections served at once, default 4096.
    pub max_connections: usize,
    /// `MAX_REQUESTS`: requests answered at once, default 1024.
    pub max_requests: usize,
    /// `IDLE_SECONDS`: how long a connection without a request is kept, default 75: longer than the load
    /// balancer's 60, so that it is always the balancer that lets go first.
    pub idle: Duration,
    /// `METRICS_EMF_SECONDS`: how often metrics are logged for CloudWatch, default never.
    pub emf: Option<Duration>,
    /// `WORKER_THREADS`: threads that serve requests, default 1.
    pub worker_threads: usize,
    /// What runs, for `/version`, the metrics and the header `x-smartbot-commit`.
    pub release: Release,
}

/// A value that no log shows.
#[derive(Clone, PartialEq, Eq)]
pub struct Hidden(String);

impl Hidden {
    /// The value, for its one use.
    pub fn as_bytes(&self) -> &[u8] {
        self.0.as_bytes()
    }
}

impl fmt::Debug for Hidden {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("…")
    }
}

/// What is running.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Release {
    /// `SMARTBOT_COMMIT`.
    pub commit: Option<String>,
    /// `SMARTBOT_COMMIT_TIME`.
    pub commit_time: Option<String>,
    /// `IMAGE_DIGEST`.
    pub image_digest: Option<String>,
    /// `ENVIRONMENT`.
    pub environment: Option<String>,
}

/// Which conversation store to open.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Store {
    /// Files in this directory.
    Directory(PathBuf),
    /// Files in the first of these that can be written: `CONVERSATIONS_DIR` is not set.
    FirstOf(Vec<Candidate>),
    /// A DynamoDB table.
    Table {
        /// `CONVERSATIONS_TABLE`.
        name: String,
        /// `CONVERSATION_DAYS`.
        retention: Duration,
    },
    /// Memory: explicitly asked for, lost with the process.
    Memory,
}

/// A directory to try: used when `base` exists and `below` can be made in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Candidate {
    /// Must exist already; it is never created.
    pub base: PathBuf,
    /// The directory of the store, relative to `base`.
    pub below: PathBuf,
}

/// Everything wrong with the configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigErrors(pub Vec<ConfigError>);

/// One mistake.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigError {
    /// The variable to change.
    pub variable: &'static str,
    /// What is wrong.
    pub problem: String,
    /// What to do.
    pub hint: String,
}

impl fmt::Display for ConfigErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let count = self.0.len();
        write!(f, "bad configuration ({count} {})", if count == 1 { "mistake" } else { "mistakes" })?;
        for error in &self.0 {
            write!(f, "\n  {}: {}\n    hint: {}", error.variable, error.problem, error.hint)?;
        }
        Ok(())
    }
}

impl std::error::Error for ConfigErrors {}

impl Config {
    /// Reads the configuration; on mistakes, all of them.
    pub fn read(variables: &dyn Variables) -> Result<Self, ConfigErrors> {
        let mut reader = Reader { variables, errors: Vec::new() };
        let environment = reader.line("ENVIRONMENT");
        let days = reader.number("CONVERSATION_DAYS", 90, 1, 3650);
        let retention = Duration::from_secs(days * 24 * 3600);
        let store = reader.store(environment.as_deref(), retention);
        let models = reader.models();
        let bedrock = models.names.iter().any(|name| name.provider == Provider::Bedrock);
        let needs_aws = match &store {
            Store::Table { .. } => Some("CONVERSATION_STORE=dynamodb"),
            _ => bedrock.then_some("a bedrock: model"),
        };
        let config = Self {
            listen: reader.listen(),
            log: reader.log(),
            tenants: reader.tenants(&store),
            operator_key: reader.hash("OPERATOR_KEY_SHA256"),
            session_secret: reader.secret("SESSION_SECRET"),
            knowledge_file: reader.text("KNOWLEDGE_FILE").map(PathBuf::from),
            store,
            retention,
            models,
            aws: reader.aws(needs_aws),
            delta_delay: Duration::from_millis(reader.number("STREAM_DELTA_DELAY_MS", 0, 0, 10_000)),
            drain_delay: Duration::from_secs(reader.number("DRAIN_DELAY_SECONDS", 5, 0, 600)),
            drain_deadline: Duration::from_secs(reader.number("DRAIN_DEADLINE_SECONDS", 45, 0, 3600)),
            max_connections: reader.number("MAX_CONNECTIONS", 4096, 1, 1_000_000) as usize,
            max_requests: reader.number("MAX_REQUESTS", 1024, 1, 1_000_000) as usize,
            idle: Duration::from_secs(reader.number("IDLE_SECONDS", 75, 1, 3600)),
            emf: Some(reader.number("METRICS_EMF_SECONDS", 0, 0, 3600)).filter(|s| *s > 0).map(Duration::from_secs),
            worker_threads: reader.number("WORKER_THREADS", 1, 1, 64) as usize,
            release: Release {
                commit: reader.line("SMARTBOT_COMMIT"),
                commit_time: reader.line("SMARTBOT_COMMIT_TIME"),
                image_digest: reader.line("IMAGE_DIGEST"),
                environment,
            },
        };
        if reader.errors.is_empty() { Ok(config) } else { Err(ConfigErrors(reader.errors)) }
    }
}

/// The address a health check in the same container asks; wildcards become loopback.
pub fn healthcheck_address(variables: &dyn Variables) -> Result<SocketAddr, ConfigErrors> {
    let mut reader = Reader { variables, errors: Vec::new() };
    let mut address = reader.listen();
    if address.ip().is_unspecified() {
        address.set_ip(match address {
            SocketAddr::V4(_) => std::net::Ipv4Addr::LOCALHOST.into(),
            SocketAddr::V6(_) => std::net::Ipv6Addr::LOCALHOST.into(),
        });
    }
    if reader.errors.is_empty() { Ok(address) } else { Err(ConfigErrors(reader.errors)) }
}

struct Reader<'a> {
    variables: &'a dyn Variables,
    errors: Vec<ConfigError>,
}

impl Reader<'_> {
    /// An empty value counts as not set: task definitions cannot always leave a variable out.
    fn text(&self, name: &str) -> Option<String> {
        self.variables.get(name).map(|value| value.trim().to_owned()).filter(|value| !value.is_empty())
    }

    /// A value that ends up in headers and metrics: visible ASCII, at most 200 characters.
    fn line(&mut self, name: &'static str) -> Option<String> {
        let value = self.text(name)?;
        if value.len() > 200 || !value.bytes().all(|b| b.is_ascii_graphic() || b == b' ') {
            self.wrong(
                name,
                format!("{value:?} is not a short line of ASCII"),
                "use at most 200 visible ASCII characters",
            );
            return None;
        }
        Some(value)
    }

    fn hash(&mut self, name: &'static str) -> Option<[u8; 32]> {
        let value = self.text(name)?;
        let hash = unhex(&value);
        if hash.is_none() {
            self.wrong(name, "is not 64 hexadecimal digits".to_owned(), "printf %s \"$KEY\" | sha256sum");
        }
        hash
    }

    fn secret(&mut self, name: &'static str) -> Option<Hidden> {
        let value = self.text(name)?;
        if value.len() < 32 {
            self.wrong(name, "has fewer than 32 characters".to_owned(), "openssl rand -hex 32");
        }
        Some(Hidden(value))
    }

    fn log(&mut self) -> Targets {
        let value = self.text("LOG_LEVEL").unwrap_or_else(|| "info".to_owned());
        // A word that is no level would be taken for the name of a part, and silence all others.
        let mut alone = value.split(',').map(str::trim).filter(|pair| !pair.contains('='));
        let parsed = match alone.find(|word| word.parse::<LevelFilter>().is_err()) {
            Some(word) => Err(format!("{word:?} is no level")),
            None => value.parse::<Targets>().map_err(|error| error.to_string()),
        };
        parsed.unwrap_or_else(|problem| {
            let hint = "use error, warn, info, debug, trace, or target=level pairs";
            self.wrong("LOG_LEVEL", format!("{value:?} is not valid: {problem}"), hint);
            Targets::default()
        })
    }

    fn listen(&mut self) -> SocketAddr {
        let default = SocketAddr::from(([127, 0, 0, 1], 8080));
        let Some(value) = self.text("LISTEN") else {
            return default;
        };
        value.parse().unwrap_or_else(|_| {
            self.wrong(
                "LISTEN",
                format!("{value:?} is not an address with a port"),
                "for example 127.0.0.1:8080 or 0.0.0.0:8080",
            );
            default
        })
    }

    fn number(&mut self, name: &'static str, default: u64, least: u64, most: u64) -> u64 {
        let Some(value) = self.text(name) else {
            return default;
        };
        match value.parse() {
            Ok(number) if (least..=most).contains(&number) => number,
            _ => {
                self.wrong(
                    name,
                    format!("{value:?} is not a whole number from {least} to {most}"),
                    &format!("leave it unset for {default}"),
                );
                default
            }
        }
    }

    fn store(&mut self, environment: Option<&str>, retention: Duration) -> Store {
        let directory = self.text("CONVERSATIONS_DIR").map(PathBuf::from);
        let table = self.text("CONVERSATIONS_TABLE");
        let kind = self.text("CONVERSATION_STORE").unwrap_or_else(|| "embedded".to_owned());
        if kind != "embedded" && directory.is_some() {
            let problem = format!("is set, but CONVERSATION_STORE is {kind}");
            self.wrong("CONVERSATIONS_DIR", problem, "unset one of the two");
        }
        if kind != "dynamodb" && table.is_some() {
            let problem = format!("is set, but CONVERSATION_STORE is {kind}");
            self.wrong("CONVERSATIONS_TABLE", problem, "unset it, or set CONVERSATION_STORE=dynamodb");
        }
        match (kind.as_str(), directory) {
            ("embedded", Some(directory)) => Store::Directory(directory),
            ("embedded", None) => {
                let temporary = self.text("TMPDIR").unwrap_or_else(|| "/tmp".to_owned());
                // Staging and production on one machine must not meet in the temporary directory.
                let environment: String = environment
                    .unwrap_or("local")
                    .chars()
                    .map(|c| if c.is_ascii_alphanumeric() { c } else { '-' })
                    .collect();
                Store::FirstOf(vec![
                    Candidate { base: "/data".into(), below: "conversations".into() },
                    Candidate { base: temporary.into(), below: format!("smartbot-{environment}-conversations").into() },
                ])
            }
            ("memory", _) => Store::Memory,
            ("dynamodb", _) => self.table(table, retention),
            (other, _) => {
                let hint = "use embedded, dynamodb or memory";
                self.wrong("CONVERSATION_STORE", format!("{other:?} is no store"), hint);
                Store::Memory
            }
        }
    }

    fn wrong(&mut self, variable: &'static str, problem: String, hint: &str) {
        self.errors.push(ConfigError { variable, problem, hint: hint.to_owned() });
    }
}

#[cfg(test)]
mod tests;
