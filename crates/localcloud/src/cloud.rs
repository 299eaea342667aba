//! The one value that everything in the endpoint holds: settings, store, clock, and the way to call a service.

use std::collections::BTreeMap;
use std::future::Future;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::Arc;

use serde_json::Value;

use crate::blobs::Blobs;
use crate::clock::Clock;
use crate::dataplane::DataPlane;
use crate::error::ApiError;
use crate::runtime::Runtime;
use crate::services::{self, Service};
use crate::store::{OpenError, Store};

/// The account that the endpoint plays.
pub const ACCOUNT: &str = "000000000000";

/// What the endpoint is started with.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The address it serves on; always loopback.
    pub listen: SocketAddr,
    /// Where its state lives.
    pub data_dir: PathBuf,
    /// The region it plays.
    pub region: String,
    /// Local git checkouts by repository id (`owner/name`): what a source connection reaches.
    pub sources: BTreeMap<String, PathBuf>,
    /// Environment of every build beside what CodeBuild itself sets: what the build image would carry.
    pub build_env: Vec<(String, String)>,
    /// What runs the tasks.
    pub runtime: Runtime,
    /// An advisory database in RustSec's format, which image scans look into.
    pub advisories: Option<PathBuf>,
    /// The `localcloud` binary, which also is the task shim. Absent in tests that start no task.
    pub shim: Option<PathBuf>,
}

/// A handle to the endpoint's whole state. Cheap to clone.
#[derive(Clone)]
pub struct Cloud(Arc<Inner>);

struct Inner {
    settings: Settings,
    store: Store,
    clock: Clock,
    blobs: Blobs,
    data_plane: DataPlane,
}

impl Cloud {
    /// Opens the state; starts nothing (see [`crate::engine::start`]).
    pub fn open(settings: Settings, clock: Clock) -> Result<Self, OpenError> {
        let store = Store::open(&settings.data_dir.join("state"))?;
        let blobs = Blobs::new(&settings.data_dir);
        Ok(Self(Arc::new(Inner { settings, store, clock, blobs, data_plane: DataPlane::default() })))
    }

    /// What the endpoint was started with.
    pub fn settings(&self) -> &Settings {
        &self.0.settings
    }

    /// The recorded state.
    pub fn store(&self) -> &Store {
        &self.0.store
    }

    /// The clock to take times from and to wait on.
    pub fn clock(&self) -> &Clock {
        &self.0.clock
    }

    /// The pushed blobs.
    pub fn blobs(&self) -> &Blobs {
        &self.0.blobs
    }

    /// The load balancers' running data plane.
    pub fn data_plane(&self) -> &DataPlane {
        &self.0.data_plane
    }

    /// A folder of the data directory.
    pub fn data_dir(&self) -> &Path {
        &self.0.settings.data_dir
    }

    /// The endpoint's own URL, `http://127.0.0.1:<port>`.
    pub fn endpoint(&self) -> String {
        format!("http://{}", self.0.settings.listen)
    }

    /// The region it plays.
    pub fn region(&self) -> &str {
        &self.0.settings.region
    }

    /// `arn:aws:<service>:<region>:<account>:<resource>`.
    pub fn arn(&self, service: &str, resource: impl std::fmt::Display) -> String {
        format!("arn:aws:{service}:{}:{ACCOUNT}:{resource}", self.region())
    }

    /// Calls an operation as a client would, without the wire. This is how services use one another and how
    /// CloudFormation creates what its templates describe.
    ///
    /// Boxed because services call one another in circles.
    pub fn call<'a>(
        &'a self,
        service: Service,
        operation: &'a str,
        input: Value,
    ) -> Pin<Box<dyn Future<Output = Result<Value, ApiError>> + Send + 'a>> {
        Box::pin(services::dispatch(self, service, operation, input))
    }
}
