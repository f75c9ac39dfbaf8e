//! `Start` and `Preview`.

use std::time::Duration;

use serde_json::{Value, json};

use crate::account::{Account, Call, runbook};
use crate::{A, codes, fleet, ids, sample, send, send_with, small};

#[tokio::test(start_paused = true)]
async fn a_start_says_what_runs() {
    let account = Account::new();
    let mut event = sample("restart-by-tag");
    event["IdempotencyKey"] = json!("restart-2026-11-22");
    let answer = send(&account, &event).await.unwrap();
    insta::assert_json_snapshot!(answer, @r###"
    {
      "Action": "Start",
      "Complete": true,
      "IdempotencyKey": "restart-2026-11-22",
      "Executions": [
        {
          "AutomationExecutionId": "00000000-0000-4000-8000-000000000001",
          "ClientToken": "c13175cd-46d1-59d7-905f-cdf3b321e6fe",
          "TargetLocations": 1,
          "AccountRegionPairs": 4
        }
      ],
      "Failed": [],
      "Notes": [
        "Parameters.AutomationAssumeRole: automation-fanout may pass arn:aws:iam::111111111111:role/AWS-SystemsManager-AutomationAdministrationRole alone, so that AWS would refuse the start with arn:aws:iam::123456789012:role/AWS-SystemsManager-AutomationAdministrationRole"
      ]
    }
    "###);
    assert_eq!(account.started().len(), 1);
    assert_eq!((account.call_count(), account.looks()), (1, 2));
}

#[tokio::test(start_paused = true)]
async fn starts_keep_to_the_published_rate() {
    let account = Account::new().with_latency(Duration::from_millis(300));
    let answer = send(&account, &fleet(4)).await.unwrap();
    assert_eq!(answer["Complete"], true);
    assert_eq!(account.times(&Call::Start), [0, 1_000, 2_000, 3_000]);
    let sizes: Vec<&Value> =
        answer["Executions"].as_array().unwrap().iter().map(|e| &e["AccountRegionPairs"]).collect();
    assert_eq!(sizes, [100, 100, 100, 1]);
}

#[tokio::test(start_paused = true)]
async fn attempts_take_turns_like_starts_and_wait_longer_each_time() {
    let throttled = Some("ThrottlingException");
    let account = Account::new().with_start_faults(&[throttled, throttled, throttled, None, throttled]);
    let answer = send(&account, &fleet(3)).await.unwrap();
    assert_eq!((answer["Complete"].clone(), ids(&answer).len()), (json!(true), 3));
    assert_eq!(account.times(&Call::Start), [0, 1_000, 3_000, 7_000, 8_000, 9_000, 10_000]);
}

#[tokio::test(start_paused = true)]
async fn eight_attempts_are_enough_and_the_next_start_waits_for_its_turn() {
    let mut faults = vec![None];
    faults.extend([Some("ThrottlingException"); 8]);
    let account = Account::new().with_start_faults(&faults);
    let answer = send(&account, &fleet(3)).await.unwrap();
    assert_eq!((codes(&answer["Failed"]), ids(&answer).len()), (vec!["ThrottlingException"], 2));
    let seconds = [0, 1, 2, 4, 8, 16, 24, 32, 40, 41].map(|second| second * 1_000);
    assert_eq!(account.times(&Call::Start), seconds);
}

#[tokio::test(start_paused = true)]
async fn attempts_end_with_the_time_of_the_invocation() {
    let account = Account::new().with_start_faults(&[Some("ThrottlingException"); 20]);
    // Two seconds are kept for the answer, so that the attempt at 23 seconds is not made, and no other start is begun.
    let error = send_with(&account, 25, "request-1", &fleet(2)).await.unwrap_err();
    assert_eq!(account.times(&Call::Start), [0, 1_000, 3_000, 7_000, 15_000]);
    let text = error.to_string();
    assert!(text.contains("DeadlineExceeded") && text.contains("AWS throttled every attempt"), "{text}");
    let diagnostic = lambda_runtime::Diagnostic::from(error);
    assert!(diagnostic.error_message.contains("not tried, because of the DeadlineExceeded of an earlier start"));
}

#[tokio::test(start_paused = true)]
async fn one_start_that_fails_does_not_stop_the_others() {
    let limit = "AutomationExecutionLimitExceededException";
    let account = Account::new().with_start_faults(&[None, Some(limit), None]);
    let answer = send(&account, &fleet(3)).await.unwrap();
    assert_eq!((answer["Complete"].clone(), ids(&answer).len()), (json!(false), 2));
    assert_eq!(codes(&answer["Failed"]), [limit]);
    let failed_token = answer["Failed"][0]["ClientToken"].clone();

    let again = send_with(&account, 900, "request-2", &fleet(3)).await.unwrap();
    assert_eq!((again["Complete"].clone(), ids(&again).len()), (json!(true), 3));
    assert_eq!(again["Executions"][1]["ClientToken"], failed_token);
    assert_eq!(account.started().len(), 3, "what ran before was not started again");
}

#[tokio::test(start_paused = true)]
async fn the_same_invocation_again_starts_nothing_new() {
    let account = Account::new();
    let first = send(&account, &fleet(2)).await.unwrap();
    let second = send_with(&account, 900, "request-2", &fleet(2)).await.unwrap();
    assert_eq!(first, second, "the key decides, not the invocation");
    assert_eq!(account.started().len(), 2);

    // Lambda tries an asynchronous invocation again under the same id.
    let first = send(&account, &small()).await.unwrap();
    let second = send(&account, &small()).await.unwrap();
    assert_eq!((first["IdempotencyKey"].clone(), &first), (json!("request-1"), &second));
    let other = send_with(&account, 900, "request-2", &small()).await.unwrap();
    assert_ne!(ids(&first), ids(&other), "without a key another invocation is another run");
    // The key in an answer leads back to the same run.
    let mut by_key = small();
    by_key["IdempotencyKey"] = first["IdempotencyKey"].clone();
    assert_eq!(ids(&send_with(&account, 900, "request-3", &by_key).await.unwrap()), ids(&first));
}

#[tokio::test(start_paused = true)]
async fn another_request_under_the_same_key_starts_nothing() {
    let account = Account::new();
    let mut event = fleet(1);
    send(&account, &event).await.unwrap();
    event["TargetLocations"][0]["Regions"] = json!(["us-west-2"]);
    let error = send(&account, &event).await.unwrap_err();
    assert_eq!(
        error.to_string(),
        "nothing was started: IdempotentParameterMismatch: this token already started another request, so nothing \
         was started; send the original request again, or use another IdempotencyKey (on demand)"
    );
    assert_eq!(account.started().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn before_the_deadline_the_rest_is_left_for_the_next_invocation() {
    let account = Account::new();
    // Ten seconds are kept, so that starts begin at 0, 1 and 2 seconds.
    let answer = send_with(&account, 13, "request-1", &fleet(5)).await.unwrap();
    assert_eq!((ids(&answer).len(), codes(&answer["Failed"])), (3, vec!["DeadlineExceeded", "DeadlineExceeded"]));
    assert_eq!(
        answer["Failed"][0]["Message"],
        "not started, because the function's time is up; invoke it again with the same IdempotencyKey"
    );
    let rest = send(&account, &fleet(5)).await.unwrap();
    assert_eq!((ids(&rest).len(), account.started().len()), (5, 5));
}

#[tokio::test(start_paused = true)]
async fn a_start_that_hangs_is_cut_off_in_time_for_the_answer() {
    let account = Account::new().with_latency(Duration::from_hours(1));
    let begin = tokio::time::Instant::now();
    let error = send_with(&account, 30, "request-1", &small()).await.unwrap_err();
    assert_eq!(begin.elapsed(), Duration::from_secs(28));
    assert!(error.to_string().contains("it may have started: invoke the function again"), "{error}");
}

#[tokio::test(start_paused = true)]
async fn only_where_nothing_started_the_invocation_fails() {
    let account = Account::new().with_start_faults(&[Some("AccessDeniedException")]);
    let error = send(&account, &fleet(2)).await.unwrap_err();
    assert_eq!(
        error.to_string(),
        "nothing was started: AccessDeniedException: on demand; automation-fanout may start what AwsRunbooks and \
         OwnRunbooks of fanout.yaml name, and pass the administration role alone (and 1 more)"
    );
    let diagnostic = lambda_runtime::Diagnostic::from(error);
    assert_eq!(diagnostic.error_type, "NothingStarted");
    let (_, answer) = diagnostic.error_message.split_once("; answer: ").unwrap();
    let answer: Value = serde_json::from_str(answer).unwrap();
    assert_eq!(codes(&answer["Failed"]), ["AccessDeniedException", "NotTried"]);
}

#[tokio::test(start_paused = true)]
#[expect(clippy::too_many_lines, reason = "most of it is the snapshot")]
async fn a_preview_shows_the_plan_and_changes_nothing() {
    let account = Account::new();
    let answer = send(&account, &sample("preview")).await.unwrap();
    let mut shown = answer.clone();
    let notes = shown.as_object_mut().unwrap().remove("Notes").unwrap();
    let told = "how many accounts are reached is known to the service alone, not before it starts";
    assert!(notes.as_array().unwrap().contains(&json!(told)), "{notes:#}");
    let digest = shown["Requests"][0]["Tags"][1]["Value"].take();
    assert_eq!(digest.as_str().unwrap().len(), 57, "{digest}");
    insta::assert_json_snapshot!(shown, @r###"
    {
      "Action": "Preview",
      "Complete": true,
      "IdempotencyKey": "patch-2026-11",
      "Executions": [],
      "Failed": [],
      "Planned": [
        {
          "ClientToken": "43dffcac-cd63-5484-bdf9-f7c5ca1ce3e8",
          "TargetLocations": 2,
          "AccountRegionPairs": null
        }
      ],
      "Requests": [
        {
          "DocumentName": "arn:aws:ssm:us-east-1:111111111111:document/TagHub-PatchByTag",
          "Parameters": {
            "AutomationAssumeRole": [
              "arn:aws:iam::111111111111:role/AWS-SystemsManager-AutomationAdministrationRole"
            ],
            "MaxConcurrency": [
              "10%"
            ],
            "MaxErrors": [
              "5%"
            ],
            "Operation": [
              "Install"
            ],
            "RebootOption": [
              "RebootIfNeeded"
            ],
            "TagKey": [
              "Patch Group"
            ],
            "TagValues": [
              "linux-weekly"
            ]
          },
          "ClientToken": "43dffcac-cd63-5484-bdf9-f7c5ca1ce3e8",
          "TargetLocations": [
            {
              "Accounts": [
                "222222222222",
                "333333333333"
              ],
              "Regions": [
                "us-east-1",
                "us-west-2"
              ],
              "TargetLocationMaxConcurrency": "2",
              "TargetLocationMaxErrors": "1"
            },
            {
              "Accounts": [
                "ou-ab12-cdefghij"
              ],
              "Regions": [
                "eu-central-1"
              ],
              "TargetLocationMaxConcurrency": "10%",
              "TargetLocationMaxErrors": "5%",
              "ExecutionRoleName": "AWS-SystemsManager-AutomationExecutionRole",
              "IncludeChildOrganizationUnits": true,
              "ExcludeAccounts": [
                "444444444444"
              ]
            }
          ],
          "Tags": [
            {
              "Key": "Campaign",
              "Value": "2026-11"
            },
            {
              "Key": "tag-hub:request",
              "Value": null
            }
          ],
          "AlarmConfiguration": {
            "Alarms": [
              {
                "Name": "patching-breaks-things"
              }
            ]
          }
        }
      ]
    }
    "###);
    assert_eq!(account.call_count(), 0);
    let mut event = sample("preview");
    event["Action"] = json!("Start");
    let started = send(&account, &event).await.unwrap();
    assert_eq!(started["Executions"][0]["ClientToken"], answer["Planned"][0]["ClientToken"]);
    assert_eq!(serde_json::to_value(&account.started()[0]).unwrap(), answer["Requests"][0]);
}

#[tokio::test(start_paused = true)]
async fn a_bad_request_costs_no_call() {
    let account = Account::new();
    let event = json!({"Action": "Start", "TargetLocations": [{"Accounts": ["1"], "Regions": []}]});
    let error = send(&account, &event).await.unwrap_err();
    let diagnostic = lambda_runtime::Diagnostic::from(error);
    assert_eq!(diagnostic.error_type, "InvalidRequest");
    assert_eq!(
        diagnostic.error_message,
        "the request is refused: DocumentName: expected the name or the ARN of a runbook, got nothing; \
         TargetLocations[0].Accounts[0]: expected an account id of 12 digits, an organizational unit ou-… or a root \
         r-…, got \"1\"; TargetLocations[0].Regions: expected at least one item, got an empty list"
    );
    assert_eq!(account.call_count(), 0);
}

#[tokio::test(start_paused = true)]
async fn nothing_goes_on_while_it_is_not_known_whether_the_first_part_was_stopped() {
    let account = Account::new().with_read_fault("AccessDeniedException");
    let answer = send(&account, &fleet(3)).await.unwrap();
    assert_eq!((ids(&answer).len(), codes(&answer["Failed"])), (1, vec!["NotTried", "NotTried"]), "{answer:#}");
    let message = answer["Failed"][0]["Message"].as_str().unwrap();
    assert!(message.contains("it is not known whether the execution 00000000"), "{message}");
}

#[tokio::test(start_paused = true)]
async fn a_key_that_is_a_uuid_is_the_token_of_that_name_in_either_case() {
    let upper = "8F1D6F0A-0000-4000-8000-00000000000A";
    let with = |name: &str, value: &str| {
        let mut event = small();
        event[name] = json!(value);
        event
    };
    let account = Account::new();
    let first = send(&account, &with("IdempotencyKey", upper)).await.unwrap();
    for event in [
        with("ClientToken", &upper.to_lowercase()),
        with("IdempotencyKey", &upper.to_lowercase()),
        with("ClientToken", upper),
    ] {
        assert_eq!(send_with(&account, 900, "request-2", &event).await.unwrap()["Executions"], first["Executions"]);
    }
    assert_eq!(account.started().len(), 1);
    let listed = send(&account, &json!({"Action": "List", "IdempotencyKey": upper})).await.unwrap();
    assert_eq!(listed["Executions"].as_array().unwrap().len(), 1);
}

/// What one action refuses the others refuse too, in the same words.
#[tokio::test(start_paused = true)]
async fn every_action_refuses_the_same() {
    let account =
        || Account::new().with_runbook(Ok(Some(runbook(&[("InstanceId", false), ("AutomationAssumeRole", true)]))));
    let nodes: Vec<String> = (0..120).map(|n| format!("mi-{n:017x}")).collect();
    let list = json!([{"Key": "ParameterValues", "Values": nodes}]);
    let tag = json!([{"Key": "tag:Env", "Values": ["x"]}]);
    let location = json!({"Accounts": [A], "Regions": ["us-east-1"]});
    let with = |changes: Value| {
        let mut event = json!({"DocumentName": "Patch", "TargetLocations": [location]});
        let Value::Object(changes) = changes else { panic!("an object") };
        event.as_object_mut().unwrap().extend(changes);
        event
    };
    let own = |more: Value| {
        let mut own = location.clone();
        own.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        json!([own])
    };
    for (event, words) in [
        (with(json!({})), "Targets: expected a target, got nothing"),
        (with(json!({"TargetMaps": [{"InstanceId": []}]})), "got TargetMaps[0], which selects nothing"),
        (
            with(json!({"Targets": [{"Key": "tag:Env", "Values": [""]}], "TargetParameterName": "InstanceId"})),
            "got Targets, which",
        ),
        (
            with(json!({"Targets": [{"Key": "TAG:Env", "Values": ["x"]}], "TargetParameterName": "InstanceId"})),
            "did you mean tag:Env?",
        ),
        (
            with(json!({"Targets": [{"Key": " tag:Env", "Values": ["x"]}], "TargetParameterName": "InstanceId"})),
            "did you mean tag:Env?",
        ),
        (
            with(json!({"Targets": tag, "TargetParameterName": "InstanceId", "AllTargets": true})),
            "AllTargets: expected only without",
        ),
        (
            with(json!({"TargetParameterName": "InstanceId", "TargetLocations": own(json!({"Targets": list}))})),
            "TargetLocations[0].Targets[0].Values: expected at most 50 values in a location, got 120",
        ),
        (
            with(
                json!({"TargetParameterName": "InstanceId", "Targets": list, "TargetLocations": own(json!({"Targets": tag}))}),
            ),
            "Targets: expected at most 50 values of ParameterValues, got more: every location has Targets of its own",
        ),
        (
            with(json!({"TargetParameterName": "InstanceId", "Targets": list,
                        "TargetLocations": own(json!({"TargetLocationMaxConcurrency": "2"}))})),
            "TargetLocations[0].TargetLocationMaxConcurrency: 2 cannot be shared out over the 3 parts",
        ),
        (
            with(json!({"TargetParameterName": "InstanceId", "Targets": list, "MaxConcurrency": "2"})),
            "MaxConcurrency: 2 cannot be shared over the 3 groups",
        ),
        (
            with(json!({"AllTargets": true, "TargetLocations": own(json!({"ExcludeAccounts": [A]}))})),
            "TargetLocations[0].ExcludeAccounts: expected an account or unit of Accounts that is not left out",
        ),
        (
            with(json!({"AllTargets": true, "TargetLocations": [location, location]})),
            "TargetLocations[1]: expected accounts and Regions that no other location has",
        ),
        (
            with(
                json!({"AllTargets": true, "TargetLocations": [{"Accounts": ["r-ab12", "ou-ab12-cdefghij"], "Regions": ["us-east-1"],
                        "IncludeChildOrganizationUnits": true}]}),
            ),
            "TargetLocations[0]: expected accounts that are in no other unit, got ou-ab12-cdefghij",
        ),
    ] {
        for action in ["Preview", "Preflight", "Start", "Campaign"] {
            let event = if action == "Campaign" {
                json!({"Action": action, "Name": "c", "Request": event, "Waves": [{"Name": "all", "Regions": ["us-east-1"]}]})
            } else {
                let mut event = event.clone();
                event["Action"] = json!(action);
                event
            };
            let account = account();
            let error = send(&account, &event).await.map(|answer| answer.to_string()).unwrap_err();
            assert_eq!(error.error_type(), "InvalidRequest", "{action}: {error}");
            assert!(error.to_string().contains(words), "{action}: {words}: {error}");
            assert!(account.started().is_empty());
        }
    }
}
