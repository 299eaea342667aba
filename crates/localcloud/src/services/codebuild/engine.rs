//! Takes builds through their phases. The commands run in a process of their own, so a build goes on over a restart.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process_group};
use serde_json::json;

use super::builds::log_group;
use super::buildspec::Buildspec;
use super::records::{Build, BuildStatus, PhaseStatus, PhaseType, Project, Variable, VariableKind};
use super::script::{self, EXIT, EXPORTED, OUTPUT, PHASES};
use super::source;
use crate::clock::Timestamp;
use crate::cloud::Cloud;
use crate::engine::pause;
use crate::error::ApiError;
use crate::output::{Destination, Part, carry};
use crate::runtime::ProcessId;
use crate::services::Service;

/// The reconciler.
pub(crate) async fn run(cloud: Cloud) {
    let mut changes = cloud.store().changes();
    loop {
        for build in cloud.store().find::<Build>(|build| build.status == BuildStatus::InProgress) {
            step(&cloud, build).await;
        }
        pause(&mut changes, Duration::from_millis(300)).await;
    }
}

fn folder(cloud: &Cloud, build: &Build) -> PathBuf {
    cloud.data_dir().join("builds").join(build.uuid())
}

async fn step(cloud: &Cloud, build: Build) {
    let Some(process) = build.process.clone() else {
        if build.stop_requested {
            return end(cloud, &build, BuildStatus::Stopped, Some("the build was stopped".to_owned()));
        }
        if let Err(reason) = launch(cloud, &build).await {
            end(cloud, &build, BuildStatus::Failed, Some(reason));
        }
        return;
    };
    let folder = folder(cloud, &build);
    // Looked at before the phases are read: what the script wrote before its end is then seen for certain.
    let alive = process.is_alive();
    pump(cloud, &build, &folder, Part::WholeLines).await;
    read_phases(cloud, &build.id, &folder);
    if let Ok(exit) = fs::read_to_string(folder.join(EXIT)) {
        while pump(cloud, &build, &folder, Part::Rest).await {}
        return finish(cloud, &build, &folder, exit.trim() == "0").await;
    }
    if !alive {
        return end(cloud, &build, BuildStatus::Failed, Some("the build's process was killed from outside".to_owned()));
    }
    let limit =
        cloud.store().get::<Project>(&build.project).and_then(|project| project.request["timeoutInMinutes"].as_u64());
    // Real time: what runs here is a real compiler.
    let timed_out = cloud.clock().real_elapsed(build.started) > Duration::from_secs(60 * limit.unwrap_or(60));
    if build.stop_requested || timed_out {
        if let Some(group) = Pid::from_raw(process.pid.cast_signed()) {
            let _ = kill_process_group(group, Signal::KILL);
        }
        let (status, reason) = if timed_out {
            (BuildStatus::TimedOut, "the build took longer than its project allows")
        } else {
            (BuildStatus::Stopped, "the build was stopped")
        };
        end(cloud, &build, status, Some(reason.to_owned()));
    }
}

/// Checks out the source, reads the buildspec and starts its script.
async fn launch(cloud: &Cloud, build: &Build) -> Result<(), String> {
    let project = cloud.store().get::<Project>(&build.project).ok_or("the project was deleted")?;
    enter(cloud, build, PhaseType::DownloadSource);
    let folder = folder(cloud, build);
    fs::create_dir_all(&folder).map_err(|error| format!("{}: {error}", folder.display()))?;
    let checkout = folder.join("src");
    let commit = {
        let (cloud, build, checkout) = (cloud.clone(), build.clone(), checkout.clone());
        tokio::task::spawn_blocking(move || source::check_out(&cloud, &build.repository, &build.revision, &checkout))
            .await
            .map_err(|error| error.to_string())??
    };
    let configured = build.buildspec.as_deref().or_else(|| project.request["source"]["buildspec"].as_str());
    let text = buildspec_text(&checkout, configured.unwrap_or("buildspec.yml"))?;
    let spec = Buildspec::parse(&text)?;
    let environment =
        environment(cloud, &project, build, &spec, &commit, &checkout).await.map_err(|error| error.to_string())?;
    script::write(&folder, &checkout, &spec)
        .map_err(|error| format!("the build's script cannot be written: {error}"))?;
    let output = File::create(folder.join(OUTPUT)).map_err(|error| error.to_string())?;
    let mut command = Command::new("bash");
    command
        .args(["--noprofile", "--norc"])
        .arg(folder.join("run.sh"))
        .env_clear()
        .envs(environment)
        .stdin(Stdio::null())
        .stdout(output.try_clone().map_err(|error| error.to_string())?)
        .stderr(output);
    std::os::unix::process::CommandExt::process_group(&mut command, 0);
    let mut child = command.spawn().map_err(|error| format!("bash cannot be started: {error}"))?;
    let process = ProcessId::of(child.id());
    std::thread::spawn(move || child.wait());
    cloud.store().update::<Build>(&build.id, |build| {
        build.commit = Some(commit);
        // A process that has already ended left its exit file; any number does then.
        build.process = Some(process.unwrap_or(ProcessId { pid: u32::MAX >> 1, started: 0 }));
    });
    Ok(())
}

