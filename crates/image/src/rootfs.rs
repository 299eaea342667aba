//! What the image's file system holds: the binary, a user, certificates, a place for temporary files and one for data.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

/// The user and group every task runs as.
pub const USER_ID: u64 = 10001;

/// One entry of the root file system.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// The path without a leading slash.
    pub path: &'static str,
    /// Permission bits.
    pub mode: u32,
    /// Owner and group.
    pub owner: u64,
    /// What it is.
    pub node: Node,
}

/// What an entry is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Node {
    /// A directory.
    Directory,
    /// A regular file.
    File(Vec<u8>),
}

/// What rarely changes, sorted by path, parents first.
#[must_use]
pub fn base() -> Vec<Entry> {
    let directory = |path, mode, owner| Entry { path, mode, owner, node: Node::Directory };
    let file = |path, content| Entry { path, mode: 0o644, owner: 0, node: Node::File(content) };
    vec![
        directory("data/", 0o750, USER_ID),
        directory("etc/", 0o755, 0),
        file("etc/group", format!("root:x:0:\nsmartbot:x:{USER_ID}:\n").into_bytes()),
        file(
            "etc/passwd",
            format!("root:x:0:0:root:/:/sbin/nologin\nsmartbot:x:{USER_ID}:{USER_ID}:SmartBot:/data:/sbin/nologin\n")
                .into_bytes(),
        ),
        directory("etc/ssl/", 0o755, 0),
        directory("etc/ssl/certs/", 0o755, 0),
        // The path that rustls-native-certs and OpenSSL look at first on Debian; no variable is needed to find it.
        file("etc/ssl/certs/ca-certificates.crt", certificates()),
        directory("tmp/", 0o1777, 0),
    ]
}

/// What changes with every build.
#[must_use]
pub fn program(binary: Vec<u8>) -> Vec<Entry> {
    vec![Entry { path: "smartbot", mode: 0o755, owner: 0, node: Node::File(binary) }]
}

/// Mozilla's certificate authorities as a PEM bundle; their version is pinned by Cargo.lock.
fn certificates() -> Vec<u8> {
    let mut pem = String::new();
    for certificate in webpki_root_certs::TLS_SERVER_ROOT_CERTS {
        let text = STANDARD.encode(certificate.as_ref());
        pem.push_str("-----BEGIN CERTIFICATE-----\n");
        let mut rest = text.as_str();
        while !rest.is_empty() {
            let (line, tail) = rest.split_at(rest.len().min(64));
            pem.push_str(line);
            pem.push('\n');
            rest = tail;
        }
        pem.push_str("-----END CERTIFICATE-----\n");
    }
    pem.into_bytes()
}
