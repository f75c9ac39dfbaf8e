"""A probe for each assumption of assumptions.json: it answers with what was seen, or says what speaks against it."""

import functools
import json
import time
import uuid

import botocore.exceptions

from verify import stacks
from verify.aws import NOT_ABOUT_IT, NotThere, code
from verify.story import IMAGE

# A letter of two UTF-16 units.
WIDE = "\N{MATHEMATICAL SCRIPT CAPITAL A}"
# By name, the step of the story that has to come before, and the probe.
PROBES = {}


class Refuted(Exception):
    """AWS does otherwise."""


def probe(name, after):
    """Names a probe, and the step of the story that comes before it."""

    def named(function):
        PROBES[name] = (after, function)
        return function

    return named


def so(is_so, evidence):
    if not is_so:
        raise Refuted(evidence)
    return evidence


def refusal(call, **request):
    """The code with which AWS refuses a call, and none where it takes it."""
    try:
        call(**request)
    except botocore.exceptions.ClientError as error:
        if code(error) in NOT_ABOUT_IT:
            raise
        return code(error)
    return None


def on_node(place, name, tags):
    """Tags a node as an operator would."""
    add = place.central.client("ssm").add_tags_to_resource
    tag_list = [{"Key": key, "Value": value} for key, value in tags.items()]
    return functools.partial(add, ResourceType="ManagedInstance", ResourceId=place.nodes[name], Tags=tag_list)


def off_node(place, name, *keys):
    remove = place.central.client("ssm").remove_tags_from_resource
    remove(ResourceType="ManagedInstance", ResourceId=place.nodes[name], TagKeys=list(keys))


@probe("policy-pattern", "deployment")
def policy_pattern(place):
    client, stack = place.central.client("cloudformation"), place.named("tag-hub")
    kept = [parameter["ParameterKey"] for parameter in stacks.find(place.central, stack)["Parameters"]]
    parameters = [{"ParameterKey": key, "UsePreviousValue": True} for key in kept if key != "TagPolicy"]
    misspelled = {"ParameterKey": "TagPolicy", "ParameterValue": '{"inlcude":["Env"]}'}
    try:
        client.create_change_set(
            StackName=stack, ChangeSetName="misspelled", UsePreviousTemplate=True,
            Parameters=[*parameters, misspelled], Capabilities=["CAPABILITY_NAMED_IAM", "CAPABILITY_AUTO_EXPAND"],
        )  # fmt: skip
    except botocore.exceptions.ClientError as error:
        return so("TagPolicy" in str(error), f"deployed with the pattern; inlcude instead of include: {error}")
    client.delete_change_set(StackName=stack, ChangeSetName="misspelled")
    raise Refuted("a change set with the policy {\"inlcude\":[\"Env\"]} was taken")


@probe("activation-tag-check", "activation")
def activation_tag_check(place):
    filters = [{"FilterKey": "IamRole", "FilterValues": [place.node_role]}]
    found = place.central.client("ssm").describe_activations(Filters=filters)["ActivationList"]
    tags = [{tag["Key"]: tag["Value"] for tag in activation.get("Tags", [])} for activation in found]
    seen = f"activation-issuer made {len(found)} activations, with the tags {json.dumps(tags)}"
    return so(found and tags[0].get("tag-hub:agency") == place.agency.id, seen)


@probe("instance-tags-itself", "registration")
def instance_tags_itself(place):
    other = place.instances["two"]
    lines = [
        "export AWS_SHARED_CREDENTIALS_FILE=/dev/null AWS_CONFIG_FILE=/dev/null",
        f"aws ec2 create-tags --region {place.region} --resources {other} --tags Key=managedinstanceid,Value=x 2>&1 || true",
    ]
    _, said = place.command(lines, InstanceIds=[place.nodes["one"]])[place.nodes["one"]]
    seen = f"both instances wrote their own tag; {place.instances['one']} on {other}: {said or 'nothing was said'}"
    return so("UnauthorizedOperation" in said, seen)


