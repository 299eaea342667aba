//! Values of template properties: literals, or intrinsic functions that CloudFormation resolves.

use std::collections::BTreeMap;

use serde::ser::{Serialize, SerializeMap, Serializer};

/// A property's value.
#[derive(Debug, Clone, PartialEq)]
pub enum Value<T> {
    /// The value itself.
    Literal(T),
    /// A function that gives the value.
    Intrinsic(Intrinsic),
}

/// An intrinsic function. References come from handles only, so they cannot dangle.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Intrinsic {
    /// `Ref` of a resource, parameter or pseudo parameter.
    Ref(String),
    /// `Fn::GetAtt`.
    GetAtt(String, String),
    /// `Fn::Sub` with references inside the text; made by [`sub!`](crate::sub).
    Sub(String),
    /// `Fn::Sub` of a text whose names are explained beside it; made by [`Intrinsic::explain`].
    SubWith(String, Vec<(&'static str, Intrinsic)>),
    /// No function after all: what [`sub!`](crate::sub) makes of texts alone.
    Text(String),
    /// `Fn::ImportValue` of another stack's export.
    ImportValue(String),
    /// The availability zone of that index in the stack's region.
    Zone(usize),
    /// `Fn::Join` without anything between the parts; made by [`Intrinsic::followed_by`].
    Join(Vec<Intrinsic>),
    /// `Ref` of `AWS::NoValue`: the property is left out.
    NoValue,
    /// `Fn::If`.
    If(String, Box<Intrinsic>, Box<Intrinsic>),
}

/// The account of the stack.
pub const ACCOUNT: Pseudo = Pseudo("AWS::AccountId");
/// The partition of the stack's region: `aws`, `aws-cn`.
pub const PARTITION: Pseudo = Pseudo("AWS::Partition");
/// The region of the stack.
pub const REGION: Pseudo = Pseudo("AWS::Region");

/// A pseudo parameter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pseudo(&'static str);

/// A part of the text of `Fn::Sub`.
#[derive(Debug, Clone)]
pub enum Part {
    /// Text as it is.
    Text(String),
    /// `${...}`, or text that contains some.
    References(String),
}

impl Intrinsic {
    /// `Fn::Sub` of the parts in a row.
    pub fn sub(parts: impl IntoIterator<Item = Part>) -> Self {
        let parts: Vec<Part> = parts.into_iter().collect();
        if parts.iter().all(|part| matches!(part, Part::Text(_))) {
            return Intrinsic::Text(parts.into_iter().map(Part::text).collect());
        }
        let escaped = parts.into_iter().map(|part| match part {
            // A literal `${` would be taken for a reference.
            Part::Text(text) => text.replace("${", "${!"),
            Part::References(text) => text,
        });
        Intrinsic::Sub(escaped.collect())
    }

    /// The value with a text after it, by `Fn::Join`: the form in which Control Tower knows a bucket's objects.
    pub fn followed_by(self, text: &str) -> Self {
        Intrinsic::Join(vec![self, Intrinsic::Text(text.to_owned())])
    }

    /// `Fn::Sub` of a text with `${Name}` in it, each name explained. For values that have no place in a text of
    /// their own, such as imports.
    pub fn explain(text: impl Into<String>, names: impl IntoIterator<Item = (&'static str, Intrinsic)>) -> Self {
        Intrinsic::SubWith(text.into(), names.into_iter().collect())
    }
}

/// Puts texts and references in a row: `sub!["http://", load_balancer.dns_name(), ":80"]`.
#[macro_export]
macro_rules! sub {
    ($($part:expr),+ $(,)?) => {
        $crate::value::Intrinsic::sub([$($crate::value::Part::from($part)),+])
    };
}

/// The ARN of a resource of this account and region: `arn("ecs", "cluster/x")`.
pub fn arn(service: &str, resource: impl Into<Part>) -> Intrinsic {
    let resource: Part = resource.into();
    sub!["arn:", PARTITION, ":", service, ":", REGION, ":", ACCOUNT, ":", resource]
}

/// The ARN of a resource of this account in IAM, which has no region: `iam_arn("role/x")`.
pub fn iam_arn(resource: impl Into<Part>) -> Intrinsic {
    let resource: Part = resource.into();
    sub!["arn:", PARTITION, ":iam::", ACCOUNT, ":", resource]
}

impl Part {
    fn text(self) -> String {
        match self {
            Part::Text(text) | Part::References(text) => text,
        }
    }
}

impl From<&str> for Part {
    fn from(text: &str) -> Self {
        Part::Text(text.to_owned())
    }
}

impl From<String> for Part {
    fn from(text: String) -> Self {
        Part::Text(text)
    }
}

impl From<Pseudo> for Part {
    fn from(pseudo: Pseudo) -> Self {
        Part::References(format!("${{{}}}", pseudo.0))
    }
}

impl From<Intrinsic> for Part {
    /// # Panics
    /// With a function that has no place inside the text of `Fn::Sub`: an error of the stack's author.
    fn from(intrinsic: Intrinsic) -> Self {
        match intrinsic {
            Intrinsic::Ref(id) => Part::References(format!("${{{id}}}")),
            Intrinsic::GetAtt(id, attribute) => Part::References(format!("${{{id}.{attribute}}}")),
            Intrinsic::Sub(text) => Part::References(text),
            Intrinsic::Text(text) => Part::Text(text),
            other => panic!("{other:?} cannot stand inside Fn::Sub"),
        }
    }
}

impl From<Pseudo> for Intrinsic {
    fn from(pseudo: Pseudo) -> Self {
        Intrinsic::Ref(pseudo.0.to_owned())
    }
}

impl<T> From<T> for Value<T> {
    fn from(literal: T) -> Self {
        Value::Literal(literal)
    }
}

impl From<&str> for Value<String> {
    fn from(literal: &str) -> Self {
        Value::Literal(literal.to_owned())
    }
}

impl From<Intrinsic> for Value<String> {
    fn from(intrinsic: Intrinsic) -> Self {
        Value::Intrinsic(intrinsic)
    }
}

impl From<Intrinsic> for Value<i64> {
    fn from(intrinsic: Intrinsic) -> Self {
        Value::Intrinsic(intrinsic)
    }
}

impl From<Pseudo> for Value<String> {
    fn from(pseudo: Pseudo) -> Self {
        Value::Intrinsic(pseudo.into())
    }
}

impl<T: Serialize> Serialize for Value<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Value::Literal(literal) => literal.serialize(serializer),
            Value::Intrinsic(intrinsic) => intrinsic.serialize(serializer),
        }
    }
}

