//! The coverage of agencies: what the manager keeps of their collectors' reports.

use fleet::RegionCoverage;
use hub::{AwsError, Timestamp};

use crate::aws::hub::Hub;
use crate::failure::Failure;

/// Reads what is kept, in the order of accounts and Regions. A parameter that holds something else is left out, with a
/// warning.
///
/// # Errors
/// If the parameters cannot be read.
pub async fn read(hub: &Hub) -> Result<(Vec<RegionCoverage>, Vec<String>), Failure> {
    let path = format!("/tag-hub/{}coverage", hub.about.name_prefix);
    let request = hub.session.ssm().get_parameters_by_path().path(&path).recursive(true);
    let mut pages = request.into_paginator().send();
    let (mut all, mut warnings) = (Vec::new(), Vec::new());
    while let Some(page) = pages.next().await {
        let page = page.map_err(|error| Failure::aws(&AwsError::from_sdk("ssm:GetParametersByPath", &error), &path))?;
        for parameter in page.parameters.unwrap_or_default() {
            let name = parameter.name.unwrap_or_default();
            let written = parameter.last_modified_date.map(|date| Timestamp::from_unix_seconds(date.secs()));
            match RegionCoverage::of(&name, parameter.value.as_deref().unwrap_or_default(), written) {
                Some(coverage) => all.push(coverage),
                None => warnings.push(format!("the parameter {name} holds no coverage")),
            }
        }
    }
    all.sort_by(|a, b| (&a.account, a.region.as_str()).cmp(&(&b.account, b.region.as_str())));
    Ok((all, warnings))
}
