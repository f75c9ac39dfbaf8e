//! The adapter over a real client whose answers are made up.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on should stop")]

use automation_fanout::aws::{Calls, sdk_config};
use automation_fanout::event::{Outcome, Query, StopType};
use automation_fanout::plan::limit::Limit;
use automation_fanout::plan::request::{Alarm, AlarmConfiguration, Mode, StartRequest, Target, TargetLocation};
use automation_fanout::ports::{Automation as _, Facts as _, History as _};
use aws_config::{BehaviorVersion, Region};
use aws_sdk_ssm::Client;
use aws_sdk_ssm::config::{Builder, Credentials};
use aws_sdk_ssm::operation::add_tags_to_resource::AddTagsToResourceOutput;
use aws_sdk_ssm::operation::describe_automation_executions::DescribeAutomationExecutionsOutput;
use aws_sdk_ssm::operation::describe_automation_step_executions::DescribeAutomationStepExecutionsOutput;
use aws_sdk_ssm::operation::describe_document::DescribeDocumentOutput;
use aws_sdk_ssm::operation::get_automation_execution::GetAutomationExecutionOutput;
use aws_sdk_ssm::operation::get_calendar_state::GetCalendarStateOutput;
use aws_sdk_ssm::operation::list_tags_for_resource::ListTagsForResourceOutput;
use aws_sdk_ssm::operation::start_automation_execution::{
    StartAutomationExecutionInput, StartAutomationExecutionOutput,
};
use aws_sdk_ssm::operation::stop_automation_execution::StopAutomationExecutionOutput;
use aws_sdk_ssm::types;
use aws_smithy_mocks::{MockResponseInterceptor, Rule, RuleMode, create_mock_http_client, mock};
use hub::Tag;
use lambda_kit::CallCounts;

const ID: &str = "4f7ca192-7e9a-40fe-9192-5cb15EXAMPLE";
const TOKEN: &str = "8f1d6f0a-0000-4000-8000-000000000000";

/// With the configuration that the binary has, but for what only its environment knows.
async fn executions(rule: &Rule) -> Calls {
    let loader = aws_config::defaults(BehaviorVersion::latest())
        .region(Region::new("us-east-1"))
        .credentials_provider(Credentials::new("key", "secret", None, None, "test"))
        .http_client(create_mock_http_client());
    let rules = MockResponseInterceptor::new().rule_mode(RuleMode::MatchAny).with_rule(rule);
    let sdk = sdk_config(loader).await;
    Calls::new(
        Client::from_conf(Builder::from(&sdk).interceptor(rules).build()),
        aws_sdk_ec2::Client::new(&sdk),
        aws_sdk_resourcegroupstagging::Client::new(&sdk),
    )
}

