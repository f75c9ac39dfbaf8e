"""MiniStack as it runs behind the edge: itself, and what only its own process can do.

It answers which principal an access key belongs to and what that principal's policies decide, with
MiniStack's own evaluator and with any condition keys; iam:SimulatePrincipalPolicy there ignores
ContextEntries, permissions boundaries and session policies. It ends, with every function process it
started, when the process that started it is gone. Schedules fire within a second of their time.
CloudFormation takes AWS::SSM::Document, for runbooks, and the edge may ask which roles Systems Manager
could assume for an automation or a managed node. Tags of instances that change, and instances that
change their state, put their events on the default bus. An instance gets the credentials of its profile.
Event source mappings of queues keep their batching window and their batch size.
"""

import contextvars
import dataclasses
import json
import os
import re
import signal
import sys
import threading
import time

from ministack import app as ministack
from ministack.core import iam_evaluator as evaluator
from ministack.core import responses
from ministack.core.responses import get_account_id, get_region, set_request_account_id, set_request_region
from ministack.services import ec2, eventbridge, iam, lambda_svc, scheduler, sqs, sts
from ministack.services.cloudformation import provisioners

PATH = "/_local-aws/decide"

# The content of each document, by account, Region and name.
documents = {}

# What the dials of the local AWS say.
dials = {"tagEvents": True, "organization": None}

# How often the tags of an instance have changed, by ARN.
versions = {}

# On the way to an instance and from it.
TRANSITIONS = {"terminated": "shutting-down", "stopped": "stopping", "running": "pending"}


def end_with_parent():
    # Reads until the other end of the pipe is closed, which the kernel does for a process that is gone.
    sys.stdin.buffer.read()
    os.killpg(0, signal.SIGKILL)


def decide(question):
    key = question["accessKey"]
    account = ministack._request_account_scope(key)
    set_request_account_id(account)
    set_request_region(question.get("region") or "us-east-1")
    principal = evaluator.resolve_principal(key, account)
    if isinstance(principal, evaluator.AuthError):
        return {"error": principal.code}
    answer = {"account": principal.account, "principal": principal.arn}
    if "action" not in question:
        return answer
    # Principals in resource policies are roles, not their sessions.
    arn = role_of(principal.arn)
    context = {"aws:tagkeys": None, **{name.lower(): value for name, value in question["context"].items()}}
    request = evaluator.EvalContext(
        principal_arn=arn,
        principal_type=principal.type,
        principal_account=principal.account,
        action=question["action"],
        resource_arn=question["resource"],
        region=question["region"],
        service_context=context,
        principal_keys=principal.keys,
    )
    if principal.policies is None:
        answer["identity"] = "Allow"
    else:
        answer["identity"] = evaluator.evaluate(request, principal.policies, *principal.limits).decision
    if question.get("policy") is not None:
        answer["resource"] = evaluator.evaluate_resource_policy(question["policy"], request).decision
    return answer


def role_of(arn):
    """The role of a session's ARN; any other ARN as it is."""
    if ":assumed-role/" not in arn:
        return arn
    account, name = arn.split(":")[4], evaluator._role_name_from_assumed_arn(arn)
    role = iam._roles.get_scoped(account, None, name)
    return (role or {}).get("Arn") or f"arn:aws:iam::{account}:role/{name}"


def asking(principal, action, resource, region, **keys):
    """A request by a principal: a role, a service or an account's root."""
    kind = "AssumedRole" if ":role/" in principal else "Service" if principal.endswith(".amazonaws.com") else "Root"
    return evaluator.EvalContext(
        principal_arn=principal,
        principal_type=kind,
        principal_account=keys.get("aws:principalaccount", ""),
        action=action,
        resource_arn=resource,
        region=region,
        service_context=keys,
    )


def find_role(arn):
    """The role with exactly this ARN, of whatever account."""
    role = iam._roles.get_scoped(arn.split(":")[4], None, arn.rsplit("/", 1)[-1])
    return role if role and role.get("Arn") == arn else None


AN_AUTOMATION = "automation-execution/00000000-0000-4000-8000-000000000000"
A_NODE = "managed-instance/mi-00000000000000000"


