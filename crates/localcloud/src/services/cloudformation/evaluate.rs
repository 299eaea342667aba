//! Evaluates a stack's template against what exists.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::intrinsics::{Attributes, Failure, Scope};
use super::records::{OutputValue, Stack, exports};
use super::template::Template;
use crate::cloud::Cloud;

/// A stack's template with the parameters and the exports that its values are evaluated against.
pub(super) struct Evaluation {
    pub(super) template: Template,
    parameters: BTreeMap<String, String>,
    exports: BTreeMap<String, String>,
    region: String,
    stack_id: String,
    stack_name: String,
    preview: bool,
}

impl Evaluation {
    /// Evaluates `template` for a stack. A preview tolerates what is not known yet.
    pub(super) fn new(
        cloud: &Cloud,
        (stack_id, stack_name): (&str, &str),
        template: Template,
        parameters: &BTreeMap<String, String>,
        preview: bool,
    ) -> Self {
        let exports = exports(cloud).into_iter();
        Self {
            template,
            parameters: parameters.clone(),
            exports: exports.filter(|(_, (_, by))| by.id != stack_id).map(|(name, (value, _))| (name, value)).collect(),
            region: cloud.region().to_owned(),
            stack_id: stack_id.to_owned(),
            stack_name: stack_name.to_owned(),
            preview,
        }
    }

    /// The resources whose conditions hold, in dependency order.
    pub(super) fn wanted(&self) -> Result<Vec<String>, Failure> {
        let order = self.template.order().map_err(|error| error.message)?;
        let mut wanted = vec![];
        for id in order {
            let condition = self.template.resources.get(&id).and_then(|resource| resource.condition.as_ref());
            if self.scope(&|_| None, |scope| scope.holds(condition))?.0 {
                wanted.push(id);
            }
        }
        Ok(wanted)
    }

    /// A resource's properties, and the exports they read.
    pub(super) fn properties(
        &self,
        logical: &str,
        resources: &dyn Fn(&str) -> Option<Attributes>,
    ) -> Result<(Value, BTreeSet<String>), Failure> {
        let declaration = self.template.resources.get(logical);
        let declared = declaration.map_or(Value::Null, |declaration| declaration.properties.clone());
        self.scope(resources, |scope| scope.evaluate(&declared))
    }

    /// The outputs, and the exports they read.
    pub(super) fn outputs(
        &self,
        resources: &dyn Fn(&str) -> Option<Attributes>,
    ) -> Result<(Vec<OutputValue>, BTreeSet<String>), Failure> {
        self.scope(resources, |scope| {
            let mut outputs = vec![];
            for (key, output) in &self.template.outputs {
                if scope.holds(output.condition.as_ref())? {
                    outputs.push(OutputValue {
                        key: key.clone(),
                        value: scope.text(&output.value)?,
                        description: output.description.clone(),
                        export: output.export.as_ref().map(|export| scope.text(export)).transpose()?,
                    });
                }
            }
            Ok(outputs)
        })
    }

    fn scope<R>(
        &self,
        resources: &dyn Fn(&str) -> Option<Attributes>,
        evaluate: impl FnOnce(&Scope<'_>) -> Result<R, Failure>,
    ) -> Result<(R, BTreeSet<String>), Failure> {
        let scope = Scope {
            template: &self.template,
            parameters: &self.parameters,
            region: &self.region,
            stack_id: &self.stack_id,
            stack_name: &self.stack_name,
            resources,
            exports: &self.exports,
            preview: self.preview,
            imports: RefCell::default(),
        };
        let result = evaluate(&scope)?;
        Ok((result, scope.imports.into_inner()))
    }
}

/// The attributes of a stack's existing resources.
pub(super) fn existing(stack: &Stack) -> impl Fn(&str) -> Option<Attributes> + '_ {
    |logical| stack.resources.get(logical).filter(|r| r.physical.is_some()).map(|resource| resource.attributes.clone())
}
