//! A whole system of its own: an endpoint on a free port, a checkout whose build packages a stand-in for the chatbot, and the
//! programs of this workspace as a person would run them.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

/// Model waits pass this many times faster than on AWS: a canary's minute takes three seconds.
const TIME_SCALE: &str = "20";

pub(crate) struct System {
    folder: tempfile::TempDir,
    programs: PathBuf,
    endpoint: Child,
    url: String,
    pub(crate) production: u16,
    pub(crate) staging: u16,
}

impl System {
    pub(crate) fn start() -> Self {
        let programs = build_programs();
        let folder = tempfile::tempdir().expect("a folder");
        let [listen, production, production_test, staging, staging_test] = free_ports();
        let ports = [("9080", production), ("9081", production_test), ("9090", staging), ("9091", staging_test)];
        make_checkout(folder.path(), &programs, &ports);
        let (endpoint, url) = serve(folder.path(), &programs, &format!("127.0.0.1:{listen}"));
        Self { folder, programs, endpoint, url, production, staging }
    }

    pub(crate) fn checkout(&self) -> PathBuf {
        self.folder.path().join("checkout")
    }

    /// A new commit; its id.
    pub(crate) fn commit(&self, message: &str) -> String {
        commit(&self.checkout(), message)
    }

    /// Pushes an image of the commit, as xtask does before the first deploy, and gives its name by digest.
    pub(crate) fn first_image(&self, commit: &str) -> String {
        let mut command = self.program("image");
        command.args(["build", "--binary"]).arg(self.folder.path().join("standin"));
        command.args(["--commit", commit, "--push", "--repository", "smartassist/chatbot", "--json"]);
        let document = json(&mut command, "image build").1;
        format!(
            "{}@{}",
            document["repository"].as_str().expect("a repository"),
            document["digest"].as_str().expect("a digest")
        )
    }

    /// The digest of the image that a tag names in the registry.
    pub(crate) fn tagged(&self, tag: &str) -> String {
        let layout = tempfile::tempdir().expect("a folder");
        let mut command = self.program("image");
        command.args(["pull", &format!("{}:{tag}", self.repository()), "--ecr"]).arg(layout.path());
        let output = command.output().expect("image starts");
        assert!(output.status.success(), "{tag}: {}", String::from_utf8_lossy(&output.stderr));
        let name = String::from_utf8_lossy(&output.stdout).trim().to_owned();
        name.split_once('@').expect("a digest").1.to_owned()
    }

    /// Gives an image of the registry one more tag.
    pub(crate) fn tag(&self, digest: &str, tag: &str) {
        run(self.program("image").args(["tag", &self.repository(), digest, tag, "--ecr"]));
    }

    fn repository(&self) -> String {
        format!("{}/smartassist/chatbot", self.url.trim_start_matches("http://"))
    }

    /// Gives the stand-in in production a `MODE` from the next commit on, or takes it away.
    pub(crate) fn production_mode(&self, mode: Option<&str>) {
        let path = self.checkout().join("environments/production/taskdef.json");
        let text = std::fs::read_to_string(&path).expect("a task definition");
        let mut definition: Value = serde_json::from_str(&text).expect("JSON");
        let variables = definition["containerDefinitions"][0]["environment"].as_array_mut().expect("an environment");
        variables.retain(|variable| variable["name"] != "MODE");
        variables.extend(mode.map(|mode| serde_json::json!({"name": "MODE", "value": mode})));
        std::fs::write(path, definition.to_string()).expect("written");
    }

    /// `deploy … --json`, to be run.
    pub(crate) fn deploy_command(&self, arguments: &[&str]) -> Command {
        let mut command = self.program("deploy");
        command.args(arguments).arg("--json");
        command
    }

    /// Runs `deploy … --json`: the exit code and the document.
    pub(crate) fn deploy(&self, arguments: &[&str]) -> (i32, Value) {
        json(&mut self.deploy_command(arguments), &arguments.join(" "))
    }

