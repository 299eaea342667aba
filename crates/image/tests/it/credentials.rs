//! Where a password comes from.

use std::fs;

use image::credentials::{CredentialError, Credentials};
use image::settings::Settings;

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
