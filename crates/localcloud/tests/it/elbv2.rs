//! Load balancing through the API and the listeners' real ports, with plain servers as targets.

pub(crate) mod fixture;

use std::time::{Duration, Instant};

use fixture::{Backend, Balancer, Load};
use http_body_util::BodyExt;
use hyper::StatusCode;
use localcloud::services::Service;
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

#[tokio::test(flavor = "multi_thread")]
async fn no_request_is_lost_while_weights_targets_and_health_change() {
    let lb = Balancer::start().await;
    let (blue, green) = (lb.group("blue").await, lb.group("green").await);
    let first = Backend::start("first").await;
    lb.register(&blue, &first).await;
    let (listener, port) = lb.listen(&[(&blue, 100), (&green, 0)]).await;
    lb.wait_for(&blue, &first, "healthy").await;

    let load = Load::start(port, 8);
    for cycle in 0..6 {
        let next = Backend::start(&format!("green{cycle}")).await;
        lb.register(&green, &next).await;
        lb.wait_for(&green, &next, "healthy").await;
        for weight in [0, 1, 10, 25, 50, 75, 90, 99, 100, 60, 30, 100, 0, 100] {
            lb.shift(&listener, &[(&blue, 100 - weight), (&green, weight)]).await;
            tokio::time::sleep(Duration::from_millis(8)).await;
        }
        // A shift is complete when it returns: from here on only green answers.
        for _ in 0..5 {
            assert_eq!(fixture::get(port, "/").await.1, format!("green{cycle}"));
        }
        lb.shift(&listener, &[(&blue, 100), (&green, 0)]).await;
        lb.deregister(&green, &next).await;
        assert_eq!(lb.state(&green, &next).await.0, "draining");
        lb.wait_for(&green, &next, "unused").await;
        // Drained means that nobody needs it any more.
        next.kill();
    }
    let outcome = load.stop().await;
    assert!(outcome.answered > 500, "{outcome:?}");
    outcome.nothing_lost();
}

