//! Pushing to a registry that behaves, and to one that does not.

use http::StatusCode;
use image::credentials::Credentials;
use image::progress::Step;
use image::registry::{Options, Pushed, Registry, RegistryError, Repository};
use image::{Kind, Tag};

use crate::fake::{Fake, Reading, State};
use crate::fixture::{dirty_image, image, impatient, quiet};

fn tags(names: &[&str]) -> Vec<Tag> {
    names.iter().map(|name| name.parse().expect("a tag")).collect()
}

fn client(repository: Repository, password: Option<&str>) -> Registry<'static> {
    let credentials =
        password.map(|password| Credentials { username: "user".to_owned(), password: password.to_owned() });
    Registry::new(repository, credentials, impatient(), &quiet).expect("a client")
}

fn basic() -> State {
    // user:secret
    State {
        authorization: Some("Basic dXNlcjpzZWNyZXQ=".to_owned()),
        challenge: "Basic realm=\"r\"".to_owned(),
        ..State::default()
    }
}

#[tokio::test]
async fn a_push_sends_what_is_missing_and_the_second_one_nothing() {
    let fake = Fake::start(State::default()).await;
    let image = image(b"content");
    let names = tags(&["0123456", "staging-0123456"]);
    let pushed = client(fake.repository(), None).push(&image, &names).await.expect("pushed");
    assert_eq!(pushed, Pushed { uploaded: 3, mounted: 0, tagged: 2 });
    {
        let state = fake.state();
        assert_eq!(state.manifests["staging-0123456"], image.manifest.bytes);
        let last_blob = state.log.iter().rposition(|line| line.contains("/blobs/")).expect("a blob");
        let first_put =
            state.log.iter().position(|line| line.starts_with("PUT /v2/team/app/manifests/")).expect("a tag");
        assert!(last_blob < first_put, "the manifest comes last: {:#?}", state.log);
    }
    fake.state().log.clear();
    let pushed = client(fake.repository(), None).push(&image, &names).await.expect("pushed again");
    assert_eq!(pushed, Pushed { uploaded: 0, mounted: 0, tagged: 0 });
    assert_eq!(fake.state().log.len(), 2, "one look at each tag");
}

#[tokio::test]
async fn basic_authentication_is_answered_once() {
    let fake = Fake::start(basic()).await;
    client(fake.repository(), Some("secret")).push(&image(b"x"), &tags(&["a"])).await.expect("pushed");
    assert_eq!(fake.count("HEAD /v2/team/app/manifests/a"), 2, "the first one was challenged, no other");
}

#[tokio::test]
async fn a_wrong_and_a_missing_password_are_told_apart() {
    let fake = Fake::start(basic()).await;
    let error = client(fake.repository(), Some("wrong")).push(&image(b"x"), &tags(&["a"])).await.expect_err("refused");
    assert!(matches!(&error, RegistryError::WrongCredentials { username, .. } if username == "user"), "{error}");
    assert_eq!(error.kind(), Kind::Configuration);
    assert!(!format!("{error:?} {error}").contains("wrong"), "the password is not shown");
    let error = client(fake.repository(), None).push(&image(b"x"), &tags(&["a"])).await.expect_err("refused");
    assert!(matches!(error, RegistryError::NoCredentials { .. }), "{error}");
    assert!(error.hint().is_some_and(|hint| hint.contains("docker login")));
}