def service_may_assume(arn, account, region, source=AN_AUTOMATION):
    """Whether Systems Manager can assume a role for something of this account and Region."""
    role = find_role(arn)
    if role is None:
        return False
    keys = {"aws:sourceaccount": account, "aws:sourcearn": f"arn:aws:ssm:{region}:{account}:{source}"}
    document = role.get("AssumeRolePolicyDocument", "{}")
    document = json.loads(document) if isinstance(document, str) else document
    # The evaluator knows services as principals for MiniStack's own calls only.
    statements = document.get("Statement", [])
    for statement in statements if isinstance(statements, list) else [statements]:
        principal = statement.get("Principal")
        services = principal.get("Service", []) if isinstance(principal, dict) else []
        if "ssm.amazonaws.com" in ([services] if isinstance(services, str) else services):
            asked = asking("ssm.amazonaws.com", "sts:AssumeRole", arn, region, **keys)
            if evaluator.evaluate_trust_policy({"Statement": [{**statement, "Principal": "*"}]}, "*", asked):
                return True
    return False


def may_assume(by, arn, region):
    """Whether a principal can assume a role of any account: both sides have to agree."""
    role = find_role(arn)
    if role is None:
        return False
    account = by.split(":")[4]
    asked = asking(by, "sts:AssumeRole", arn, region, **{"aws:principalaccount": account})
    if ":role/" in by:
        policies = evaluator._gather_role_policies(by.rsplit("/", 1)[-1], account)
        if evaluator.evaluate(asked, policies).decision != "Allow":
            return False
    return evaluator.evaluate_trust_policy(role.get("AssumeRolePolicyDocument", "{}"), by, asked)


def automation(question):
    """What the edge has to know before an automation starts."""
    account, region, by = question["account"], question["region"], question["by"]
    return {
        "document": documents.get((account, region, question["document"])),
        "service": not question["byService"] or service_may_assume(by, account, region),
        "assumable": [may_assume(by, role, region) for role in question["roles"]],
    }


def instance_credentials(question):
    """What the metadata service of an instance hands out, from the role of its profile."""
    account, region, name = question["account"], question["region"], question["instance"]
    set_request_account_id(account)
    set_request_region(region)
    instance = ec2._instances.get(name)
    if instance is None or instance["State"]["Name"] == "terminated":
        return {"exists": False}
    answer = {"exists": True, "address": instance.get("PrivateIpAddress") or "", "type": instance.get("InstanceType")}
    profile = (instance.get("IamInstanceProfile") or {}).get("Arn")
    profile = profile and iam._lookup_instance_profile(arn=profile)
    roles = (profile or {}).get("Roles") or []
    if not roles:
        return answer
    role = roles[0] if isinstance(roles[0], str) else roles[0]["RoleName"]
    role = iam._roles.get(role)
    if role is None or not question["credentials"]:
        return {**answer, "profile": profile["Arn"], "role": role and role["RoleName"]}
    key, secret, token = iam._gen_session_access_key(), iam._gen_secret(), iam._gen_session_token()
    lifetime = 6 * 3600
    sts.register_session(key, {
        "Arn": f"arn:aws:sts::{account}:assumed-role/{role['RoleName']}/{name}",
        "UserId": f"{role['RoleId']}:{name}",
        "SecretAccessKey": secret,
        "SessionToken": token,
        "Expiration": time.time() + lifetime,
        "AccountId": account,
        "PrincipalType": "AssumedRole",
        "SourceInstance": f"arn:aws:ec2:{region}:{account}:instance/{name}",
    })
    credentials = {
        "Code": "Success",
        "LastUpdated": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "Type": "AWS-HMAC",
        "AccessKeyId": key,
        "SecretAccessKey": secret,
        "Token": token,
        "Expiration": iam._future(lifetime),
    }
    return {**answer, "profile": profile["Arn"], "role": role["RoleName"], "credentials": credentials}


def emit(source, kind, arn, detail):
    """An event of AWS's own on the default bus of the request's account and Region."""
    entry = {"Source": source, "DetailType": kind, "Detail": json.dumps(detail), "Resources": [arn]}
    eventbridge._put_events({"Entries": [entry]}, allow_aws_source=True)


