//! Good and bad values of parameters: what a pattern has to take, and what it has to refuse.

/// Good and bad values for every pattern, by the name of the parameter.
pub(crate) const EXAMPLES: &[Examples] = &[
    Examples {
        parameter: "TagPolicy",
        good: &[
            "{}",
            " {\n}\n",
            r#"{"maxTags": 3, "include": ["Env", "app:*"]}"#,
            r#"{ "include": ["Env", "Patch Group", "*"], "exclude": ["secret*"], "rename": {"environment": "Env"},
                 "set": {"Fleet": "agency", "Quote": "\"\\"}, "invalidCharacters": "drop", "maxTags": 47,
                 "derive": [{"key": "Cohort", "value": "prod-web", "when": {"Env": "PROD", "Role": "web"}},
                            {"when": {"a": "b"}, "value": "", "key": "c"}],
                 "removeStale": true, "overwrite": false }"#,
        ],
        bad: &[
            "",
            "[]",
            "null",
            r#""{}""#,
            "{",
            "{} x",
            "x {}",
            r#"{"inlcude": ["Env"]}"#,
            r#"{"a": 1}"#,
            r#"{"include": "Env"}"#,
            r#"{"include": ["Env",]}"#,
            r#"{"include": [""]}"#,
            r#"{"maxTags": 0}"#,
            r#"{"maxTags": 48}"#,
            r#"{"maxTags": "10"}"#,
            r#"{"overwrite": 1}"#,
            r#"{"overwrite": true,}"#,
            r#"{"overwrite": true "removeStale": true}"#,
            r#"{"set": {"a": 1}}"#,
            r#"{"derive": [{"key": "a", "value": "b"}]}"#,
            r#"{"derive": [{"key": "a", "value": "b", "when": {}}]}"#,
            r#"{"invalidCharacters": "keep"}"#,
        ],
    },
    Examples { parameter: "AlarmTopicArn", good: &[""], bad: &[" ", "alarms"] },
    Examples { parameter: "AutomationTopicArn", good: &[""], bad: &[" ", "automation"] },
    Examples {
        parameter: "AwsRunbooks",
        good: &["", "AWS-*", "AWS-StopEC2Instance,AWSSupport-*", "AWS-A,AWS-B,AWS-C"],
        bad: &["*", "TagHub-*", "AWS-A, AWS-B", "AWS-A,", ",AWS-A", "AWS-*A", "AWS-A,*", "AWS-A,AWS-B,AWS-C,AWS-D"],
    },
    Examples {
        parameter: "OwnRunbooks",
        good: &["", "*", "TagHub-*", "TagHub-PatchByTag,Own.run_book", "a,b,c"],
        bad: &[",", "a,", "a, b", "*x", "a*b", "a**", "document/a", "a,b,c,d"],
    },
    Examples {
        parameter: "AgencyName",
        good: &["", "Parks", "Parks & Recreation", "Bureau of St. John's-by-the-Sea"],
        bad: &[" ", "222222222222", "a\nb", "<b>"],
    },
    Examples {
        parameter: "ApprovedPolicies",
        good: &["", "0123456789ab", "0123456789ab,ba9876543210"],
        bad: &[" ", "0123456789AB", "0123456789a", "0123456789ab, ba9876543210", "0123456789ab,"],
    },
    Examples {
        parameter: "ManagerRelease",
        good: &["", "policy-2", "0.2.0-policy-2", "2026-11-27_a"],
        bad: &[" ", "a b", "a/b"],
    },
    Examples { parameter: "ManagerVersion", good: &["$LATEST", "1", "42"], bad: &["", "0", "01", "latest", "1.2"] },
    Examples { parameter: "NextManagerVersion", good: &["", "1", "42"], bad: &["$LATEST", "0", "01", "1.2"] },
    Examples { parameter: "ScheduleExpression", good: &[], bad: &[""] },
    Examples {
        parameter: "ExcludedAccountIds",
        good: &["", "222222222222"],
        bad: &["22222222222", "222222222222, 333333333333", "parks"],
    },
    Examples { parameter: "ManagementAccountId", good: &["", "222222222222"], bad: &["22222222222", "parks"] },
    Examples {
        parameter: "ControllerName",
        good: &["tag-hub-grants", "tag-hub-north"],
        bad: &["", " ", "north", "tag-hub-", "tag-hub-North", "tag-hub-north_2"],
    },
    Examples {
        parameter: "GrantsStackName",
        good: &["tag-hub-agencies", "Grants2"],
        bad: &["", "2grants", "tag_hub", "tag hub"],
    },
    Examples {
        parameter: "DeploymentRoleArn",
        good: &["", "arn:aws:iam::111111111111:role/deploy/Grants", "arn:aws-us-gov:iam::111111111111:role/Grants"],
        bad: &["Grants", "arn:aws:iam::111111111111:user/Grants", "arn:aws:iam::aws:role/Grants"],
    },
    Examples { parameter: "ActivationScheduleExpression", good: &[], bad: &[""] },
    Examples { parameter: "GrantsScheduleExpression", good: &[], bad: &[""] },
    Examples {
        parameter: "ReportScheduleExpression",
        good: &["cron(0 5 * * ? *)"],
        bad: &["", "rate(1 day)", "cron(0 5 * * ?)"],
    },
    Examples {
        parameter: "RetireScheduleExpression",
        good: &["cron(0 3 * * ? *)", "cron(0 2 ? * SUN *)"],
        bad: &["", "rate(1 day)", "cron(0 3 * * ?)"],
    },
    Examples {
        parameter: "ActivationKmsKeyArn",
        good: &["", "arn:aws-us-gov:kms:us-gov-west-1:222222222222:key/mrk-0123456789abcdef0123456789abcdef"],
        bad: &[" ", "alias/aws/ssm", "arn:aws:kms:us-east-1:222222222222:alias/own"],
    },
    Examples {
        parameter: "ArtifactsArn",
        good: &["", "arn:aws:s3:::my-bucket/releases/*", "arn:aws-us-gov:s3:::b.c.d/register-instance/1.0/*"],
        bad: &[
            " ",
            "*",
            "my-bucket/releases/*",
            "arn:aws:s3:::my-bucket",
            "arn:aws:s3:::*/releases/*",
            "s3://my-bucket/",
        ],
    },
    Examples {
        parameter: "ActivationRegions",
        good: &["", "us-east-1", "us-gov-west-1,us-gov-east-1"],
        bad: &[" ", "us-east", "us-east-1, us-west-2", "us-east-1,"],
    },
    Examples {
        parameter: "ActivationParameter",
        good: &["", "/tag-hub/activation", "/a/b/c"],
        bad: &["tag-hub/activation", "/tag hub", "/a//b", "/a/"],
    },
    Examples {
        parameter: "FanoutScheduleExpression",
        good: &["", "cron(0 8 ? * MON-FRI *)", "cron(0 2 ? * SUN *)"],
        // A rate would start the runbook as soon as the stack is deployed.
        bad: &[" ", "rate(7 days)", "at(2026-01-01T00:00:00)", "cron(0 2 ? * SUN)"],
    },
    Examples {
        parameter: "FanoutScheduleInput",
        good: &["", r#"{"DocumentName": "AWS-StopEC2Instance"}"#, "{\n  \"DocumentName\": \"A\"\n}"],
        // The key is added after a member, in place of the brace at the very end.
        bad: &["{}", "{ }", " {\"DocumentName\": \"A\"}", "{\"DocumentName\": \"A\"}\n", "[]", "null", "{\"a\": 1"],
    },
    Examples {
        parameter: "CampaignScheduleExpression",
        good: &["", "cron(0 8 ? * MON-FRI *)", "cron(0 2 ? * SUN *)"],
        bad: &[" ", "rate(7 days)", "at(2026-01-01T00:00:00)", "cron(0 2 ? * SUN)"],
    },
    Examples {
        parameter: "CampaignScheduleInput",
        good: &["", r#"{"Waves": []}"#, "{\n  \"Waves\": []\n}"],
        // The name is added after a member, in place of the brace at the very end.
        bad: &["{}", "{ }", " {\"Waves\": []}", "{\"Waves\": []}\n", "[]", "null", "{\"a\": 1"],
    },
    Examples {
        parameter: "StepPriceUsd",
        good: &["0.002", "0", "12", "0.00003"],
        bad: &["", "-1", ".002", "0,002", "1e-3", "0.0000001", "free"],
    },
    Examples {
        parameter: "AdministrationRoleName",
        good: &["AWS-SystemsManager-AutomationAdministrationRole", "r", "Role_1+=,.@-"],
        bad: &["", "path/role", "a role", "arn:aws:iam::111111111111:role/r"],
    },
    Examples {
        parameter: "NamePrefix",
        good: &["", "a-", "test-", "a-long-prefix-x-", "eu2-"],
        bad: &["test", "-", "Test-", "2-", "a_b-", "a-long-prefix-xy-", "test-\n", " "],
    },
    Examples {
        parameter: "AgencyTemplateVersion",
        good: &["", "3HL4kqtJlcpXroDTDmJ.rmSpXd3dIbrHY-MTRCxf3vjVBH40Nr8X8gdRQBpUMLUo"],
        bad: &["a b", "a&b", "?"],
    },
    Examples {
        parameter: "RegionTemplateVersion",
        good: &["", "3HL4kqtJlcpXroDTDmJ.rmSpXd3dIbrHY-MTRCxf3vjVBH40Nr8X8gdRQBpUMLUo"],
        bad: &["a b", "a&b", "?"],
    },
    Examples {
        parameter: "PolicyFor",
        good: &["default", "222222222222"],
        bad: &["", "Default", "22222222222", "*", "222222222222\n"],
    },
    Examples {
        parameter: "ManagedNodeRoleName",
        good: &["tag-hub-managed-node", "r", "Role_1+=,.@-"],
        bad: &["", "path/role", "a role", "arn:aws:iam::111111111111:role/r"],
    },
    Examples {
        parameter: "ExecutionRoleName",
        good: &["AWS-SystemsManager-AutomationExecutionRole", "r", "Role_1+=,.@-"],
        bad: &[
            "",
            "path/role",
            "a role",
            "role\n",
            "arn:aws:iam::111111111111:role/r",
            "rôle",
            "RRRRRRRRRRRRRRRRRRRRRRRRRRRRRRRRRRRRRRRRRRRRRRRRRRRRRRRRRRRRRRRRR",
        ],
    },
    Examples {
        parameter: "OrganizationId",
        good: &["", "o-0123456789", "o-exampleorgid", "o-0123456789abcdefghijklmnopqrstuv"],
        bad: &[
            " ",
            "o-",
            "o-012345678",
            "O-0123456789",
            "o-0123456789A",
            "r-ab12",
            "ou-ab12-cdefghij",
            "o-0123456789\n",
            "o-0123456789abcdefghijklmnopqrstuvw",
        ],
    },
    Examples {
        parameter: "AdminAccountId",
        good: &["111111111111", "000000000001"],
        bad: &["", "11111111111", "1111111111111", "11111111111a", " 111111111111", "111111111111\n", "١١١١١١١١١١١١"],
    },
    Examples {
        parameter: "ManagedPolicyArns",
        // The pattern is for each element of the list.
        good: &[
            "",
            "arn:aws:iam::aws:policy/AmazonEC2ReadOnlyAccess",
            "arn:aws:iam::aws:policy/service-role/AmazonSSMAutomationRole",
            "arn:aws-us-gov:iam::222222222222:policy/ops/Snapshots",
        ],
        bad: &[
            " ",
            "AmazonEC2ReadOnlyAccess",
            "arn:gcp:iam::aws:policy/A",
            "arn:aws:iam::2222:policy/A",
            "arn:aws:iam::222222222222:policy/",
            "arn:aws:iam::222222222222:role/A",
            "arn:aws:iam::aws:policy/*",
            " arn:aws:iam::aws:policy/A",
            "arn:aws:iam::aws:policy/A,arn:aws:iam::aws:policy/B",
        ],
    },
    Examples {
        parameter: "AgencyAccountId",
        good: &["222222222222", "000000000001"],
        bad: &["", "22222222222", "2222222222222", "22222222222a", " 222222222222", "222222222222\n", "٢٢٢٢٢٢٢٢٢٢٢٢"],
    },
    Examples {
        parameter: "CodeBucket",
        good: &["abc", "tag-hub-code-222222222222", "a.b-c"],
        bad: &["", "ab", "Bucket", "-abc", "abc-", "a_b", "s3://abc", "abc/def"],
    },
    Examples {
        parameter: "CodeKey",
        good: &["tags-collector.zip", "a/b/bootstrap.zip"],
        bad: &["", "a b.zip", "a.zip\n"],
    },
    Examples { parameter: "CodeObjectVersion", good: &["", "3HL4kqtJlcpXroDTDmJ+rmSpXd3dIbrHY"], bad: &[" ", "a b"] },
    Examples { parameter: "ManagerFunctionArn", good: &[], bad: &["", "ssm-tag-manager"] },
    Examples {
        parameter: "CollectRegions",
        good: &["", "us-east-1", "us-east-1,us-gov-west-1,cn-north-1,eu-central-1,ap-southeast-12,us-isob-east-1"],
        bad: &["us-east-1, us-west-2", "us-east-1,", ",", "us-east", "US-EAST-1", "us-east-1;us-west-2", "all", "*"],
    },
    Examples {
        parameter: "PermissionsBoundaryArn",
        good: &[
            "",
            "arn:aws:iam::aws:policy/PowerUserAccess",
            "arn:aws-us-gov:iam::222222222222:policy/boundaries/tag-hub",
            "arn:aws-cn:iam::222222222222:policy/tag-hub",
        ],
        bad: &[
            " ",
            "tag-hub",
            "arn:aws:iam::222222222222:role/tag-hub",
            "arn:aws:iam::222222222222:policy/",
            "arn:aws:iam::22222222222:policy/tag-hub",
            "arn:aws:iam::222222222222:policy/tag hub",
            "arn:aws:iam:us-east-1:222222222222:policy/tag-hub",
            "arn:aws:iam::*:policy/tag-hub",
        ],
    },
    Examples {
        parameter: "PermissionsBoundaryName",
        good: &["", "tag-hub", "boundaries/tag-hub", "Boundary_1+=,.@-"],
        bad: &[" ", "/tag-hub", "a b", "arn:aws:iam::222222222222:policy/tag-hub", "tag*", "tag-hub\n", "rôle"],
    },
    Examples {
        parameter: "KmsKeyArn",
        good: &[
            "",
            "arn:aws-us-gov:kms:us-gov-west-1:222222222222:key/01234567-89ab-cdef-0123-456789abcdef",
            "arn:aws:kms:us-east-1:222222222222:key/mrk-0123456789abcdef0123456789abcdef",
        ],
        bad: &[
            " ",
            "alias/tag-hub",
            "01234567-89ab-cdef-0123-456789abcdef",
            "arn:aws:kms:us-east-1:222222222222:alias/tag-hub",
            "arn:aws:kms:us-east-1:222222222222:key/*",
            "arn:aws:kms:us-east-1:222222222222:key/0123456789abcdef",
            "arn:aws:kms:us-east-1:222222222222:key/01234567-89AB-cdef-0123-456789abcdef",
            "arn:aws:kms:us-east-1:222222222222:key/01234567-89ab-cdef-0123-456789abcdef ",
        ],
    },
    Examples {
        parameter: "LeaseTableName",
        good: &["tag-hub-leases", "Leases_1.test", "abc"],
        bad: &[
            "",
            " ",
            "tag hub",
            "arn:aws:dynamodb:us-east-1:111111111111:table/x",
            "leases*",
            "tag-hub-leases\n",
            "lé",
        ],
    },
    Examples {
        parameter: "ManagerReservedConcurrency",
        good: &["", "0", "1", "50", "1000", "9999"],
        bad: &[" ", "-1", "01", "1.5", "10000", "ten", "5 "],
    },
    Examples {
        parameter: "IssuerReservedConcurrency",
        good: &["", "0", "1"],
        bad: &[" ", "-1", "01", "2", "1 ", "one"],
    },
    Examples {
        parameter: "AgencyAccountIds",
        // The pattern is for each element of the list.
        good: &["222222222222", "000000000001"],
        bad: &["", "22222222222", "2222222222222", " 222222222222", "222222222222,333333333333", "22222222222a"],
    },
    Examples {
        parameter: "HomeRegion",
        good: &["us-east-1", "us-gov-west-1", "cn-northwest-1", "ap-southeast-12", "eusc-de-east-1"],
        bad: &["", "us-east", "US-EAST-1", "us-east-1,us-west-2", "us-east-1 ", "us-east-1a"],
    },
    Examples {
        parameter: "ForwardRegions",
        // The pattern is for each element of the list.
        good: &["", "us-east-1", "us-gov-west-1"],
        bad: &[" ", "us-east", "all", "us-east-1,us-west-2", " us-east-1"],
    },
    Examples {
        parameter: "OrganizationalUnitIds",
        good: &["r-ab12", "ou-ab12-cdefghij", "ou-ab12-0123456789abcdef"],
        bad: &["", "o-0123456789", "ou-ab12", "ou-AB12-cdefghij", "222222222222", " r-ab12", "r-ab12,ou-ab12-cdefghij"],
    },
    Examples {
        parameter: "TemplatePrefix",
        good: &["cfn", "releases/0.1.0", "tag-hub/2026-11-22_1"],
        bad: &["", "/cfn", "cfn/", "a//b", "a b", "s3://bucket/cfn", "https://example.com", "cfn?x"],
    },
];

/// Values of one parameter.
pub(crate) struct Examples {
    pub(crate) parameter: &'static str,
    pub(crate) good: &'static [&'static str],
    pub(crate) bad: &'static [&'static str],
}