/// A buildspec given inline (it has more than one line) or as a file of the source.
fn buildspec_text(checkout: &Path, configured: &str) -> Result<String, String> {
    if configured.contains('\n') {
        return Ok(configured.to_owned());
    }
    let path = if configured.is_empty() { "buildspec.yml" } else { configured };
    fs::read_to_string(checkout.join(path)).map_err(|error| format!("YAML_FILE_ERROR: {path}: {error}"))
}

/// The whole environment of a build. Later ones win: endpoint, CodeBuild, buildspec, project, this build's overrides.
async fn environment(
    cloud: &Cloud,
    project: &Project,
    build: &Build,
    spec: &Buildspec,
    commit: &str,
    checkout: &Path,
) -> Result<Vec<(String, String)>, ApiError> {
    let plain = |name: &str, value: String| Variable { name: name.to_owned(), value, kind: VariableKind::Plaintext };
    let mut variables: Vec<Variable> =
        cloud.settings().build_env.iter().map(|(name, value)| plain(name, value.clone())).collect();
    for (name, value) in [
        ("AWS_REGION", cloud.region().to_owned()),
        ("AWS_DEFAULT_REGION", cloud.region().to_owned()),
        ("AWS_ENDPOINT_URL", cloud.endpoint()),
        ("AWS_ACCESS_KEY_ID", "local".to_owned()),
        ("AWS_SECRET_ACCESS_KEY", "local".to_owned()),
        ("CI", "true".to_owned()),
        ("CODEBUILD_CI", "true".to_owned()),
        ("CODEBUILD_BUILD_ID", build.id.clone()),
        ("CODEBUILD_BUILD_NUMBER", build.number.to_string()),
        ("CODEBUILD_BUILD_ARN", cloud.arn("codebuild", format_args!("build/{}", build.id))),
        ("CODEBUILD_RESOLVED_SOURCE_VERSION", commit.to_owned()),
        ("CODEBUILD_SOURCE_VERSION", build.revision.clone()),
        ("CODEBUILD_SRC_DIR", checkout.display().to_string()),
        ("CODEBUILD_INITIATOR", "codepipeline".to_owned()),
    ] {
        variables.push(plain(name, value));
    }
    let store = |map: &std::collections::BTreeMap<String, String>, kind| -> Vec<Variable> {
        map.iter().map(|(name, value)| Variable { name: name.clone(), value: value.clone(), kind }).collect()
    };
    variables.extend(store(&spec.env.variables, VariableKind::Plaintext));
    variables.extend(store(&spec.env.parameter_store, VariableKind::ParameterStore));
    variables.extend(store(&spec.env.secrets_manager, VariableKind::SecretsManager));
    let configured = &project.request["environment"]["environmentVariables"];
    if !configured.is_null() {
        variables.extend(crate::services::parse::<Vec<Variable>>(configured.clone())?);
    }
    variables.extend(build.variables.iter().cloned());
    let mut resolved = vec![];
    for variable in variables {
        let value = match variable.kind {
            VariableKind::Plaintext => variable.value,
            VariableKind::ParameterStore => {
                let input = json!({ "Name": variable.value, "WithDecryption": true });
                let output = cloud.call(Service::Ssm, "GetParameter", input).await?;
                output["Parameter"]["Value"].as_str().unwrap_or_default().to_owned()
            }
            VariableKind::SecretsManager => {
                let output = cloud
                    .call(Service::SecretsManager, "GetSecretValue", json!({ "SecretId": variable.value }))
                    .await?;
                output["SecretString"].as_str().unwrap_or_default().to_owned()
            }
        };
        resolved.push((variable.name, value));
    }
    Ok(resolved)
}

fn enter(cloud: &Cloud, build: &Build, phase: PhaseType) {
    let now = cloud.clock().now();
    cloud.store().update::<Build>(&build.id, |build| build.enter(phase, now));
}

/// Ends the build; the phase that runs gets the reason.
fn end(cloud: &Cloud, build: &Build, status: BuildStatus, reason: Option<String>) {
    let now = cloud.clock().now();
    let phase = match status {
        BuildStatus::Succeeded | BuildStatus::InProgress => PhaseStatus::Succeeded,
        BuildStatus::Failed => PhaseStatus::Failed,
        BuildStatus::TimedOut => PhaseStatus::TimedOut,
        BuildStatus::Stopped => PhaseStatus::Stopped,
    };
    cloud.store().update::<Build>(&build.id, |build| {
        build.leave(phase, now, reason);
        build.complete(status, now);
    });
    // The checkout can be made again from the commit; the log is in CloudWatch Logs.
    let _ = fs::remove_dir_all(folder(cloud, build).join("src"));
}

