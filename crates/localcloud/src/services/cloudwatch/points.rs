//! Data points: one small append-only file per metric, cut back to its newer half when it has grown.

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::cloud::Cloud;
use crate::error::ApiError;
use crate::store::Record;

/// A metric's file never holds more; at a point a minute these are some two weeks.
const MAX_BYTES: u64 = 1 << 20;

/// A metric; its key is [`Metric::key`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Metric {
    pub(super) namespace: String,
    pub(super) metric_name: String,
    #[serde(default)]
    pub(super) dimensions: Vec<Dimension>,
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Dimension {
    pub(super) name: String,
    pub(super) value: String,
}

impl Record for Metric {
    const TABLE: &'static str = "cloudwatch/metric";
}

impl Metric {
    /// The same whatever the order of the dimensions.
    pub(super) fn key(&self) -> String {
        let mut dimensions = self.dimensions.clone();
        dimensions.sort();
        serde_json::to_string(&(&self.namespace, &self.metric_name, dimensions)).unwrap_or_default()
    }

    fn path(&self, cloud: &Cloud) -> PathBuf {
        let name = crate::services::ecr::layers::digest_of(self.key().as_bytes()).replace(':', "-");
        cloud.data_dir().join("metrics").join(name)
    }
}

/// What was measured in a moment: one value, or a summary of several.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Point {
    /// Milliseconds since the epoch.
    pub(super) at: i64,
    pub(super) count: f64,
    pub(super) sum: f64,
    pub(super) min: f64,
    pub(super) max: f64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) unit: Option<String>,
}

/// Adds points to a metric.
pub(super) async fn append(cloud: &Cloud, metric: &Metric, points: Vec<Point>) -> Result<(), ApiError> {
    let key = metric.key();
    if cloud.store().get::<Metric>(&key).is_none() {
        cloud.store().put(&key, metric);
    }
    let path = metric.path(cloud);
    blocking(move || write(&path, &points)).await
}

/// The points of a metric in `[since, until)`, in order of time.
pub(super) async fn read(cloud: &Cloud, metric: &Metric, since: i64, until: i64) -> Result<Vec<Point>, ApiError> {
    let path = metric.path(cloud);
    blocking(move || {
        let mut points: Vec<Point> = parse(&content(&path)?).collect();
        points.retain(|point| (since..until).contains(&point.at));
        points.sort_by_key(|point| point.at);
        Ok(points)
    })
    .await
}

fn write(path: &Path, points: &[Point]) -> io::Result<()> {
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder)?;
    }
    let mut text = Vec::new();
    for point in points {
        // Leading, so that a line torn by a kill ends here and costs only itself.
        text.push(b'\n');
        serde_json::to_writer(&mut text, point)?;
    }
    let mut file = OpenOptions::new().append(true).create(true).open(path)?;
    file.write_all(&text)?;
    if file.metadata()?.len() > MAX_BYTES {
        let content = fs::read(path)?;
        let half = content.len() / 2;
        let start = content[half..].iter().position(|byte| *byte == b'\n').map_or(half, |at| half + at);
        let temporary = path.with_extension("new");
        fs::write(&temporary, &content[start..])?;
        fs::rename(&temporary, path)?;
    }
    Ok(())
}

fn content(path: &Path) -> io::Result<Vec<u8>> {
    match fs::read(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(vec![]),
        other => other,
    }
}

fn parse(content: &[u8]) -> impl Iterator<Item = Point> + '_ {
    content.split(|byte| *byte == b'\n').filter_map(|line| serde_json::from_slice(line).ok())
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> io::Result<T> + Send + 'static) -> Result<T, ApiError> {
    tokio::task::spawn_blocking(work)
        .await
        .map_err(ApiError::internal)?
        .map_err(|error| ApiError::internal(format_args!("a metric's file cannot be used: {error}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_stays_bounded_and_keeps_the_newest() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("m");
        for batch in 0..300 {
            let point = |at| Point { at, count: 1.0, sum: 1.0, min: 1.0, max: 1.0, unit: None };
            write(&path, &(batch * 100..batch * 100 + 100).map(point).collect::<Vec<_>>()).unwrap();
        }
        assert!(fs::metadata(&path).unwrap().len() <= MAX_BYTES);
        assert_eq!(parse(&content(&path).unwrap()).last().unwrap().at, 29_999);
    }
}
