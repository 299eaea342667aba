//! Dashboards: documents that are kept and given back.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::clock::Timestamp;
use crate::cloud::{ACCOUNT, Cloud};
use crate::error::ApiError;
use crate::services::paging::page;
use crate::store::Record;

/// A dashboard; its key is its name.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Dashboard {
    name: String,
    body: String,
    modified_at: Timestamp,
}

impl Record for Dashboard {
    const TABLE: &'static str = "cloudwatch/dashboard";
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Put {
    dashboard_name: String,
    dashboard_body: String,
}

pub(super) fn put_dashboard(cloud: &Cloud, input: Put) -> Result<Value, ApiError> {
    let widgets = serde_json::from_str::<Value>(&input.dashboard_body).is_ok_and(|body| body["widgets"].is_array());
    if !widgets {
        return Err(ApiError::new(
            "DashboardInvalidInputError",
            "The field DashboardBody must be a valid JSON object with `widgets`.",
        ));
    }
    let Put { dashboard_name: name, dashboard_body: body } = input;
    cloud.store().put(&name, &Dashboard { name: name.clone(), body, modified_at: cloud.clock().now() });
    Ok(json!({"DashboardValidationMessages": []}))
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Get {
    dashboard_name: String,
}

pub(super) fn get_dashboard(cloud: &Cloud, input: Get) -> Result<Value, ApiError> {
    let dashboard = cloud.store().get::<Dashboard>(&input.dashboard_name);
    let dashboard = dashboard.ok_or_else(|| not_found(&input.dashboard_name))?;
    Ok(json!({
        "DashboardArn": arn(&dashboard.name), "DashboardName": dashboard.name, "DashboardBody": dashboard.body,
    }))
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct List {
    dashboard_name_prefix: Option<String>,
    next_token: Option<String>,
}

pub(super) fn list_dashboards(cloud: &Cloud, input: List) -> Result<Value, ApiError> {
    let prefix = input.dashboard_name_prefix.unwrap_or_default();
    let dashboards = cloud.store().find(|dashboard: &Dashboard| dashboard.name.starts_with(&prefix));
    let (dashboards, next) = page(dashboards, 1000, input.next_token.as_deref(), "InvalidParameterValueException")?;
    let view = |dashboard: Dashboard| {
        json!({
            "DashboardName": dashboard.name, "DashboardArn": arn(&dashboard.name),
            "LastModified": dashboard.modified_at, "Size": dashboard.body.len(),
        })
    };
    Ok(json!({"DashboardEntries": dashboards.into_iter().map(view).collect::<Vec<_>>(), "NextToken": next}))
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Names {
    dashboard_names: Vec<String>,
}

pub(super) fn delete_dashboards(cloud: &Cloud, input: Names) -> Result<Value, ApiError> {
    if let Some(missing) = input.dashboard_names.iter().find(|name| cloud.store().get::<Dashboard>(name).is_none()) {
        return Err(not_found(missing));
    }
    for name in &input.dashboard_names {
        cloud.store().delete::<Dashboard>(name);
    }
    Ok(json!({}))
}

fn arn(name: &str) -> String {
    format!("arn:aws:cloudwatch::{ACCOUNT}:dashboard/{name}")
}

fn not_found(name: &str) -> ApiError {
    ApiError::new("DashboardNotFoundError", format!("Dashboard {name} does not exist"))
}
