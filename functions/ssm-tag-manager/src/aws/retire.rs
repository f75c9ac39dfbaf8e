//! What retirement asks of Systems Manager.

use std::cell::Cell;
use std::collections::BTreeMap;

use aws_sdk_ssm::types::{InstanceInformation, InstanceInformationStringFilter, PingStatus, ResourceType};
use hub::{AwsError, ManagedInstanceId, Timestamp};

use super::{ManagedNodes, invalid_request};
use crate::ports::{Information, Retirable};

/// The most that a page of `DescribeInstanceInformation` holds.
const NODES_PER_PAGE: i32 = 50;

impl Retirable for ManagedNodes<'_> {
    async fn information(
        &self,
        nodes: &[ManagedInstanceId],
    ) -> Result<BTreeMap<ManagedInstanceId, Information>, AwsError> {
        let ids = nodes.iter().map(ManagedInstanceId::to_string).collect();
        let filter = InstanceInformationStringFilter::builder().key("InstanceIds").set_values(Some(ids)).build();
        let filter = filter.map_err(|error| invalid_request(self.calls.describe_information.name, &error))?;
        let request = self.calls.ssm.describe_instance_information().filters(filter).max_results(NODES_PER_PAGE);
        let mut read = BTreeMap::new();
        let mut page_token = None;
        loop {
            let request = request.clone().set_next_token(page_token);
            let output = match self.calls.describe_information.call(async || request.clone().send().await).await {
                Ok(output) => output,
                Err(error) if error.code == "InvalidInstanceId" && nodes.len() == 1 => return Ok(read),
                Err(error) => return Err(error),
            };
            read.extend(output.instance_information_list.unwrap_or_default().into_iter().filter_map(information));
            page_token = output.next_token.filter(|token| !token.is_empty());
            if page_token.is_none() {
                return Ok(read);
            }
        }
    }

    async fn deregister(&self, node: &ManagedInstanceId) -> Result<(), AwsError> {
        let request = self.calls.ssm.deregister_managed_instance().instance_id(node.as_str());
        let attempt = Cell::new(0);
        let send = async || {
            attempt.update(|attempt| attempt + 1);
            request.clone().send().await
        };
        match self.calls.deregister.call(send).await {
            Ok(_) => Ok(()),
            // An attempt that seemed to fail went through after all.
            Err(error) if error.code == "InvalidInstanceId" && attempt.get() > 1 => Ok(()),
            Err(error) => Err(error),
        }
    }
}

/// What counts as evidence. A status that is new to us does not count as a lost connection, and none at all only if the
/// agent was never heard of.
fn information(instance: InstanceInformation) -> Option<(ManagedInstanceId, Information)> {
    let last_ping = instance.last_ping_date_time;
    let information = Information {
        is_managed_instance: instance.resource_type == Some(ResourceType::ManagedInstance),
        is_connection_lost: match instance.ping_status {
            Some(status) => matches!(status, PingStatus::ConnectionLost | PingStatus::Inactive),
            None => last_ping.is_none(),
        },
        last_seen: last_ping.or(instance.registration_date).map(|time| Timestamp::from_unix_seconds(time.secs())),
    };
    Some((instance.instance_id?.parse().ok()?, information))
}
