//! The whole `image build` on a small workspace: reproducible, and safe with a shared build directory.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use crate::fake::{Fake, State};
use crate::fixture::{commit_all, git};

struct Scratch {
    directory: tempfile::TempDir,
}

impl Scratch {
    /// A checkout `one` of a workspace with the names of the real one, and a dependency beside it that stands for the
    /// crates of a registry.
    fn new() -> Self {
        let scratch = Self { directory: tempfile::tempdir().expect("a directory") };
        let manifest = |name: &str, rest: &str| {
            format!("[package]\nname = \"{name}\"\nversion = \"0.1.0\"\nedition = \"2024\"\n{rest}")
        };
        scratch.write("dependency/Cargo.toml", &manifest("dependency", "[workspace]\n"));
        scratch.write("dependency/src/lib.rs", "pub fn twice(x: usize) -> usize { assert!(x < 9); x * 2 }\n");
        scratch.write(
            "one/Cargo.toml",
            "[workspace]\nresolver = \"3\"\nmembers = [\"crates/*\"]\n[profile.release]\nstrip = \"symbols\"\n",
        );
        let bin = "[[bin]]\nname = \"smartbot\"\npath = \"src/main.rs\"\n[dependencies]\n\
                   dependency = { path = \"../../../dependency\" }\nanswers = { path = \"../answers\" }\n";
        scratch.write("one/crates/chatbot/Cargo.toml", &manifest("chatbot", bin));
        scratch.write(
            "one/crates/chatbot/src/main.rs",
            "fn main() {\n    let n = dependency::twice(std::env::args().count());\n    println!(\"{} {n} {}\", answers::text(), file!());\n}\n",
        );
        scratch.write("one/crates/answers/Cargo.toml", &manifest("answers", ""));
        scratch.write("one/crates/answers/src/lib.rs", "pub fn text() -> &'static str { \"first\" }\n");
        scratch.write("one/.gitignore", "/target\n");
        scratch.lock();
        commit_all(&scratch.path("one"));
        scratch
    }

    fn lock(&self) {
        let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
        crate::fixture::run(cargo.args(["generate-lockfile", "--offline"]).current_dir(self.path("one")));
    }

    fn path(&self, relative: &str) -> PathBuf {
        self.directory.path().join(relative)
    }

    fn write(&self, relative: &str, text: &str) {
        let path = self.path(relative);
        fs::create_dir_all(path.parent().expect("a parent")).expect("a directory");
        fs::write(path, text).expect("a file");
    }

    fn clone_to(&self, name: &str) {
        let (from, to) = (self.path("one"), self.path(name));
        git(self.directory.path(), &["clone", "--quiet", &from.display().to_string(), &to.display().to_string()]);
    }

    /// Builds a checkout; the digest and what cargo said.
    fn build(&self, checkout: &str, build_directory: &str) -> (String, String) {
        let output = image(&self.path(checkout), &self.path(build_directory), &["build", "--json"]);
        let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "{stderr}");
        let report: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON alone on stdout");
        assert_eq!(report["schema"], 1);
        (report["digest"].as_str().expect("a digest").to_owned(), stderr)
    }
}

fn image(directory: &Path, build_directory: &Path, arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_image"))
        .args(arguments)
        .current_dir(directory)
        .env("CARGO_BUILD_BUILD_DIR", build_directory)
        .env_remove("RUST_IMAGE")
        .env_remove("CARGO_TARGET_DIR")
        .env_remove("RUSTFLAGS")
        .output()
        .expect("image starts")
}

#[test]
fn two_checkouts_give_one_digest_and_share_their_dependencies() {
    let scratch = Scratch::new();
    scratch.clone_to("another-name");
    let (first, said) = scratch.build("one", "shared");
    assert!(said.contains("Compiling dependency"), "{said}");
    let (alone, _) = scratch.build("another-name", "alone");
    assert_eq!(first, alone, "another folder and another build directory");

    scratch.clone_to("three");
    let (third, said) = scratch.build("three", "shared");
    assert_eq!(first, third, "another folder and the same build directory");
    assert!(!said.contains("Compiling dependency"), "dependencies are not compiled again: {said}");
    let (_, said) = scratch.build("one", "shared");
    assert!(!said.contains("Compiling dependency"), "nor for the first checkout afterwards: {said}");
}

