//! Seeded defects: each is put into what a cluster would get, and the rule that it breaks must say so. Those that only
//! foreign validators find are in `.ci/mutations.py`.

use std::collections::BTreeSet;
use std::io::Write as _;
use std::process::{Command, Stdio};

use gitops::checks::{check, rules};
use gitops::{Image, rendered};
use serde_json::{Value as Json, json};

/// Production, with a secret.
fn documents() -> Vec<Json> {
    let mut environments = super::environments();
    environments[1].secrets.insert("LLM_API_KEY".to_owned(), "smartassist/llm".to_owned());
    rendered(&super::project(), &environments[1], &Image::none(&super::project())).unwrap()
}

/// The rule, the kind, the field and its new value; null takes it away. Without a field the whole document goes.
#[rustfmt::skip]
fn defects() -> Vec<(&'static str, &'static str, &'static str, Json)> {
    const POD: &str = "/spec/template/spec/containers/0";
    let pod = |field: &str| -> &'static str { Box::leak(format!("{POD}/{field}").into_boxed_str()) };
    vec![
        ("workload-selector", "Deployment", "/spec/selector/matchLabels", json!({"app": "chatbot"})),
        ("workload-selector", "Deployment", "/spec/selector/matchLabels", json!({})),
        ("mutable-image", "Deployment", pod("image"), json!("smartassist/chatbot:latest")),
        ("mutable-image", "Deployment", pod("image"), json!("smartassist/chatbot:v1.2.3")),
        ("pod-security", "Deployment", "/spec/template/spec/securityContext/runAsNonRoot", json!(false)),
        ("pod-security", "Deployment", "/spec/template/spec/securityContext/runAsUser", json!(0)),
        ("pod-security", "Deployment", pod("securityContext/readOnlyRootFilesystem"), json!(false)),
        ("pod-security", "Deployment", pod("securityContext/privileged"), json!(true)),
        ("pod-security", "Deployment", pod("securityContext/capabilities/drop"), json!(["NET_RAW"])),
        ("pod-security", "Deployment", pod("securityContext/allowPrivilegeEscalation"), Json::Null),
        ("pod-resources", "Deployment", pod("resources/limits"), json!({"cpu": "1"})),
        ("pod-resources", "Deployment", pod("resources/requests/cpu"), Json::Null),
        ("pod-resources", "Deployment", pod("resources/requests/memory"), json!("2Gi")),
        ("pod-probes", "Deployment", pod("readinessProbe"), Json::Null),
        ("pod-probes", "Deployment", pod("livenessProbe/httpGet/port"), json!("metrics")),
        ("pod-reference", "Deployment", "/spec/template/spec/serviceAccountName", json!("chatbots")),
        ("pod-reference", "Deployment", pod("envFrom/0/configMapRef/name"), json!("chatbots")),
        ("pod-reference", "Deployment", pod("envFrom/1/secretRef"), json!({"name": "chatbots"})),
        ("pod-reference", "Deployment", pod("volumeMounts/0/name"), json!("dta")),
        ("graceful-stop", "Deployment", pod("lifecycle"), Json::Null),
        ("graceful-stop", "Deployment", "/spec/template/spec/terminationGracePeriodSeconds", json!(5)),
        ("service-selector", "Service", "/spec/selector", json!({"app": "chatbot"})),
        ("service-port", "Service", "/spec/ports/0/targetPort", json!("web")),
        ("service-port", "Service", "/spec/ports/0/targetPort", json!(8081)),
        ("service-port", "Deployment", pod("ports/0/name"), json!("web")),
        ("ingress-backend", "Ingress", "/spec/rules/0/http/paths/0/backend/service/name", json!("chatbots")),
        ("ingress-backend", "Ingress", "/spec/rules/0/http/paths/0/backend/service/port", json!({"number": 8080})),
        ("ingress-backend", "Ingress", "/spec/rules", json!([])),
        ("network-policy", "NetworkPolicy", "/spec/podSelector/matchLabels", json!({"app": "chatbot"})),
        ("network-policy", "NetworkPolicy", "/spec/policyTypes", json!(["Ingress"])),
        ("network-policy", "NetworkPolicy", "/spec/ingress/0/ports/0/port", json!(8081)),
        ("network-policy", "NetworkPolicy", "", Json::Null),
        ("autoscaler-bounds", "HorizontalPodAutoscaler", "/spec/minReplicas", json!(1_000)),
        ("autoscaler-target", "HorizontalPodAutoscaler", "/spec/scaleTargetRef/name", json!("chatbots")),
        ("autoscaler-target", "Deployment", "/spec/replicas", json!(2)),
        ("disruption-budget", "PodDisruptionBudget", "", Json::Null),
        ("disruption-budget", "PodDisruptionBudget", "/spec/selector/matchLabels", json!({"app": "chatbot"})),
        ("disruption-budget", "PodDisruptionBudget", "/spec/maxUnavailable", json!(0)),
        ("rolling-update", "Deployment", "/spec/strategy", json!({"type": "Recreate"})),
        ("rolling-update", "Deployment", "/spec/strategy/rollingUpdate/maxUnavailable", json!("50%")),
        ("rolling-update", "Deployment", "/spec/strategy/rollingUpdate/maxSurge", json!(0)),
        ("application-sync", "Application", "/spec/syncPolicy/automated/selfHeal", json!(false)),
        ("application-sync", "Application", "/spec/source/path", json!("")),
    ]
}

