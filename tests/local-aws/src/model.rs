//! AWS's own service models, as botocore ships them: `data/<service>/<version>/service-2.json.gz`.

use std::collections::{BTreeMap, HashMap};
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::Context as _;
use regex::Regex;
use serde::Deserialize;

/// The models of a botocore installation, each read once, when it is first asked for.
#[derive(Debug)]
pub(crate) struct Models {
    data: PathBuf,
    loaded: Mutex<HashMap<String, Arc<Model>>>,
}

impl Models {
    pub(crate) fn new(data: PathBuf) -> Self {
        Self { data, loaded: Mutex::default() }
    }

    /// The newest version of a service, named as botocore's folder is.
    pub(crate) fn get(&self, service: &str) -> anyhow::Result<Arc<Model>> {
        let mut loaded = self.loaded.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(model) = loaded.get(service) {
            return Ok(Arc::clone(model));
        }
        let model = Arc::new(Model::load(&self.data.join(service))?);
        loaded.insert(service.to_owned(), Arc::clone(&model));
        Ok(model)
    }
}

/// One service.
#[derive(Debug, Deserialize)]
pub(crate) struct Model {
    operations: HashMap<String, Operation>,
    shapes: HashMap<String, Shape>,
    #[serde(skip)]
    patterns: Mutex<HashMap<String, Option<Regex>>>,
}

#[derive(Debug, Deserialize)]
struct Operation {
    input: Option<Reference>,
}

#[derive(Debug, Deserialize)]
pub(crate) struct Reference {
    pub(crate) shape: String,
}

/// A shape, with the constraints that requests are checked against.
#[derive(Debug, Deserialize)]
pub(crate) struct Shape {
    #[serde(rename = "type")]
    pub(crate) kind: String,
    #[serde(default)]
    pub(crate) members: BTreeMap<String, Reference>,
    #[serde(default)]
    pub(crate) required: Vec<String>,
    pub(crate) member: Option<Reference>,
    pub(crate) key: Option<Reference>,
    pub(crate) value: Option<Reference>,
    min: Option<serde_json::Number>,
    max: Option<serde_json::Number>,
    pub(crate) pattern: Option<String>,
    #[serde(rename = "enum", default)]
    pub(crate) values: Vec<String>,
}

impl Shape {
    pub(crate) fn min(&self) -> Option<i64> {
        self.min.as_ref()?.as_i64()
    }

    pub(crate) fn max(&self) -> Option<i64> {
        self.max.as_ref()?.as_i64()
    }
}

impl Model {
    fn load(folder: &Path) -> anyhow::Result<Self> {
        let versions = std::fs::read_dir(folder).with_context(|| format!("list {}", folder.display()))?;
        let newest = versions.filter_map(Result::ok).map(|entry| entry.path()).filter(|path| path.is_dir()).max();
        let file = newest.context("no version of the service model")?.join("service-2.json.gz");
        let packed = std::fs::read(&file).with_context(|| format!("read {}", file.display()))?;
        let mut text = String::new();
        flate2::read::GzDecoder::new(packed.as_slice()).read_to_string(&mut text)?;
        serde_json::from_str(&text).with_context(|| format!("parse {}", file.display()))
    }

    /// The input shape of an operation; `None` for one without input or of another service.
    pub(crate) fn input(&self, operation: &str) -> Option<&Shape> {
        self.shape(self.operations.get(operation)?.input.as_ref()?)
    }

    pub(crate) fn shape(&self, reference: &Reference) -> Option<&Shape> {
        self.shapes.get(&reference.shape)
    }

    /// Whether a text matches a pattern of the model as a whole. A pattern that cannot be translated
    /// holds for every text.
    pub(crate) fn matches(&self, pattern: &str, text: &str) -> bool {
        let mut patterns = self.patterns.lock().unwrap_or_else(PoisonError::into_inner);
        let compiled = patterns.entry(pattern.to_owned()).or_insert_with(|| {
            let translated = translate(pattern);
            Regex::new(&translated).inspect_err(|error| tracing::warn!(%pattern, %error, "pattern is not checked")).ok()
        });
        compiled.as_ref().is_none_or(|regex| regex.is_match(text))
    }
}

/// From Java's regular expressions to Rust's: the classes are ASCII, and the whole text has to match.
fn translate(pattern: &str) -> String {
    let mut translated = String::from("^(?:");
    let mut characters = pattern.chars();
    while let Some(character) = characters.next() {
        if character != '\\' {
            translated.push(character);
            continue;
        }
        match characters.next() {
            Some('w') => translated.push_str("[0-9A-Za-z_]"),
            Some('d') => translated.push_str("[0-9]"),
            Some('s') => translated.push_str(r"[ \t\n\x0B\x0C\r]"),
            Some('S') => translated.push_str(r"[^ \t\n\x0B\x0C\r]"),
            Some(escaped) => translated.extend(['\\', escaped]),
            None => translated.push('\\'),
        }
    }
    translated.push_str(")$");
    translated
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// A model as small as a test needs, with `AddTagsToResource` as in botocore.
    pub(crate) fn sample() -> Model {
        serde_json::from_value(serde_json::json!({
            "operations": {
                "AddTagsToResource": {"input": {"shape": "AddTagsToResourceRequest"}},
                "DescribeInstanceInformation": {"input": {"shape": "DescribeRequest"}}
            },
            "shapes": {
                "AddTagsToResourceRequest": {
                    "type": "structure",
                    "required": ["ResourceType", "ResourceId", "Tags"],
                    "members": {"ResourceType": {"shape": "Type"}, "ResourceId": {"shape": "Id"}, "Tags": {"shape": "TagList"}}
                },
                "Type": {"type": "string", "enum": ["Document", "ManagedInstance"]},
                "Id": {"type": "string"},
                "TagList": {"type": "list", "member": {"shape": "Tag"}, "max": 2},
                "Tag": {"type": "structure", "required": ["Key", "Value"], "members": {"Key": {"shape": "TagKey"}, "Value": {"shape": "TagValue"}}},
                "TagKey": {"type": "string", "min": 1, "max": 8, "pattern": "^([\\p{L}\\p{Z}\\p{N}_.:/=+\\-@]*)$"},
                "TagValue": {"type": "string", "min": 0, "max": 8, "pattern": "^([\\p{L}\\p{Z}\\p{N}_.:/=+\\-@]*)$"},
                "DescribeRequest": {"type": "structure", "members": {"MaxResults": {"shape": "Max"}}},
                "Max": {"type": "integer", "min": 5, "max": 50}
            }
        }))
        .unwrap()
    }

    #[test]
    fn patterns_match_as_java_does() {
        let model = sample();
        let check = |pattern: &str, text: &str| model.matches(pattern, text);
        assert!(check(r"[\w+=,.@/-]+", "service-role/X"));
        assert!(!check(r"\w+", "é"), "\\w is ASCII");
        assert!(!check(r"[a-z]+", "abc1"), "the whole text");
        assert!(check(r"[\s\S]*", "any\nthing"));
        assert!(check(r"^mi-\w{17}$", "mi-0123456789abcdef0"));
        assert!(check(r"(?!^[0-9]+$)x", "anything"), "what cannot be translated is not checked");
    }
}
