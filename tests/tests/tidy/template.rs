//! The CloudFormation templates, as JSON: a tag such as `!Ref X` becomes `{"Ref": "X"}`, and a loop is run once.

use std::path::PathBuf;

use serde_json::{Map, Value, json};

/// The top folder of the repository.
pub(crate) fn repository() -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
}

/// What a loop over the accounts of agencies is run with.
pub(crate) const SAMPLE_ACCOUNT: &str = "222222222222";

/// One template.
#[derive(Debug, Clone)]
pub(crate) struct Template {
    /// The path in the repository.
    pub(crate) file: String,
    /// As it was written, with its comments.
    pub(crate) text: String,
    body: Value,
    /// The same before the default names were put in.
    written: Value,
}

/// A resource of a template.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Resource<'a> {
    pub(crate) template: &'a Template,
    pub(crate) id: &'a str,
    pub(crate) kind: &'a str,
    /// The condition under which it is made.
    pub(crate) condition: Option<&'a str>,
    pub(crate) properties: &'a Value,
}

/// `template.yaml`, `fanout.yaml` and everything in `cfn`.
pub(crate) fn templates() -> Vec<Template> {
    let mut files = ["template.yaml", "fanout.yaml"].map(str::to_owned).to_vec();
    for entry in std::fs::read_dir(repository().join("cfn")).unwrap() {
        files.push(format!("cfn/{}", entry.unwrap().file_name().into_string().unwrap()));
    }
    files.sort();
    files.into_iter().map(Template::read).collect()
}

impl Template {
    fn read(file: String) -> Self {
        let text = std::fs::read_to_string(repository().join(&file)).unwrap();
        let body = serde_yaml_ng::from_str(&text).unwrap_or_else(|error| panic!("{file}: {error}"));
        let mut body = as_json(body);
        let resources = body["Resources"].as_object().unwrap();
        body["Resources"] = Value::Object(resources.iter().flat_map(|(id, value)| unrolled(id, value)).collect());
        // Whether a map keeps its order depends on the features that other crates ask for.
        body.sort_all_objects();
        let written = body.clone();
        Self { file, text, body: with_default_names(&written), written }
    }

    /// The same without what is at a path, as [`Self::texts`] gives it.
    pub(crate) fn without(&self, path: &str) -> Self {
        let mut changed = self.clone();
        let (parent, last) = path.rsplit_once('/').unwrap();
        match changed.body.pointer_mut(parent).unwrap_or_else(|| panic!("{}: nothing at {parent}", self.file)) {
            Value::Array(items) => drop(items.remove(last.parse().unwrap())),
            Value::Object(fields) => drop(fields.remove(last).unwrap()),
            other => panic!("{}: {other} at {parent}", self.file),
        }
        changed
    }

    /// The same with another value at a path where there is one.
    pub(crate) fn with(&self, path: &str, value: &Value) -> Self {
        let mut changed = self.clone();
        *changed.body.pointer_mut(path).unwrap_or_else(|| panic!("{}: nothing at {path}", self.file)) = value.clone();
        changed
    }

    /// A resource or an output as it was written, with the parameters that its name is put together from.
    pub(crate) fn written(&self, section: &str, id: &str) -> &Value {
        &self.written[section][id]
    }

    /// A section such as `Parameters`, empty where there is none.
    pub(crate) fn section(&self, name: &str) -> Map<String, Value> {
        self.body[name].as_object().cloned().unwrap_or_default()
    }

    /// What the template tells the console about its parameters.
    pub(crate) fn interface(&self) -> &Value {
        &self.body["Metadata"]["AWS::CloudFormation::Interface"]
    }