fn seed(mut documents: Vec<Json>, kind: &str, field: &str, value: Json) -> Vec<Json> {
    let place = documents.iter().position(|document| document["kind"] == kind).unwrap_or_else(|| panic!("no {kind}"));
    let Some((parent, key)) = field.rsplit_once('/') else {
        documents.remove(place);
        return documents;
    };
    let parent = documents[place].pointer_mut(parent).unwrap_or_else(|| panic!("{kind} has no {field}"));
    match (parent, value) {
        (Json::Object(fields), Json::Null) => {
            drop(fields.remove(key).unwrap_or_else(|| panic!("{kind} has no {field}")));
        }
        (parent, value) => parent[key] = value,
    }
    documents
}

#[test]
fn what_is_generated_has_no_finding() {
    assert_eq!(check(&documents()), []);
}

#[test]
fn every_defect_is_found_and_every_rule_has_one() {
    let mut proved = BTreeSet::new();
    for (rule, kind, field, value) in defects() {
        let findings = check(&seed(documents(), kind, field, value.clone()));
        let found = findings.iter().any(|finding| finding.rule == rule);
        assert!(found, "{rule} misses {kind} {field} = {value}: {findings:#?}");
        assert!(findings.iter().all(|finding| !finding.problem.is_empty() && !finding.hint.is_empty()));
        proved.insert(rule);
    }
    let all: BTreeSet<_> = rules().map(|rule| rule.name).collect();
    assert_eq!(proved, all);
}

#[test]
fn any_manifests_can_be_validated() {
    let validate = |documents: Vec<Json>| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_gitops"));
        command.args(["validate", "-", "--json"]).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut gitops = command.spawn().unwrap();
        let text: String =
            documents.iter().map(|document| format!("---\n{}", serde_yaml::to_string(document).unwrap())).collect();
        gitops.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
        let output = gitops.wait_with_output().unwrap();
        (output.status.success(), String::from_utf8(output.stderr).unwrap(), output.stdout)
    };
    let (passed, message, stdout) = validate(documents());
    assert!(passed, "{message}");
    assert_eq!(serde_json::from_slice::<Json>(&stdout).unwrap()["findings"], json!([]));

    for nothing in [vec![], vec![json!({"Resources": {}})]] {
        let (passed, message, _) = validate(nothing);
        assert!(!passed && message.contains("something else than Kubernetes documents"), "{message}");
    }

    let (passed, message, _) = validate(seed(documents(), "Service", "/spec/ports/0/targetPort", json!("web")));
    assert!(!passed);
    assert!(message.contains("error: Service chatbot: /spec/ports/0/targetPort: chatbot has no port"), "{message}");
    assert!(message.contains("[service-port]") && message.contains("hint: "), "{message}");
}
