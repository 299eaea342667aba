//! `#{namespace.Name}` in action configurations.
//!
//! <https://docs.aws.amazon.com/codepipeline/latest/userguide/reference-variables.html>

use super::execution::Execution;

/// Replaces every variable reference; an unknown one is an error that names it.
pub(super) fn resolve(execution: &Execution, text: &str) -> Result<String, String> {
    let mut resolved = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(start) = rest.find("#{") {
        let Some(length) = rest[start..].find('}') else { break };
        let name = &rest[start + 2..start + length];
        resolved.push_str(&rest[..start]);
        match (name, execution.variables.get(name)) {
            ("codepipeline.PipelineExecutionId", _) => resolved.push_str(&execution.id),
            (_, Some(value)) => resolved.push_str(value),
            (_, None) => return Err(format!("the variable #{{{name}}} has no value: no action before has put it out")),
        }
        rest = &rest[start + length + 1..];
    }
    resolved.push_str(rest);
    Ok(resolved)
}