#[tokio::test]
async fn a_bearer_token_is_fetched_where_the_challenge_says() {
    let fake = Fake::start(State::default()).await;
    {
        let mut state = fake.state();
        state.authorization = Some("Bearer abc".to_owned());
        state.token_authorization = basic().authorization;
        state.challenge =
            format!(r#"Bearer realm="http://{}/token",service="fake",scope="repository:team/app:pull""#, fake.address);
    }
    client(fake.repository(), Some("secret")).push(&image(b"x"), &tags(&["a"])).await.expect("pushed");
    assert_eq!(fake.count("GET /token"), 1);
    let error = client(fake.repository(), Some("wrong")).push(&image(b"x"), &tags(&["b"])).await.expect_err("refused");
    assert!(matches!(error, RegistryError::WrongCredentials { .. }), "{error}");
}

#[tokio::test]
async fn a_password_is_never_sent_to_a_realm_without_tls() {
    let fake = Fake::start(State {
        authorization: Some("Bearer abc".to_owned()),
        challenge: r#"Bearer realm="http://tokens.example.com/token""#.to_owned(),
        ..State::default()
    })
    .await;
    let error = client(fake.repository(), Some("secret")).push(&image(b"x"), &tags(&["a"])).await.expect_err("refused");
    assert!(matches!(error, RegistryError::Challenge { .. }), "{error}");
}

#[tokio::test]
async fn a_busy_registry_is_tried_again_and_a_broken_one_given_up() {
    let busy = [StatusCode::TOO_MANY_REQUESTS, StatusCode::SERVICE_UNAVAILABLE, StatusCode::BAD_GATEWAY];
    let fake = Fake::start(State { failures: busy.into(), broken_uploads: 2, ..State::default() }).await;
    client(fake.repository(), None).push(&image(b"x"), &tags(&["a"])).await.expect("pushed after retries");

    let fake = Fake::start(State { failures: [StatusCode::INTERNAL_SERVER_ERROR; 4].into(), ..State::default() }).await;
    let error = client(fake.repository(), None).push(&image(b"x"), &tags(&["a"])).await.expect_err("given up");
    assert!(matches!(error, RegistryError::Unexpected { status: StatusCode::INTERNAL_SERVER_ERROR, .. }), "{error}");

    let fake = Fake::start(State { broken_uploads: 100, ..State::default() }).await;
    let error = client(fake.repository(), None).push(&image(b"x"), &tags(&["a"])).await.expect_err("given up");
    assert!(matches!(error, RegistryError::Unreachable { .. }), "{error}");
    assert!(fake.state().manifests.is_empty(), "nothing is half tagged");
}

#[tokio::test]
async fn an_immutable_tag_is_a_success_for_the_same_image_and_a_conflict_for_another() {
    let fake = Fake::start(State { immutable: true, ..State::default() }).await;
    let (one, two) = (image(b"one"), image(b"two"));
    client(fake.repository(), None).push(&one, &tags(&["a"])).await.expect("pushed");
    client(fake.repository(), None).push(&one, &tags(&["a", "b"])).await.expect("the same image again");
    assert_eq!(fake.count("POST "), 3, "its blobs were uploaded once");
    let error = client(fake.repository(), None).push(&two, &tags(&["a"])).await.expect_err("a conflict");
    let text = error.to_string();
    assert!(matches!(error, RegistryError::TagConflict { .. }), "{text}");
    assert!(text.contains(one.digest().as_str()) && text.contains(two.digest().as_str()), "{text}");
    assert!(text.contains("the tag is immutable"), "{text}");
}

#[tokio::test]
async fn a_tag_is_added_without_an_upload() {
    let fake = Fake::start(State::default()).await;
    let image = image(b"x");
    let registry = client(fake.repository(), None);
    registry.push(&image, &tags(&["0123456"])).await.expect("pushed");
    fake.state().log.clear();
    registry.add_tag(image.digest(), &tags(&["prod-0123456"])[0]).await.expect("tagged");
    assert_eq!(fake.state().manifests["prod-0123456"], image.manifest.bytes);
    assert_eq!(fake.count("POST ") + fake.count("HEAD /v2/team/app/blobs"), 0);
    let unknown = image::Digest::of(b"nothing");
    let error = registry.add_tag(&unknown, &tags(&["b"])[0]).await.expect_err("no such image");
    assert!(matches!(error, RegistryError::UnknownManifest { .. }), "{error}");
}

#[tokio::test]
async fn a_registry_that_lies_about_the_digest_is_not_believed() {
    let lie = format!("sha256:{}", "0".repeat(64));
    let fake = Fake::start(State { lie: Some(lie), ..State::default() }).await;
    let error = client(fake.repository(), None).push(&image(b"x"), &tags(&["a"])).await.expect_err("not believed");
    assert!(matches!(error, RegistryError::DigestMismatch { .. }), "{error}");
}

#[tokio::test]
async fn what_a_registry_sends_is_checked_before_it_is_used() {
    let fake = Fake::start(State::default()).await;
    let image = image(b"x");
    let registry = client(fake.repository(), None);
    registry.push(&image, &tags(&["a"])).await.expect("pushed");
    let expect = async |reading: Reading| {
        fake.state().reading = reading;
        registry.pull(image.digest()).await.expect_err("refused")
    };
    let error = expect(Reading::Corrupted).await;
    assert!(matches!(&error, RegistryError::Corrupted { .. }), "{error}");
    let error = expect(Reading::Longer).await;
    assert!(matches!(&error, RegistryError::Protocol { reason, .. } if reason.contains("more than")), "{error}");
    let error = expect(Reading::Truncated).await;
    assert!(matches!(&error, RegistryError::Unreachable { .. }), "{error}");
    fake.state().reading = Reading::Whole;
    assert_eq!(registry.pull(image.digest()).await.expect("whole").digest(), image.digest());
    let other = image::Digest::of(b"another");
    let lie = fake.state().manifests["a"].clone();
    fake.state().manifests.insert(other.to_string(), lie);
    let error = registry.pull(&other).await.expect_err("another manifest");
    assert!(matches!(&error, RegistryError::Corrupted { received, .. } if received == image.digest()), "{error}");
}

#[tokio::test]
async fn an_upload_in_chunks_goes_on_where_it_stopped_and_an_impossible_answer_ends_it() {
    let fake = Fake::start(State { broken_uploads: 2, ..State::default() }).await;
    let options = Options { chunk: 50_000, parallel: 1, ..impatient() };
    let registry = Registry::new(fake.repository(), None, options.clone(), &quiet).expect("a client");
    let image = image(&fastrand_bytes(400_000));
    registry.push(&image, &tags(&["a"])).await.expect("pushed");
    assert!(fake.count("PATCH ") > 8, "it went in chunks");
    assert_eq!(fake.count("POST "), 3, "no upload was begun a second time");

    let fake = Fake::start(State { overstated: 7, ..State::default() }).await;
    let registry = Registry::new(fake.repository(), None, options, &quiet).expect("a client");
    let error = registry.push(&image, &tags(&["a"])).await.expect_err("impossible");
    assert!(matches!(error, RegistryError::Protocol { .. }), "{error}");
    assert!(fake.state().manifests.is_empty(), "nothing is half tagged");
}

fn fastrand_bytes(count: usize) -> Vec<u8> {
    let mut generator = fastrand::Rng::with_seed(1);
    std::iter::repeat_with(|| generator.u8(..)).take(count).collect()
}

#[tokio::test]
async fn a_registry_that_asks_for_patience_is_obeyed_within_reason() {
    let busy = || [StatusCode::TOO_MANY_REQUESTS].into();
    let heard = std::sync::Mutex::new(Vec::new());
    let listen = |step: Step<'_>| {
        if let Step::Retrying { pause, .. } = step {
            heard.lock().expect("no panic").push(pause);
        }
    };
    let fake = Fake::start(State { failures: busy(), retry_after: Some("1".to_owned()), ..State::default() }).await;
    let registry = Registry::new(fake.repository(), None, impatient(), &listen).expect("a client");
    registry.push(&image(b"x"), &tags(&["a"])).await.expect("pushed");
    assert_eq!(*heard.lock().expect("no panic"), [std::time::Duration::from_secs(1)], "what it asked for, exactly");

    let fake = Fake::start(State { failures: busy(), retry_after: Some("9999".to_owned()), ..State::default() }).await;
    let error = client(fake.repository(), None).push(&image(b"x"), &tags(&["a"])).await.expect_err("too long");
    assert!(matches!(error, RegistryError::Unexpected { status: StatusCode::TOO_MANY_REQUESTS, .. }), "{error}");
}