def instance_arn(name):
    return f"arn:aws:ec2:{get_region()}:{get_account_id()}:instance/{name}"


def tags_of(name):
    return {tag["Key"]: tag.get("Value", "") for tag in ec2._tags.get(name) or []}


def with_tag_events(change):
    """CreateTags or DeleteTags with its Tag Change on Resource events."""
    def changing(request):
        names = [name for name in ec2._parse_member_list(request, "ResourceId") if name in ec2._instances]
        before = {name: tags_of(name) for name in names}
        answer = change(request)
        for name in names if dials["tagEvents"] else []:
            after = tags_of(name)
            changed = [key for key in {**before[name], **after} if before[name].get(key) != after.get(key)]
            if not changed:
                continue
            arn = instance_arn(name)
            versions[arn] = versions.get(arn, 0) + 1
            emit("aws.tag", "Tag Change on Resource", arn, {
                "changed-tag-keys": sorted(changed),
                "service": "ec2",
                "resource-type": "instance",
                "version": versions[arn],
                "tags": after,
            })
        return answer
    return changing


def with_state_events(change):
    """An operation on instances with its EC2 Instance State-change Notification events."""
    def changing(request):
        names = [name for name in ec2._parse_member_list(request, "InstanceId") if name in ec2._instances]
        state = lambda name: ec2._instances.get(name, {}).get("State", {}).get("Name")
        before = {name: state(name) for name in names}
        answer = change(request)
        for name in names:
            now = state(name)
            for reached in [TRANSITIONS[now], now] if now in TRANSITIONS and now != before[name] else []:
                detail = {"instance-id": name, "state": reached}
                emit("aws.ec2", "EC2 Instance State-change Notification", instance_arn(name), detail)
        return answer
    return changing


def to_other_region(deliver):
    """Delivery to a bus of the same account in another Region, which MiniStack leaves out. One Region away."""
    def delivering(bus, event, *rest):
        if bus.service != "events" or bus.account_id != get_account_id() or bus.region == get_region():
            return deliver(bus, event, *rest)
        name = bus.resource.split("/", 1)[1]
        forwarded = {key: value for key, value in event.items() if key != "_DispatchPath"}

        def there():
            responses._request_region.set(bus.region)
            if name == "default" or name in eventbridge._event_buses:
                eventbridge._dispatch_event({**forwarded, "EventBusName": name, "_Forwarded": True})
        if "_Forwarded" not in event:
            contextvars.copy_context().run(there)
    return delivering


def with_window(receive):
    """Messages for an event source mapping: as many as a batch takes, once the window is over."""
    def receiving(queue_url, batch):
        queue = sqs._queues.get(queue_url)
        arn = queue["attributes"]["QueueArn"]
        mapping = next((mapping for mapping in lambda_svc._esms.values() if mapping["EventSourceArn"] == arn), {})
        window = float(mapping.get("MaximumBatchingWindowInSeconds") or 0)
        if window and not queue.get("is_fifo"):
            now = time.time()
            waiting = [message for message in list(queue["messages"]) if message["visible_at"] <= now]
            oldest = min((max(message["sent_at"], message["visible_at"]) for message in waiting), default=now)
            if len(waiting) < int(batch) and now - oldest < window:
                return []
        messages = receive(queue_url, batch)
        while 0 < len(messages) < int(batch):
            more = receive(queue_url, int(batch) - len(messages))
            if not more:
                break
            messages += more
        return messages
    return receiving


def session_keys(keys):
    """The keys that describe a caller, with the instance that its credentials were given to."""
    def described(credential):
        session = sts._sessions.get(credential.access_key_id) or {}
        known = keys(credential)
        return {**known, "ec2:sourceinstancearn": session["SourceInstance"]} if "SourceInstance" in session else known
    return described


def condition_key(resolve):
    """aws:PrincipalArn of a session is its role, also where it assumes another role."""
    def resolving(key, context):
        if key.lower() == "aws:principalarn":
            return role_of(context.principal_arn)
        return resolve(key, context)
    return resolving