    pub(crate) fn resources(&self) -> Vec<Resource<'_>> {
        let resources = self.body["Resources"].as_object().unwrap();
        resources
            .iter()
            .map(|(id, resource)| Resource {
                template: self,
                id,
                kind: resource["Type"].as_str().unwrap(),
                condition: resource["Condition"].as_str(),
                properties: &resource["Properties"],
            })
            .collect()
    }

    pub(crate) fn of_kind(&self, kind: &str) -> Vec<Resource<'_>> {
        self.resources().into_iter().filter(|resource| resource.kind == kind).collect()
    }

    /// The resource that `{"Ref": …}` or `{"Fn::GetAtt": "….…"}` names, where it is one of this template.
    pub(crate) fn referenced(&self, value: &Value) -> Option<Resource<'_>> {
        let attribute = value["Fn::GetAtt"].as_str().and_then(|path| path.split('.').next());
        let id = value["Ref"].as_str().or(attribute)?;
        self.resource(id)
    }

    /// The functions: of SAM or of plain CloudFormation.
    pub(crate) fn functions(&self) -> Vec<Resource<'_>> {
        let kinds = ["AWS::Serverless::Function", "AWS::Lambda::Function"];
        self.resources().into_iter().filter(|resource| kinds.contains(&resource.kind)).collect()
    }

    /// A resource by its logical id.
    pub(crate) fn resource(&self, id: &str) -> Option<Resource<'_>> {
        self.resources().into_iter().find(|resource| resource.id == id)
    }

    /// Every text in the template with the path to it, `/`-separated.
    pub(crate) fn texts(&self) -> Vec<(String, String)> {
        let mut texts = Vec::new();
        collect(&self.body, "", &mut texts);
        texts
    }
}

impl Resource<'_> {
    /// Where a message should point.
    pub(crate) fn place(&self) -> String {
        format!("{} {}", self.template.file, self.id)
    }

    /// The fixed name of a function, which is also the name of its package.
    pub(crate) fn function_name(&self) -> &str {
        self.properties["FunctionName"].as_str().unwrap_or_else(|| panic!("{}: no fixed FunctionName", self.place()))
    }
}

/// The members that a member of `Resources` stands for: itself, or those that a loop makes of one account.
fn unrolled(id: &str, value: &Value) -> Vec<(String, Value)> {
    if !id.starts_with("Fn::ForEach::") {
        return vec![(id.to_owned(), value.clone())];
    }
    let variable = value[0].as_str().unwrap();
    let members = value[2].as_object().unwrap();
    let name = |id: &String| id.replace(&format!("${{{variable}}}"), SAMPLE_ACCOUNT);
    members.iter().map(|(id, member)| (name(id), with_sample(member, variable))).collect()
}

/// A part of a template with the names that it has by default: without a prefix, without the Region in roles' names, and
/// those of the first controller of grants.
fn with_default_names(value: &Value) -> Value {
    let plain = |text: &str| text.replace("${NamePrefix}", "").replace("${ControllerName}", "tag-hub-grants");
    match value {
        Value::Object(fields) => match (fields.get("Fn::Sub"), fields.get("Fn::If")) {
            (Some(Value::String(text)), _) if !plain(text).contains("${") => Value::String(plain(text)),
            (Some(Value::String(text)), _) => json!({"Fn::Sub": plain(text)}),
            (Some(Value::Array(parts)), _) => {
                let text = Value::String(plain(parts[0].as_str().unwrap()));
                json!({"Fn::Sub": [text, with_default_names(&parts[1])]})
            }
            (_, Some(branches)) if branches[0] == "HasRegionInRoleNames" => with_default_names(&branches[2]),
            _ => fields.iter().map(|(key, field)| (key.clone(), with_default_names(field))).collect(),
        },
        Value::Array(items) => items.iter().map(with_default_names).collect(),
        plain => plain.clone(),
    }
}

/// A part of a loop, with the sample in place of its variable.
fn with_sample(value: &Value, variable: &str) -> Value {
    match value {
        Value::Object(fields) if fields.get("Ref").is_some_and(|name| name == variable) => json!(SAMPLE_ACCOUNT),
        // A name that is put together, as the transform allows it.
        Value::Object(fields) if fields.get("Ref").is_some_and(Value::is_object) => {
            let name = fields["Ref"]["Fn::Sub"].as_str().unwrap();
            json!({"Ref": name.replace(&format!("${{{variable}}}"), SAMPLE_ACCOUNT)})
        }
        Value::Object(fields) if fields.get("Fn::Sub").is_some_and(Value::is_string) => {
            let text = fields["Fn::Sub"].as_str().unwrap();
            json!({"Fn::Sub": text.replace(&format!("${{{variable}}}"), SAMPLE_ACCOUNT)})
        }
        Value::Object(fields) => {
            fields.iter().map(|(key, field)| (key.clone(), with_sample(field, variable))).collect()
        }
        Value::Array(items) => items.iter().map(|item| with_sample(item, variable)).collect(),
        plain => plain.clone(),
    }
}

