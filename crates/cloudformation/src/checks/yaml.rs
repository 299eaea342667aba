//! Templates in YAML: the short forms of functions become the long ones.

use serde_json::{Map, Value as Json, json};
use serde_yaml::Value as Yaml;

pub(super) fn to_json(text: &str) -> Result<Json, serde_yaml::Error> {
    serde_yaml::from_str(text).map(convert)
}

fn convert(yaml: Yaml) -> Json {
    match yaml {
        Yaml::Null => Json::Null,
        Yaml::Bool(value) => value.into(),
        Yaml::Number(number) => number_to_json(&number),
        Yaml::String(text) => text.into(),
        Yaml::Sequence(items) => items.into_iter().map(convert).collect(),
        Yaml::Mapping(fields) => {
            let fields = fields.into_iter().map(|(key, value)| (key_to_text(key), convert(value)));
            fields.collect::<Map<_, _>>().into()
        }
        Yaml::Tagged(tagged) => {
            let tag = tagged.tag.to_string();
            function(tag.trim_start_matches('!'), convert(tagged.value))
        }
    }
}

/// `!Sub x` is `Fn::Sub: x`; only `Ref` and `Condition` have no prefix, and `!GetAtt a.b` has a list behind it.
fn function(name: &str, argument: Json) -> Json {
    match (name, &argument) {
        ("Ref" | "Condition", _) => json!({name: argument}),
        ("GetAtt", Json::String(path)) => match path.split_once('.') {
            Some((id, attribute)) => json!({"Fn::GetAtt": [id, attribute]}),
            None => json!({"Fn::GetAtt": argument}),
        },
        _ => json!({format!("Fn::{name}"): argument}),
    }
}

fn key_to_text(key: Yaml) -> String {
    match convert(key) {
        Json::String(text) => text,
        other => other.to_string(),
    }
}

fn number_to_json(number: &serde_yaml::Number) -> Json {
    let whole = number.as_i64().map(Json::from).or_else(|| number.as_u64().map(Json::from));
    whole.or_else(|| number.as_f64().map(Json::from)).unwrap_or(Json::Null)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_functions_become_long_ones() {
        let text = "a: !Ref X\nb: !GetAtt X.Arn.Part\nc: !Sub '${X}-y'\nd: !If [C, !Ref A, !Ref 'AWS::NoValue']\n\
                    e: !Join [',', [a, !GetAtt [X, Arn]]]\nf: {Fn::ImportValue: !Sub '${N}-z'}\n";
        let expected = json!({
            "a": {"Ref": "X"},
            "b": {"Fn::GetAtt": ["X", "Arn.Part"]},
            "c": {"Fn::Sub": "${X}-y"},
            "d": {"Fn::If": ["C", {"Ref": "A"}, {"Ref": "AWS::NoValue"}]},
            "e": {"Fn::Join": [",", ["a", {"Fn::GetAtt": ["X", "Arn"]}]]},
            "f": {"Fn::ImportValue": {"Fn::Sub": "${N}-z"}},
        });
        assert_eq!(to_json(text).unwrap(), expected);
    }
}
