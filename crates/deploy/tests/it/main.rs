//! The program as people meet it: exit code, stdout and stderr together.

mod adversity;
mod end_to_end;
mod load;
mod signatures;
mod system;

use std::path::Path;
use std::process::Command;

use insta::assert_snapshot;

fn deploy(directory: &Path, endpoint: Option<&str>, arguments: &[&str]) -> String {
    let mut command = Command::new(env!("CARGO_BIN_EXE_deploy"));
    command.current_dir(directory).args(arguments).env_remove("AWS_ENDPOINT_URL");
    if let Some(endpoint) = endpoint {
        command.env("AWS_ENDPOINT_URL", endpoint);
    }
    let output = command.output().unwrap();
    format!(
        "exit: {}\n--- stdout\n{}--- stderr\n{}",
        output.status.code().unwrap(),
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    )
}

fn checkout() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../.."))
}

/// An address where nobody listens: the port was just given back.
fn silent() -> String {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    format!("http://{}", listener.local_addr().unwrap())
}

#[test]
fn help_names_all_exit_codes() {
    assert_snapshot!(deploy(checkout(), None, &["--help"]));
}

#[test]
fn the_endpoint_is_ours_without_an_account() {
    assert_snapshot!(deploy(checkout(), None, &["endpoint", "staging", "--json"]));
    assert_snapshot!(deploy(checkout(), Some("http://127.0.0.1:9"), &["endpoint", "prod"]));
}

#[test]
fn an_unknown_environment_is_bad_configuration() {
    assert_snapshot!(deploy(checkout(), None, &["status", "qa"]));
}

#[test]
fn a_folder_without_environments_is_bad_configuration() {
    let empty = tempfile::tempdir().unwrap();
    let shown = deploy(empty.path(), None, &["status", "staging", "--json"]);
    assert!(shown.starts_with("exit: 64\n"), "{shown}");
    assert!(shown.contains("cannot read environments/project.yaml"), "{shown}");
}

#[test]
fn production_is_promoted_not_deployed_to() {
    assert_snapshot!(deploy(checkout(), None, &["deploy", "prod"]));
    assert_snapshot!(deploy(checkout(), None, &["deploy", "staging", "--image", "repo:v1"]));
}

/// What ECS moves by itself this client does not follow, and says so before it asks anybody anything.
#[test]
fn an_environment_of_the_engine_ecs_is_refused_before_anything_is_changed() {
    let directory = tempfile::tempdir().unwrap();
    for file in ["project.yaml", "staging/environment.yaml", "production/environment.yaml"] {
        let target = directory.path().join("environments").join(file);
        std::fs::create_dir_all(target.parent().unwrap()).unwrap();
        let text = std::fs::read_to_string(checkout().join("environments").join(file)).unwrap();
        std::fs::write(target, text.replace("engine: codedeploy", "engine: ecs")).unwrap();
    }
    let silent = silent();
    let all: [&[&str]; 6] = [
        &["bootstrap", "staging"],
        &["deploy", "staging"],
        &["promote", "prod", "--yes"],
        &["rollback", "prod"],
        &["status"],
        &["history"],
    ];
    for arguments in all {
        let shown = deploy(directory.path(), Some(&silent), arguments);
        assert!(shown.starts_with("exit: 64\n"), "{arguments:?}: {shown}");
        assert!(shown.contains("is deployed by ECS itself (deployment.engine: ecs)"), "{shown}");
        assert!(shown.contains("nothing was changed") && shown.contains("hint: "), "{shown}");
    }
    // What concerns the stacks and the log works with both, and here gets as far as the endpoint.
    let shown = deploy(directory.path(), Some(&silent), &["infra", "plan", "staging"]);
    assert!(shown.starts_with("exit: 69\n"), "{shown}");
}

#[test]
fn a_silent_endpoint_is_named_with_what_starts_it() {
    let silent = silent();
    for arguments in [&["status", "staging"][..], &["rollback", "prod"], &["promote", "prod", "--yes"]] {
        let shown = deploy(checkout(), Some(&silent), arguments)
            .replace(&silent, "ENDPOINT")
            .replace("os error 61", "os error 111");
        assert_eq!(
            shown,
            "exit: 69\n--- stdout\n--- stderr\nerror: the endpoint ENDPOINT does not answer: Connection refused (os error 111)\n\
             hint: start the embedded endpoint with `cargo xtask local up`, or check network and AWS credentials\n",
            "{arguments:?}"
        );
    }
}
