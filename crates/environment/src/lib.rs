//! The typed environment files: `environments/project.yaml` and `environments/<name>/environment.yaml`.
//!
//! Everything is parsed and checked before anything else happens: a value of type [`Project`] or
//! [`Environment`] is complete and consistent. Errors name file, line, column and field, carry a hint,
//! and all problems of a file are reported at once.

mod error;
mod name;
mod project;
mod settings;
mod source;
mod units;
mod validate;
pub mod variables;

pub use error::{Error, Problem};
pub use name::{EnvironmentName, UnknownEnvironment};
pub use project::{
    BuildSettings, Builder, LocalSettings, PipelineSettings, Project, RegistrySettings, SourceProvider, SourceSettings,
};
pub use settings::{
    AlarmSettings, Architecture, AutoscalingSettings, AutoscalingTargets, Canary, Capacity, ChatSettings,
    ConversationStore, CostSettings, DataSettings, Day, DeploymentSettings, EdgeSettings, Encryption, Endpoint, Engine,
    Environment, HealthCheckSettings, HookSettings, ImageSettings, Linear, Location, ManagedSecret, Nat,
    NetworkSettings, NotificationSettings, ProtectionSettings, Rotation, ScanException, ScanSettings, Schedule,
    SecuritySettings, Severity, SignatureSettings, SlackSettings, Strategy, TaskSettings, TimeTargets, Unscanned,
};
pub use units::{Memory, Span};
