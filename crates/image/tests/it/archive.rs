//! The archive of `--output`, as others read it.

use std::fs;
use std::process::Command;

use image::{Tag, archive, layout};

use crate::fixture::{image, installed, run};

fn tags() -> Vec<Tag> {
    vec!["0123456".parse().expect("a tag"), "v1.2.3".parse().expect("a tag")]
}

#[test]
fn one_file_is_an_oci_archive_and_a_docker_archive() {
    let scratch = tempfile::tempdir().expect("a directory");
    let file = scratch.path().join("folder/image.tar");
    let image = image(b"content");
    archive::write(&file, &image, "smartbot", &tags()).expect("written, in a folder that was not there");
    let bytes = fs::read(&file).expect("the archive");
    archive::write(&file, &image, "smartbot", &tags()).expect("written again");
    assert_eq!(bytes, fs::read(&file).expect("the archive"), "the same bytes");

    let unpacked = scratch.path().join("unpacked");
    tar::Archive::new(bytes.as_slice()).unpack(&unpacked).expect("a tar archive");
    let (read, names) = layout::read(&unpacked).expect("a layout");
    assert_eq!((read.digest(), names), (image.digest(), tags()));
    let manifest = fs::read(unpacked.join("manifest.json")).expect("Docker's list");
    let manifest: serde_json::Value = serde_json::from_slice(&manifest).expect("JSON");
    assert_eq!(manifest[0]["RepoTags"], serde_json::json!(["smartbot:0123456", "smartbot:v1.2.3"]));
    assert!(unpacked.join(manifest[0]["Config"].as_str().expect("a path")).is_file());

    let index = fs::read(unpacked.join("index.json")).expect("an index");
    let index: serde_json::Value = serde_json::from_slice(&index).expect("JSON");
    // Without it, podman takes the tag for the name.
    let called = &index["manifests"][0]["annotations"]["io.containerd.image.name"];
    assert_eq!(called, "docker.io/library/smartbot:0123456");

    if !installed("skopeo") {
        return;
    }
    let inspect = |reference: String| -> serde_json::Value {
        serde_json::from_str(&run(Command::new("skopeo").args(["inspect", &reference]))).expect("JSON")
    };
    let as_oci = inspect(format!("oci-archive:{}:v1.2.3", file.display()));
    assert_eq!(as_oci["Digest"], image.digest().as_str());
    let as_docker = inspect(format!("docker-archive:{}:smartbot:0123456", file.display()));
    assert_eq!(as_docker["Architecture"], "amd64");
    assert_eq!(as_docker["Labels"], as_oci["Labels"]);
}

#[test]
fn podman_loads_the_archive_by_its_name() {
    if !installed("podman") {
        return;
    }
    let scratch = tempfile::tempdir().expect("a directory");
    let file = scratch.path().join("image.tar");
    archive::write(&file, &image(b"content"), "smartbot", &tags()[..1]).expect("written");
    let folder = |name: &str| scratch.path().join(name);
    let podman = || {
        let mut command = Command::new("podman");
        command.args(["--storage-driver", "vfs", "--root"]).arg(folder("root"));
        command.arg("--runroot").arg(folder("run"));
        command
    };
    run(podman().args(["load", "--quiet", "--input"]).arg(&file));
    let names = run(podman().args(["images", "--format", "{{.Repository}}:{{.Tag}}"]));
    assert_eq!(names.trim(), "docker.io/library/smartbot:0123456");
}