impl Serialize for Intrinsic {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if let Intrinsic::Text(text) = self {
            return serializer.serialize_str(text);
        }
        let mut map = serializer.serialize_map(Some(1))?;
        match self {
            Intrinsic::Text(_) => {}
            Intrinsic::Ref(id) => map.serialize_entry("Ref", id)?,
            Intrinsic::GetAtt(id, attribute) => map.serialize_entry("Fn::GetAtt", &[id, attribute])?,
            Intrinsic::Sub(text) => map.serialize_entry("Fn::Sub", text)?,
            Intrinsic::SubWith(text, names) if names.is_empty() => map.serialize_entry("Fn::Sub", text)?,
            Intrinsic::SubWith(text, names) => {
                let names: BTreeMap<_, _> = names.iter().map(|(name, value)| (*name, value)).collect();
                map.serialize_entry("Fn::Sub", &(text, names))?;
            }
            Intrinsic::Join(parts) => map.serialize_entry("Fn::Join", &("", parts))?,
            Intrinsic::NoValue => map.serialize_entry("Ref", "AWS::NoValue")?,
            Intrinsic::ImportValue(name) => map.serialize_entry("Fn::ImportValue", name)?,
            Intrinsic::Zone(index) => {
                let zones = serde_json::json!({"Fn::GetAZs": ""});
                map.serialize_entry("Fn::Select", &(index, zones))?;
            }
            Intrinsic::If(condition, yes, no) => map.serialize_entry("Fn::If", &(condition, yes, no))?,
        }
        map.end()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn json(value: impl Serialize) -> String {
        serde_json::to_string(&value).unwrap()
    }

    #[test]
    fn texts_alone_need_no_function() {
        assert_eq!(json(sub!["a", "${b}".to_owned()]), r#""a${b}""#);
    }

    #[test]
    fn a_literal_that_looks_like_a_reference_is_escaped_beside_one() {
        assert_eq!(json(sub!["${a}", REGION]), r#"{"Fn::Sub":"${!a}${AWS::Region}"}"#);
    }

    #[test]
    fn references_stand_inside_text() {
        let attribute = Intrinsic::GetAtt("Balancer".to_owned(), "DNSName".to_owned());
        assert_eq!(json(sub!["http://", attribute, ":", "80"]), r#"{"Fn::Sub":"http://${Balancer.DNSName}:80"}"#);
    }

    #[test]
    #[should_panic(expected = "cannot stand inside Fn::Sub")]
    fn an_import_has_no_place_inside_text() {
        let _ = sub!["x", Intrinsic::ImportValue("y".to_owned())];
    }
}
