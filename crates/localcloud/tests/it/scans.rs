//! Image scans: what was given to look into decides what is found, and nothing is made up.

use std::fs;
use std::io::Write as _;
use std::path::Path;

use flate2::Compression;
use flate2::write::{GzEncoder, ZlibEncoder};
use serde_json::{Value, json};

use crate::registry::{Client, create};
use crate::server::Endpoint;

const ECR: &str = "AmazonEC2ContainerRegistry_V20150921";

/// An ELF file of three sections: none, the names, and the dependency list of `cargo auditable`.
fn program(list: &Value) -> Vec<u8> {
    let mut zlib = ZlibEncoder::new(vec![], Compression::default());
    zlib.write_all(list.to_string().as_bytes()).expect("compressed");
    let list = zlib.finish().expect("compressed");
    let names = b"\0.shstrtab\0.dep-v0\0";
    let (names_at, list_at) = (64, 64 + names.len());
    let table_at = (list_at + list.len()).next_multiple_of(8);
    let mut file = vec![0; 64];
    file[..7].copy_from_slice(b"\x7fELF\x02\x01\x01");
    file[16..20].copy_from_slice(&[2, 0, 62, 0]);
    file[20] = 1;
    file[40..48].copy_from_slice(&(table_at as u64).to_le_bytes());
    file[52] = 64;
    file[58] = 64;
    file[60] = 3;
    file[62] = 1;
    file.extend_from_slice(names);
    file.extend_from_slice(&list);
    file.resize(table_at + 64, 0);
    for (name, kind, at, length) in [(1_u32, 3_u32, names_at, names.len()), (11, 1, list_at, list.len())] {
        file.extend_from_slice(&name.to_le_bytes());
        file.extend_from_slice(&kind.to_le_bytes());
        for field in [0, 0, at as u64, length as u64, 0, 1, 0] {
            file.extend_from_slice(&field.to_le_bytes());
        }
    }
    file
}

/// A compressed layer with the program `/bot`.
fn layer(program: &[u8]) -> Vec<u8> {
    let mut archive = tar::Builder::new(GzEncoder::new(vec![], Compression::fast()));
    let mut header = tar::Header::new_ustar();
    header.set_size(program.len() as u64);
    header.set_mode(0o755);
    archive.append_data(&mut header, "bot", program).expect("appended");
    archive.into_inner().expect("an archive").finish().expect("compressed")
}

fn push(endpoint: &Endpoint, tag: &str, program: &[u8]) -> Value {
    let config = br#"{"config": {"Entrypoint": ["/bot"]}}"#;
    let (put, _) = Client::new(endpoint).push("app", tag, config, &layer(program));
    assert_eq!(put.status, 201);
    json!({"repositoryName": "app", "imageId": {"imageTag": tag}})
}

fn advisory(folder: &Path, id: &str, package: &str, cvss: &str, patched: &str) {
    let folder = folder.join("crates").join(package);
    fs::create_dir_all(&folder).expect("a folder");
    let text = format!(
        "```toml\n[advisory]\nid = \"{id}\"\npackage = \"{package}\"\ndate = \"2026-01-01\"\ncvss = \"{cvss}\"\n\
         [versions]\npatched = [\"{patched}\"]\n```\n\n# A hole\n\nLong story.\n"
    );
    fs::write(folder.join(format!("{id}.md")), text).expect("an advisory");
}

fn list() -> Value {
    json!({"packages": [
        {"name": "bot", "version": "1.0.0", "source": "local", "root": true, "dependencies": [1, 2]},
        {"name": "serde", "version": "1.0.1", "source": "crates.io"},
        {"name": "syn", "version": "1.0.0", "source": "crates.io", "kind": "build"},
    ]})
}

#[test]
fn without_a_database_an_image_cannot_be_scanned() {
    let endpoint = Endpoint::start(&[]);
    create(&endpoint, "app", "MUTABLE");
    let image = push(&endpoint, "v1", &program(&list()));
    let error = endpoint.call(ECR, "DescribeImageScanFindings", &image).expect_err("nobody has scanned it");
    assert_eq!(error.code, "ScanNotFoundException");
    let error = endpoint.call(ECR, "StartImageScan", &image).expect_err("no database");
    assert_eq!(error.code, "UnsupportedImageTypeException");
    assert!(error.message.contains("--advisories"), "{}", error.message);
    let described = endpoint.call(ECR, "DescribeImageScanFindings", &image).expect("described");
    assert_eq!(described["imageScanStatus"]["status"], "UNSUPPORTED_IMAGE");
    assert_eq!(described.get("imageScanFindings"), None, "not even an empty list");
}

#[test]
fn with_a_database_the_dependency_list_of_the_program_is_looked_up() {
    let database = tempfile::tempdir().expect("a folder");
    advisory(database.path(), "RUSTSEC-2026-0001", "serde", "CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:H/I:H/A:H", ">= 1.0.2");
    advisory(database.path(), "RUSTSEC-2026-0002", "serde", "CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:H/I:H/A:H", ">= 1.0.1");
    advisory(database.path(), "RUSTSEC-2026-0003", "syn", "CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:H/I:H/A:H", ">= 2.0.0");
    let endpoint = Endpoint::start(&["--advisories", &database.path().display().to_string()]);
    create(&endpoint, "app", "MUTABLE");

    let image = push(&endpoint, "v1", &program(&list()));
    let started = endpoint.call(ECR, "StartImageScan", &image).expect("started");
    assert_eq!(started["imageScanStatus"]["status"], "IN_PROGRESS");
    let described = endpoint.call(ECR, "DescribeImageScanFindings", &image).expect("described");
    assert_eq!(described["imageScanStatus"]["status"], "COMPLETE");
    // 0002 is repaired in this version, and `syn` is not in the program.
    let findings = &described["imageScanFindings"];
    assert_eq!(findings["findings"].as_array().expect("a list").len(), 1);
    assert_eq!(findings["findings"][0]["name"], "RUSTSEC-2026-0001");
    assert_eq!(findings["findingSeverityCounts"], json!({"CRITICAL": 1}));
    assert_eq!(findings["findings"][0]["attributes"][1], json!({"key": "package_version", "value": "1.0.1"}));

    let unlisted = push(&endpoint, "v2", b"\x7fELF, and nothing more");
    let error = endpoint.call(ECR, "StartImageScan", &unlisted).expect_err("nothing to look up");
    assert_eq!(error.code, "UnsupportedImageTypeException");

    // A repository that scans on push has a result without anybody asking for the scan.
    let scanning = json!({"repositoryName": "app", "imageScanningConfiguration": {"scanOnPush": true}});
    endpoint.call(ECR, "PutImageScanningConfiguration", &scanning).expect("changed");
    let clean = json!({"packages": [{"name": "bot", "version": "1.0.0", "source": "local", "root": true}]});
    let clean = push(&endpoint, "v3", &program(&clean));
    let described = endpoint.call(ECR, "DescribeImageScanFindings", &clean).expect("described");
    assert_eq!(described["imageScanStatus"]["status"], "COMPLETE");
    assert_eq!(described["imageScanFindings"]["findings"], json!([]));
}
