//! What an update does to resources that exist: two generations of a template compared.

use serde_json::{Map, Value as Json};

use crate::resources::TYPES;

/// A resource that the newer generation makes anew.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Replacement {
    /// Its logical id.
    pub id: String,
    /// Its type.
    pub kind: String,
    /// The properties that changed and cannot change in place; none when the resource itself is gone.
    pub properties: Vec<String>,
}

/// The resources of the older template that the newer one replaces or drops. A property that can change in place
/// only in parts counts as one that cannot: better one warning too many.
pub fn replacements(older: &Json, newer: &Json) -> Vec<Replacement> {
    let resources = |template: &Json| template["Resources"].as_object().cloned().unwrap_or_default();
    let newer = resources(newer);
    let replaced = resources(older).into_iter().filter_map(|(id, resource)| {
        let kind = resource["Type"].as_str().unwrap_or_default().to_owned();
        let properties = match newer.get(&id).filter(|other| other["Type"] == resource["Type"]) {
            None => Vec::new(),
            Some(other) => {
                let changed = fixed_changes(&kind, &resource["Properties"], &other["Properties"]);
                if changed.is_empty() {
                    return None;
                }
                changed
            }
        };
        Some(Replacement { id, kind, properties })
    });
    replaced.collect()
}

fn fixed_changes(kind: &str, older: &Json, newer: &Json) -> Vec<String> {
    let empty = Map::new();
    let (older, newer) = (older.as_object().unwrap_or(&empty), newer.as_object().unwrap_or(&empty));
    let fixed = TYPES.iter().find(|facts| facts.name == kind).map_or(&[][..], |facts| facts.create_only);
    fixed.iter().filter(|name| older.get(**name) != newer.get(**name)).map(|name| (*name).to_owned()).collect()
}
