"""Stacks: each is marked as this script's own, and no other is ever touched."""

import subprocess
import sys
from pathlib import Path

import botocore.exceptions

REPOSITORY = Path(__file__).resolve().parent.parent.parent
MARK = "tag-hub-verify"
NAMED = ["CAPABILITY_NAMED_IAM"]


def find(account, name):
    """A stack, or none."""
    try:
        return account.client("cloudformation").describe_stacks(StackName=name)["Stacks"][0]
    except botocore.exceptions.ClientError as error:
        if error.response["Error"]["Code"] == "ValidationError":
            return None
        raise


def is_own(stack):
    return any(tag["Key"] == MARK for tag in stack.get("Tags", []))


def outputs(account, name):
    return {output["OutputKey"]: output["OutputValue"] for output in find(account, name).get("Outputs", [])}


def deploy(place, account, name, template, **parameters):
    """Makes or updates a stack from a file of the repository, and waits for it."""
    place.say(f"{account.role}: stack {name}")
    client = account.client("cloudformation")
    request = {
        "StackName": name,
        "TemplateBody": (REPOSITORY / template).read_text(),
        "Parameters": [{"ParameterKey": key, "ParameterValue": value} for key, value in parameters.items()],
        "Capabilities": NAMED,
        "Tags": [{"Key": MARK, "Value": place.prefix}],
    }
    if find(account, name) is None:
        client.create_stack(**request)
    else:
        try:
            client.update_stack(**request)
        except botocore.exceptions.ClientError as error:
            if "No updates" not in str(error):
                raise
    status, _ = place.wait(f"end of the stack {name}", lambda: settled(account, name), 1800, 120)
    if status not in ("CREATE_COMPLETE", "UPDATE_COMPLETE"):
        raise RuntimeError(f"the stack {name} is {status}: {reasons(account, name)}")


def settled(account, name):
    stack = find(account, name)
    status = stack["StackStatus"] if stack else "DELETE_COMPLETE"
    return None if status.endswith("_IN_PROGRESS") else status


def reasons(account, name):
    events = account.client("cloudformation").describe_stack_events(StackName=name)["StackEvents"]
    failed = [event for event in events if event["ResourceStatus"].endswith("_FAILED")]
    return "; ".join(f"{event['LogicalResourceId']}: {event.get('ResourceStatusReason')}" for event in failed[:5])


def deploy_hub(place, name, parameters):
    """The hub as docs/deploy.md has it, with the SAM CLI, and the packages in a bucket of this script's own."""
    place.say(f"{place.central.role}: stack {name}, with sam deploy")
    command = [
        str(Path(sys.executable).parent / "sam"), "deploy", "--template-file", "dist/template.yaml",
        "--stack-name", name, "--s3-bucket", place.bucket(place.central), "--capabilities", "CAPABILITY_NAMED_IAM",
        "CAPABILITY_AUTO_EXPAND", "--no-confirm-changeset", "--no-fail-on-empty-changeset", "--region", place.region,
        "--tags", f"{MARK}={place.prefix}",
        "--parameter-overrides", *(f"{key}={value}" for key, value in parameters.items()),
    ]  # fmt: skip
    folder = place.dist.parent
    environment = place.central.environment()
    ended = subprocess.run(command, cwd=folder, env=environment, check=False, capture_output=True, text=True)
    if ended.returncode:
        raise RuntimeError(f"sam deploy failed:\n{ended.stdout[-2000:]}{ended.stderr[-2000:]}")


def delete(place, account, name):
    """Deletes a stack of this script's own, where there is one."""
    stack = find(account, name)
    if stack is None:
        return
    if not is_own(stack):
        raise RuntimeError(f"{account.role}: the stack {name} is not from this script; it has no tag {MARK}")
    place.say(f"{account.role}: deleting the stack {name}")
    account.client("cloudformation").delete_stack(StackName=name)
    status, _ = place.wait(f"end of the stack {name}", lambda: settled(account, name), 1800, 120)
    if status != "DELETE_COMPLETE":
        raise RuntimeError(f"the stack {name} is {status}: {reasons(account, name)}")


def make_bucket(account, name):
    """A bucket that nobody but its account reads."""
    s3 = account.client("s3")
    where = {} if account.region == "us-east-1" else {"CreateBucketConfiguration": {"LocationConstraint": account.region}}
    try:
        s3.create_bucket(Bucket=name, **where)
    except s3.exceptions.BucketAlreadyOwnedByYou:
        pass
    blocked = ("BlockPublicAcls", "IgnorePublicAcls", "BlockPublicPolicy", "RestrictPublicBuckets")
    s3.put_public_access_block(Bucket=name, PublicAccessBlockConfiguration=dict.fromkeys(blocked, True))


def empty_bucket(account, name):
    """Takes everything out of a bucket, with all versions. Answers whether the bucket is there."""
    s3 = account.client("s3")
    try:
        pages = list(s3.get_paginator("list_object_versions").paginate(Bucket=name))
    except botocore.exceptions.ClientError as error:
        if error.response["Error"]["Code"] == "NoSuchBucket":
            return False
        raise
    for page in pages:
        versions = page.get("Versions", []) + page.get("DeleteMarkers", [])
        keys = [{"Key": version["Key"], "VersionId": version["VersionId"]} for version in versions]
        if keys:
            s3.delete_objects(Bucket=name, Delete={"Objects": keys, "Quiet": True})
    return True
