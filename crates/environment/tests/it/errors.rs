//! Wrong files: every message names file, line, column and field, and says what to do.

use environment::{Environment, EnvironmentName, Problem, Project};

const PRODUCTION: &str = include_str!("../../../../environments/production/environment.yaml");
const PROJECT: &str = include_str!("../../../../environments/project.yaml");

fn problems(text: &str) -> Vec<Problem> {
    Environment::parse("environment.yaml", text, EnvironmentName::Production).unwrap_err().problems().to_vec()
}

/// The committed file with one line changed; returns the only problem and the number of the changed line.
fn change(from: &str, to: &str) -> (Problem, usize) {
    let line = PRODUCTION.lines().position(|line| line.contains(from)).expect("the line is in the file") + 1;
    let problems = problems(&PRODUCTION.replacen(from, to, 1));
    assert_eq!(problems.len(), 1, "{problems:#?}");
    (problems[0].clone(), line)
}

#[test]
fn an_unknown_field_gets_a_suggestion() {
    let (problem, line) = change("  memory: 512MiB", "  memory: 512MiB\n  stop_timout: 60s");
    assert_eq!((problem.line, problem.column), (line + 1, 3));
    assert_eq!(problem.field, "task.stop_timout");
    assert_eq!(problem.message, "unknown field `stop_timout`");
    assert_eq!(problem.hint, "did you mean `stop_timeout`?");
}

#[test]
fn an_unknown_section_lists_what_there_is() {
    let (problem, _) = change("chat:", "hooks: []\nchat:");
    assert_eq!(problem.field, "hooks");
    assert!(problem.hint.starts_with("one of: where, network, edge"), "{problem}");
}

#[test]
fn a_missing_field_is_named_with_its_section() {
    let (problem, line) = change("  cpu: 256", "");
    assert_eq!(problem.field, "task.cpu");
    assert_eq!(problem.hint, "add `task.cpu`");
    assert!(problem.line.abs_diff(line) <= 1, "{problem}");
}

#[test]
fn a_number_without_unit_says_which_units_there_are() {
    let (problem, line) = change("  interval: 5s", "  interval: 5");
    assert_eq!((problem.line, problem.field.as_str()), (line, "health_check.interval"));
    assert!(problem.message.contains("`5` has no unit") && problem.message.contains("30s or 5m"), "{problem}");
}

#[test]
fn a_wrong_variant_gets_a_suggestion() {
    let (problem, line) = change("  nat: single", "  nat: singel");
    assert_eq!((problem.line, problem.field.as_str()), (line, "network.nat"));
    assert_eq!(problem.hint, "did you mean `single`?");
}

#[test]
fn a_canary_of_everything_is_refused() {
    let (problem, line) = change("      percent: 10", "      percent: 100");
    assert_eq!(problem.line, line);
    assert!(problem.message.contains("from 1 to 99"), "{problem}");
}

#[test]
fn broken_yaml_is_reported_where_it_breaks() {
    let problems = problems("network: {cidr: [\n");
    assert!(problems[0].line > 0, "{problems:?}");
}

