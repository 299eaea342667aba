//! Signing with a key in AWS KMS: a fake one, which sees the payload's digest and nothing else.

use std::convert::Infallible;
use std::process::Command;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use p256::ecdsa::signature::hazmat::PrehashSigner as _;
use p256::ecdsa::{DerSignature, SigningKey};
use p256::elliptic_curve::Generate as _;
use p256::pkcs8::EncodePublicKey as _;
use serde_json::{Value, json};
use tokio::net::TcpListener;

use crate::server::{Server, client};

async fn kms(key: SigningKey) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    let key = Arc::new(key);
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let key = Arc::clone(&key);
            let service = service_fn(move |request| answer(request, Arc::clone(&key)));
            tokio::spawn(hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service));
        }
    });
    format!("http://{address}")
}

async fn answer(request: Request<Incoming>, key: Arc<SigningKey>) -> Result<Response<Full<Bytes>>, Infallible> {
    let operation = request.headers()["x-amz-target"].to_str().expect("text").to_owned();
    let body = request.into_body().collect().await.expect("a body").to_bytes();
    let input: Value = serde_json::from_slice(&body).expect("JSON");
    assert_eq!(input["KeyId"], "alias/release");
    let output = match operation.as_str() {
        "TrentService.GetPublicKey" => {
            let der = key.verifying_key().to_public_key_der().expect("encoded");
            json!({"PublicKey": STANDARD.encode(der.as_bytes()), "KeySpec": "ECC_NIST_P256"})
        }
        "TrentService.Sign" => {
            assert_eq!(
                (&input["MessageType"], &input["SigningAlgorithm"]),
                (&"DIGEST".into(), &"ECDSA_SHA_256".into())
            );
            let digest = STANDARD.decode(input["Message"].as_str().expect("text")).expect("base64");
            assert_eq!(digest.len(), 32);
            let signature: DerSignature = key.sign_prehash(&digest).expect("signed");
            json!({"Signature": STANDARD.encode(signature.as_bytes())})
        }
        other => panic!("{other} is not needed"),
    };
    Ok(Response::new(Full::new(Bytes::from(output.to_string()))))
}

#[tokio::test(flavor = "multi_thread")]
async fn an_image_is_signed_and_verified_with_a_key_that_never_leaves_kms() {
    let scratch = tempfile::tempdir().expect("a directory");
    let Some(server) = Server::start(scratch.path()) else { return };
    let image = crate::fixture::image(b"x");
    client(&server.repository(), "secret").push(&image, &["0123456".parse().expect("a tag")]).await.expect("pushed");
    let endpoint = kms(SigningKey::try_generate().expect("a key")).await;
    let reference = format!("{}@{}", server.repository(), image.digest());
    let call = |verb: &str| {
        let output = Command::new(env!("CARGO_BIN_EXE_image"))
            .args([verb, &reference, "--key", "awskms:///alias/release"])
            .envs([("REGISTRY_USERNAME", "user"), ("REGISTRY_PASSWORD", "secret")])
            .envs([("AWS_ENDPOINT_URL", endpoint.as_str()), ("AWS_REGION", "ap-northeast-1")])
            .envs([("AWS_ACCESS_KEY_ID", "test"), ("AWS_SECRET_ACCESS_KEY", "test")])
            .output()
            .expect("image starts");
        (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
    };
    let (code, stderr) = call("verify");
    assert_eq!(code, Some(65), "not signed yet: {stderr}");
    let (code, stderr) = call("sign");
    assert_eq!(code, Some(0), "{stderr}");
    let (code, stderr) = call("verify");
    assert_eq!(code, Some(0), "{stderr}");
}