@probe("alias-is-who", "sweep")
def alias_is_who(place):
    client, report = place.agency.client("lambda"), {"account": place.agency.id, "instances": [], "dryRun": True}
    own = place.manager(place.agency.id)
    try:
        answer = place.agency.invoke(own, report)
    except botocore.exceptions.ClientError as error:
        raise Refuted(f"the agency's own alias refuses it: {code(error)}") from error
    so(answer.get("agency") == place.agency.id, f"the manager takes the agency for {answer.get('agency')}")
    refused = {
        what: refusal(client.invoke, FunctionName=target, Payload=json.dumps(report))
        for what, target in {
            "another's alias": place.manager("000000000000"),
            "the function": own.rpartition(":")[0],
        }.items()
    }
    is_refused = set(refused.values()) == {"AccessDeniedException"}
    return so(is_refused, f"its own alias answers as {answer['agency']}; {json.dumps(refused)}")


@probe("nodes-by-type", "sweep")
def nodes_by_type(place):
    key, node = place.named("probe"), place.nodes["one"]
    on_node(place, "one", {key: "1"})()
    get = place.central.client("resourcegroupstaggingapi").get_resources

    def listed():
        found = get(ResourceTypeFilters=["ssm:managed-instance"], TagFilters=[{"Key": key}])
        arns = [resource["ResourceARN"] for resource in found["ResourceTagMappingList"]]
        return arns if any(arn.endswith(f"/{node}") for arn in arns) else None

    try:
        arns, seconds = place.wait("node in GetResources", listed, 300, 5)
    except botocore.exceptions.ClientError as error:
        raise Refuted(f"GetResources: {code(error)}") from error
    except NotThere as late:
        raise Refuted(str(late)) from late
    finally:
        off_node(place, "one", key)
    return so(len(arns) == 1, f"listed by type and tag {seconds:.0f} s after the tag: {', '.join(arns)}")


@probe("tag-pattern", "sweep")
def tag_pattern(place):
    good, bad = place.named("pattern"), place.named("pattern-bad")
    refused = refusal(on_node(place, "one", {good: "fits", bad: "a,b"}))
    is_whole = not {good, bad} & set(place.tags(place.nodes["one"]))
    seen = f"a request with one value with a comma: {refused}, and {'nothing' if is_whole else 'something'} was set"
    return so(refused == "ValidationException" and is_whole, seen)


@probe("tag-call-atomic", "sweep")
def tag_call_atomic(place):
    before = place.tags(place.nodes["one"])
    refused = refusal(on_node(place, "one", {place.named(f"many-{count}"): "" for count in range(51)}))
    after = place.tags(place.nodes["one"])
    return so(refused and after == before, f"51 more tags: {refused}; {len(before)} tags before, {len(after)} after")