/// ARNs of a service, in every partition that has customers, and some that only look like it.
pub(crate) fn arns(service: &str, tail: &str, good: &mut Vec<String>, bad: &mut Vec<String>) {
    for (partition, region) in [
        ("aws", "us-east-1"),
        ("aws", "ap-southeast-4"),
        ("aws-us-gov", "us-gov-west-1"),
        ("aws-cn", "cn-northwest-1"),
        ("aws-iso-b", "us-isob-east-1"),
        ("aws-eusc", "eusc-de-east-1"),
    ] {
        good.push(format!("arn:{partition}:{service}:{region}:111111111111{tail}"));
    }
    for head in [
        "arn:gcp:SERVICE:us-east-1:111111111111",
        "arn:aws:SERVICE:us-east-1:1111",
        "arn:aws:SERVICE::111111111111",
        "arn:aws:SERVICE:US-EAST-1:111111111111",
        "arn:aws:kms:us-east-1:111111111111",
        "aws:SERVICE:us-east-1:111111111111",
        " arn:aws:SERVICE:us-east-1:111111111111",
    ] {
        bad.push(format!("{}{tail}", head.replace("SERVICE", service)));
    }
    bad.push(format!("arn:aws:{service}:us-east-1:111111111111"));
    bad.push(format!("arn:aws:{service}:us-east-1:111111111111{tail} "));
}

/// Expressions of EventBridge Scheduler, without the one-time form: what happens once is no schedule.
pub(crate) fn schedules(good: &mut Vec<String>, bad: &mut Vec<String>) {
    let expressions = ["rate(15 minutes)", "rate(1 minute)", "rate(1 hour)", "rate(2 days)", "cron(0/15 * * * ? *)"];
    good.extend(expressions.map(str::to_owned));
    good.push("cron(0 8 ? * MON-FRI *)".to_owned());
    let mistakes = ["rate()", "rate(0 minutes)", "rate(15)", "rate(15 seconds)", "rate(-1 minutes)", "15 minutes"];
    bad.extend(mistakes.map(str::to_owned));
    let mistakes = ["cron(0/15 * * * ?)", "cron(* * * * * ? *)", "cron()", "0 8 * * ? *", "at(2026-11-22T02:00:00)"];
    bad.extend(mistakes.map(str::to_owned));
}
