//! Where a password comes from.

use std::fs;
use std::process::Command;

use image::credentials::{CredentialError, Credentials};
use image::layout;
use image::settings::Settings;

use crate::fake::{Fake, State};
use crate::fixture::image;

fn settings(pairs: &[(&str, &str)]) -> Settings {
    Settings::from_lookup(|name| pairs.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned()))
}

#[test]
fn the_variables_win_and_half_of_them_is_an_error() {
    let both = settings(&[("REGISTRY_USERNAME", "user"), ("REGISTRY_PASSWORD", "secret")]);
    let found = Credentials::find("registry.example.com", &both).expect("found").expect("some");
    assert_eq!((found.username.as_str(), found.password.as_str()), ("user", "secret"));
    assert!(!format!("{found:?}").contains("secret"));
    let half = settings(&[("REGISTRY_USERNAME", "user")]);
    assert!(matches!(Credentials::find("registry.example.com", &half), Err(CredentialError::Half)));
}

#[test]
fn dockers_configuration_is_read_for_the_registry_asked_for() {
    let home = tempfile::tempdir().expect("a directory");
    let docker = home.path().join(".docker");
    fs::create_dir(&docker).expect("a directory");
    // user:secret and hub:word
    let config = r#"{"auths": {"registry.example.com": {"auth": "dXNlcjpzZWNyZXQ="},
        "https://index.docker.io/v1/": {"auth": "aHViOndvcmQ="}, "broken.example.com": {"auth": "%"},
        "token.example.com": {"auth": "", "identitytoken": "x"}},
        "credHelpers": {"helped.example.com": "surely-not-installed"}}"#;
    fs::write(docker.join("config.json"), config).expect("a file");
    let settings = settings(&[("HOME", &home.path().display().to_string())]);
    let find = |registry: &str| Credentials::find(registry, &settings);
    assert_eq!(find("registry.example.com").expect("found").expect("some").password, "secret");
    assert_eq!(find("docker.io").expect("found").expect("some").username, "hub");
    assert_eq!(find("other.example.com").expect("nothing wrong"), None);
    assert!(matches!(find("broken.example.com"), Err(CredentialError::Entry { .. })));
    assert!(matches!(find("token.example.com"), Err(CredentialError::IdentityToken { .. })));
    assert!(matches!(find("helped.example.com"), Err(CredentialError::Helper { .. })));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_credential_helper_is_asked_for_the_registry_that_is_pushed_to() {
    use std::os::unix::fs::PermissionsExt as _;
    let state = State {
        // user:secret
        authorization: Some("Basic dXNlcjpzZWNyZXQ=".to_owned()),
        challenge: "Basic realm=\"r\"".to_owned(),
        ..State::default()
    };
    let fake = Fake::start(state).await;
    let home = tempfile::tempdir().expect("a directory");
    let layout = home.path().join("layout");
    layout::write(&layout, &image(b"content"), &["0123456".parse().expect("a tag")]).expect("written");
    let helper = home.path().join("docker-credential-given");
    // It answers for this registry alone, which it reads from its input.
    let script = format!(
        "#!/bin/sh\nread -r registry\n[ \"$registry\" = {} ] || exit 1\n\
         echo '{{\"ServerURL\":\"x\",\"Username\":\"user\",\"Secret\":\"secret\"}}'\n",
        fake.address
    );
    fs::write(&helper, script).expect("a program");
    fs::set_permissions(&helper, fs::Permissions::from_mode(0o755)).expect("executable");
    let config = format!(r#"{{"credHelpers": {{"{}": "given"}}}}"#, fake.address);
    fs::write(home.path().join("config.json"), config).expect("a file");
    let path = std::env::var("PATH").unwrap_or_default();
    let output = Command::new(env!("CARGO_BIN_EXE_image"))
        .arg("push")
        .arg(&layout)
        .arg(fake.repository().to_string())
        .env("DOCKER_CONFIG", home.path())
        .env("PATH", format!("{}:{path}", home.path().display()))
        .output()
        .expect("image starts");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(fake.state().manifests.contains_key("0123456"));
}
