"""The two accounts, and how long to wait for what they do."""

import json
import os
import time
from urllib.parse import urlsplit

import boto3
import botocore.config
import botocore.exceptions

# AWS says this of the caller's credentials or pace, and nothing of what was tried.
NOT_ABOUT_IT = {
    "ExpiredToken", "ExpiredTokenException", "RequestExpired", "RequestLimitExceeded", "SlowDown", "Throttling",
    "ThrottlingException", "TooManyRequestsException", "TooManyUpdates", "UnrecognizedClientException",
}  # fmt: skip
# What the caller may not do is no answer to what was tried. A probe that expects it says so itself.
NOT_ALLOWED = {"AccessDenied", "AccessDeniedException", "UnauthorizedOperation"}


class NotThere(Exception):
    """What was waited for did not come in time."""


def code(error):
    """The code of an error of AWS."""
    return error.response["Error"]["Code"]


class Account:
    """One account, by the usual chain of credentials of a profile."""

    def __init__(self, role, profile, region):
        self.role, self.profile, self.region = role, profile, region
        self.session = boto3.Session(profile_name=profile, region_name=region)
        self.clients = {}
        self.id = self.client("sts").get_caller_identity()["Account"]

    def client(self, service):
        if service not in self.clients:
            # The name says in CloudTrail who asked. A sweep is waited for as long as it may take, and not asked for twice.
            config = botocore.config.Config(
                user_agent_extra="tag-hub-verify",
                read_timeout=910 if service == "lambda" else 60,
                retries={"max_attempts": 1 if service == "lambda" else 8, "mode": "standard"},
            )
            self.clients[service] = self.session.client(service, config=config)
        return self.clients[service]

    def is_aws(self):
        """Whether a request goes to AWS itself, wherever the address comes from."""
        host = urlsplit(self.client("sts").meta.endpoint_url).hostname or ""
        return host.endswith((".amazonaws.com", ".amazonaws.com.cn"))

    def environment(self):
        """The environment of a program that acts as this account."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith("AWS_SESSION")}
        for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
            kept.pop(name, None)
        return kept | {"AWS_PROFILE": self.profile, "AWS_DEFAULT_REGION": self.region, "SAM_CLI_TELEMETRY": "0"}

    def invoke(self, function, event, asynchronously=False):
        """The answer of a function, or the id of an asynchronous invocation."""
        kind = "Event" if asynchronously else "RequestResponse"
        answer = self.client("lambda").invoke(FunctionName=function, InvocationType=kind, Payload=json.dumps(event))
        if asynchronously:
            return answer["ResponseMetadata"]["RequestId"]
        payload = json.loads(answer["Payload"].read() or "null")
        if "FunctionError" in answer:
            raise RuntimeError(f"{function} failed: {json.dumps(payload)}")
        return payload


class Place:
    """Where all of it happens, and under which names."""

    def __init__(self, central, agency, prefix, say):
        self.central, self.agency, self.prefix, self.say = central, agency, prefix, say
        self.region, self.is_aws = central.region, central.is_aws()
        self.node_role = f"{prefix}tag-hub-verify-node"
        self.parameter = f"/tag-hub/{prefix}activation"
        self.coverage = f"/tag-hub/{prefix}coverage"
        self.report_bucket = f"{prefix}tag-hub-fleet-{central.id}-{central.region}"
        self.instances, self.nodes = {}, {}

    def named(self, name):
        return f"{self.prefix}{name}"

    def bucket(self, account):
        return f"{self.prefix}tag-hub-verify-{account.id}-{self.region}"

    def arn(self, account, service, resource):
        partition = account.session.get_partition_for_region(self.region)
        return f"arn:{partition}:{service}:{self.region}:{account.id}:{resource}"

    def manager(self, agency):
        return self.arn(self.central, "lambda", f"function:{self.named('ssm-tag-manager')}:agency-{agency}")

    def wait(self, what, look, aws, stand_in=20):
        """Looks until there is something, for so many seconds on AWS or on its stand-in. Answers with that and the time."""
        start, within = time.monotonic(), aws if self.is_aws else stand_in
        while True:
            found = look()
            if found:
                return found, time.monotonic() - start
            if time.monotonic() - start > within:
                raise NotThere(f"within {within} s there was no {what}")
            time.sleep(5 if self.is_aws else 0.2)

    def patiently(self, call, refusal, **request):
        """Calls again while AWS does not know yet what was just made, and says so with this code."""

        def taken():
            try:
                return call(**request)
            except botocore.exceptions.ClientError as error:
                if code(error) == refusal:
                    self.say(f"not yet: {error}")
                    return None
                raise

        return self.wait(f"success of {call.__name__}", taken, 120)[0]

    def tags(self, node):
        answer = self.central.client("ssm").list_tags_for_resource(ResourceType="ManagedInstance", ResourceId=node)
        return {tag["Key"]: tag["Value"] for tag in answer["TagList"]}

    def tag_instance(self, instance, key, value):
        self.agency.client("ec2").create_tags(Resources=[instance], Tags=[{"Key": key, "Value": value}])

    def command(self, lines, **target):
        """Runs lines on nodes, and answers with what each said, by node: status and output."""
        ssm = self.central.client("ssm")
        sent = ssm.send_command(DocumentName="AWS-RunShellScript", Parameters={"commands": lines}, **target)
        command = sent["Command"]["CommandId"]

        def ended():
            heads = ssm.list_command_invocations(CommandId=command, Details=True)["CommandInvocations"]
            is_over = heads and all(head["Status"] not in ("Pending", "InProgress", "Delayed") for head in heads)
            return heads if is_over else None

        heads, _ = self.wait("end of the command", ended, 180)
        output = {head["InstanceId"]: "".join(part.get("Output", "") for part in head.get("CommandPlugins", [])) for head in heads}
        return {head["InstanceId"]: (head["Status"], output[head["InstanceId"]].strip()) for head in heads}