#[test]
fn limits_of_aws_are_checked_one_by_one() {
    let cases = [
        ("  memory: 512MiB", "  memory: 3GiB", "task.memory"),
        ("  cpu: 256", "  cpu: 300", "task.cpu"),
        ("  test_port: 9081", "  test_port: 9080", "edge.test_port"),
        ("  timeout: 2s", "  timeout: 5s", "health_check.timeout"),
        ("  interval: 5s", "  interval: 4s", "health_check.interval"),
        ("  healthy_threshold: 2", "  healthy_threshold: 1", "health_check.healthy_threshold"),
        ("  path: /health", "  path: health", "health_check.path"),
        ("  stop_timeout: 60s", "  stop_timeout: 121s", "task.stop_timeout"),
        ("  stop_timeout: 60s", "  stop_timeout: 49s", "task.drain"),
        ("  deregistration_delay: 60s", "  deregistration_delay: 30s", "health_check.deregistration_delay"),
        ("      for: 1m", "      for: 90s", "deployment.strategy.canary.for"),
        ("  bake: 5m", "  bake: 90s", "deployment.bake"),
        ("  desired: 2", "  desired: 11", "autoscaling.desired"),
        ("  max: 10", "  max: 1", "autoscaling.max"),
        ("    cpu_percent: 60", "    cpu_percent: 100", "autoscaling.targets.cpu_percent"),
        ("  cidr: 10.20.0.0/16", "  cidr: 10.20.1.0/16", "network.cidr"),
        ("  zones: 2", "  zones: 1", "network.zones"),
        ("  nat: single", "  nat: none", "network.endpoints"),
        ("edge:", "edge:\n  domain: chat.example.com", "edge.domain"),
        ("chat:", "where:\n  account: \"1234\"\nchat:", "where.account"),
        ("chat:", "secrets:\n  api_key: smartassist/key\nchat:", "secrets.api_key"),
        ("chat:", "data: {parameters: {greeting: hello}}\nchat:", "data.parameters.greeting"),
        ("chat:", "data: {secrets: [{name: a/b, rotation: {function: rotate}}]}\nchat:", "data.secrets"),
        ("chat:", "alarms: {latency_p99: 0s}\nchat:", "alarms.latency_p99"),
        ("chat:", "security: {log_retention: 31d}\nchat:", "security.log_retention"),
        ("chat:", "security: {firewall: true, firewall_rate: 9}\nchat:", "security.firewall_rate"),
        ("  bake: 5m", "  bake: 5m\n  hooks: {code_bucket: b, code_key: canary}", "deployment.hooks.code_key"),
        (
            "  bake: 5m",
            "  bake: 5m\n  hooks: {code_bucket: b, code_key: c.zip, timeout: 16m}",
            "deployment.hooks.timeout",
        ),
        ("  bake: 5m", "  bake: 5m\n  hooks: {code_bucket: b, code_key: c.zip, watch: 6m}", "deployment.hooks.watch"),
        (
            "  max: 10",
            "  max: 10\n  schedules: [{name: a, cron: 0 9 * * MON *, min: 1, max: 2}]",
            "autoscaling.schedules",
        ),
    ];
    for (from, to, field) in cases {
        let (problem, _) = change(from, to);
        assert_eq!(problem.field, field, "{problem}");
        assert!(problem.line > 1 && problem.column > 0 && !problem.hint.is_empty(), "{problem}");
    }
}

#[test]
fn what_an_image_must_show_is_checked() {
    let with = |image: &str| PRODUCTION.replacen("\ntask:", &format!("\nimage:\n{image}\ntask:"), 1);
    let good = with(
        "  signature:\n    keys: [release.pub]\n  scan:\n    threshold: high\n    unscanned: allow\n    exceptions:\n      \
         - advisory: RUSTSEC-2024-0001\n        reason: the parser is never called\n        expires: 2026-12-31\n",
    );
    let environment = Environment::parse("environment.yaml", &good, EnvironmentName::Production).expect("valid");
    let scan = environment.image.scan.expect("a gate");
    assert_eq!(scan.exceptions[0].expires.to_string(), "2026-12-31");
    assert_eq!(scan.unscanned, environment::Unscanned::Allow);
    let cases = [
        ("keys: [release.pub]", "keys: []", "image.signature.keys"),
        ("keys: [release.pub]", "keys: [../release.pub]", "image.signature.keys"),
        ("keys: [release.pub]", "keys: [/etc/release.pub]", "image.signature.keys"),
        ("reason: the parser is never called", "reason: later", "image.scan.exceptions"),
        ("advisory: RUSTSEC-2024-0001", "advisory: \"\"", "image.scan.exceptions"),
        ("threshold: high", "threshold: hihg", "image.scan.threshold"),
        ("threshold: high", "treshold: high", "image.scan.treshold"),
    ];
    for (from, to, field) in cases {
        let problem = &problems(&good.replacen(from, to, 1))[0];
        assert_eq!(problem.field, field, "{problem}");
        assert!(problem.line > 1 && !problem.hint.is_empty(), "{problem}");
    }
    let problem = &problems(&good.replacen("2026-12-31", "2026-02-30", 1))[0];
    assert!(problem.message.contains("no day of the calendar"), "{problem}");
}

#[test]
fn the_line_is_that_of_the_field_and_not_of_its_namesake() {
    // `timeout` stands in the health check; `stop_timeout` before it must not be mistaken for it.
    let (problem, line) = change("  timeout: 2s", "  timeout: 1s");
    assert_eq!((problem.line, problem.column), (line, 3));
}

#[test]
fn all_problems_are_reported_at_once() {
    let text = PRODUCTION
        .replace("  test_port: 9081", "  test_port: 9080")
        .replace("  bake: 5m", "  bake: 30s")
        .replace("  desired: 2", "  desired: 1");
    let fields: Vec<_> = problems(&text).into_iter().map(|problem| problem.field).collect();
    assert_eq!(fields, ["edge.test_port", "deployment.bake", "autoscaling.desired"]);
}

