//! The widget's script and the demo page, as browsers and caches meet them.

use crate::client::{get, send};
use crate::program::Program;

fn server() -> (tempfile::TempDir, Program) {
    let directory = tempfile::tempdir().expect("a directory");
    let program = Program::start(directory.path(), &[]);
    (directory, program)
}

#[test]
fn the_widget_is_kept_by_caches_and_sent_compressed() {
    let (_directory, server) = server();
    let plain = get(server.address, "/widget.js");
    assert_eq!(plain.status, 200);
    assert_eq!(plain.header("content-type"), Some("text/javascript; charset=utf-8"));
    assert_eq!(plain.header("access-control-allow-origin"), Some("*"));
    assert_eq!(plain.header("vary"), Some("accept-encoding"));
    assert!(plain.header("cache-control").unwrap().starts_with("public, max-age="));
    let etag = plain.header("etag").expect("an ETag").to_owned();
    let plain = plain.text();
    assert!(plain.starts_with(&format!("// SmartBot widget {}\n", env!("CARGO_PKG_VERSION"))));

    let gzip = send(server.address, "GET", "/widget.js", &[("accept-encoding", "br, gzip")], b"").unwrap();
    assert_eq!(gzip.header("content-encoding"), Some("gzip"));
    let length: usize = gzip.header("content-length").unwrap().parse().unwrap();
    assert!(length < 20_000 && length < plain.len(), "{length} of {} bytes", plain.len());

    let known = format!("\"other\", {etag}");
    let again = send(server.address, "GET", "/widget.js", &[("if-none-match", &known)], b"").unwrap();
    assert_eq!((again.status, again.header("etag")), (304, Some(etag.as_str())));
    let changed = send(server.address, "GET", "/widget.js", &[("if-none-match", "\"other\"")], b"").unwrap();
    assert_eq!(changed.status, 200);
}

#[test]
fn the_demo_page_speaks_the_browsers_language_under_a_strict_policy() {
    let (_directory, server) = server();
    let page = |path, headers: &[(&str, &str)]| send(server.address, "GET", path, headers, b"").unwrap();
    for (path, headers, language) in [
        ("/demo", &[][..], "ja"),
        ("/demo", &[("accept-language", "en-US,en;q=0.9")], "en"),
        ("/demo?lang=ja", &[("accept-language", "en")], "ja"),
        ("/demo?lang=en", &[("accept-language", "ja")], "en"),
    ] {
        let response = page(path, headers);
        let policy = response.header("content-security-policy").expect("a policy").to_owned();
        assert!(policy.contains("default-src 'none'") && !policy.contains("unsafe"), "{policy}");
        assert!(response.text().contains(&format!("<html lang=\"{language}\">")), "{path} {headers:?}");
    }
    assert_eq!(get(server.address, "/demo.css").header("content-type"), Some("text/css; charset=utf-8"));
}
