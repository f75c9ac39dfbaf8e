"""The whole story, from nothing to a fleet of two nodes: each step answers with what was seen."""

import json

from verify import cleanup, stacks
from verify.aws import NotThere

# Amazon Linux has the agent and the AWS CLI.
IMAGE = "resolve:ssm:/aws/service/ami-amazon-linux-latest/al2023-ami-kernel-default-x86_64"
INSTANCES = ("one", "two")


class Unexpected(Exception):
    """The story went another way."""


def expect(is_so, evidence):
    if not is_so:
        raise Unexpected(evidence)
    return evidence


def deployment(place):
    """Everything under the prefix, in both accounts."""
    central, agency = place.central, place.agency
    for account in (central, agency):
        stacks.make_bucket(account, place.bucket(account))
    node_role = {"ManagedNodeRoleName": place.node_role}
    stacks.deploy(place, central, place.named("tag-hub-node-role"), "cfn/managed-node-role.yaml", **node_role)
    administration = {"AdministrationRoleName": place.named("tag-hub-administration")}
    execution = {"ExecutionRoleName": place.named("tag-hub-execution")}
    hub = {"NamePrefix": place.prefix, "AnnounceAutomations": "Yes"}
    stacks.deploy_hub(place, place.named("tag-hub"), hub | node_role | administration)
    names = {"NamePrefix": place.prefix}
    template = "cfn/automation-administration-role.yaml"
    stacks.deploy(place, central, place.named("tag-hub-administration"), template, **names, **administration, **execution)
    stacks.deploy(place, central, place.named("tag-hub-preflight"), "cfn/preflight-runbook.yaml", **names)
    grant = {"AgencyAccountId": agency.id, "SilentAfterMinutes": "0"}
    stacks.deploy(place, central, place.named("tag-hub-grant"), "cfn/agency-grant.yaml", **names, **grant)
    topic = stacks.outputs(central, place.named("tag-hub"))["AutomationAnnouncementsArn"]
    stacks.deploy(place, central, place.named("tag-hub-verify"), "scripts/verify/probes.yaml", **names, AutomationTopicArn=topic)
    place.probes = stacks.outputs(central, place.named("tag-hub-verify"))

    template = "cfn/automation-execution-role.yaml"
    trusted = {"AdminAccountId": central.id}
    stacks.deploy(place, agency, place.named("tag-hub-execution"), template, **trusted, **administration, **execution)
    bucket = place.bucket(agency)
    agency.client("s3").upload_file(str(place.dist / "tags-collector.zip"), bucket, "tags-collector.zip")
    collector = {
        "CodeBucket": bucket,
        "CodeKey": "tags-collector.zip",
        "ManagerFunctionArn": place.manager(agency.id).rpartition(":")[0],
        # So that a tag that arrives by itself was not carried by a sweep.
        "ScheduleExpression": "rate(1 day)",
        "SilentAfterMinutes": "0",
    }
    stacks.deploy(place, agency, place.named("tag-hub"), "cfn/agency.yaml", **names, **collector)
    stacks.deploy(place, agency, place.named("tag-hub-instance-profile"), "cfn/instance-profile.yaml", **names)
    return "11 stacks of the central account and of the agency were made"


def activation(place):
    """An activation in the agency's Parameter Store."""

    def issued():
        # A role takes some seconds to be there for everybody, and the answer says so.
        answer = place.central.invoke(place.named("activation-issuer"), {"agency": place.agency.id})
        place.say(f"{place.central.role}: activation-issuer: {json.dumps(answer)}")
        found = place.agency.client("ssm").describe_parameters(
            ParameterFilters=[{"Key": "Name", "Values": [place.parameter]}]
        )["Parameters"]
        return found and found[0]["Type"]

    kind, _ = place.wait("activation in the agency", issued, 180)
    return expect(kind == "SecureString", f"{place.parameter} in the agency is a {kind}")


def user_data(place):
    """What an instance does at its first boot: docs/register-instance.md, with the activation of this hub."""
    install = (place.dist / "install.sh").read_text().replace("@ARTIFACTS@", f"s3://{place.bucket(place.agency)}/dist")
    unit = "/etc/systemd/system/register-instance.service.d"
    command = "/usr/local/sbin/register-instance --wait-for-network --timeout 15m --json"
    override = f"[Service]\\nExecStart=\\nExecStart={command} --parameter {place.parameter}\\n"
    shebang, rest = install.split("\n", 1)
    return f"{shebang}\nmkdir -p {unit}\nprintf '{override}' > {unit}/parameter.conf\n{rest}"