VARIABLE = re.compile(r"\$\{([^}*?$]+)\}")


def filled(value, context):
    """A policy's text with its variables; a key that is not there gives None."""
    if isinstance(value, list):
        texts = [filled(text, context) for text in value]
        return [text for text in texts if text is not None]
    if not isinstance(value, str) or "${" not in value:
        return value
    found = {key: evaluator._resolve_condition_key(key.split(",")[0].strip(), context) for key in VARIABLE.findall(value)}
    if not all(isinstance(text, str) for text in found.values()):
        return None
    return VARIABLE.sub(lambda match: found[match.group(1)], value)


def with_variables(first_match):
    """Statements with their policy variables filled in, which MiniStack's evaluator leaves as they are."""
    def matching(context, statements, effect):
        ready = []
        for statement in statements:
            if "${" in json.dumps([statement.resources, statement.not_resources, statement.conditions]):
                conditions = {
                    operator: {key: filled([value] if isinstance(value, str) else value, context)
                               for key, value in keys.items()}
                    for operator, keys in statement.conditions.items()
                }
                resources = filled(statement.resources, context)
                if statement.resources and not resources:
                    continue
                statement = dataclasses.replace(statement, resources=resources, conditions=conditions,
                                                not_resources=filled(statement.not_resources, context))
            ready.append(statement)
        return first_match(context, ready, effect)
    return matching


# The handlers of AWS::SSM::Document.
def create_document(logical_id, properties, stack):
    content = properties["Content"]
    if isinstance(content, str):
        content = json.loads(content)
    name = properties.get("Name") or f"{stack}-{logical_id}"
    key = (get_account_id(), get_region(), name)
    if key in documents:
        raise ValueError(f"DocumentAlreadyExists: {name}")
    documents[key] = content
    return name, {"Name": name}


def update_document(name, before, properties, stack):
    delete_document(name, before)
    return create_document(name, {"Name": name, **properties}, stack)


def delete_document(name, properties):
    documents.pop((get_account_id(), get_region(), name), None)


def answered(question):
    if "automation" in question:
        return automation(question["automation"])
    if "node" in question:
        node = question["node"]
        return {"assumable": service_may_assume(node["role"], node["account"], node["region"], A_NODE)}
    if "instance" in question:
        return instance_credentials(question)
    if "dials" in question:
        dials.update(question["dials"])
        return dials
    return decide(question)


inner = ministack.app


async def app(scope, receive, send):
    if scope["type"] != "http" or scope["path"] != PATH:
        return await inner(scope, receive, send)
    body = b""
    while True:
        message = await receive()
        body += message.get("body", b"")
        if not message.get("more_body"):
            break
    answer = json.dumps(answered(json.loads(body))).encode()
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"application/json")]})
    await send({"type": "http.response.body", "body": answer})


provisioners._RESOURCE_HANDLERS["AWS::SSM::Document"] = {
    "create": create_document,
    "update": update_document,
    "delete": delete_document,
}
for operation in ("CreateTags", "DeleteTags"):
    ec2._ACTION_MAP[operation] = with_tag_events(ec2._ACTION_MAP[operation])
for operation in ("TerminateInstances", "StopInstances", "StartInstances"):
    ec2._ACTION_MAP[operation] = with_state_events(ec2._ACTION_MAP[operation])
own_organization = evaluator._principal_org_id
evaluator._principal_org_id = lambda account: dials["organization"] or own_organization(account)
evaluator._principal_keys = session_keys(evaluator._principal_keys)
evaluator._resolve_condition_key = condition_key(evaluator._resolve_condition_key)
evaluator._first_match = with_variables(evaluator._first_match)
eventbridge._dispatch_to_event_bus = to_other_region(eventbridge._dispatch_to_event_bus)
sqs._receive_messages_for_esm = with_window(sqs._receive_messages_for_esm)
eventbridge._SCHEDULER_TICK_INTERVAL = 1
scheduler._SCHEDULE_TICK_INTERVAL = 1
threading.Thread(target=end_with_parent, daemon=True).start()
ministack.app = app
ministack.main()
