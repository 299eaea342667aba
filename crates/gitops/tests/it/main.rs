//! What is generated for Kubernetes, and the `gitops` command.

mod defects;

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use environment::{Environment, EnvironmentName, Project};
use gitops::{Image, files};
use serde_json::Value as Json;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn project() -> Project {
    Project::load(&root().join("environments")).unwrap()
}

fn environments() -> Vec<Environment> {
    EnvironmentName::ALL.map(|name| Environment::load(&root().join("environments"), name).unwrap()).into()
}

/// The document of a generated file.
fn document(environments: &[Environment], path: &str) -> Json {
    let files = files(&project(), environments).unwrap();
    let file = files.iter().find(|file| file.path == format!("argocd/{path}"));
    let file = file.unwrap_or_else(|| panic!("no {path} in {:?}", files.iter().map(|of| &of.path).collect::<Vec<_>>()));
    serde_yaml::from_str(&file.text).unwrap()
}

fn gitops(directory: &Path, arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_gitops")).current_dir(directory).args(arguments).output().unwrap()
}

/// A copy of the committed environments in a directory of its own.
fn checkout() -> tempfile::TempDir {
    let directory = tempfile::tempdir().unwrap();
    for file in ["project.yaml", "staging/environment.yaml", "production/environment.yaml"] {
        let target = directory.path().join("environments").join(file);
        std::fs::create_dir_all(target.parent().unwrap()).unwrap();
        std::fs::copy(root().join("environments").join(file), target).unwrap();
    }
    directory
}

#[test]
fn the_application_is_the_briefs() {
    let application = document(&environments(), "applications/smartassist-chatbot.yaml");
    assert_eq!(application["metadata"]["namespace"], "argocd");
    let spec = &application["spec"];
    assert_eq!(spec["destination"]["namespace"], "production");
    assert_eq!(spec["syncPolicy"]["automated"], serde_json::json!({"prune": true, "selfHeal": true}));
    assert_eq!(spec["source"]["path"], "argocd/overlays/production");
}

#[test]
fn pods_are_restricted_and_stop_gracefully() {
    let deployment = document(&environments(), "manifests/deployment.yaml");
    let pod = &deployment["spec"]["template"]["spec"];
    let container = &pod["containers"][0];
    assert_eq!(pod["securityContext"]["runAsNonRoot"], true);
    assert_eq!(pod["securityContext"]["runAsUser"], 10001);
    assert_eq!(container["securityContext"]["readOnlyRootFilesystem"], true);
    assert_eq!(container["securityContext"]["capabilities"]["drop"][0], "ALL");
    // The chatbot has its whole stop timeout after the load balancer had time to look away.
    let wait = container["lifecycle"]["preStop"]["sleep"]["seconds"].as_u64().unwrap();
    let production = &environments()[1];
    let grace = pod["terminationGracePeriodSeconds"].as_u64().unwrap();
    assert_eq!(grace, production.task.stop_timeout.as_seconds() + wait);
    for probe in ["startupProbe", "readinessProbe", "livenessProbe"] {
        assert_eq!(container[probe]["httpGet"]["path"], production.health_check.path.as_str());
    }
    assert!(deployment["spec"].get("replicas").is_none(), "the autoscaler decides");
}

#[test]
fn an_overlay_says_only_what_differs() {
    let mut environments = environments();
    let staging = Environment { name: EnvironmentName::Staging, ..environments[1].clone() };
    environments[0] = staging;
    let same = document(&environments, "overlays/staging/kustomization.yaml");
    let patches = same["patches"].as_array().cloned().unwrap_or_default();
    // The name of its load balancer.
    assert_eq!(patches.len(), 1, "{patches:#?}");
    assert_eq!(patches[0]["target"]["kind"], "Ingress");

    environments[0].autoscaling.max = 7;
    let other = document(&environments, "overlays/staging/kustomization.yaml");
    let scaler =
        other["patches"].as_array().unwrap().iter().find(|of| of["target"]["kind"] == "HorizontalPodAutoscaler");
    let operations: Json = serde_yaml::from_str(scaler.unwrap()["patch"].as_str().unwrap()).unwrap();
    assert_eq!(operations, serde_json::json!([{"op": "replace", "path": "/spec/maxReplicas", "value": 7}]));
}

#[test]
fn secrets_come_from_the_stores_and_only_where_there_are_some() {
    let mut environments = environments();
    for environment in &mut environments {
        environment.secrets.clear();
        environment.parameters.clear();
    }
    let production = &mut environments[1];
    production.secrets.insert("LLM_API_KEY".to_owned(), "smartassist/llm".to_owned());
    let secret = document(&environments, "overlays/production/externalsecret.yaml");
    assert_eq!(secret["spec"]["data"][0]["secretKey"], "LLM_API_KEY");
    assert_eq!(secret["spec"]["data"][0]["remoteRef"]["key"], "smartassist/llm");
    let staging = document(&environments, "overlays/staging/kustomization.yaml");
    assert_eq!(staging["resources"], serde_json::json!(["../../manifests"]));
}

#[test]
fn committed_files_are_current() {
    for file in files(&project(), &environments()).unwrap() {
        let text = std::fs::read_to_string(root().join(&file.path)).unwrap_or_default();
        assert!(text == file.text, "{} is stale\nhint: cargo xtask gitops", file.path);
    }
}

#[test]
fn a_promotion_stays_when_everything_else_is_generated_again() {
    let checkout = checkout();
    assert!(gitops(checkout.path(), &[]).status.success());
    let image =
        format!("123456789012.dkr.ecr.ap-northeast-1.amazonaws.com/smartassist/chatbot@sha256:{}", "a".repeat(64));
    assert!(gitops(checkout.path(), &["--image", &format!("prod={image}")]).status.success());
    assert!(gitops(checkout.path(), &[]).status.success());
    assert!(gitops(checkout.path(), &["--check"]).status.success());
    let path = checkout.path().join("argocd/overlays/production/image/kustomization.yaml");
    let component: Json = serde_yaml::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
    assert_eq!(component["images"][0]["digest"], format!("sha256:{}", "a".repeat(64)));
    let staging = std::fs::read_to_string(checkout.path().join("argocd/overlays/staging/image/kustomization.yaml"));
    assert!(staging.unwrap().contains(&"0".repeat(64)));
}

#[test]
fn a_stale_file_fails_the_check() {
    let checkout = checkout();
    let missing = gitops(checkout.path(), &["--check"]);
    assert_eq!(missing.status.code(), Some(1));
    let message = String::from_utf8(missing.stderr).unwrap();
    assert!(message.contains("stale: argocd/manifests/deployment.yaml"), "{message}");
    assert!(message.contains("hint: cargo xtask gitops"), "{message}");
}

#[test]
fn images_are_named_by_digest_only() {
    for wrong in ["x:latest", "x@sha256:12", "@sha256:", "x"] {
        assert!(Image::parse(wrong).unwrap_err().to_string().contains("hint: "), "{wrong}");
    }
}
