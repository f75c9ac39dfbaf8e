//! Tables: what a template says of an item's attributes is what the function writes.

use serde_json::json;

use crate::repository::text;
use crate::template::{Template, templates};

fn hub() -> Template {
    templates().into_iter().find(|template| template.file == "template.yaml").unwrap()
}

#[test]
fn the_table_of_leases_has_the_attributes_that_the_manager_writes() {
    let hub = hub();
    let table = hub.resource("LeaseTable").unwrap().properties;
    let key = table["KeySchema"][0]["AttributeName"].as_str().unwrap();
    let time_to_live = &table["TimeToLiveSpecification"];
    let written = text("functions/ssm-tag-manager/src/aws/leases.rs").unwrap();
    for attribute in [key, time_to_live["AttributeName"].as_str().unwrap()] {
        assert!(written.contains(&format!("(\"{attribute}\".to_owned()")), "no item has the attribute {attribute}");
    }
    assert_eq!(table["KeySchema"].as_array().unwrap().len(), 1, "the manager names an item by its key alone");
    assert_eq!(time_to_live["Enabled"], true);
    assert_eq!(table["BillingMode"], "PAY_PER_REQUEST", "a reservation would be throttled where many reports meet");
}

#[test]
fn every_table_is_encrypted_with_the_key_that_is_given() {
    let hub = hub();
    let tables = hub.of_kind("AWS::DynamoDB::Table");
    assert!(!tables.is_empty());
    for table in tables {
        let given = json!({"SSEEnabled": true, "SSEType": "KMS", "KMSMasterKeyId": {"Ref": "KmsKeyArn"}});
        let expected = json!({"Fn::If": ["HasKmsKey", given, {"Ref": "AWS::NoValue"}]});
        assert_eq!(table.properties["SSESpecification"], expected, "{}", table.place());
    }
}
