//! Several tags at once, which the service does not take: the nodes that have them all.

use serde_json::{Map, Value};

use super::reader::{Expected, Reader};
use super::{checks, start};
use crate::plan::problem::Path;
use crate::plan::request::{StartRequest, Target};

/// `GetResources` takes so many values of a tag, and this is far below its limit on tags.
const VALUES_MAX: usize = 20;
const TAGS_MAX: usize = 10;

/// The tags that all of a node have to fit, beside what else the request says.
pub(super) fn matching(reader: &mut Reader, fields: &Map<String, Value>, request: &StartRequest) -> Vec<Target> {
    let path = Path::Root.field("Match");
    let matching = start::member(fields, &Path::Root, "Match", |value, path| read(reader, value, path));
    if fields.contains_key("Match") {
        let others = [
            ("Targets", !request.targets.is_empty()),
            ("TargetMaps", !request.target_maps.is_empty()),
            ("TargetLocationsURL", request.target_locations_url.is_some()),
        ];
        for (name, _) in others.into_iter().filter(|(_, is_there)| *is_there) {
            reader.refuse(&path, format!("expected only one of Match and {name}, got both"));
        }
        if let Some(index) = request.target_locations.iter().position(|location| !location.targets.is_empty()) {
            reader.refuse(&path, format!("expected only one of Match and TargetLocations[{index}].Targets, got both"));
        }
    }
    matching
}

fn read(reader: &mut Reader, value: &Value, path: &Path<'_>) -> Vec<Target> {
    let items = reader.list(value, path, (1, TAGS_MAX)).unwrap_or_default().iter().enumerate();
    let mut all: Vec<Target> = Vec::new();
    for (index, item) in items {
        let path = path.index(index);
        let Some(fields) = reader.object(item, &path, &["Key", "Values"]) else { continue };
        let (key_path, values_path) = (path.field("Key"), path.field("Values"));
        let words = Expected::Open("tag:KEY");
        let is_tag =
            |text: &str| text.strip_prefix("tag:").is_some_and(|key| !key.is_empty() && checks::is_tag_text(key, 128));
        let key = fields.get("Key").and_then(|value| reader.string(value, &key_path, &words, is_tag));
        if !fields.contains_key("Key") {
            reader.refuse(&key_path, "expected tag:KEY, got nothing");
        }
        let any = Expected::Open("a tag value");
        let values = if let Some(values) = fields.get("Values") {
            reader.strings(values, &values_path, (1, VALUES_MAX), &any, |text| checks::is_tag_text(text, 256))
        } else {
            reader.refuse(&values_path, "expected at least one tag value, got nothing");
            Vec::new()
        };
        let Some(key) = key else { continue };
        if all.iter().any(|target| target.key == key) {
            reader
                .refuse(&key_path, format!("expected each key once, got {key:?} again; give all its Values together"));
        }
        all.push(Target { key, values });
    }
    all
}