#[test]
fn a_shared_build_directory_never_gives_one_checkout_the_code_of_another() {
    let scratch = Scratch::new();
    scratch.clone_to("two");
    let (one, _) = scratch.build("one", "shared");
    scratch.write("two/crates/answers/src/lib.rs", "pub fn text() -> &'static str { \"second\" }\n");
    commit_all(&scratch.path("two"));
    let (two, _) = scratch.build("two", "shared");
    assert_ne!(one, two);
    // The files of `one` are older than the artifacts of `two`, which cargo alone takes for fresh.
    let (again, _) = scratch.build("one", "shared");
    assert_eq!(one, again);
    let binary = scratch.path("one/target").read_dir().expect("target");
    let binary = binary.flatten().map(|entry| entry.path().join("release/smartbot")).find(|path| path.is_file());
    let said = crate::fixture::run(&mut Command::new(binary.expect("the binary")));
    assert_eq!(said, "first 2 crates/chatbot/src/main.rs\n");
}

#[test]
fn the_binary_and_the_documents_list_what_was_really_built() {
    let scratch = Scratch::new();
    // A build script's dependency, and a package that another member of the workspace needs and this one does not.
    let manifest = fs::read_to_string(scratch.path("one/crates/chatbot/Cargo.toml")).expect("a manifest");
    let helper = "[build-dependencies]\nhelper = { path = \"../helper\" }\n";
    scratch.write("one/crates/chatbot/Cargo.toml", &format!("{manifest}{helper}"));
    scratch.write("one/crates/chatbot/build.rs", "fn main() { helper::help() }\n");
    let package = |name: &str, rest: &str| {
        format!("[package]\nname = \"{name}\"\nversion = \"0.2.0\"\nedition = \"2024\"\nlicense = \"MIT\"\n{rest}")
    };
    scratch.write("one/crates/helper/Cargo.toml", &package("helper", ""));
    scratch.write("one/crates/helper/src/lib.rs", "pub fn help() {}\n");
    scratch
        .write("one/crates/other/Cargo.toml", &package("other", "[dependencies]\nhelper = { path = \"../helper\" }\n"));
    scratch.write("one/crates/other/src/lib.rs", "");
    let mut lock = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    crate::fixture::run(lock.args(["generate-lockfile", "--offline"]).current_dir(scratch.path("one")));
    commit_all(&scratch.path("one"));
    let output = image(&scratch.path("one"), &scratch.path("b"), &["build", "--json"]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let report: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
    let (image, _) = image::layout::read(Path::new(report["layout"].as_str().expect("a path"))).expect("a layout");

    let listed = image::auditable::of_image(&image).expect("readable").expect("a list");
    let listed: Vec<_> = listed.packages.iter().map(|package| (package.name.as_str(), package.role)).collect();
    use image::dependencies::Role::{Build, Runtime};
    assert_eq!(listed, [("answers", Runtime), ("chatbot", Runtime), ("dependency", Runtime), ("helper", Build)]);
    let document =
        |at: usize| -> serde_json::Value { serde_json::from_slice(&image.artifacts[at].blobs[0].bytes).expect("JSON") };
    assert_eq!(document(0)["components"][3]["licenses"][0]["expression"], "MIT");
    let provenance = document(2);
    let commit = &provenance["predicate"]["buildDefinition"]["externalParameters"]["revision"];
    assert_eq!(*commit, report["commit"]);
}

#[test]
fn a_dirty_tree_is_marked_and_not_pushed() {
    let scratch = Scratch::new();
    scratch.write("one/crates/answers/src/lib.rs", "pub fn text() -> &'static str { \"changed\" }\n");
    let refused = image(&scratch.path("one"), &scratch.path("b"), &["build", "--push", "127.0.0.1:9/a"]);
    assert_eq!(refused.status.code(), Some(64));
    let stderr = String::from_utf8_lossy(&refused.stderr);
    assert!(
        stderr.contains("uncommitted") && stderr.contains("hint: ") && stderr.contains("--allow-dirty"),
        "{stderr}"
    );
    let refused = image(&scratch.path("one"), &scratch.path("b"), &["build", "--for", "prod"]);
    assert_eq!(refused.status.code(), Some(64), "production is refused before anything is built");

    let output = image(&scratch.path("one"), &scratch.path("b"), &["build", "--json"]);
    let report: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!(report["dirty"], true);
    let tag = report["tags"][0].as_str().expect("a tag");
    assert!(tag.contains("-dirty-"), "{tag}");
    assert!(scratch.path("one/target/image").join(tag).join("index.json").is_file());
}

#[test]
fn a_given_binary_is_packaged_and_pushing_to_ecr_needs_a_repository() {
    let scratch = tempfile::tempdir().expect("a directory");
    fs::write(scratch.path().join("bot"), crate::fixture::binary(b"stand-in")).expect("a binary");
    let arguments = ["build", "--binary", "bot", "--commit", crate::fixture::COMMIT];
    let output = image(scratch.path(), scratch.path(), &[&arguments[..], &["--json"]].concat());
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let report: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!(report["tags"], serde_json::json!(["0123456"]));
    assert_eq!(report["pushed"], false);
    let refused = image(scratch.path(), scratch.path(), &[&arguments[..], &["--push"]].concat());
    assert_eq!(refused.status.code(), Some(64));
    assert!(String::from_utf8_lossy(&refused.stderr).contains("--repository"));
    let usage = image(scratch.path(), scratch.path(), &["build", "--commit", "abc"]);
    assert_eq!(usage.status.code(), Some(2));
}

/// `image build --push` of a given binary, against ECR's API at an address.
fn push_to_ecr(address: &str, repository: &str) -> Output {
    let scratch = tempfile::tempdir().expect("a directory");
    fs::write(scratch.path().join("bot"), crate::fixture::binary(b"stand-in")).expect("a binary");
    let output = Command::new(env!("CARGO_BIN_EXE_image"))
        .args(["build", "--binary", "bot", "--commit", crate::fixture::COMMIT, "--json"])
        .args(["--push", "--repository", repository, "--image-detail", "imageDetail.json"])
        .current_dir(scratch.path())
        .env("AWS_ENDPOINT_URL", format!("http://{address}"))
        .env("AWS_REGION", "ap-northeast-1")
        .env("AWS_ACCESS_KEY_ID", "test")
        .env("AWS_SECRET_ACCESS_KEY", "test")
        .output()
        .expect("image starts");
    let detail = fs::read_to_string(scratch.path().join("imageDetail.json")).unwrap_or_default();
    assert_eq!(output.status.success(), detail.contains("@sha256:"), "written after a push and only then: {detail}");
    output
}

#[tokio::test(flavor = "multi_thread")]
async fn ecr_says_where_to_push_and_with_which_password() {
    let authorization = Some("Basic dXNlcjpzZWNyZXQ=".to_owned());
    let state = State { authorization, challenge: "Basic realm=\"ecr\"".to_owned(), ..State::default() };
    let fake = Fake::start(state).await;
    let output = push_to_ecr(&fake.address, "team/app");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let report: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!(report["repository"], format!("{}/team/app", fake.address));
    assert_eq!(report["pushed"], true);
    assert!(fake.state().manifests.contains_key("0123456"));

    let refused = push_to_ecr(&fake.address, "nobody/there");
    let stderr = String::from_utf8_lossy(&refused.stderr);
    assert_eq!(refused.status.code(), Some(64), "{stderr}");
    assert!(stderr.contains("no repository `nobody/there`") && stderr.contains("hint: "), "{stderr}");
    assert!(!stderr.contains("Built"), "found out before the build: {stderr}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_ecr_password_is_renewed_before_it_expires() {
    // Expired as soon as it is given, so that each request needs a new one.
    let state = State { ecr_lifetime: Some(0), challenge: "Basic realm=\"ecr\"".to_owned(), ..State::default() };
    let fake = Fake::start(state).await;
    let output = push_to_ecr(&fake.address, "team/app");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let state = fake.state();
    assert!(state.ecr_given.len() > 2, "{:?}", state.ecr_given);
    assert!(state.manifests.contains_key("0123456"));
}

#[test]
fn an_image_for_another_processor_is_refused() {
    let scratch = tempfile::tempdir().expect("a directory");
    fs::write(scratch.path().join("bot"), crate::fixture::binary(b"stand-in")).expect("a binary");
    let arguments = ["build", "--binary", "bot", "--commit", crate::fixture::COMMIT, "--architecture"];
    let refused = image(scratch.path(), scratch.path(), &[&arguments[..], &["arm64"]].concat());
    let stderr = String::from_utf8_lossy(&refused.stderr);
    assert_eq!(refused.status.code(), Some(64), "{stderr}");
    assert!(stderr.contains("is for amd64") && stderr.contains("hint: "), "{stderr}");
    let taken = image(scratch.path(), scratch.path(), &[&arguments[..], &["x86_64"]].concat());
    assert!(taken.status.success(), "{}", String::from_utf8_lossy(&taken.stderr));
}

#[test]
fn a_second_build_elsewhere_proves_reproducibility_or_names_what_differs() {
    let scratch = Scratch::new();
    // A dependency outside of the checkout would not be where the second checkout looks for it.
    scratch.write("one/crates/chatbot/src/main.rs", "fn main() { println!(\"{}\", answers::text()); }\n");
    let manifest = fs::read_to_string(scratch.path("one/crates/chatbot/Cargo.toml")).expect("a manifest");
    let manifest = manifest.replace("dependency = { path = \"../../../dependency\" }\n", "");
    scratch.write("one/crates/chatbot/Cargo.toml", &manifest);
    scratch.lock();
    commit_all(&scratch.path("one"));
    let (checkout, build) = (scratch.path("one"), scratch.path("build"));
    let verify = || image(&checkout, &build, &["build", "--verify-reproducible"]);
    let proved = verify();
    let stderr = String::from_utf8_lossy(&proved.stderr);
    assert!(proved.status.success() && stderr.contains("Verified"), "{stderr}");

    scratch.write(
        "one/crates/answers/src/lib.rs",
        "pub fn text() -> &'static str { concat!(\"built in \", env!(\"CARGO_MANIFEST_DIR\")) }\n",
    );
    let refused = verify();
    assert_eq!(refused.status.code(), Some(64), "uncommitted changes are no commit");
    commit_all(&checkout);
    let refused = verify();
    let stderr = String::from_utf8_lossy(&refused.stderr);
    assert_eq!(refused.status.code(), Some(1), "{stderr}");
    assert!(stderr.contains("not reproducible") && stderr.contains("`smartbot` differs from byte"), "{stderr}");
    assert!(stderr.contains("hint: "), "{stderr}");
}

#[test]
fn a_silent_endpoint_is_unreachable() {
    let port =
        std::net::TcpListener::bind("127.0.0.1:0").and_then(|socket| socket.local_addr()).expect("a port").port();
    let refused = push_to_ecr(&format!("127.0.0.1:{port}"), "team/app");
    let stderr = String::from_utf8_lossy(&refused.stderr);
    assert_eq!(refused.status.code(), Some(69), "{stderr}");
    assert!(stderr.contains("cannot reach ECR") && stderr.contains("hint: "), "{stderr}");
}
