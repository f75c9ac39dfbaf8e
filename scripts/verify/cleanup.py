"""Takes everything away again, in an order in which it goes. What is not there is no matter."""

import botocore.exceptions

from verify import stacks
from verify.aws import NotThere, code


def everything(place):
    """All that a run made, whatever it came to. Answers with what is left."""
    problems = []
    steps = (
        instances, nodes, activations, report, stacks_of_hub, rest_of_stacks, node_role, buckets, parameter, coverage
    )
    for step in steps:
        try:
            step(place)
        except Exception as problem:  # noqa: BLE001: one that does not go must not keep the others
            problems.append(f"{step.__name__}: {problem}")
            place.say(f"clean-up, {problems[-1]}")
    return problems + left(place)


def launched(place):
    filters = [
        {"Name": f"tag:{stacks.MARK}", "Values": [place.prefix]},
        {"Name": "instance-state-name", "Values": ["pending", "running", "stopping", "stopped", "shutting-down"]},
    ]
    found = place.agency.client("ec2").describe_instances(Filters=filters)["Reservations"]
    return [instance["InstanceId"] for reservation in found for instance in reservation["Instances"]]


def instances(place):
    if found := launched(place):
        place.say(f"{place.agency.role}: terminating {', '.join(found)}")
        place.agency.client("ec2").terminate_instances(InstanceIds=found)
        place.wait("end of the instances", lambda: not launched(place), 600)


def registered(place):
    pages = place.central.client("ssm").get_paginator("describe_instance_information").paginate(
        Filters=[{"Key": "IamRole", "Values": [place.node_role]}]
    )
    return [node["InstanceId"] for page in pages for node in page["InstanceInformationList"]]


def nodes(place):
    for node in registered(place):
        place.say(f"{place.central.role}: deregistering {node}")
        place.central.client("ssm").deregister_managed_instance(InstanceId=node)


def issued(place):
    pages = place.central.client("ssm").get_paginator("describe_activations").paginate(
        Filters=[{"FilterKey": "IamRole", "FilterValues": [place.node_role]}]
    )
    return [activation["ActivationId"] for page in pages for activation in page["ActivationList"]]


def activations(place):
    for activation in issued(place):
        place.say(f"{place.central.role}: deleting the activation {activation}")
        place.central.client("ssm").delete_activation(ActivationId=activation)


def stacks_of_hub(place):
    """The agency's collector and its grant, and the hub. What the nodes, the instances and the probes need stays."""
    kept = undeletable(place, place.agency, "tag-hub", "tag-hub-execution")
    kept += undeletable(place, place.central, "tag-hub-grant")
    hub = stacks.find(place.central, place.named("tag-hub"))
    if hub and stacks.is_own(hub):
        found = {output["OutputKey"]: output["OutputValue"] for output in hub.get("Outputs", [])}
        if bucket := found.get("ArtifactBucketName"):
            stacks.empty_bucket(place.central, bucket)
    # The subscription of the probes is to a topic of the hub, and goes with it.
    complain(kept + undeletable(place, place.central, "tag-hub"))


def rest_of_stacks(place):
    # An instance that runs needs its profile.
    kept = undeletable(place, place.agency, "tag-hub-verify-instance", "tag-hub-instance-profile")
    unshare(place)
    last = ("tag-hub-verify", "tag-hub-preflight", "tag-hub-administration", "tag-hub-node-role")
    complain(kept + undeletable(place, place.central, *last))


def undeletable(place, account, *names):
    """Deletes stacks, each whatever became of the others. Answers with what kept those that are still there."""
    problems = []
    for name in names:
        try:
            stacks.delete(place, account, place.named(name))
        except (RuntimeError, NotThere, botocore.exceptions.ClientError) as problem:
            problems.append(str(problem))
    return problems


def complain(problems):
    if problems:
        raise RuntimeError("; ".join(problems))


def unshare(place):
    """What is shared cannot be deleted."""
    if place.is_aws and stacks.find(place.central, place.named("tag-hub-preflight")):
        place.central.client("ssm").modify_document_permission(
            Name=f"TagHub-{place.prefix}Preflight", PermissionType="Share", AccountIdsToRemove=[place.agency.id]
        )


def node_role(place):
    """CloudFormation never deletes this role."""
    iam, name = place.central.client("iam"), place.node_role
    try:
        attached = iam.list_attached_role_policies(RoleName=name)["AttachedPolicies"]
    except botocore.exceptions.ClientError as error:
        if code(error) == "NoSuchEntity":
            return
        raise
    place.say(f"{place.central.role}: deleting the role {name}")
    for policy in attached:
        iam.detach_role_policy(RoleName=name, PolicyArn=policy["PolicyArn"])
    for policy in iam.list_role_policies(RoleName=name)["PolicyNames"]:
        iam.delete_role_policy(RoleName=name, PolicyName=policy)
    iam.delete_role(RoleName=name)


def buckets(place):
    for account in (place.central, place.agency):
        name = place.bucket(account)
        if stacks.empty_bucket(account, name):
            place.say(f"{account.role}: deleting the bucket {name}")
            account.client("s3").delete_bucket(Bucket=name)


def report(place):
    """CloudFormation deletes no bucket with something in it."""
    stacks.empty_bucket(place.central, place.report_bucket)


def coverage(place):
    ssm = place.central.client("ssm")
    pages = ssm.get_paginator("get_parameters_by_path").paginate(Path=place.coverage, Recursive=True)
    for name in [parameter["Name"] for page in pages for parameter in page["Parameters"]]:
        ssm.delete_parameter(Name=name)


def parameter(place):
    try:
        place.agency.client("ssm").delete_parameter(Name=place.parameter)
    except botocore.exceptions.ClientError as error:
        if code(error) != "ParameterNotFound":
            raise


def left(place):
    """What of this script is still there."""
    found = [f"instance {instance}" for instance in launched(place)]
    found += [f"node {node}" for node in registered(place)]
    found += [f"activation {activation}" for activation in issued(place)]
    for account in (place.central, place.agency):
        pages = account.client("cloudformation").get_paginator("describe_stacks").paginate()
        every = [stack for page in pages for stack in page["Stacks"] if stacks.is_own(stack)]
        found += [f"stack {stack['StackName']} of {account.role}" for stack in every if stack["StackName"].startswith(place.prefix)]
        names = [bucket["Name"] for bucket in account.client("s3").list_buckets()["Buckets"]]
        found += [f"bucket {name}" for name in names if name == place.bucket(account)]
    return [f"{thing} is still there" for thing in found]