def registration(place):
    """Two instances that register themselves."""
    ec2, s3, bucket = place.agency.client("ec2"), place.agency.client("s3"), place.bucket(place.agency)
    for name in ("register-instance-x86_64", "register-instance.service"):
        s3.upload_file(str(place.dist / name), bucket, f"dist/{name}")
    partition = place.agency.session.get_partition_for_region(place.region)
    statement = {
        "Effect": "Allow",
        "Principal": {"AWS": f"arn:{partition}:iam::{place.agency.id}:role/{place.named('TagHubInstance')}"},
        "Action": "s3:GetObject",
        "Resource": f"arn:{partition}:s3:::{bucket}/dist/*",
    }
    policy = {"Version": "2012-10-17", "Statement": [statement]}
    place.patiently(s3.put_bucket_policy, "MalformedPolicy", Bucket=bucket, Policy=json.dumps(policy))
    for name in INSTANCES:
        tags = {"Name": place.named(name), "Env": "TEST", "Role": name, stacks.MARK: place.prefix}
        launched = place.patiently(
            ec2.run_instances,
            "InvalidParameterValue",
            ImageId=IMAGE,
            InstanceType="t3.micro",
            MinCount=1,
            MaxCount=1,
            IamInstanceProfile={"Name": place.named("TagHubInstance")},
            MetadataOptions={"HttpTokens": "required"},
            UserData=user_data(place),
            TagSpecifications=[
                {"ResourceType": "instance", "Tags": [{"Key": key, "Value": value} for key, value in tags.items()]}
            ],
            **({"SubnetId": place.subnet} if place.subnet else {}),
        )
        place.instances[name] = launched["Instances"][0]["InstanceId"]
    place.say(f"{place.agency.role}: launched {', '.join(place.instances.values())}; waiting until they register")

    def registered():
        found = ec2.describe_instances(InstanceIds=list(place.instances.values()))["Reservations"]
        tags = {
            instance["InstanceId"]: {tag["Key"]: tag["Value"] for tag in instance.get("Tags", [])}
            for reservation in found
            for instance in reservation["Instances"]
        }
        nodes = {name: tags.get(instance, {}).get("managedinstanceid") for name, instance in place.instances.items()}
        return nodes if all(nodes.values()) else None

    place.nodes, seconds = place.wait("registration of both instances", registered, 900, 120)
    place.wait("connection of both nodes", lambda: online(place) == 2, 300)
    return f"after {seconds:.0f} s both instances carry managedinstanceid, and their nodes are online"


def online(place):
    nodes = place.central.client("ssm").describe_instance_information(
        Filters=[{"Key": "InstanceIds", "Values": list(place.nodes.values())}]
    )["InstanceInformationList"]
    return sum(node["PingStatus"] == "Online" for node in nodes)


def swept(place, differs):
    """Sweeps until nothing differs: what was just written is read late here and there."""

    def is_so():
        place.agency.invoke(place.named("tags-collector"), {})
        return not differs()

    try:
        return place.wait("sweep after which all is right", is_so, 300)[1]
    except NotThere as late:
        raise Unexpected(f"{late}: {differs()}") from late


def sweep(place):
    """After a sweep by hand both nodes have the tags of their instances."""

    def differs():
        wrong = []
        for name, node in place.nodes.items():
            source = f"{place.agency.id}/{place.region}/{place.instances[name]}"
            expected = {"Role": name, "Env": "TEST", "tag-hub:agency": place.agency.id, "tag-hub:source": source}
            tags = place.tags(node)
            wrong += [f"{node} has {key}={tags.get(key)}" for key, value in expected.items() if tags.get(key) != value]
        return "; ".join(wrong)

    seconds = swept(place, differs)
    return f"after {seconds:.0f} s both nodes carry Env and Role of their instances, their agency and their source"


def tag_change(place):
    """A tag that is changed and one that is deleted."""
    place.tag_instance(place.instances["one"], "Env", "PROD")
    place.agency.client("ec2").delete_tags(Resources=[place.instances["two"]], Tags=[{"Key": "Role"}])

    def differs():
        one, two = (place.tags(place.nodes[name]) for name in INSTANCES)
        is_right = one.get("Env") == "PROD" and "Role" not in two
        return "" if is_right else f"Env={one.get('Env')} and not PROD, or Role={two.get('Role')} and not gone"

    return f"after {swept(place, differs):.0f} s a changed tag is changed, and a deleted one is gone"


def fan_out(place):
    """A run of the harmless runbook over the agency, twice with one key."""
    runbook = f"TagHub-{place.prefix}Preflight"
    place.runbook = place.arn(place.central, "ssm", f"document/{runbook}")
    # The stand-in knows a document by its ARN without that.
    if place.is_aws:
        place.central.client("ssm").modify_document_permission(
            Name=runbook, PermissionType="Share", AccountIdsToAdd=[place.agency.id]
        )
    location = {"Accounts": [place.agency.id], "Regions": [place.region]}
    location["ExecutionRoleName"] = place.named("tag-hub-execution")
    request = {
        "IdempotencyKey": "verify",
        "DocumentName": place.runbook,
        "Parameters": {"Runbook": [place.runbook]},
        "TargetLocations": [location],
        "WaitSeconds": 300,
    }
    fanout = place.named("automation-fanout")
    first, again = (place.central.invoke(fanout, request) for _ in range(2))
    ids = [[run["AutomationExecutionId"] for run in answer["Executions"]] for answer in (first, again)]
    expect(ids[0] == ids[1] and len(ids[0]) == 1, f"the same key started {ids[0]}, and then {ids[1]}")
    summary = first["Status"]["Summary"]
    return expect("1 location: 1 Success" in summary, f"one key, twice, is the execution {ids[0][0]}: {summary}")


def leaving(place):
    """The agency leaves, and then the hub goes. The nodes stay."""
    before = {node: place.tags(node) for node in place.nodes.values()}
    cleanup.stacks_of_hub(place)
    after = {node: place.tags(node) for node in place.nodes.values()}
    expect(before == after, f"the tags of the nodes changed: {json.dumps(before)}, then {json.dumps(after)}")
    expect(online(place) == 2, f"{online(place)} of 2 nodes are online without the hub")
    return "without the hub and the agency's stacks both nodes are online, with the same tags"
