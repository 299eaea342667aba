//! A task and its shim, without an endpoint.

use std::path::Path;

use localcloud::runtime::{Observation, Program, Spec, TaskFolder};

use crate::client::eventually;

#[test]
fn a_task_ends_when_the_state_it_belongs_to_is_deleted() {
    let data = tempfile::tempdir().expect("a folder");
    let folder = TaskFolder::new(data.path().join("task"));
    let spec = Spec {
        program: Program::Process(vec!["/bin/sleep".to_owned(), "300".to_owned()]),
        environment: Vec::new(),
        memory_bytes: 64 << 20,
        cpu_units: 256,
        stop_timeout_seconds: 1,
        name: format!("deleted-{}", std::process::id()),
        // Nothing but the look at its folder wakes its shim.
        health_check: None,
    };
    folder.start(Path::new(env!("CARGO_BIN_EXE_localcloud")), &spec).expect("started");
    let process = eventually("the task runs", || match folder.observe() {
        Observation::Running(process) => Some(process),
        _ => None,
    });
    data.close().expect("deleted");
    eventually("the task has ended", || (!process.is_alive()).then_some(()));
}