    /// Waits until production's status is what `probe` looks for.
    pub(crate) fn until(&self, what: &str, probe: impl Fn(&Value) -> Option<()>) {
        let deadline = Instant::now() + Duration::from_secs(60);
        while probe(&self.deploy(&["status", "prod"]).1).is_none() {
            assert!(Instant::now() < deadline, "it never happened: {what}");
        }
    }

    /// `kill -9` of the endpoint, and a new one over the same state on the same port.
    pub(crate) fn kill_and_restart(&mut self) {
        self.endpoint.kill().expect("killed");
        self.endpoint.wait().expect("gone");
        let address = self.url.trim_start_matches("http://").to_owned();
        (self.endpoint, self.url) = serve(self.folder.path(), &self.programs, &address);
    }

    /// Runs `deploy …`, which must end with `verdict`; the document.
    pub(crate) fn expect(&self, arguments: &[&str], verdict: &str) -> Value {
        let (code, document) = self.deploy(arguments);
        assert_eq!(document["verdict"], verdict, "deploy {} exited with {code}: {document:#}", arguments.join(" "));
        document
    }

    /// The AWS CLI, with its own parsers and waiters, sees what was deployed to staging.
    pub(crate) fn aws_cli_agrees(&self, commit: &str) {
        if Command::new("aws").arg("--version").output().is_err() {
            eprintln!("passed over: the AWS CLI is not installed");
            return;
        }
        let state = self.aws("codepipeline get-pipeline-state --name smartassist");
        assert_eq!(state["stageStates"][0]["actionStates"][0]["currentRevision"]["revisionId"], commit);
        assert!(state["stageStates"][4]["actionStates"][0]["latestExecution"]["token"].is_string(), "{state:#}");
        let services = self.aws("ecs describe-services --cluster smartassist-staging --services chatbot");
        assert_eq!(services["services"][0]["runningCount"], 1);
        let deployments =
            self.aws("deploy list-deployments --application-name smartassist-staging --deployment-group-name chatbot");
        let deployment = deployments["deployments"][0].as_str().expect("a deployment");
        self.aws(&format!("deploy wait deployment-successful --deployment-id {deployment}"));
        let set = &services["services"][0]["taskSets"][0];
        let group = set["loadBalancers"][0]["targetGroupArn"].as_str().expect("a target group");
        let health = self.aws(&format!("elbv2 describe-target-health --target-group-arn {group}"));
        assert_eq!(health["TargetHealthDescriptions"][0]["TargetHealth"]["State"], "healthy");
        let stacks = self.aws("cloudformation describe-stacks --stack-name smartassist-service-staging");
        assert_eq!(stacks["Stacks"][0]["StackStatus"], "CREATE_COMPLETE");
        let events = self.aws("logs filter-log-events --log-group-name /ecs/smartassist-staging");
        assert!(events["events"].as_array().is_some_and(|events| !events.is_empty()), "{events:#}");
    }

    fn aws(&self, arguments: &str) -> Value {
        let mut command = self.program("aws");
        command.args(arguments.split(' ')).env("AWS_PAGER", "").env("AWS_MAX_ATTEMPTS", "1");
        let output = command.output().expect("the AWS CLI runs");
        assert!(output.status.success(), "aws {arguments}: {}", String::from_utf8_lossy(&output.stderr));
        if output.stdout.is_empty() { Value::Null } else { serde_json::from_slice(&output.stdout).expect("JSON") }
    }

    /// A program of this workspace, at the checkout and with this endpoint.
    pub(crate) fn program(&self, name: &str) -> Command {
        let ours = self.programs.join(name);
        let mut command = if ours.exists() { Command::new(ours) } else { Command::new(name) };
        command
            .current_dir(self.checkout())
            .env("AWS_ENDPOINT_URL", &self.url)
            .env("AWS_REGION", "ap-northeast-1")
            .env("AWS_DEFAULT_REGION", "ap-northeast-1")
            .env("AWS_ACCESS_KEY_ID", "local")
            .env("AWS_SECRET_ACCESS_KEY", "local");
        command
    }
}