@probe("tag-length", "sweep")
def tag_length(place):
    key, taken = place.named("length"), {}
    for units in (256, 512):
        taken[f"{units} units"] = refusal(on_node(place, "one", {key: WIDE * (units // 2)})) or "taken"
    off_node(place, "one", key)
    return so(taken["256 units"] == "taken", f"values of letters of two units each: {json.dumps(taken)}")


@probe("aws-prefix", "sweep")
def aws_prefix(place):
    refused = refusal(on_node(place, "one", {"aws:verify": "1"}))
    return so(refused, f"the key aws:verify: {refused}")


@probe("tag-change-event", "sweep")
def tag_change_event(place):
    value = uuid.uuid4().hex[:8]
    place.tag_instance(place.instances["one"], "Changed", value)
    try:
        _, seconds = place.wait(
            "tag by an event", lambda: place.tags(place.nodes["one"]).get("Changed") == value, 180, 45
        )
    except NotThere as late:
        raise Refuted(str(late)) from late
    return f"on the node {seconds:.0f} s after CreateTags, with the next sweep a day away"


@probe("command-by-tag", "tag-change")
def command_by_tag(place):
    # The key is one that nothing else in the account has.
    value = place.tags(place.nodes["one"])["Name"]
    said = place.command(["echo reached"], Targets=[{"Key": "tag:Name", "Values": [value]}])
    seen = f"a command to tag:Name={value}: {json.dumps(said)}"
    is_right = set(said) == {place.nodes["one"]} and all(status == "Success" for status, _ in said.values())
    return so(is_right and (not place.is_aws or "reached" in str(said)), seen)


@probe("compliance-variable", "registration")
def compliance_variable(place):
    iam, policy = place.central.client("iam"), "verify-own-compliance"
    statement = {
        "Sid": "ReportOwnCompliance", "Effect": "Deny", "Action": "ssm:PutComplianceItems",
        "NotResource": "${ssm:SourceInstanceARN}",
    }  # fmt: skip
    document = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
    iam.put_role_policy(RoleName=place.node_role, PolicyName=policy, PolicyDocument=document)
    try:
        # A policy takes some seconds to be in force.
        time.sleep(30 if place.is_aws else 0)
        one, two = place.nodes["one"], place.nodes["two"]
        report = (
            f"aws ssm put-compliance-items --region {place.region} --resource-type ManagedInstance --compliance-type Custom:Verify"
            " --execution-summary ExecutionTime=2026-01-01T00:00:00Z --items Id=1,Title=verify,Severity=LOW,Status=COMPLIANT"
        )
        # Root's default profile has the credentials of the node's role, and a command has no HOME.
        lines = [f"export HOME=/root; {report} --resource-id {node} 2>&1 && echo {which}-taken" for which, node in (("own", one), ("other", two))]
        _, said = place.command([f"{line} || true" for line in lines], InstanceIds=[one])[one]
    finally:
        iam.delete_role_policy(RoleName=place.node_role, PolicyName=policy)
    return so("own-taken" in said and "other-taken" not in said, f"its own compliance, then another's: {said!r}")


def one_instance(place, env):
    """A template with one instance and one tag."""
    properties = {"ImageId": {"Ref": "Image"}, "InstanceType": "t3.nano", "Tags": [{"Key": "Env", "Value": env}]}
    if place.subnet:
        properties["SubnetId"] = place.subnet
    image = {"Type": "AWS::SSM::Parameter::Value<AWS::EC2::Image::Id>", "Default": IMAGE.removeprefix("resolve:ssm:")}
    instance = {"Type": "AWS::EC2::Instance", "Properties": properties}
    outputs = {"Id": {"Value": {"Ref": "Instance"}}}
    return json.dumps({"Parameters": {"Image": image}, "Resources": {"Instance": instance}, "Outputs": outputs})


@probe("update-keeps-tag", "deployment")
def update_keeps_tag(place):
    name, client, ec2 = place.named("tag-hub-verify-instance"), place.agency.client("cloudformation"), place.agency.client("ec2")

    def ended():
        return place.wait("end of the stack", lambda: stacks.settled(place.agency, name), 600)[0]

    mark = {"Key": stacks.MARK, "Value": place.prefix}
    client.create_stack(StackName=name, TemplateBody=one_instance(place, "ONE"), Tags=[mark])
    try:
        so(ended() == "CREATE_COMPLETE", "no stack was made")
        instance = stacks.outputs(place.agency, name)["Id"]
        place.tag_instance(instance, "managedinstanceid", "mi-00000000000000000")
        client.update_stack(StackName=name, TemplateBody=one_instance(place, "TWO"), Tags=[mark])
        so(ended() == "UPDATE_COMPLETE", "the stack was not updated")
        found = ec2.describe_tags(Filters=[{"Name": "resource-id", "Values": [instance]}])["Tags"]
        tags = {tag["Key"]: tag["Value"] for tag in found}
        so(tags.get("Env") == "TWO", f"the update did not change Env: {json.dumps(tags)}")
        return so("managedinstanceid" in tags, f"after an update of Env the instance has {', '.join(sorted(tags))}")
    finally:
        stacks.delete(place, place.agency, name)


@probe("same-invocation-id", "sweep")
def same_invocation_id(place):
    # A report that is refused, which Lambda tries again after one minute and after two more.
    request = place.agency.invoke(place.manager(place.agency.id), {"instances": "none"}, asynchronously=True)
    group = f"/aws/lambda/{place.named('ssm-tag-manager')}"

    def attempts():
        logs = place.central.client("logs").filter_log_events(logGroupName=group, filterPattern=f'"{request}"')
        starts = [event for event in logs["events"] if "platform.start" in event["message"]]
        return starts if len(starts) > 1 else None

    try:
        starts, seconds = place.wait("second attempt under the same id", attempts, 300, 2)
    except NotThere as late:
        raise Refuted(f"{request}: {late}") from late
    return f"{request} was started {len(starts)} times within {seconds:.0f} s"


@probe("client-token", "fan-out")
def client_token(place):
    ssm, token = place.central.client("ssm"), str(uuid.uuid4())
    role = place.arn(place.central, "iam", f"role/{place.named('tag-hub-administration')}").replace(f":{place.region}:", "::")
    request = {
        "DocumentName": place.runbook.rpartition("/")[2],
        "Parameters": {"Runbook": ["AWS-RestartEC2Instance"], "AutomationAssumeRole": [role]},
        "ClientToken": token,
    }
    first = ssm.start_automation_execution(**request)["AutomationExecutionId"]
    try:
        again = ssm.start_automation_execution(**request)["AutomationExecutionId"]
    except botocore.exceptions.ClientError as error:
        raise Refuted(f"the second start under a token: {code(error)}") from error
    return so(first == again, f"the same token, twice: {first}, {again}")


@probe("topic-under-role", "fan-out")
def topic_under_role(place):
    receive = place.central.client("sqs").receive_message

    def heard():
        url = place.probes["AnnouncementsUrl"]
        messages = receive(QueueUrl=url, MaxNumberOfMessages=10, WaitTimeSeconds=5 if place.is_aws else 0)
        return messages.get("Messages")

    try:
        messages, _ = place.wait("message on the topic", heard, 180, 2)
    except NotThere as late:
        raise Refuted(f"{late} after a run had ended") from late
    return f"the topic said after a run: {messages[0]['Body'][:400]}"


def tried(place, service):
    """A client with the role of the probes."""
    credentials = place.central.client("sts").assume_role(RoleArn=place.probes["RoleArn"], RoleSessionName="verify")["Credentials"]
    return place.central.session.client(
        service,
        aws_access_key_id=credentials["AccessKeyId"],
        aws_secret_access_key=credentials["SecretAccessKey"],
        aws_session_token=credentials["SessionToken"],
    )


@probe("task-token-resource", "deployment")
def task_token_resource(place):
    states, receive = place.central.client("stepfunctions"), place.central.client("sqs").receive_message
    execution = states.start_execution(stateMachineArn=place.probes["StateMachineArn"])["executionArn"]
    url = place.probes["TokensUrl"]
    (message, *_), _ = place.wait("task token", lambda: receive(QueueUrl=url).get("Messages"), 60)
    token = json.loads(message["Body"])["TaskToken"]
    answer = tried(place, "stepfunctions").send_task_success
    refused = refusal(answer, taskToken=token, output="{}")
    if refused:
        states.stop_execution(executionArn=execution)
    return so(not refused, f"answered by a role with the state machine alone as its resource: {refused or 'taken'}")


@probe("nodes-outlive-hub", "leaving")
def nodes_outlive_hub(place):
    try:
        said = place.command(["echo still here"], InstanceIds=list(place.nodes.values()))
    except botocore.exceptions.ClientError as error:
        raise Refuted(f"a command without the hub: {code(error)}") from error
    is_right = len(said) == 2 and all(status == "Success" for status, _ in said.values())
    return so(is_right, f"a command without the hub: {json.dumps(said)}")


@probe("deregister-by-tag", "leaving")
def deregister_by_tag(place):
    node = place.nodes["two"]
    deregister = tried(place, "ssm").deregister_managed_instance
    before = refusal(deregister, InstanceId=node)
    on_node(place, "two", {"tag-hub:terminated": "2026-01-01T00:00:00Z"})()

    def gone():
        refused = refusal(deregister, InstanceId=node)
        return "taken" if refused is None else None

    so(before == "AccessDeniedException", f"without the mark: {before or 'taken'}")
    try:
        _, seconds = place.wait("deregistration", gone, 120, 5)
    except NotThere as late:
        raise Refuted(f"with the mark: {late}") from late
    return f"without the mark {before}, with it taken after {seconds:.0f} s"
