//! What refers to what: inside a template, and from stack to stack.

use std::collections::BTreeSet;

use cloudformation::Stack;
use serde_json::Value as Json;

/// Every reference of the stacks leads somewhere; imports lead to stacks created before.
pub(crate) fn check(stacks: &[Stack], exported_elsewhere: &BTreeSet<String>) {
    let mut exports = exported_elsewhere.clone();
    for stack in stacks {
        let names = |section: &str| {
            let entries = stack.template[section].as_object();
            entries.into_iter().flat_map(|entries| entries.keys().cloned()).collect::<BTreeSet<_>>()
        };
        let known = Known {
            stack: &stack.name,
            resources: names("Resources"),
            parameters: names("Parameters"),
            conditions: names("Conditions"),
            exports: &exports,
        };
        for (id, resource) in stack.template["Resources"].as_object().unwrap() {
            for other in resource["DependsOn"].as_array().into_iter().flatten() {
                assert!(known.resources.contains(other.as_str().unwrap()), "{id} depends on {other}");
            }
        }
        known.walk(&stack.template);
        let own = stack.template["Outputs"].as_object().into_iter().flatten();
        exports.extend(own.filter_map(|(_, output)| output["Export"]["Name"].as_str().map(str::to_owned)));
    }
}

struct Known<'a> {
    stack: &'a str,
    resources: BTreeSet<String>,
    parameters: BTreeSet<String>,
    conditions: BTreeSet<String>,
    exports: &'a BTreeSet<String>,
}

impl Known<'_> {
    fn walk(&self, json: &Json) {
        match json {
            Json::Object(fields) => {
                for (key, value) in fields {
                    match key.as_str() {
                        "Ref" => self.name(value.as_str().unwrap()),
                        "Fn::GetAtt" => self.attribute(value[0].as_str().unwrap()),
                        "Fn::Sub" => match value {
                            Json::Array(parts) => self.text(parts[0].as_str().unwrap(), &parts[1]),
                            text => self.text(text.as_str().unwrap(), &Json::Null),
                        },
                        "Fn::ImportValue" => {
                            let name = value.as_str().unwrap();
                            assert!(self.exports.contains(name), "{}: nothing exports {name} before", self.stack);
                        }
                        "Fn::If" => {
                            let name = value[0].as_str().unwrap();
                            assert!(self.conditions.contains(name), "{}: no condition {name}", self.stack);
                        }
                        _ => {}
                    }
                    self.walk(value);
                }
            }
            Json::Array(items) => items.iter().for_each(|item| self.walk(item)),
            _ => {}
        }
    }

    fn name(&self, name: &str) {
        let known = ["AWS::AccountId", "AWS::Partition", "AWS::Region", "AWS::NoValue"].contains(&name)
            || self.parameters.contains(name)
            || self.resources.contains(name);
        assert!(known, "{}: {name} dangles", self.stack);
    }

    fn attribute(&self, id: &str) {
        assert!(self.resources.contains(id), "{}: {id} dangles", self.stack);
    }

    /// Names in a text, unless they are explained beside it.
    fn text(&self, text: &str, explained: &Json) {
        for part in text.split("${").skip(1).filter(|part| !part.starts_with('!')) {
            let name = part.split('}').next().unwrap();
            match name.split_once('.') {
                None if explained.get(name).is_some() => {}
                Some((id, _)) => self.attribute(id),
                None => self.name(name),
            }
        }
    }
}
