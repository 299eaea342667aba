//! SSM parameters and Secrets Manager secrets.

use serde_json::json;

use crate::server::Endpoint;

#[test]
fn parameters_have_versions_paths_and_secrets() {
    let endpoint = Endpoint::start(&[]);
    let call = |operation: &str, input| endpoint.call("AmazonSSM", operation, &input);
    call("PutParameter", json!({"Name": "/app/url", "Value": "one", "Type": "String"})).expect("put");
    call("PutParameter", json!({"Name": "/app/deep/key", "Value": "hush", "Type": "SecureString"})).expect("put");
    let error =
        call("PutParameter", json!({"Name": "/app/url", "Value": "two", "Type": "String"})).expect_err("exists");
    assert_eq!(error.code, "ParameterAlreadyExists");
    let put = call("PutParameter", json!({"Name": "/app/url", "Value": "two", "Overwrite": true})).expect("put");
    assert_eq!(put["Version"], 2);
    assert_eq!(call("GetParameter", json!({"Name": "/app/url"})).expect("got")["Parameter"]["Value"], "two");
    let first = call("GetParameter", json!({"Name": "/app/url:1"})).expect("got");
    assert_eq!(first["Parameter"]["Value"], "one");
    let by_arn = call("GetParameter", json!({"Name": first["Parameter"]["ARN"]})).expect("got");
    assert_eq!(by_arn["Parameter"]["Version"], 2);

    let shallow = call("GetParametersByPath", json!({"Path": "/app"})).expect("got");
    assert_eq!(shallow["Parameters"].as_array().expect("list").len(), 1);
    let deep = call("GetParametersByPath", json!({"Path": "/app", "Recursive": true})).expect("got");
    assert_eq!(deep["Parameters"].as_array().expect("list").len(), 2);
    let secure =
        |decrypt| call("GetParameter", json!({"Name": "/app/deep/key", "WithDecryption": decrypt})).expect("got");
    assert_eq!(secure(true)["Parameter"]["Value"], "hush");
    assert_ne!(secure(false)["Parameter"]["Value"], "hush");
    let many = call("GetParameters", json!({"Names": ["/app/url", "/none"]})).expect("got");
    assert_eq!(many["InvalidParameters"], json!(["/none"]));
}

#[test]
fn secrets_keep_their_last_value() {
    let endpoint = Endpoint::start(&[]);
    let call = |operation: &str, input| endpoint.call("secretsmanager", operation, &input);
    let created = call("CreateSecret", json!({"Name": "app/key", "SecretString": "one"})).expect("created");
    let error = call("CreateSecret", json!({"Name": "app/key", "SecretString": "x"})).expect_err("exists");
    assert_eq!(error.code, "ResourceExistsException");
    call("PutSecretValue", json!({"SecretId": created["ARN"], "SecretString": "two"})).expect("put");
    assert_eq!(call("GetSecretValue", json!({"SecretId": "app/key"})).expect("got")["SecretString"], "two");
    let previous = json!({"SecretId": "app/key", "VersionStage": "AWSPREVIOUS"});
    assert_eq!(call("GetSecretValue", previous).expect("got")["SecretString"], "one");
    call("DeleteSecret", json!({"SecretId": "app/key"})).expect("deleted");
    let error = call("GetSecretValue", json!({"SecretId": "app/key"})).expect_err("deleted");
    assert_eq!(error.code, "InvalidRequestException");
    assert_eq!(
        call("GetSecretValue", json!({"SecretId": "none"})).expect_err("none").code,
        "ResourceNotFoundException"
    );
}