/// Brings the record's phases up to what the script has written.
fn read_phases(cloud: &Cloud, id: &str, folder: &Path) {
    let text = fs::read_to_string(folder.join(PHASES)).unwrap_or_default();
    let Some(build) = cloud.store().get::<Build>(id) else { return };
    let mut updated = build.clone();
    for line in text.lines() {
        let mut words = line.splitn(4, ' ');
        let (Some(name), Some(what), Some(at)) = (words.next(), words.next(), words.next()) else { continue };
        let (Some(kind), Ok(at)) = (PhaseType::of_buildspec(name), at.parse().map(Timestamp)) else { continue };
        let known = updated.phases.iter().find(|phase| phase.kind == kind).map(|phase| phase.status);
        match (what, known) {
            ("start", None) => updated.enter(kind, at),
            ("SUCCEEDED", Some(None)) => updated.leave(PhaseStatus::Succeeded, at, None),
            ("FAILED", Some(None)) => updated.leave(PhaseStatus::Failed, at, words.next().map(str::to_owned)),
            _ => {}
        }
    }
    if updated.phases.len() != build.phases.len()
        || updated.phases.last().map(|p| p.status) != build.phases.last().map(|p| p.status)
    {
        cloud.store().update::<Build>(id, |build| build.phases = updated.phases);
    }
}

async fn finish(cloud: &Cloud, build: &Build, folder: &Path, succeeded: bool) {
    read_phases(cloud, &build.id, folder);
    if !succeeded {
        return end(cloud, build, BuildStatus::Failed, None);
    }
    enter(cloud, build, PhaseType::UploadArtifacts);
    let target = cloud.data_dir().join("artifacts").join(build.uuid());
    let checkout = folder.join("src");
    let project = cloud.store().get::<Project>(&build.project);
    let configured =
        build.buildspec.clone().or_else(|| Some(project?.request["source"]["buildspec"].as_str()?.to_owned()));
    let uploaded = buildspec_text(&checkout, configured.as_deref().unwrap_or("buildspec.yml"))
        .and_then(|text| Buildspec::parse(&text))
        .and_then(|spec| upload(&checkout, &spec, &target));
    if let Err(reason) = uploaded {
        return end(cloud, build, BuildStatus::Failed, Some(reason));
    }
    let exported = fs::read_dir(folder.join(EXPORTED)).into_iter().flatten().flatten();
    let exported: Vec<(String, String)> = exported
        .filter_map(|entry| Some((entry.file_name().into_string().ok()?, fs::read_to_string(entry.path()).ok()?)))
        .collect();
    cloud.store().update::<Build>(&build.id, |build| build.exported.extend(exported));
    enter(cloud, build, PhaseType::Finalizing);
    end(cloud, build, BuildStatus::Succeeded, None);
}

/// Copies the files that the buildspec's patterns name.
fn upload(checkout: &Path, spec: &Buildspec, target: &Path) -> Result<(), String> {
    let base = checkout.join(spec.artifacts.base_directory.as_deref().unwrap_or(""));
    let _ = fs::remove_dir_all(target);
    fs::create_dir_all(target).map_err(|error| error.to_string())?;
    for pattern in &spec.artifacts.files {
        let full = format!("{}/{pattern}", glob::Pattern::escape(&base.to_string_lossy()));
        let paths = glob::glob(&full).map_err(|error| format!("artifacts: {pattern}: {error}"))?;
        let mut any = false;
        for path in paths.flatten().filter(|path| path.is_file()) {
            any = true;
            let relative = path.strip_prefix(&base).map_err(|error| error.to_string())?;
            let to = target.join(relative);
            let copied = to.parent().map_or(Ok(()), fs::create_dir_all).and_then(|()| fs::copy(&path, &to));
            copied.map_err(|error| format!("artifacts: {}: {error}", relative.display()))?;
        }
        if !any {
            return Err(format!("no matching artifact paths found: {pattern}"));
        }
    }
    Ok(())
}

/// Carries new output to CloudWatch Logs; true when there was some and it was delivered.
async fn pump(cloud: &Cloud, build: &Build, folder: &Path, part: Part) -> bool {
    let Some(build) = cloud.store().get::<Build>(&build.id) else { return false };
    let Some(project) = cloud.store().get::<Project>(&build.project) else { return false };
    let destination = Destination { group: log_group(&project), stream: build.uuid().to_owned(), makes_group: true };
    let output = folder.join(OUTPUT);
    let Some(consumed) = carry(cloud, &output, build.logged_bytes, part, &destination).await else { return false };
    cloud.store().update::<Build>(&build.id, |build| build.logged_bytes += consumed).is_some()
}
