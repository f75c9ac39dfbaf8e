//! Between our types and the SDK's.

use std::collections::{BTreeMap, HashMap};

use aws_sdk_ssm::operation::start_automation_execution::StartAutomationExecutionInput;
use aws_sdk_ssm::types;
use aws_smithy_types::error::operation::BuildError;

use hub::Timestamp;

use crate::plan::execution::{Execution, Listed, Progress, Status, Step};
use crate::plan::limit::Limit;
use crate::plan::request::{Alarm, AlarmConfiguration, Mode, StartRequest, Target, TargetLocation};

type Map<V> = HashMap<String, V>;

/// What is sent. An empty list is left out, as in the JSON that the request prints as.
pub(super) fn start_input(request: &StartRequest) -> Result<StartAutomationExecutionInput, BuildError> {
    let tags: Result<Vec<types::Tag>, BuildError> =
        request.tags.iter().map(|tag| types::Tag::builder().key(&tag.key).value(&tag.value).build()).collect();
    let locations: Result<Vec<types::TargetLocation>, BuildError> =
        request.target_locations.iter().map(sdk_location).collect();
    let maps = request.target_maps.iter().map(sdk_map).collect();
    StartAutomationExecutionInput::builder()
        .document_name(&request.document_name)
        .set_document_version(request.document_version.clone())
        .set_parameters(Some(sdk_map(&request.parameters)).filter(|map| !map.is_empty()))
        .set_client_token(request.client_token.clone())
        .set_mode(request.mode.map(|mode| match mode {
            Mode::Auto => types::ExecutionMode::Auto,
            Mode::Interactive => types::ExecutionMode::Interactive,
        }))
        .set_target_parameter_name(request.target_parameter_name.clone())
        .set_targets(some(request.targets.iter().map(sdk_target).collect()))
        .set_target_maps(some(maps))
        .set_max_concurrency(request.max_concurrency.map(String::from))
        .set_max_errors(request.max_errors.map(String::from))
        .set_target_locations(some(locations?))
        .set_tags(some(tags?))
        .set_alarm_configuration(request.alarm_configuration.as_ref().map(sdk_alarm).transpose()?)
        .set_target_locations_url(request.target_locations_url.clone())
        .build()
}

fn sdk_location(location: &TargetLocation) -> Result<types::TargetLocation, BuildError> {
    let alarm = location.target_location_alarm_configuration.as_ref().map(sdk_alarm).transpose()?;
    Ok(types::TargetLocation::builder()
        .set_accounts(some(location.accounts.clone()))
        .set_regions(some(location.regions.clone()))
        .set_target_location_max_concurrency(location.target_location_max_concurrency.map(String::from))
        .set_target_location_max_errors(location.target_location_max_errors.map(String::from))
        .set_execution_role_name(location.execution_role_name.clone())
        .set_target_location_alarm_configuration(alarm)
        .set_include_child_organization_units(location.include_child_organization_units.then_some(true))
        .set_exclude_accounts(some(location.exclude_accounts.clone()))
        .set_targets(some(location.targets.iter().map(sdk_target).collect()))
        .set_targets_max_concurrency(location.targets_max_concurrency.map(String::from))
        .set_targets_max_errors(location.targets_max_errors.map(String::from))
        .build())
}

fn sdk_target(target: &Target) -> types::Target {
    types::Target::builder().key(&target.key).set_values(Some(target.values.clone())).build()
}

fn sdk_alarm(configuration: &AlarmConfiguration) -> Result<types::AlarmConfiguration, BuildError> {
    let alarms: Result<Vec<types::Alarm>, BuildError> =
        configuration.alarms.iter().map(|alarm| types::Alarm::builder().name(&alarm.name).build()).collect();
    types::AlarmConfiguration::builder()
        .set_ignore_poll_alarm_failure(configuration.ignore_poll_alarm_failure.then_some(true))
        .set_alarms(Some(alarms?))
        .build()
}

fn sdk_map(map: &BTreeMap<String, Vec<String>>) -> Map<Vec<String>> {
    map.iter().map(|(key, values)| (key.clone(), values.clone())).collect()
}

fn some<T>(items: Vec<T>) -> Option<Vec<T>> {
    (!items.is_empty()).then_some(items)
}

