//! The CloudFormation templates, as JSON: a tag such as `!Ref X` becomes `{"Ref": "X"}`.

use std::path::PathBuf;

use serde_json::{Map, Value, json};

/// The top folder of the repository.
pub(crate) fn repository() -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
}

/// One template.
#[derive(Debug)]
pub(crate) struct Template {
    /// The path in the repository.
    pub(crate) file: String,
    /// As it was written, with its comments.
    pub(crate) text: String,
    body: Value,
}

/// A resource of a template.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Resource<'a> {
    pub(crate) template: &'a Template,
    pub(crate) id: &'a str,
    pub(crate) kind: &'a str,
    pub(crate) properties: &'a Value,
}

/// `template.yaml` and everything in `cfn`.
pub(crate) fn templates() -> Vec<Template> {
    let mut files = vec!["template.yaml".to_owned()];
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
        Self { body: as_json(body), file, text }
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
        self.resources().into_iter().find(|resource| resource.id == id)
    }

    /// The functions: of SAM or of plain CloudFormation.
    pub(crate) fn functions(&self) -> Vec<Resource<'_>> {
        let kinds = ["AWS::Serverless::Function", "AWS::Lambda::Function"];
        self.resources().into_iter().filter(|resource| kinds.contains(&resource.kind)).collect()
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