impl Drop for System {
    fn drop(&mut self) {
        let _ = self.endpoint.kill();
        let _ = self.endpoint.wait();
        let mut stop = Command::new(self.programs.join("localcloud"));
        stop.args(["stop-tasks", "--data-dir"]).arg(self.folder.path().join("data"));
        let _ = stop.stdout(Stdio::null()).status();
    }
}

fn json(command: &mut Command, what: &str) -> (i32, Value) {
    let output = command.output().expect("the program starts");
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    eprintln!("--- {what}\n{err}");
    let document = serde_json::from_str(&out).unwrap_or_else(|error| panic!("{what}: {error} in {out:?}\n{err}"));
    (output.status.code().unwrap_or(-1), document)
}

/// The workspace's other programs: nextest builds only those of the packages whose tests it runs.
fn build_programs() -> PathBuf {
    let status = Command::new(env!("CARGO"))
        .args(["build", "--quiet", "--locked", "--workspace", "--bins"])
        .current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/../.."))
        .status()
        .expect("cargo runs");
    assert!(status.success(), "the workspace's programs can be built");
    Path::new(env!("CARGO_BIN_EXE_deploy")).parent().expect("a folder").to_owned()
}

/// Ports for the endpoint and its listeners: different ones, and below those that the system gives to connections, which
/// could take one between its choice and its use.
fn free_ports<const N: usize>() -> [u16; N] {
    let own = std::process::id() * 97;
    let ports = (0..).map(|step| 10_000 + (own.wrapping_add(step) % 20_000) as u16);
    let mut held = ports.filter_map(|port| TcpListener::bind(("127.0.0.1", port)).ok());
    let held = std::array::from_fn::<_, N, _>(|_| held.next().expect("a free port"));
    held.map(|listener| listener.local_addr().expect("its address").port())
}

fn run(command: &mut Command) {
    let output = command.output().expect("the program starts");
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
}

/// The committed environments with ports of this test's own, and a buildspec that packages the stand-in.
fn make_checkout(folder: &Path, programs: &Path, ports: &[(&str, u16)]) {
    let root = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../.."));
    let checkout = folder.join("checkout");
    for (file, bake) in
        [("project.yaml", None), ("staging/environment.yaml", None), ("production/environment.yaml", Some(()))]
    {
        let mut text = std::fs::read_to_string(root.join("environments").join(file)).expect("a committed environment");
        for (from, to) in ports {
            text = text.replace(&format!("port: {from}"), &format!("port: {to}"));
        }
        if bake.is_some() {
            text = text.replace("bake: 5m", "bake: 1m");
            // A task that fills its memory slowly, on a busy machine, shall die of that and not of its silence.
            text = text.replace("  path: /health\n", "  path: /health\n  grace_period: 4m\n");
        }
        let target = checkout.join("environments").join(file);
        std::fs::create_dir_all(target.parent().expect("a folder")).expect("created");
        std::fs::write(target, text).expect("written");
    }
    run(Command::new(programs.join("synth")).current_dir(&checkout));
    let buildspec = "version: 0.2\nphases:\n  build:\n    commands:\n      - image build --binary \"$STANDIN\" --commit \"$CODEBUILD_RESOLVED_SOURCE_VERSION\" --for staging --push --repository smartassist/chatbot --image-detail imageDetail.json\nartifacts:\n  files: [imageDetail.json, environments/**/taskdef.json, environments/**/appspec.yaml]\n";
    std::fs::write(checkout.join("buildspec.yml"), buildspec).expect("written");
    std::fs::write(checkout.join(".gitignore"), "/target\n").expect("written");
    run(Command::new("git").args(["init", "--quiet", "--initial-branch=main"]).current_dir(&checkout));

    let standin = folder.join("standin");
    let mut compile = Command::new("rustc");
    compile.args(["--edition", "2024", "-O", "-C", "target-feature=+crt-static", "-o"]).arg(&standin);
    run(compile.arg(root.join("crates/standin/src/main.rs")));

    // The smoke test of the pipeline is `cargo xtask smoke URL --commit SHA`; the stand-in answers with its commit and no chat.
    let tools = folder.join("tools");
    std::fs::create_dir_all(&tools).expect("created");
    let smoke = "#!/bin/sh\n[ \"$2\" = smoke ] || exit 9\ncurl --silent --fail \"$3/version\" | grep --quiet \"$5\"\n";
    std::fs::write(tools.join("cargo"), smoke).expect("written");
    std::fs::set_permissions(tools.join("cargo"), std::os::unix::fs::PermissionsExt::from_mode(0o755))
        .expect("executable");
}

