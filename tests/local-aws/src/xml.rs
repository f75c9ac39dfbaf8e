//! XML answers as JSON values, which is all that a test needs of them.

use quick_xml::Reader;
use quick_xml::events::Event;
use serde_json::{Map, Value};

/// The content of the root element.
///
/// Text becomes a string, children an object. A name that occurs several times becomes an array, and
/// so does an element whose children are all called `member` or `item`, as AWS writes lists. An
/// empty element is an empty string.
pub(crate) fn parse(text: &str) -> anyhow::Result<Value> {
    let mut reader = Reader::from_str(text);
    let mut open: Vec<Element> = vec![Element::default()];
    loop {
        match reader.read_event()? {
            Event::Start(start) => {
                let name = start.local_name().as_ref().to_owned();
                open.push(Element { name, ..Element::default() });
            }
            Event::Empty(empty) => {
                let name = empty.local_name().as_ref().to_owned();
                if let Some(parent) = open.last_mut() {
                    parent.children.push((name, Value::String(String::new())));
                }
            }
            Event::Text(piece) => push_text(&mut open, &piece),
            Event::CData(piece) => push_text(&mut open, &piece),
            Event::GeneralRef(reference) => {
                let resolved = match reference.resolve_char_ref()? {
                    Some(character) => character.to_string(),
                    None => quick_xml::escape::resolve_predefined_entity(&reference).unwrap_or_default().to_owned(),
                };
                push_text(&mut open, &resolved);
            }
            Event::End(_) => {
                let element = open.pop().unwrap_or_default();
                let Some(parent) = open.last_mut() else { anyhow::bail!("an end without a start") };
                parent.children.push((element.name.clone(), element.into_value()));
            }
            Event::Eof => break,
            _ => {}
        }
    }
    let root = open.pop().and_then(|document| document.children.into_iter().next());
    root.map(|(_, value)| value).ok_or_else(|| anyhow::anyhow!("no root element"))
}

/// Text for between two tags.
pub(crate) fn escape(text: &str) -> String {
    quick_xml::escape::escape(text).into_owned()
}

/// A list that is empty where AWS left the element out or wrote it without children.
pub(crate) fn items(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

#[derive(Debug, Default)]
struct Element {
    name: String,
    text: String,
    children: Vec<(String, Value)>,
}

impl Element {
    fn into_value(self) -> Value {
        if self.children.is_empty() {
            return Value::String(self.text);
        }
        if self.children.iter().all(|(name, _)| name == "member" || name == "item") {
            return self.children.into_iter().map(|(_, value)| value).collect();
        }
        let mut object = Map::new();
        let mut repeated: Vec<String> = Vec::new();
        for (name, value) in self.children {
            match object.get_mut(&name) {
                None => {
                    object.insert(name, value);
                }
                Some(Value::Array(values)) if repeated.contains(&name) => values.push(value),
                Some(first) => {
                    *first = Value::Array(vec![first.take(), value]);
                    repeated.push(name);
                }
            }
        }
        Value::Object(object)
    }
}

fn push_text(open: &mut [Element], text: &str) {
    if let Some(element) = open.last_mut() {
        element.text.push_str(text);
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn lists_texts_and_repetition() {
        let text = "<?xml version=\"1.0\"?><R xmlns=\"x\"><A>1 &lt; 2</A><L><member>a</member></L>\
                    <N><item><K>k</K></item></N><B>x</B><B>y</B><E/></R>";
        let expected = json!({"A": "1 < 2", "L": ["a"], "N": [{"K": "k"}], "B": ["x", "y"], "E": ""});
        assert_eq!(parse(text).unwrap(), expected);
    }

    #[test]
    fn what_is_not_xml_is_an_error() {
        assert!(parse("plain").is_err());
    }
}