/// What was read. The id is as the service spells it, which takes it in either case.
pub(super) fn execution(id: &str, execution: types::AutomationExecution) -> Execution {
    let steps = execution.step_executions.unwrap_or_default();
    Execution {
        id: execution.automation_execution_id.filter(|id| !id.is_empty()).unwrap_or_else(|| id.to_owned()),
        status: status(execution.automation_execution_status.as_ref()),
        failure_message: execution.failure_message,
        warning_message: execution.warning_message,
        steps: steps.into_iter().map(step).collect(),
        steps_truncated: execution.step_executions_truncated,
        started_at: time(execution.execution_start_time.as_ref()),
        ended_at: time(execution.execution_end_time.as_ref()),
        executed_by: execution.executed_by,
        triggered_alarms: execution.triggered_alarms.unwrap_or_default().into_iter().map(|alarm| alarm.name).collect(),
        progress: execution.progress_counters.map(|counters| Progress {
            total: counters.total_steps,
            success: counters.success_steps,
            failed: counters.failed_steps,
            cancelled: counters.cancelled_steps,
            timed_out: counters.timed_out_steps,
        }),
        resolved_targets: execution.resolved_targets.and_then(|targets| targets.parameter_values).unwrap_or_default(),
        request: StartRequest {
            document_name: execution.document_name.unwrap_or_default(),
            document_version: execution.document_version,
            parameters: sorted(execution.parameters),
            client_token: None,
            mode: execution.mode.and_then(|mode| match mode {
                types::ExecutionMode::Auto => Some(Mode::Auto),
                types::ExecutionMode::Interactive => Some(Mode::Interactive),
                _ => None,
            }),
            target_parameter_name: execution.target_parameter_name,
            targets: targets(execution.targets),
            target_maps: execution.target_maps.unwrap_or_default().into_iter().map(|map| sorted(Some(map))).collect(),
            max_concurrency: concurrency(execution.max_concurrency.as_deref()),
            max_errors: errors(execution.max_errors.as_deref()),
            target_locations: execution.target_locations.unwrap_or_default().into_iter().map(location).collect(),
            tags: Vec::new(),
            alarm_configuration: execution.alarm_configuration.map(alarm),
            target_locations_url: execution.target_locations_url,
        },
    }
}

/// What a list of executions tells of one.
pub(super) fn listed(metadata: types::AutomationExecutionMetadata) -> Listed {
    Listed {
        id: metadata.automation_execution_id.unwrap_or_default(),
        document_name: metadata.document_name.unwrap_or_default(),
        document_version: metadata.document_version,
        status: status(metadata.automation_execution_status.as_ref()),
        started_at: time(metadata.execution_start_time.as_ref()),
        ended_at: time(metadata.execution_end_time.as_ref()),
        executed_by: metadata.executed_by,
        failure_message: metadata.failure_message,
    }
}

fn time(time: Option<&aws_smithy_types::DateTime>) -> Option<Timestamp> {
    time.map(|time| Timestamp::from_unix_seconds(time.secs()))
}

pub(super) fn step(step: types::StepExecution) -> Step {
    let details = step.failure_details;
    Step {
        name: step.step_name.unwrap_or_default(),
        action: step.action.unwrap_or_default(),
        status: status(step.step_status.as_ref()),
        inputs: sorted(step.inputs).into_iter().collect(),
        outputs: sorted(step.outputs).into_iter().collect(),
        failure_message: step.failure_message,
        warning_message: step.warning_message,
        failure_type: details.as_ref().and_then(|details| details.failure_type.clone()),
        failure_stage: details.and_then(|details| details.failure_stage),
        target_location: step.target_location.map(location),
    }
}

/// The word as it came, also where the SDK does not know it.
fn status(status: Option<&types::AutomationExecutionStatus>) -> Status {
    Status::from(status.map_or("Unknown", types::AutomationExecutionStatus::as_str))
}

fn location(location: types::TargetLocation) -> TargetLocation {
    TargetLocation {
        accounts: location.accounts.unwrap_or_default(),
        regions: location.regions.unwrap_or_default(),
        target_location_max_concurrency: concurrency(location.target_location_max_concurrency.as_deref()),
        target_location_max_errors: errors(location.target_location_max_errors.as_deref()),
        execution_role_name: location.execution_role_name,
        target_location_alarm_configuration: location.target_location_alarm_configuration.map(alarm),
        include_child_organization_units: location.include_child_organization_units,
        exclude_accounts: location.exclude_accounts.unwrap_or_default(),
        targets: targets(location.targets),
        targets_max_concurrency: concurrency(location.targets_max_concurrency.as_deref()),
        targets_max_errors: errors(location.targets_max_errors.as_deref()),
    }
}

fn targets(targets: Option<Vec<types::Target>>) -> Vec<Target> {
    let target = |target: types::Target| Target {
        key: target.key.unwrap_or_default(),
        values: target.values.unwrap_or_default(),
    };
    targets.unwrap_or_default().into_iter().map(target).collect()
}

fn alarm(configuration: types::AlarmConfiguration) -> AlarmConfiguration {
    AlarmConfiguration {
        ignore_poll_alarm_failure: configuration.ignore_poll_alarm_failure,
        alarms: configuration.alarms.into_iter().map(|alarm| Alarm { name: alarm.name }).collect(),
    }
}

fn concurrency(limit: Option<&str>) -> Option<Limit> {
    limit.and_then(Limit::concurrency)
}

fn errors(limit: Option<&str>) -> Option<Limit> {
    limit.and_then(Limit::errors)
}

fn sorted<V>(map: Option<Map<V>>) -> BTreeMap<String, V> {
    map.unwrap_or_default().into_iter().collect()
}
