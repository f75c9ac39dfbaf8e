//! Environment variables: read, documented and set are the same.

use std::collections::BTreeSet;

use crate::function::{FUNCTIONS, variables_documented, variables_read};
use crate::template::templates;

/// Lambda sets these itself and lets nobody else set them:
/// <https://docs.aws.amazon.com/lambda/latest/dg/configuration-envvars.html>.
const SET_BY_LAMBDA: [&str; 1] = ["AWS_REGION"];

#[test]
fn what_is_read_is_documented_and_the_other_way_round() {
    for function in FUNCTIONS {
        assert_eq!(variables_documented(function), variables_read(function), "{function}: documented, read");
    }
}

#[test]
fn what_the_templates_set_is_read_and_the_other_way_round() {
    for template in templates() {
        for function in template.functions() {
            let variables = function.properties["Environment"]["Variables"].as_object().unwrap();
            let mut expected = variables_read(function.function_name());
            for name in SET_BY_LAMBDA {
                assert!(!variables.contains_key(name), "{}: Lambda alone may set {name}", function.place());
                expected.remove(name);
            }
            let set: BTreeSet<String> = variables.keys().cloned().collect();
            assert_eq!(set, expected, "{}: set, read", function.place());
        }
    }
}

#[test]
fn no_variable_is_set_for_all_functions_at_once() {
    for template in templates() {
        let globals = template.section("Globals");
        let variables = globals.get("Function").map(|function| &function["Environment"]);
        assert!(variables.is_none_or(serde_json::Value::is_null), "{}: set variables on each function", template.file);
    }
}