#[tokio::test(flavor = "multi_thread")]
async fn weights_split_requests() {
    let lb = Balancer::start().await;
    let (blue, green) = (lb.group("blue").await, lb.group("green").await);
    let (a, b) = (Backend::start("a").await, Backend::start("b").await);
    lb.register(&blue, &a).await;
    lb.register(&green, &b).await;
    let (_, port) = lb.listen(&[(&blue, 90), (&green, 10)]).await;
    lb.wait_for(&blue, &a, "healthy").await;
    lb.wait_for(&green, &b, "healthy").await;
    let mut green_answers = 0;
    for _ in 0..200 {
        green_answers += u32::from(fixture::get(port, "/").await.1 == "b");
    }
    assert!((17..=23).contains(&green_answers), "{green_answers} of 200 at 10 %");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_stream_is_not_buffered_and_survives_a_shift_and_draining() {
    let lb = Balancer::start().await;
    let (blue, green) = (lb.group("blue").await, lb.group("green").await);
    let (old, new) = (Backend::start("old").await, Backend::start("new").await);
    lb.register(&blue, &old).await;
    lb.register(&green, &new).await;
    let (listener, port) = lb.listen(&[(&blue, 1), (&green, 0)]).await;
    lb.wait_for(&blue, &old, "healthy").await;
    lb.wait_for(&green, &new, "healthy").await;

    let began = Instant::now();
    let mut stream = fixture::open(port, "/events").await;
    let first = stream.body_mut().frame().await.expect("a frame").expect("data").into_data().expect("bytes");
    assert_eq!(&first[..], b"data: old 0\n\n");
    assert!(began.elapsed() < Duration::from_millis(300), "the first event took {:?}", began.elapsed());

    lb.shift(&listener, &[(&blue, 0), (&green, 1)]).await;
    lb.deregister(&blue, &old).await;
    assert_eq!(fixture::get(port, "/").await.1, "new");
    tokio::time::sleep(Duration::from_millis(400)).await;
    assert_eq!(lb.state(&blue, &old).await.0, "draining", "an open stream keeps the target draining");
    let rest = stream.into_body().collect().await.expect("the stream ends whole").to_bytes();
    assert!(rest.ends_with(b"data: old 9\n\n"), "{rest:?}");
    lb.wait_for(&blue, &old, "unused").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn gateway_errors_are_told_apart() {
    let lb = Balancer::start().await;
    let group = lb.group("group").await;
    let (_, port) = lb.listen(&[(&group, 1)]).await;
    assert_eq!(fixture::get(port, "/").await.0, StatusCode::SERVICE_UNAVAILABLE, "no target");

    let target = Backend::start("target").await;
    lb.register(&group, &target).await;
    lb.wait_for(&group, &target, "healthy").await;
    assert_eq!(fixture::get(port, "/broken").await.0, StatusCode::BAD_GATEWAY, "the target closes without an answer");
    lb.idle_timeout(1).await;
    assert_eq!(fixture::get(port, "/never").await.0, StatusCode::GATEWAY_TIMEOUT, "the target does not answer");
    assert_eq!(fixture::get(port, "/").await, (StatusCode::OK, "target".to_owned()));
    target.kill();
    assert_eq!(fixture::get(port, "/").await.0, StatusCode::BAD_GATEWAY, "the target is gone");
}

#[tokio::test(flavor = "multi_thread")]
async fn upgrades_pass_through() {
    let lb = Balancer::start().await;
    let group = lb.group("group").await;
    let target = Backend::start("target").await;
    lb.register(&group, &target).await;
    let (_, port) = lb.listen(&[(&group, 1)]).await;
    lb.wait_for(&group, &target, "healthy").await;
    let mut stream = TcpStream::connect(("127.0.0.1", port)).await.expect("connected");
    stream
        .write_all(b"GET /socket HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
        .await
        .expect("sent");
    let mut head = vec![];
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.expect("the head"));
    }
    let head = String::from_utf8_lossy(&head).to_ascii_lowercase();
    assert!(head.starts_with("http/1.1 101") && head.contains("upgrade: websocket"), "{head}");
    stream.write_all(b"ping").await.expect("sent");
    let mut echo = [0; 4];
    stream.read_exact(&mut echo).await.expect("echoed");
    assert_eq!(&echo, b"ping");
}

#[tokio::test(flavor = "multi_thread")]
async fn target_health_says_why() {
    let lb = Balancer::start().await;
    let group = lb.group("group").await;
    let good = Backend::start("good").await;
    lb.register(&group, &good).await;
    let unused = lb.state(&group, &good).await;
    assert_eq!((unused.0.as_str(), unused.1.as_str()), ("unused", "Target.NotInUse"));

    let (_, port) = lb.listen(&[(&group, 1)]).await;
    lb.wait_for(&group, &good, "healthy").await;
    let wrong = Backend::start_unhealthy("wrong").await;
    lb.register(&group, &wrong).await;
    assert_eq!(lb.state(&group, &wrong).await.0, "initial");
    lb.wait_for(&group, &wrong, "unhealthy").await;
    assert_eq!(
        lb.state(&group, &wrong).await,
        (
            "unhealthy".to_owned(),
            "Target.ResponseCodeMismatch".to_owned(),
            "Health checks failed with these codes: [404]".to_owned()
        )
    );
    for _ in 0..10 {
        assert_eq!(fixture::get(port, "/").await.1, "good", "an unhealthy target gets nothing");
    }
    good.kill();
    lb.wait_for(&group, &good, "unhealthy").await;
    assert_eq!(lb.state(&group, &good).await.1, "Target.FailedHealthChecks");
    // With nobody healthy all of them are tried: the load balancer fails open.
    let mut answers = std::collections::BTreeSet::new();
    for _ in 0..4 {
        answers.insert(fixture::get(port, "/").await.1);
    }
    assert!(answers.contains("wrong"), "{answers:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn rules_redirects_and_fixed_responses_apply_in_order() {
    let lb = Balancer::start().await;
    let group = lb.group("group").await;
    let target = Backend::start("target").await;
    lb.register(&group, &target).await;
    let (listener, port) = lb.listen(&[(&group, 1)]).await;
    lb.wait_for(&group, &target, "healthy").await;
    for (priority, path, action) in [
        (20, "/old/*", json!({"Type": "redirect", "RedirectConfig": {"Path": "/new", "StatusCode": "HTTP_302"}})),
        (
            10,
            "/closed",
            json!({"Type": "fixed-response", "FixedResponseConfig": {"StatusCode": "410", "MessageBody": "closed"}}),
        ),
    ] {
        lb.call(
            "CreateRule",
            json!({
                "ListenerArn": listener,
                "Priority": priority,
                "Conditions": [{"Field": "path-pattern", "Values": [path]}],
                "Actions": [action],
            }),
        )
        .await;
    }
    assert_eq!(fixture::get(port, "/closed").await, (StatusCode::GONE, "closed".to_owned()));
    let moved = fixture::open(port, "/old/page?a=b").await;
    assert_eq!(moved.headers()["location"], format!("http://127.0.0.1:{port}/new?a=b"));
    assert_eq!(fixture::get(port, "/else").await.1, "target");
    let rules = lb.call("DescribeRules", json!({"ListenerArn": listener})).await;
    let priorities: Vec<_> =
        rules["Rules"].as_array().expect("rules").iter().map(|rule| rule["Priority"].clone()).collect();
    assert_eq!(priorities, ["10", "20", "default"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn targets_learn_who_asked_and_hop_by_hop_headers_stay_out() {
    let lb = Balancer::start().await;
    let group = lb.group("group").await;
    let target = Backend::start("target").await;
    lb.register(&group, &target).await;
    let (_, port) = lb.listen(&[(&group, 1)]).await;
    lb.wait_for(&group, &target, "healthy").await;
    let mut stream = TcpStream::connect(("127.0.0.1", port)).await.expect("connected");
    stream
        .write_all(b"GET /headers HTTP/1.1\r\nHost: app\r\nX-Forwarded-For: 10.1.1.1\r\nConnection: close, x-hop\r\nX-Hop: 1\r\nTE: trailers\r\n\r\n")
        .await
        .expect("sent");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.expect("answered");
    for part in [
        "x-forwarded-for: 10.1.1.1, 127.0.0.1",
        "x-forwarded-proto: http",
        &format!("x-forwarded-port: {port}"),
        "host: app",
    ] {
        assert!(answer.contains(part), "{part} in {answer}");
    }
    assert!(!answer.contains("x-hop: 1") && !answer.contains("te: trailers"), "{answer}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restarted_endpoint_serves_at_once_with_the_same_weights() {
    let mut lb = Balancer::start().await;
    let (blue, green) = (lb.group("blue").await, lb.group("green").await);
    let (a, b) = (Backend::start("a").await, Backend::start("b").await);
    lb.register(&blue, &a).await;
    lb.register(&green, &b).await;
    let (_, port) = lb.listen(&[(&blue, 0), (&green, 1)]).await;
    lb.wait_for(&green, &b, "healthy").await;
    lb.restart().await;
    for _ in 0..10 {
        assert_eq!(fixture::get(port, "/").await, (StatusCode::OK, "b".to_owned()));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deleted_listeners_port_can_be_used_at_once() {
    let lb = Balancer::start().await;
    let group = lb.group("group").await;
    let (mut listener, port) = lb.listen(&[(&group, 1)]).await;
    let actions = json!([{"Type": "forward", "TargetGroupArn": group}]);
    for _ in 0..20 {
        assert_eq!(fixture::get(port, "/").await.0, StatusCode::SERVICE_UNAVAILABLE);
        lb.call("DeleteListener", json!({"ListenerArn": listener})).await;
        let input = json!({"LoadBalancerArn": lb.arn, "Protocol": "HTTP", "Port": port, "DefaultActions": actions});
        let created = lb.call("CreateListener", input).await;
        listener = created["Listeners"][0]["ListenerArn"].as_str().expect("an ARN").to_owned();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_requests_get_errors_of_aws_kind() {
    let lb = Balancer::start().await;
    let group = lb.group("group").await;
    let (_, port) = lb.listen(&[(&group, 1)]).await;
    let forward = json!([{"Type": "forward", "TargetGroupArn": group}]);
    let taken = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("bound");
    let taken_port = taken.local_addr().expect("an address").port();
    for (operation, input, code) in [
        ("DescribeLoadBalancers", json!({"Names": ["none"]}), "LoadBalancerNotFound"),
        ("DescribeTargetGroups", json!({"Names": ["none"]}), "TargetGroupNotFound"),
        ("DescribeListeners", json!({"ListenerArns": ["none"]}), "ListenerNotFound"),
        ("DeleteTargetGroup", json!({"TargetGroupArn": group}), "ResourceInUse"),
        ("DescribeTargetHealth", json!({"TargetGroupArn": "none"}), "TargetGroupNotFound"),
        (
            "CreateListener",
            json!({"LoadBalancerArn": lb.arn, "Protocol": "HTTP", "Port": port, "DefaultActions": forward}),
            "DuplicateListener",
        ),
        (
            "CreateListener",
            json!({"LoadBalancerArn": lb.arn, "Protocol": "HTTP", "Port": taken_port, "DefaultActions": forward}),
            "InvalidConfigurationRequest",
        ),
        (
            "CreateListener",
            json!({"LoadBalancerArn": lb.arn, "Protocol": "HTTPS", "Port": 443, "DefaultActions": forward}),
            "UnsupportedByLocalEndpoint",
        ),
        ("ModifyTargetGroup", json!({"TargetGroupArn": group, "HealthCheckTimeoutSeconds": 60}), "ValidationError"),
        ("RegisterTargets", json!({"TargetGroupArn": group, "Targets": [{"Id": "10.0.0.1"}]}), "InvalidTarget"),
    ] {
        let error = lb.cloud.call(Service::Elbv2, operation, input).await.expect_err(operation);
        assert_eq!(error.code, code, "{operation}: {}", error.message);
    }
}
