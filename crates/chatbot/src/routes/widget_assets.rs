//! `GET /widget.js` and the demo page: files that are part of the program.
//!
//! The widget's sources are served as they are written, one after the other in one function. Pages
//! keep them for a few minutes, so that a new version reaches every site on the day it is deployed.

use std::io::Write as _;
use std::sync::LazyLock;

use axum::response::{IntoResponse, Response};
use flate2::Compression;
use flate2::write::GzEncoder;
use http::{HeaderMap, HeaderValue, StatusCode, Uri, header};
use sha2::{Digest as _, Sha256};

use crate::text::Language;

const WIDGET_SOURCE: &str = concat!(
    "// SmartBot widget ",
    env!("CARGO_PKG_VERSION"),
    "\n(() => {\n\"use strict\";\n\nconst STYLE = String.raw`\n",
    include_str!("../../widget/src/style.css"),
    "`;\n\n",
    include_str!("../../widget/src/texts.js"),
    "\n",
    include_str!("../../widget/src/dom.js"),
    "\n",
    include_str!("../../widget/src/sse.js"),
    "\n",
    include_str!("../../widget/src/memory.js"),
    "\n",
    include_str!("../../widget/src/client.js"),
    "\n",
    include_str!("../../widget/src/message.js"),
    "\n",
    include_str!("../../widget/src/view.js"),
    "\n",
    include_str!("../../widget/src/chat.js"),
    "\n",
    include_str!("../../widget/src/element.js"),
    "})();\n",
);

/// What the demo page may do: what is here, and nothing else. The widget needs no exception.
const DEMO_POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src data:; \
    base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'";

static WIDGET: LazyLock<Asset> = LazyLock::new(|| {
    let cache = "public, max-age=300, stale-while-revalidate=86400";
    let mut asset = Asset::new(WIDGET_SOURCE, "text/javascript; charset=utf-8", cache);
    // A script of anybody's pages; `integrity` and `crossorigin` on the tag work too.
    asset.headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
    asset.headers.insert("cross-origin-resource-policy", HeaderValue::from_static("cross-origin"));
    asset
});
static DEMO_STYLE: LazyLock<Asset> =
    LazyLock::new(|| Asset::new(include_str!("../../widget/demo/style.css"), "text/css; charset=utf-8", "no-cache"));
static DEMO_JA: LazyLock<Asset> = LazyLock::new(|| Asset::page(include_str!("../../widget/demo/ja.html")));
static DEMO_EN: LazyLock<Asset> = LazyLock::new(|| Asset::page(include_str!("../../widget/demo/en.html")));

/// The widget.
#[utoipa::path(
    get,
    path = "/widget.js",
    tag = "widget",
    responses(
        (status = 200, description = "The script of the widget.", content_type = "text/javascript", body = String),
    ),
)]
pub async fn widget(headers: HeaderMap) -> Response {
    WIDGET.respond(&headers)
}

/// The demo page, in the language of `?lang=` or of the browser.
#[utoipa::path(
    get,
    path = "/demo",
    tag = "widget",
    responses((status = 200, description = "The demo page.", content_type = "text/html", body = String)),
)]
pub async fn demo(uri: Uri, headers: HeaderMap) -> Response {
    let asked = uri.query().into_iter().flat_map(|query| query.split('&')).find_map(|pair| pair.strip_prefix("lang="));
    let accepted = headers.get(header::ACCEPT_LANGUAGE).and_then(|value| value.to_str().ok());
    match asked.or(accepted).map_or(Language::Ja, preferred) {
        Language::Ja => DEMO_JA.respond(&headers),
        Language::En => DEMO_EN.respond(&headers),
    }
}

/// The demo page's style.
#[utoipa::path(
    get,
    path = "/demo.css",
    tag = "widget",
    responses((status = 200, description = "Its style.", content_type = "text/css", body = String)),
)]
pub async fn demo_style(headers: HeaderMap) -> Response {
    DEMO_STYLE.respond(&headers)
}

