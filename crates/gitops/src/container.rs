//! The container of an environment's task definition.

use cloudformation::{Names, files};
use environment::{Environment, Project};
use serde_json::Value as Json;

use crate::Error;

/// What the task definition says about the chatbot.
pub(crate) struct Container(Json);

impl Container {
    /// Reads the generated `taskdef.json`.
    pub(crate) fn of(project: &Project, environment: &Environment) -> Result<Self, Error> {
        let path = Names::new(project, environment.name).task_definition_file();
        let files = files(project, std::slice::from_ref(environment))?;
        let definition = files.into_iter().find(|file| file.path == path);
        let definition = definition.map_or(Json::Null, |file| serde_json::from_str(&file.text).unwrap_or_default());
        Ok(Container(definition["containerDefinitions"][0].clone()))
    }

    /// Plain variables: name and value.
    pub(crate) fn variables(&self) -> impl Iterator<Item = (&str, &str)> {
        let variables = self.0["environment"].as_array().into_iter().flatten();
        variables.filter_map(|variable| Some((variable["name"].as_str()?, variable["value"].as_str()?)))
    }

    /// User and group that it runs as.
    pub(crate) fn user(&self) -> (Option<i64>, Option<i64>) {
        let mut ids = self.0["user"].as_str().unwrap_or_default().split(':').map(|id| id.parse().ok());
        (ids.next().flatten(), ids.next().flatten())
    }

    /// Where it may write.
    pub(crate) fn mounts(&self) -> impl Iterator<Item = (&str, &str)> {
        let mounts = self.0["mountPoints"].as_array().into_iter().flatten();
        mounts.filter_map(|mount| Some((mount["sourceVolume"].as_str()?, mount["containerPath"].as_str()?)))
    }
}