fn error_body(code: &str) -> String {
    format!(r#"{{"__type": "{code}", "message": "in words"}}"#)
}

fn strings(items: &[&str]) -> Vec<String> {
    items.iter().map(|item| (*item).to_owned()).collect()
}

fn alarm() -> AlarmConfiguration {
    AlarmConfiguration { ignore_poll_alarm_failure: true, alarms: vec![Alarm { name: "stop".to_owned() }] }
}

/// With every member but those that exclude others.
fn request() -> StartRequest {
    let target = Target { key: "tag:Env".to_owned(), values: strings(&["PROD"]) };
    StartRequest {
        document_name: "Patch".to_owned(),
        document_version: Some("7".to_owned()),
        parameters: [("Operation".to_owned(), strings(&["Install"]))].into(),
        client_token: Some(TOKEN.to_owned()),
        mode: Some(Mode::Auto),
        target_parameter_name: Some("InstanceId".to_owned()),
        targets: vec![target.clone()],
        target_maps: Vec::new(),
        max_concurrency: Some(Limit::Percent(10)),
        max_errors: Some(Limit::Count(0)),
        target_locations: vec![TargetLocation {
            accounts: strings(&["111111111111", "ou-1a2b3c-4d5e6c"]),
            regions: strings(&["us-east-1"]),
            target_location_max_concurrency: Some(Limit::Count(5)),
            target_location_max_errors: Some(Limit::Percent(0)),
            execution_role_name: Some("Execution".to_owned()),
            target_location_alarm_configuration: Some(alarm()),
            include_child_organization_units: true,
            exclude_accounts: strings(&["222222222222"]),
            targets: vec![target],
            targets_max_concurrency: Some(Limit::Count(1)),
            targets_max_errors: Some(Limit::Percent(100)),
        }],
        tags: vec![Tag { key: "Campaign".to_owned(), value: String::new() }],
        alarm_configuration: Some(alarm()),
        target_locations_url: None,
    }
}

fn sdk_alarm() -> types::AlarmConfiguration {
    let alarm = types::Alarm::builder().name("stop").build().unwrap();
    types::AlarmConfiguration::builder().ignore_poll_alarm_failure(true).alarms(alarm).build().unwrap()
}

fn sdk_location() -> types::TargetLocation {
    types::TargetLocation::builder()
        .accounts("111111111111")
        .accounts("ou-1a2b3c-4d5e6c")
        .regions("us-east-1")
        .target_location_max_concurrency("5")
        .target_location_max_errors("0%")
        .execution_role_name("Execution")
        .target_location_alarm_configuration(sdk_alarm())
        .include_child_organization_units(true)
        .exclude_accounts("222222222222")
        .targets(sdk_target())
        .targets_max_concurrency("1")
        .targets_max_errors("100%")
        .build()
}

fn sdk_target() -> types::Target {
    types::Target::builder().key("tag:Env").values("PROD").build()
}

fn started() -> StartAutomationExecutionOutput {
    StartAutomationExecutionOutput::builder().automation_execution_id(ID).build()
}

#[tokio::test]
async fn every_member_reaches_the_service() {
    let expected = StartAutomationExecutionInput::builder()
        .document_name("Patch")
        .document_version("7")
        .parameters("Operation", strings(&["Install"]))
        .client_token(TOKEN)
        .mode(types::ExecutionMode::Auto)
        .target_parameter_name("InstanceId")
        .targets(sdk_target())
        .max_concurrency("10%")
        .max_errors("0")
        .target_locations(sdk_location())
        .tags(types::Tag::builder().key("Campaign").value("").build().unwrap())
        .alarm_configuration(sdk_alarm())
        .build()
        .unwrap();
    let rule = mock!(Client::start_automation_execution)
        .match_requests(move |request| *request == expected)
        .then_output(started);
    assert_eq!(executions(&rule).await.start(&request()).await.unwrap(), ID);
}

#[tokio::test]
async fn what_is_not_given_is_not_sent() {
    let rule = mock!(Client::start_automation_execution)
        .match_requests(|request| {
            let expected = StartAutomationExecutionInput::builder()
                .document_name("Patch")
                .target_maps([("InstanceId".to_owned(), strings(&["i-1"]))].into())
                .target_locations_url("https://bucket.s3.amazonaws.com/x")
                .build();
            *request == expected.unwrap()
        })
        .then_output(started);
    let request = StartRequest {
        document_name: "Patch".to_owned(),
        target_maps: vec![[("InstanceId".to_owned(), strings(&["i-1"]))].into()],
        target_locations_url: Some("https://bucket.s3.amazonaws.com/x".to_owned()),
        ..StartRequest::default()
    };
    executions(&rule).await.start(&request).await.unwrap();
}

#[tokio::test]
async fn a_start_is_one_attempt_with_its_token_and_says_whether_another_may_help() {
    for (status, code) in [(400, "ThrottlingException"), (500, "InternalServerError"), (503, "SomethingNew")] {
        let rule = mock!(Client::start_automation_execution)
            .match_requests(|request| request.client_token() == Some(TOKEN))
            .sequence()
            .http_status(status, Some(error_body(code)))
            .output(started)
            .build();
        let executions = executions(&rule).await;
        let error = executions.start(&request()).await.unwrap_err();
        assert_eq!((error.code.as_str(), error.retryable, rule.num_calls()), (code, true, 1));
        assert_eq!(executions.start(&request()).await.unwrap(), ID);
    }
}

#[tokio::test]
async fn a_refusal_keeps_its_code_and_is_not_tried_again() {
    for code in [
        "AccessDeniedException",
        "IdempotentParameterMismatch",
        "AutomationDefinitionNotFoundException",
        "AutomationExecutionLimitExceededException",
        "InvalidTarget",
        "ValidationException",
    ] {
        let rule =
            mock!(Client::start_automation_execution).sequence().http_status(400, Some(error_body(code))).build();
        let error = executions(&rule).await.start(&request()).await.unwrap_err();
        assert_eq!((error.code.as_str(), error.message.as_str()), (code, "in words"));
        assert_eq!((error.operation, error.retryable), ("ssm:StartAutomationExecution", false));
        assert_eq!(rule.num_calls(), 1);
    }
}

#[tokio::test]
async fn an_answer_without_an_id_is_no_success() {
    let rule =
        mock!(Client::start_automation_execution).then_output(|| StartAutomationExecutionOutput::builder().build());
    let error = executions(&rule).await.start(&request()).await.unwrap_err();
    assert_eq!((error.code.as_str(), error.message.as_str()), ("UnexpectedAnswer", "the answer has no execution id"));
}

fn sdk_step(name: &str) -> types::StepExecution {
    let details = types::FailureDetails::builder().failure_type("Permission").failure_stage("Invocation").build();
    types::StepExecution::builder()
        .step_name(name)
        .action("aws:executeAutomation")
        .step_status(types::AutomationExecutionStatus::Failed)
        .inputs("DocumentName", "\"Patch\"")
        .inputs("Approvers", "[]")
        .outputs("ExecutionId", strings(&["child"]))
        .failure_message("it failed")
        .failure_details(details)
        .target_location(sdk_location())
        .build()
}

#[tokio::test]
async fn an_execution_is_read_with_all_that_a_resumption_needs() {
    let rule = mock!(Client::get_automation_execution)
        .match_requests(|request| request.automation_execution_id() == Some(ID))
        .then_output(|| {
            let execution = types::AutomationExecution::builder()
                .automation_execution_id(ID)
                .document_name("Patch")
                .document_version("7")
                .automation_execution_status(types::AutomationExecutionStatus::from("SomethingNew"))
                .parameters("Operation", strings(&["Install"]))
                .mode(types::ExecutionMode::Auto)
                .target_parameter_name("InstanceId")
                .targets(sdk_target())
                .max_concurrency("10%")
                .max_errors("0")
                .target_locations(sdk_location())
                .alarm_configuration(sdk_alarm())
                .failure_message("it failed")
                .step_executions(sdk_step("one"))
                .step_executions_truncated(true)
                .build();
            GetAutomationExecutionOutput::builder().automation_execution(execution).build()
        });
    let execution = executions(&rule).await.execution(ID).await.unwrap();
    // The service tells neither token nor tags.
    assert_eq!(execution.request, StartRequest { client_token: None, tags: Vec::new(), ..request() });
    assert_eq!((execution.id.as_str(), execution.status.as_str()), (ID, "SomethingNew"));
    assert_eq!(execution.failure_message.as_deref(), Some("it failed"));
    assert!(execution.steps_truncated);
    let step = &execution.steps[0];
    assert_eq!((step.name.as_str(), step.status.as_str()), ("one", "Failed"));
    let inputs: Vec<&str> = step.inputs.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!((inputs, step.outputs[0].1.len()), (vec!["Approvers", "DocumentName"], 1));
    assert_eq!((step.failure_type.as_deref(), step.failure_stage.as_deref()), (Some("Permission"), Some("Invocation")));
    assert_eq!(step.target_location.as_ref(), request().target_locations.first());
}

#[tokio::test]
async fn steps_come_in_pages_until_the_token_is_empty() {
    let rule = mock!(Client::describe_automation_step_executions)
        .match_requests(|request| request.automation_execution_id() == Some(ID) && request.max_results() == Some(50))
        .sequence()
        .output(|| {
            let output = DescribeAutomationStepExecutionsOutput::builder();
            output.step_executions(sdk_step("one")).next_token("page 2").build()
        })
        .output(|| {
            let output = DescribeAutomationStepExecutionsOutput::builder();
            output.step_executions(sdk_step("two")).next_token("").build()
        })
        .build();
    let executions = executions(&rule).await;
    let first = executions.steps(ID, None).await.unwrap();
    assert_eq!((first.steps[0].name.as_str(), first.next_token.as_deref()), ("one", Some("page 2")));
    let second = executions.steps(ID, first.next_token).await.unwrap();
    assert_eq!((second.steps[0].name.as_str(), second.next_token), ("two", None));
}

#[tokio::test]
async fn the_page_token_is_sent() {
    let rule = mock!(Client::describe_automation_step_executions)
        .match_requests(|request| request.next_token() == Some("page 2"))
        .then_output(|| DescribeAutomationStepExecutionsOutput::builder().build());
    executions(&rule).await.steps(ID, Some("page 2".to_owned())).await.unwrap();
    assert_eq!(rule.num_calls(), 1);
}

#[tokio::test]
async fn an_unknown_execution_is_named_by_the_services_code() {
    let rule = mock!(Client::get_automation_execution)
        .sequence()
        .http_status(400, Some(error_body("AutomationExecutionNotFoundException")))
        .build();
    let error = executions(&rule).await.execution(ID).await.unwrap_err();
    assert_eq!(
        (error.code.as_str(), error.operation),
        ("AutomationExecutionNotFoundException", "ssm:GetAutomationExecution")
    );
}

#[tokio::test]
async fn a_stop_says_how() {
    for (stop_type, expected) in
        [(StopType::Cancel, types::StopType::Cancel), (StopType::Complete, types::StopType::Complete)]
    {
        let rule = mock!(Client::stop_automation_execution)
            .match_requests(move |request| {
                request.automation_execution_id() == Some(ID) && request.r#type() == Some(&expected)
            })
            .then_output(|| StopAutomationExecutionOutput::builder().build());
        executions(&rule).await.stop(ID, stop_type).await.unwrap();
    }
}

#[tokio::test]
async fn tags_that_were_read_are_known() {
    let rule = mock!(Client::list_tags_for_resource).then_output(|| {
        let tag = types::Tag::builder().key("tag-hub:request").value("x").build().unwrap();
        ListTagsForResourceOutput::builder().tag_list(tag).build()
    });
    let calls = executions(&rule).await;
    assert_eq!(calls.known_tags(ID), None);
    let tags = calls.tags(ID).await.unwrap();
    assert_eq!((calls.clone().known_tags(ID), calls.known_tags(ID)), (Some(tags.clone()), Some(tags)));
    calls.tags(ID).await.unwrap();
    assert_eq!(rule.num_calls(), 2, "who asks for them reads them");
    let rule = mock!(Client::list_tags_for_resource).then_output(|| ListTagsForResourceOutput::builder().build());
    let calls = executions(&rule).await;
    assert_eq!((calls.tags(ID).await.unwrap().len(), calls.known_tags(ID)), (0, None), "they may not be there yet");
}

#[tokio::test]
async fn a_mark_is_a_tag_of_the_execution() {
    let rule = mock!(Client::add_tags_to_resource)
        .match_requests(|request| {
            let tag = types::Tag::builder().key("tag-hub:stopped").value("").build().unwrap();
            request.resource_type() == Some(&types::ResourceTypeForTagging::Automation)
                && request.resource_id() == Some(ID)
                && request.tags() == [tag]
        })
        .then_output(|| AddTagsToResourceOutput::builder().build());
    executions(&rule).await.mark(ID, "tag-hub:stopped").await.unwrap();
    assert_eq!(rule.num_calls(), 1);
}

#[tokio::test(start_paused = true)]
async fn every_request_counts_and_what_was_throttled_counts_again() {
    let rule = mock!(Client::get_automation_execution)
        .sequence()
        .http_status(400, Some(error_body("ThrottlingException")))
        .http_status(500, Some(error_body("InternalServerError")))
        .output(|| {
            let execution = types::AutomationExecution::builder().automation_execution_id(ID).build();
            GetAutomationExecutionOutput::builder().automation_execution(execution).build()
        })
        .build();
    let executions = executions(&rule).await;
    executions.execution(ID).await.unwrap();
    assert_eq!(executions.take_counts(), CallCounts { calls: 3, throttles: 1 });
    assert_eq!(executions.take_counts(), CallCounts::default(), "each invocation counts its own");
}

#[tokio::test]
async fn a_runbook_is_described_and_a_missing_one_is_none() {
    let parameter = |name: &str, default: Option<&str>| {
        types::DocumentParameter::builder().name(name).set_default_value(default.map(str::to_owned)).build()
    };
    let document = types::DocumentDescription::builder()
        .document_type(types::DocumentType::Automation)
        .parameters(parameter("InstanceId", None))
        .parameters(parameter("AutomationAssumeRole", Some("")))
        .build();
    let rule = mock!(Client::describe_document)
        .match_requests(|input| input.name() == Some("Patch") && input.document_version() == Some("7"))
        .then_output(move || DescribeDocumentOutput::builder().document(document.clone()).build());
    let runbook = executions(&rule).await.runbook("Patch", Some("7")).await.unwrap().unwrap();
    let read: Vec<(&str, bool)> = runbook.parameters.iter().map(|p| (p.name.as_str(), p.has_default)).collect();
    assert_eq!(read, [("InstanceId", false), ("AutomationAssumeRole", true)]);
    assert_eq!(runbook.target_parameters(), ["InstanceId"]);
    for (code, is_none) in [("InvalidDocument", true), ("AccessDeniedException", false)] {
        let rule = mock!(Client::describe_document).sequence().http_status(400, Some(error_body(code))).build();
        let read = executions(&rule).await.runbook("Patch", None).await;
        assert_eq!(read == Ok(None), is_none, "{code}: {read:?}");
    }
}

#[tokio::test]
async fn past_executions_are_listed_by_what_was_asked_for_and_children_are_left_out() {
    let rule = mock!(Client::describe_automation_executions)
        .match_requests(|input| {
            let filters =
                input.filters().iter().map(|filter| (filter.key().as_str().to_owned(), filter.values().to_vec()));
            let expected = [
                ("TagKey", vec!["tag-hub:request"]),
                ("DocumentNamePrefix", vec!["Patch"]),
                ("ExecutionStatus", vec!["TimedOut"]),
                ("StartTimeAfter", vec!["2026-11-22T02:00:00Z"]),
            ];
            filters.eq(expected.map(|(key, values)| (key.to_owned(), strings(&values))))
        })
        .then_output(|| {
            let one = types::AutomationExecutionMetadata::builder().automation_execution_id(ID);
            let child = one.clone().parent_automation_execution_id(ID).build();
            DescribeAutomationExecutionsOutput::builder()
                .automation_execution_metadata_list(one.build())
                .automation_execution_metadata_list(child)
                .next_token("")
                .build()
        });
    let query = Query {
        document_name: Some("Patch".to_owned()),
        outcome: Some(Outcome::TimedOut),
        started_after: Some("2026-11-22T02:00:00Z".parse().unwrap()),
        ..Query::default()
    };
    let page = executions(&rule).await.executions(&query, Some("tag-hub:request"), None).await.unwrap();
    assert_eq!((page.executions.len(), page.next_token), (1, None));
}

#[tokio::test]
async fn a_closed_calendar_says_when_it_opens() {
    for (now, next, expected) in [
        (Some("2026-11-28T03:00:00Z"), Some("2026-11-28T04:30:00Z"), Some(5_400)),
        (Some("2026-11-28T03:00:00.250Z"), Some("2026-11-28T04:00:00+01:00"), Some(0)),
        (Some("2026-11-28T03:00:00Z"), Some("2026-11-28T02:00:00Z"), None),
        (Some("2026-11-28T03:00:00Z"), Some("soon"), None),
        (None, Some("2026-11-28T04:30:00Z"), None),
        (Some("2026-11-28T03:00:00Z"), None, None),
    ] {
        let rule = mock!(Client::get_calendar_state).then_output(move || {
            GetCalendarStateOutput::builder()
                .state(types::CalendarState::Closed)
                .set_at_time(now.map(str::to_owned))
                .set_next_transition_time(next.map(str::to_owned))
                .build()
        });
        let state = executions(&rule).await.calendars(&strings(&["freeze"])).await.unwrap().unwrap();
        assert_eq!((state.is_open, state.changes_in, state.changes_at.as_deref()), (false, expected, next));
    }
}