#[test]
fn the_message_reads_from_file_to_hint() {
    let text = PRODUCTION.replace("  desired: 2", "  desired: 1");
    let error = Environment::parse("environments/production/environment.yaml", &text, EnvironmentName::Production);
    let line = text.lines().position(|line| line == "  desired: 1").unwrap() + 1;
    assert_eq!(
        error.unwrap_err().to_string(),
        format!(
            "environments/production/environment.yaml:{line}:3: autoscaling.desired: 1 is outside 2 to 10\n  \
             hint: keep desired between min and max"
        )
    );
}

#[test]
fn a_file_that_is_not_there_says_where_to_run() {
    let directory = tempfile::tempdir().unwrap();
    let message = Project::load(directory.path()).unwrap_err().to_string();
    assert!(message.contains("project.yaml") && message.contains("hint: run it at the root"), "{message}");
}

#[test]
fn the_project_file_is_checked_too() {
    let cases = [
        ("name: smartassist\n", "name: SmartAssist\n", "name"),
        ("repository: smartassist/smartassist-chatbot", "repository: chatbot", "source.repository"),
        ("image: rust:1.95-bookworm", "image: rust:latest", "build.image"),
        ("endpoint: http://127.0.0.1:7400", "endpoint: http://example.com", "local.endpoint"),
        ("provider: CodeStarSourceConnection", "provider: Subversion", "source.provider"),
        ("provider: CodeStarSourceConnection", "provider: CodeCommit", "source.repository"),
        ("build:\n", "build:\n  builder: docker\n", "build.image"),
        ("build:\n", "build:\n  signing_key: alias/aws/ecr\n", "build.signing_key"),
        ("build:\n", "build:\n  signing_key: release.key\n", "build.signing_key"),
        ("build:\n", "build:\n  advisories: /advisory-db\n", "build.advisories"),
        ("build:\n", "build:\n  advisories: https://example.com/a;b\n", "build.advisories"),
        ("build:\n", "registry: {keep_production: 1}\nbuild:\n", "registry"),
        ("build:\n", "registry: {pull_accounts: [\"12\"]}\nbuild:\n", "registry.pull_accounts"),
        ("build:\n", "notify: {emails: [nobody]}\nbuild:\n", "notify.emails"),
        ("build:\n", "notify: {slack: {workspace: T01, channel: general}}\nbuild:\n", "notify.slack.channel"),
        ("build:\n", "notify: {pagerduty: \"https://events.example.com\"}\nbuild:\n", "notify.pagerduty"),
        ("pipeline:\n", "pipeline:\n  approval_timeout: 90d\n", "pipeline.approval_timeout"),
        ("pipeline:\n", "pipeline:\n  approval_overdue: 1m\n", "pipeline.approval_overdue"),
        ("pipeline:\n", "pipeline:\n  window: \"* 0-9 * * *\"\n", "pipeline.window"),
    ];
    for (from, to, field) in cases {
        let error = Project::parse("project.yaml", &PROJECT.replacen(from, to, 1)).unwrap_err();
        assert_eq!(error.problems()[0].field, field, "{error}");
    }
}

#[test]
fn an_unknown_environment_names_the_known_ones() {
    let error = "prd".parse::<EnvironmentName>().unwrap_err().to_string();
    assert!(error.contains("`prd`") && error.contains("hint:"), "{error}");
}

#[test]
fn a_chatbot_that_would_not_start_is_refused() {
    let table = PRODUCTION.replace("conversation_store: embedded", "conversation_store: dynamodb");
    let missing: Vec<_> = problems(&table).iter().map(|problem| problem.message.clone()).collect();
    assert_eq!(missing.len(), 2, "{missing:?}");
    assert!(missing[0].contains("SESSION_SECRET") && missing[1].contains("OPERATOR_KEY_SHA256"));
    let secrets = "\nsecrets:\n  SESSION_SECRET: a/session\n  OPERATOR_KEY_SHA256: a/operator\n";
    let whole = Environment::parse("environment.yaml", &(table + secrets), EnvironmentName::Production).unwrap();
    assert_eq!(whole.chat.features(), ["dynamodb"]);

    let models = |models: &str| PRODUCTION.replace("chat:", &format!("chat:\n  models: [{models}]"));
    let bedrock = models("bedrock:apac.amazon.nova-lite-v1:0");
    let bedrock = Environment::parse("environment.yaml", &bedrock, EnvironmentName::Production).unwrap();
    assert_eq!(bedrock.chat.features(), ["bedrock"]);
    assert_eq!(bedrock.chat.bedrock_models().collect::<Vec<_>>(), ["apac.amazon.nova-lite-v1:0"]);
    for (wrong, about) in [("nova", "`nova` is no model"), ("openai:gpt-4.1-mini", "needs OPENAI_API_KEY")] {
        let problems = problems(&models(wrong));
        assert!(problems.len() == 1 && problems[0].message.contains(about), "{problems:?}");
    }
}
