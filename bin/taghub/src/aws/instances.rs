//! EC2 instances of an agency.

use std::collections::HashMap;

use hub::{AwsError, Region, Tag};

use crate::aws::session::Session;
use crate::failure::Failure;

/// Instances in one call.
const CHUNK: usize = 200;

/// The tags of instances, by id. Those that EC2 does not show are left out: a filter takes unknown ids, too.
///
/// # Errors
/// What EC2 answers.
pub async fn tags(session: &Session, region: &Region, ids: &[String]) -> Result<HashMap<String, Vec<Tag>>, Failure> {
    let client = session.ec2(region);
    let mut all = HashMap::new();
    for some in ids.chunks(CHUNK) {
        let filter = aws_sdk_ec2::types::Filter::builder().name("instance-id").set_values(Some(some.to_vec())).build();
        let mut pages = client.describe_instances().filters(filter).into_paginator().send();
        while let Some(page) = pages.next().await {
            let page = page.map_err(|error| Failure::aws(&AwsError::from_sdk("ec2:DescribeInstances", &error), ""))?;
            let reservations = page.reservations.unwrap_or_default().into_iter();
            for instance in reservations.flat_map(|reservation| reservation.instances.unwrap_or_default()) {
                let tags = instance.tags.unwrap_or_default().into_iter();
                let tags = tags.filter_map(|tag| Some(Tag { key: tag.key?, value: tag.value.unwrap_or_default() }));
                all.extend(instance.instance_id.map(|id| (id, tags.collect())));
            }
        }
    }
    Ok(all)
}
