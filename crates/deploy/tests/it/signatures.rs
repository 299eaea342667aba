//! An environment that demands signatures takes no image without one.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::process::Stdio;

use crate::system::System;

#[test]
fn an_unsigned_and_a_wrongly_signed_image_are_refused_and_a_signed_one_is_not() {
    let system = System::start();
    let environment = system.checkout().join("environments/staging");
    let keys = tempfile::tempdir().expect("a folder");
    let image = |arguments: &[&str]| {
        let output = system.program("image").args(arguments).output().expect("image starts");
        assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    };
    let key = |name: &str| keys.path().join(name).display().to_string();
    for name in ["release", "other"] {
        image(&["keygen", &key(name)]);
    }
    fs::copy(keys.path().join("release.pub"), environment.join("release.pub")).expect("copied");
    let file = environment.join("environment.yaml");
    let text = fs::read_to_string(&file).expect("the environment");
    let demand = "\nimage:\n  signature:\n    keys: [release.pub]\n\ntask:\n";
    fs::write(&file, text.replacen("\ntask:\n", demand, 1)).expect("written");
    let one = system.commit("staging demands signatures");
    assert_eq!(system.deploy(&["bootstrap", "staging"]).0, 0);

    let unsigned = system.first_image(&one);
    let digest = unsigned.split_once('@').expect("a digest").1;
    let (code, document) = system.deploy(&["deploy", "staging", "--image", &unsigned]);
    let error = document["error"].as_str().expect("an error");
    assert_eq!(code, 65, "{error}");
    assert!(error.contains(&format!("{digest} is not signed")), "the digest is named: {error}");
    assert!(error.contains("release.pub (sha256:") && error.contains("hint: "), "the key is named: {error}");

    image(&["sign", &unsigned, "--ecr", "--key", &key("other")]);
    let (code, document) = system.deploy(&["deploy", "staging", "--image", &unsigned]);
    let error = document["error"].as_str().expect("an error");
    assert_eq!(code, 65, "{error}");
    assert!(error.contains("is signed, but not as staging demands") && error.contains("by another key"), "{error}");

    // Signatures' tags do not move in this repository: another commit, another image.
    let two = system.commit("another");
    let signed = system.first_image(&two);
    image(&["sign", &signed, "--ecr", "--key", &key("release")]);
    let mut command = system.program("deploy");
    command.args(["deploy", "staging", "--image", &signed]).stdout(Stdio::null()).stderr(Stdio::piped());
    let mut deploy = command.spawn().expect("deploy starts");
    let mut lines = BufReader::new(deploy.stderr.take().expect("a pipe")).lines().map_while(Result::ok);
    let mut said = Vec::new();
    // What it goes on to do is another test's.
    let went_on = lines.any(|line| {
        said.push(line);
        said.last().is_some_and(|line| line.contains("creating stack"))
    });
    deploy.kill().expect("killed");
    deploy.wait().expect("gone");
    assert!(went_on, "{said:#?}");
}
