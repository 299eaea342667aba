use proptest::prelude::*;

use super::*;

fn models() -> &'static Models {
    static MODELS: std::sync::OnceLock<Models> = std::sync::OnceLock::new();
    MODELS.get_or_init(|| Models::embedded().unwrap())
}

fn json_headers(target: &str) -> HeaderMap {
    let mut headers = HeaderMap::new();
    headers.insert("x-amz-target", target.parse().unwrap());
    headers.insert(CONTENT_TYPE, "application/x-amz-json-1.1".parse().unwrap());
    headers
}

fn cbor_headers() -> HeaderMap {
    let mut headers = HeaderMap::new();
    headers.insert("smithy-protocol", "rpc-v2-cbor".parse().unwrap());
    headers
}

const ECS: &str = "AmazonEC2ContainerServiceV20141113";
const CLOUDWATCH: &str = "GraniteServiceVersion20100801";

#[test]
fn a_json_request_is_routed_by_its_target() {
    let headers = json_headers(&format!("{ECS}.DescribeServices"));
    let request = models().decode("/", &headers, br#"{"cluster":"c","services":["s"],"include":null}"#).unwrap();
    assert_eq!((request.call.service, request.call.operation), (Service::Ecs, "DescribeServices"));
    assert_eq!(request.input, json!({"cluster": "c", "services": ["s"]}));
}

#[test]
fn a_query_request_spells_lists_and_structures() {
    let body = b"Action=CreateRule&Version=2015-12-01&ListenerArn=l&Priority=10&Conditions.member.1.Field=path-pattern\
        &Conditions.member.1.Values.member.1=%2Fa&Conditions.member.1.Values.member.2=%2Fb\
        &Actions.member.1.Type=forward&Actions.member.1.ForwardConfig.TargetGroups.member.1.TargetGroupArn=t\
        &Actions.member.1.ForwardConfig.TargetGroups.member.1.Weight=90";
    let request = models().decode("/", &HeaderMap::new(), body).unwrap();
    assert_eq!(
        request.input,
        json!({
            "ListenerArn": "l", "Priority": 10,
            "Conditions": [{"Field": "path-pattern", "Values": ["/a", "/b"]}],
            "Actions": [{"Type": "forward", "ForwardConfig": {"TargetGroups": [{"TargetGroupArn": "t", "Weight": 90}]}}],
        })
    );
}

#[test]
fn errors_speak_the_protocol_of_the_request() {
    let unknown = models().decode("/", &json_headers(&format!("{ECS}.CreateCapacityProvider")), b"{}").unwrap_err();
    let response = unknown.respond("id");
    assert_eq!(response.status(), 400);
    let body: Value = serde_json::from_slice(response.body()).unwrap();
    assert_eq!(body["__type"], "UnknownOperationException");
    assert!(body["message"].as_str().unwrap().contains("not supported by the embedded endpoint"));

    let response =
        models().decode("/", &HeaderMap::new(), b"Action=CopyImage&Version=2016-11-15").unwrap_err().respond("id");
    assert!(String::from_utf8_lossy(response.body()).contains("<Code>InvalidAction</Code>"));

    let request = models()
        .decode("/", &HeaderMap::new(), b"Action=DescribeTargetHealth&Version=2015-12-01&TargetGroupArn=t")
        .unwrap();
    let response = request.call.fail(&ApiError::new("TargetGroupNotFoundException", "no <such> group"), "id");
    let body = String::from_utf8_lossy(response.body()).into_owned();
    assert!(body.contains("<Code>TargetGroupNotFound</Code><Message>no &lt;such&gt; group</Message>"), "{body}");
}

#[test]
fn cloudwatch_names_the_query_code_to_newer_clients() {
    let path = format!("/service/{CLOUDWATCH}/operation/GetDashboard");
    let mut body = Vec::new();
    ciborium::into_writer(&json!({"DashboardName": "d"}), &mut body).unwrap();
    let request = models().decode(&path, &cbor_headers(), &body).unwrap();
    assert_eq!(request.call.protocol, Protocol::Cbor);
    let response = request.call.fail(&ApiError::new("ResourceNotFound", "none"), "id");
    assert_eq!(response.headers()["x-amzn-query-error"], "ResourceNotFound;Sender");
    assert_eq!(response.status(), 404);
}

#[test]
fn validation_has_awss_words() {
    let rejection =
        models().decode("/", &json_headers("CodePipeline_20150709.GetPipeline"), br#"{"version":0}"#).unwrap_err();
    assert_eq!(rejection.error.code, "ValidationException");
    assert_eq!(
        rejection.error.message,
        "2 validation errors detected: Value null at 'name' failed to satisfy constraint: Member must not be null; \
         Value at 'version' failed to satisfy constraint: Member must have value greater than or equal to 1"
    );
}

#[test]
fn an_answer_that_breaks_the_model_is_a_fault_that_names_it() {
    let request = models().decode("/", &json_headers(&format!("{ECS}.ListClusters")), b"").unwrap();
    assert_eq!(request.call.respond(&json!({"clusterArns": []}), "id").status(), 200);
    let response = request.call.respond(&json!({"clusterArn": []}), "id");
    assert_eq!(response.status(), 500);
    assert!(String::from_utf8_lossy(response.body()).contains("'clusterArn' is not a member"));
}

#[test]
fn a_compressed_body_is_read_and_a_bomb_is_not() {
    let compress = |bytes: &[u8]| {
        let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        std::io::Write::write_all(&mut gzip, bytes).unwrap();
        gzip.finish().unwrap()
    };
    let mut headers = json_headers(&format!("{ECS}.ListClusters"));
    headers.insert(CONTENT_ENCODING, "gzip".parse().unwrap());
    assert_eq!(
        models().decode("/", &headers, &compress(br#"{"maxResults":1}"#)).unwrap().input,
        json!({"maxResults": 1})
    );
    let bomb = compress(&vec![b' '; MAX_INFLATED as usize + 1]);
    assert_eq!(models().decode("/", &headers, &bomb).unwrap_err().error.code, "SerializationException");
}

/// Anything a JSON body may hold, nested.
fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        ".{0,12}".prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 40, 5, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
            proptest::collection::btree_map("[a-zA-Z]{1,12}", inner, 0..5)
                .prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}

proptest! {
    #[test]
    fn malformed_requests_are_refused_and_never_panic(
        body in proptest::collection::vec(any::<u8>(), 0..300),
        path in "/[ -~]{0,60}",
        action in "[A-Za-z]{0,20}",
        way in 0..4,
    ) {
        let headers = match way {
            0 => HeaderMap::new(),
            1 => json_headers(&format!("{ECS}.CreateService")),
            2 => cbor_headers(),
            _ => json_headers(&format!("x.{action}")),
        };
        let _ = models().decode(&path, &headers, &body);
        let _ = models().decode(&format!("/service/{CLOUDWATCH}/operation/PutMetricData"), &cbor_headers(), &body);
        let mut form = b"Action=CreateTargetGroup&Version=2015-12-01&".to_vec();
        form.extend(&body);
        let _ = models().decode("/", &HeaderMap::new(), &form);
    }

    #[test]
    fn any_json_is_answered_without_a_panic(value in any_json()) {
        let headers = json_headers(&format!("{ECS}.RegisterTaskDefinition"));
        if let Err(rejection) = models().decode("/", &headers, value.to_string().as_bytes()) {
            prop_assert_eq!(rejection.respond("id").status(), 400);
        }
        let request = models().decode("/", &HeaderMap::new(), b"Action=DescribeStacks&Version=2010-05-15").unwrap();
        request.call.respond(&value, "id");
        request.call.respond(&json!({"Stacks": [value]}), "id");
    }

    #[test]
    fn cbor_carries_every_value_there_and_back(
        name in "[a-z]{1,20}", value in -1e12..1e12f64, seconds in 0..4_000_000_000i64, unit in prop::sample::select(vec!["Seconds", "Percent"]),
    ) {
        let input = json!({
            "Namespace": "n",
            "MetricData": [{"MetricName": name, "Value": value, "Unit": unit, "Timestamp": seconds}],
        });
        let model = models().with_target_prefix(CLOUDWATCH).unwrap();
        let encoded = cbor::encode(model, model.operations["PutMetricData"].input.as_ref(), &input);
        let path = format!("/service/{CLOUDWATCH}/operation/PutMetricData");
        let decoded = models().decode(&path, &cbor_headers(), &encoded).unwrap().input;
        prop_assert_eq!(decoded["MetricData"][0]["Value"].as_f64(), Some(value));
        prop_assert_eq!(&decoded["MetricData"][0]["Timestamp"], &json!(seconds));
        prop_assert_eq!(&decoded["MetricData"][0]["MetricName"], &json!(name));
    }
}
