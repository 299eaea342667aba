//! `synth` as it is called: what it writes, what it prints, how it ends.

use std::path::Path;
use std::process::{Command, Output};

use crate::variants::root;

/// A copy of the committed environments in a directory of its own, generated files current.
fn checkout() -> tempfile::TempDir {
    let directory = tempfile::tempdir().unwrap();
    for file in ["project.yaml", "staging/environment.yaml", "production/environment.yaml"] {
        let target = directory.path().join("environments").join(file);
        std::fs::create_dir_all(target.parent().unwrap()).unwrap();
        std::fs::copy(root().join("environments").join(file), target).unwrap();
    }
    assert!(synth(directory.path(), &[]).status.success());
    directory
}

fn synth(directory: &Path, arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_synth")).current_dir(directory).args(arguments).output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

fn edit(directory: &Path, file: &str, from: &str, to: &str) {
    let path = directory.join("environments").join(file);
    let before = std::fs::read_to_string(&path).unwrap();
    let after = before.replacen(from, to, 1);
    assert_ne!(before, after);
    std::fs::write(path, after).unwrap();
}

#[test]
fn what_was_written_passes_the_check() {
    let checkout = checkout();
    let output = synth(checkout.path(), &["--check"]);
    assert!(output.status.success());
    assert_eq!(text(&output.stderr), "");
    assert!(text(&output.stdout).contains("production: rollback within the bake: 15s of 300s"));
}

#[test]
fn a_stale_file_fails_the_check_which_says_how_to_repair_it() {
    let checkout = checkout();
    edit(checkout.path(), "production/environment.yaml", "cpu: 256\n  memory: 512MiB", "cpu: 512\n  memory: 1GiB");
    let output = synth(checkout.path(), &["--check"]);
    assert_eq!(output.status.code(), Some(1));
    let message = text(&output.stderr);
    assert!(message.contains("stale: environments/production/taskdef.json"), "{message}");
    assert!(message.contains("hint: cargo xtask synth"), "{message}");
    assert!(!message.contains("staging"), "{message}");
    assert!(synth(checkout.path(), &[]).status.success());
    assert!(synth(checkout.path(), &["--check"]).status.success());
}

#[test]
fn a_deploy_beyond_its_target_fails() {
    let checkout = checkout();
    edit(checkout.path(), "production/environment.yaml", "  bake: 5m", "  bake: 5m\n  targets: {deploy: 1m}");
    let output = synth(checkout.path(), &["--check"]);
    assert_eq!(output.status.code(), Some(1));
    let message = text(&output.stderr);
    assert!(message.contains("production: deploy takes 85s, but its target is 1m"), "{message}");
    assert!(message.contains("hint: "), "{message}");
}

#[test]
fn wrong_environments_are_reported_together_with_the_exit_code_of_bad_configuration() {
    let checkout = checkout();
    edit(checkout.path(), "staging/environment.yaml", "desired: 1", "desired: 9");
    edit(checkout.path(), "production/environment.yaml", "test_port: 9081", "test_port: 9080");
    let output = synth(checkout.path(), &[]);
    assert_eq!(output.status.code(), Some(64));
    let message = text(&output.stderr);
    assert!(message.contains("autoscaling.desired") && message.contains("edge.test_port"), "{message}");
}

#[test]
fn templates_go_where_they_are_asked_to() {
    let checkout = checkout();
    assert!(synth(checkout.path(), &["--out", "target/templates"]).status.success());
    let mut names: Vec<_> = std::fs::read_dir(checkout.path().join("target/templates"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    let expected = [
        "smartassist-delivery.json",
        "smartassist-network-production.json",
        "smartassist-network-staging.json",
        "smartassist-registry.json",
        "smartassist-service-production.json",
        "smartassist-service-staging.json",
    ];
    assert_eq!(names, expected);
}

#[test]
fn the_json_document_has_its_schema_first() {
    let checkout = checkout();
    let output = synth(checkout.path(), &["--check", "--json"]);
    let text = text(&output.stdout);
    assert!(text.starts_with("{\n  \"schema\": 1,"), "{text}");
    let document: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert_eq!(document["ok"], true);
    assert_eq!(document["budgets"][1]["environment"], "production");
}

#[test]
fn print_gives_one_value_on_one_line() {
    let checkout = checkout();
    let output = synth(checkout.path(), &["print", "repository"]);
    assert_eq!(text(&output.stdout), "smartassist/chatbot\n");
}

#[test]
fn what_an_image_must_show_becomes_gates_of_the_build_and_is_printed_for_them() {
    let checkout = checkout();
    let buildspec = || std::fs::read_to_string(checkout.path().join("buildspec.yml")).unwrap();
    assert!(!buildspec().contains("xtask image"), "nothing is demanded in the committed environments");
    let output = synth(checkout.path(), &["print", "scan", "--environment", "prod"]);
    assert!(!output.status.success() && text(&output.stderr).contains("no `image.scan`"));

    let image = "image:\n  signature:\n    keys: [release.pub]\n  scan:\n    threshold: high\n    exceptions:\n      \
                 - {advisory: RUSTSEC-2024-0001, reason: never called here, expires: 2026-12-31}\ntask:\n";
    edit(checkout.path(), "production/environment.yaml", "task:\n", image);
    assert!(synth(checkout.path(), &[]).status.success());
    for gate in ["verify", "scan"] {
        let line = format!("cargo xtask image {gate} --image-detail imageDetail.json --environment production");
        assert!(buildspec().contains(&line), "{}", buildspec());
    }
    let printed = |what: &str| text(&synth(checkout.path(), &["print", what, "--environment", "prod"]).stdout);
    assert_eq!(printed("signature-keys"), "environments/production/release.pub\n");
    assert_eq!(text(&synth(checkout.path(), &["print", "scanning-environments"]).stdout), "production\n");
    let expected = r#"{"threshold":"high","unscanned":"refuse","exceptions":[{"advisory":"RUSTSEC-2024-0001","reason":"never called here","expires":"2026-12-31"}]}"#;
    assert_eq!(printed("scan").trim(), expected, "the form that `image scan --policy` reads");
    assert!(!synth(checkout.path(), &["print", "scan"]).status.success());

    edit(checkout.path(), "project.yaml", "build:\n", "build:\n  advisories: https://example.com/advisory-db\n");
    assert!(synth(checkout.path(), &[]).status.success());
    let text = buildspec();
    let clone =
        text.find("git clone --quiet --depth 1 https://example.com/advisory-db target/advisory-db").expect("a clone");
    let scan = text.find("image scan --advisories target/advisory-db --image-detail").expect("a scan");
    assert!(clone < scan, "{text}");
}

#[test]
fn a_file_that_is_no_template_is_named_and_the_others_are_checked_all_the_same() {
    let directory = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| std::fs::write(directory.path().join(name), text).unwrap();
    write("cut.json", "{");
    write("untyped.yaml", "Resources:\n  Bucket: {Properties: {}}\n");
    write("group.yaml", "Resources:\n  Group: {Type: AWS::Logs::LogGroup}\n  Fn::Transform: {Name: AWS::Include}\n");
    let arguments = ["validate", "--json", "cut.json", "untyped.yaml", "missing.json", "group.yaml"];
    let output = synth(directory.path(), &arguments);
    assert_eq!(output.status.code(), Some(1));
    let document: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let files: Vec<_> =
        document["malformed"].as_array().unwrap().iter().map(|of| of["file"].as_str().unwrap()).collect();
    assert_eq!(files, ["cut.json", "untyped.yaml", "missing.json"]);
    assert_eq!(document["findings"][0]["rule"], "log-retention");
    let message = text(&output.stderr);
    assert!(message.contains("error: untyped.yaml: the resource Bucket has no type\n  hint: "), "{message}");
    assert!(message.ends_with("4 files (3 no template), 88 rules, 1 findings\n"), "{message}");

    let looped =
        "  Fn::ForEach::Topics: [Name, [A, B], {'Topic${Name}': {Type: AWS::SNS::Topic, TopicName: !Ref Name}}]\n";
    write("good.yaml", &format!("Resources:\n  Topic: {{Type: AWS::SNS::Topic}}\n{looped}"));
    assert!(synth(directory.path(), &["validate", "good.yaml"]).status.success());
}
