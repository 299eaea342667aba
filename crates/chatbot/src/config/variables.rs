/// One variable, for people.
#[derive(Debug, Clone, Copy)]
pub struct Variable {
    /// Its name.
    pub name: &'static str,
    /// The value when it is not set.
    pub default: &'static str,
    /// What it does.
    pub about: &'static str,
}

const fn variable(name: &'static str, default: &'static str, about: &'static str) -> Variable {
    Variable { name, default, about }
}

/// Every variable read, in the order of `--help`.
pub const VARIABLES: &[Variable] = &[
    variable("LISTEN", "127.0.0.1:8080", "address and port to listen on"),
    variable("LOG_LEVEL", "info", "error, warn, info, debug, trace, or target=level pairs"),
    variable(
        "TENANTS_STORE",
        "(see below)",
        "file (TENANTS_FILE) or dynamodb (in CONVERSATIONS_TABLE); otherwise a demo",
    ),
    variable("TENANTS_FILE", "(demo)", "JSON or YAML file of tenants; without it one tenant is open to everybody"),
    variable("OPERATOR_KEY_SHA256", "", "SHA-256 of the key that may manage tenants, in hexadecimal"),
    variable("SESSION_SECRET", "(kept)", "signs widget sessions; 32 characters or more"),
    variable("KNOWLEDGE_FILE", "(built in)", "the demo's questions and answers, YAML or JSON"),
    variable("CONVERSATION_STORE", "embedded", "embedded (files), dynamodb or memory (lost with the process)"),
    variable("CONVERSATIONS_DIR", "(see below)", "directory of the embedded store"),
    variable("CONVERSATIONS_TABLE", "", "table of the dynamodb store"),
    variable("CONVERSATION_DAYS", "90", "how long a conversation is kept after its last message, 1 to 3650"),
    variable("MODELS", "(none)", "language models in the order asked: openai:<model>,bedrock:<id>"),
    variable("OPENAI_BASE_URL", "https://api.openai.com/v1", "any OpenAI-compatible API, for openai: models"),
    variable("OPENAI_API_KEY", "", "its key, if it wants one"),
    variable("AWS_REGION", "", "region of bedrock: models and the dynamodb store"),
    variable("AWS_ENDPOINT_URL", "(AWS)", "what answers in AWS's place"),
    variable("STREAM_DELTA_DELAY_MS", "0", "pause between two pieces of a streamed answer, 0 to 10000"),
    variable("DRAIN_DELAY_SECONDS", "5", "how long to keep serving after SIGTERM, 0 to 600"),
    variable("DRAIN_DEADLINE_SECONDS", "45", "how long open replies may then take, 0 to 3600"),
    variable("MAX_CONNECTIONS", "4096", "connections served at once; beyond it only probes are answered"),
    variable("MAX_REQUESTS", "1024", "requests answered at once; beyond it only probes are answered"),
    variable(
        "IDLE_SECONDS",
        "75",
        "how long an idle connection, or one that sends its head slowly, is kept, 1 to 3600",
    ),
    variable("METRICS_EMF_SECONDS", "0", "how often metrics are logged for CloudWatch (EMF), 0 never, to 3600"),
    variable("WORKER_THREADS", "1", "threads that serve requests, 1 to 64"),
    variable("SMARTBOT_COMMIT", "unknown", "commit this was built from; the image sets it"),
    variable("SMARTBOT_COMMIT_TIME", "", "time of that commit; the image sets it"),
    variable("IMAGE_DIGEST", "", "digest of the image this runs from"),
    variable("ENVIRONMENT", "local", "name of the environment, for /version and the metrics"),
];