fn collect(value: &Value, path: &str, texts: &mut Vec<(String, String)>) {
    match value {
        Value::String(text) => texts.push((path.to_owned(), text.clone())),
        Value::Array(items) => {
            items.iter().enumerate().for_each(|(at, item)| collect(item, &format!("{path}/{at}"), texts));
        }
        Value::Object(fields) => fields.iter().for_each(|(key, item)| collect(item, &format!("{path}/{key}"), texts)),
        _ => {}
    }
}

fn as_json(value: serde_yaml_ng::Value) -> Value {
    use serde_yaml_ng::Value as Yaml;
    match value {
        Yaml::Tagged(tagged) => {
            let name = match tagged.tag.to_string().trim_start_matches('!') {
                "Ref" => "Ref".to_owned(),
                "Condition" => "Condition".to_owned(),
                function => format!("Fn::{function}"),
            };
            json!({ name: as_json(tagged.value) })
        }
        Yaml::Sequence(items) => items.into_iter().map(as_json).collect(),
        Yaml::Mapping(fields) => {
            let text = |key: Yaml| key.as_str().unwrap().to_owned();
            Value::Object(fields.into_iter().map(|(key, item)| (text(key), as_json(item))).collect())
        }
        plain => serde_json::to_value(plain).unwrap(),
    }
}

#[test]
fn tags_become_the_long_form() {
    let yaml = "a: !Ref X\nb: !GetAtt X.Arn\nc: !If [HasX, !Sub 'arn:${AWS::Partition}', 1]";
    let expected = json!({
        "a": {"Ref": "X"}, "b": {"Fn::GetAtt": "X.Arn"}, "c": {"Fn::If": ["HasX", {"Fn::Sub": "arn:${AWS::Partition}"}, 1]}
    });
    assert_eq!(as_json(serde_yaml_ng::from_str(yaml).unwrap()), expected);
}

#[test]
fn names_are_those_without_a_prefix() {
    let body = json!({
        "a": {"Fn::Sub": "${NamePrefix}x"}, "b": {"Fn::Sub": "${NamePrefix}x-${AWS::Region}"},
        "c": {"Fn::If": ["HasRegionInRoleNames", {"Fn::Sub": "x-${AWS::Region}"}, {"Fn::Sub": "${NamePrefix}x"}]},
        "d": {"Fn::Sub": ["${NamePrefix}${B}", {"B": {"Fn::Sub": "${NamePrefix}b"}}]}, "e": {"Ref": "NamePrefix"},
    });
    let expected = json!({
        "a": "x", "b": {"Fn::Sub": "x-${AWS::Region}"}, "c": "x", "d": {"Fn::Sub": ["${B}", {"B": "b"}]},
        "e": {"Ref": "NamePrefix"},
    });
    assert_eq!(with_default_names(&body), expected);
}

#[test]
fn a_loop_is_run_with_the_sample() {
    let body = json!(["Account", {"Ref": "Accounts"}, {
        "Alias${Account}": {"Name": {"Fn::Sub": "agency-${Account}"}},
        "Permission${Account}": {"Of": {"Ref": {"Fn::Sub": "Alias${Account}"}}, "To": {"Ref": "Account"}},
    }]);
    let expected = [
        ("Alias222222222222", json!({"Name": {"Fn::Sub": "agency-222222222222"}})),
        ("Permission222222222222", json!({"Of": {"Ref": "Alias222222222222"}, "To": "222222222222"})),
    ];
    assert_eq!(unrolled("Fn::ForEach::Agencies", &body), expected.map(|(id, value)| (id.to_owned(), value)));
}