/// Browsers list the language they like best first.
fn preferred(languages: &str) -> Language {
    if languages.trim_start().to_ascii_lowercase().starts_with("ja") { Language::Ja } else { Language::En }
}

/// A file that is part of the program.
struct Asset {
    plain: &'static [u8],
    gzip: Vec<u8>,
    headers: HeaderMap,
}

impl Asset {
    fn new(text: &'static str, media: &'static str, cache: &'static str) -> Self {
        let plain = text.as_bytes();
        let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
        // Writing to memory cannot fail; if it did, the file would go out uncompressed.
        let gzip = encoder.write_all(plain).and_then(|()| encoder.finish()).unwrap_or_default();
        let digest: String = Sha256::digest(plain).iter().take(8).map(|byte| format!("{byte:02x}")).collect();
        let mut headers = HeaderMap::new();
        // Weak: the same for both encodings.
        if let Ok(etag) = HeaderValue::try_from(format!("W/\"{digest}\"")) {
            headers.insert(header::ETAG, etag);
        }
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(media));
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static(cache));
        headers.insert(header::VARY, HeaderValue::from_static("accept-encoding"));
        headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
        Self { plain, gzip, headers }
    }

    fn page(text: &'static str) -> Self {
        let mut page = Self::new(text, "text/html; charset=utf-8", "no-cache");
        page.headers.insert(header::VARY, HeaderValue::from_static("accept-encoding, accept-language"));
        page.headers.insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(DEMO_POLICY));
        page.headers.insert(header::REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
        page
    }

    fn respond(&'static self, request: &HeaderMap) -> Response {
        if lists(request, header::IF_NONE_MATCH).any(|known| Some(known) == self.etag() || known == "*") {
            return (StatusCode::NOT_MODIFIED, self.headers.clone()).into_response();
        }
        if !self.gzip.is_empty() && lists(request, header::ACCEPT_ENCODING).any(accepts_gzip) {
            let encoding = [(header::CONTENT_ENCODING, "gzip")];
            return (self.headers.clone(), encoding, self.gzip.as_slice()).into_response();
        }
        (self.headers.clone(), self.plain).into_response()
    }

    fn etag(&self) -> Option<&str> {
        self.headers.get(header::ETAG).and_then(|etag| etag.to_str().ok())
    }
}

/// The elements of a header that is a list.
fn lists(headers: &HeaderMap, name: header::HeaderName) -> impl Iterator<Item = &str> {
    let values = headers.get_all(name).into_iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',')).map(str::trim)
}

/// `gzip`, and not `gzip;q=0`.
fn accepts_gzip(coding: &str) -> bool {
    let (name, weight) = coding.split_once(';').unwrap_or((coding, ""));
    let weight = weight.trim().strip_prefix("q=").and_then(|weight| weight.parse::<f32>().ok());
    name.trim().eq_ignore_ascii_case("gzip") && weight != Some(0.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_widget_stays_small() {
        assert!(WIDGET.gzip.len() < 20_000, "{} bytes", WIDGET.gzip.len());
    }

    #[test]
    fn the_style_cannot_end_its_string() {
        let style = include_str!("../../widget/src/style.css");
        assert!(!style.contains('`') && !style.contains("${"), "style.css is put between backticks");
    }

    #[test]
    fn languages_and_encodings() {
        assert_eq!(preferred("ja-JP,ja;q=0.9,en;q=0.8"), Language::Ja);
        assert_eq!(preferred("en-US,en;q=0.9,ja;q=0.8"), Language::En);
        assert!(accepts_gzip("gzip") && accepts_gzip("GZIP;q=0.5") && accepts_gzip("gzip; q=1"));
        assert!(!accepts_gzip("gzip;q=0") && !accepts_gzip("br") && !accepts_gzip("gzipped"));
    }
}