fn commit(checkout: &Path, message: &str) -> String {
    let git = |arguments: &[&str]| {
        let mut command = Command::new("git");
        command
            .args(["-c", "user.name=Test", "-c", "user.email=test@example.invalid"])
            .args(arguments)
            .current_dir(checkout);
        let output = command.output().expect("git runs");
        assert!(output.status.success(), "git {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    };
    git(&["add", "--all"]);
    git(&["commit", "--quiet", "--allow-empty", "-m", message]);
    git(&["rev-parse", "HEAD"])
}

fn serve(folder: &Path, programs: &Path, listen: &str) -> (Child, String) {
    let path = std::env::var("PATH").unwrap_or_default();
    let mut command = Command::new(programs.join("localcloud"));
    command
        .args(["serve", "--listen", listen, "--runtime", "process", "--time-scale", TIME_SCALE, "--data-dir"])
        .arg(folder.join("data"));
    command.arg("--source").arg(format!("smartassist/smartassist-chatbot={}", folder.join("checkout").display()));
    let tools = folder.join("tools");
    for (name, value) in [
        ("PATH", format!("{}:{}:{path}", tools.display(), programs.display())),
        ("HOME", folder.display().to_string()),
        ("STANDIN", folder.join("standin").display().to_string()),
    ] {
        command.arg("--build-env").arg(format!("{name}={value}"));
    }
    let mut endpoint = command.stdout(Stdio::piped()).spawn().expect("localcloud starts");
    let mut url = String::new();
    BufReader::new(endpoint.stdout.take().expect("stdout")).read_line(&mut url).expect("its URL");
    (endpoint, url.trim().to_owned())
}

/// GETs a path; the whole answer, or why there is none.
pub(crate) fn get(port: u16, path: &str) -> Result<String, String> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).map_err(|error| error.to_string())?;
    stream.set_read_timeout(Some(Duration::from_secs(60))).map_err(|error| error.to_string())?;
    write!(stream, "GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n")
        .map_err(|error| error.to_string())?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).map_err(|error| error.to_string())?;
    if answer.starts_with("HTTP/1.1 200") { Ok(answer) } else { Err(answer) }
}

/// The commit that answers on a port.
pub(crate) fn version(port: u16) -> String {
    let deadline = Instant::now() + Duration::from_secs(20);
    loop {
        match get(port, "/version") {
            Ok(answer) => return commit_of(&answer).expect("a commit in the answer"),
            Err(_) if Instant::now() < deadline => std::thread::sleep(Duration::from_millis(100)),
            Err(why) => panic!("port {port} does not answer: {why}"),
        }
    }
}

pub(crate) fn commit_of(answer: &str) -> Option<String> {
    let line = answer.lines().find(|line| line.to_ascii_lowercase().starts_with("x-smartbot-commit:"))?;
    Some(line.split_once(':')?.1.trim().to_owned())
}