#[tokio::test]
async fn an_image_of_uncommitted_changes_is_not_promoted() {
    let fake = Fake::start(State::default()).await;
    let image = dirty_image();
    let registry = client(fake.repository(), None);
    registry.push(&image, &tags(&["0123456-dirty-1a2b3c4d"])).await.expect("pushed");
    for tag in ["prod-0123456", "v1.2.3", "v1.2.3-0123456"] {
        let error = registry.add_tag(image.digest(), &tags(&[tag])[0]).await.expect_err("refused");
        assert!(matches!(&error, RegistryError::Dirty { .. }), "{error}");
        assert!(!fake.state().manifests.contains_key(tag));
    }
    registry.add_tag(image.digest(), &tags(&["try-7"])[0]).await.expect("any other name");
}

#[tokio::test]
async fn an_unknown_repository_and_a_silent_host_are_explained() {
    let fake = Fake::start(State::default()).await;
    let other = format!("{}/nobody/there", fake.address).parse().expect("a repository");
    let error = client(other, None).push(&image(b"x"), &tags(&["a"])).await.expect_err("unknown");
    assert!(matches!(error, RegistryError::UnknownRepository { .. }), "{error}");

    // Bound and closed again: nobody listens there.
    let port =
        std::net::TcpListener::bind("127.0.0.1:0").and_then(|socket| socket.local_addr()).expect("a port").port();
    let silent = format!("127.0.0.1:{port}/a").parse().expect("a repository");
    let error = client(silent, None).push(&image(b"x"), &tags(&["a"])).await.expect_err("silent");
    assert_eq!(error.kind(), Kind::Unreachable, "{error}");
    assert!(error.to_string().contains("refused"), "{error}");
}

#[test]
fn plain_http_is_for_this_machine_only() {
    let base = |text: &str| text.parse::<Repository>().expect("a repository").base();
    assert_eq!(base("127.0.0.1:5000/a"), "http://127.0.0.1:5000");
    assert_eq!(base("localhost:5000/a"), "http://localhost:5000");
    assert_eq!(base("[::1]:5000/a"), "http://[::1]:5000");
    assert_eq!(base("registry.example.com/a/b"), "https://registry.example.com");
    assert_eq!(base("127.0.0.1.example.com/a"), "https://127.0.0.1.example.com");
    assert_eq!(base("docker.io/library/a"), "https://registry-1.docker.io");
    for text in ["a", "team/app", "host.example.com/", "host.example.com/Upper", "user@host.example.com/a"] {
        assert!(text.parse::<Repository>().is_err(), "{text}");
    }
}
