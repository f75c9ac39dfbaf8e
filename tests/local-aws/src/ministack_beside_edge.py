"""MiniStack as it runs behind the edge: itself, and what only its own process can do.

It answers which principal an access key belongs to and what that principal's policies decide, with
MiniStack's own evaluator and with any condition keys; iam:SimulatePrincipalPolicy there ignores
ContextEntries, permissions boundaries and session policies. It ends, with every function process it
started, when the process that started it is gone. Schedules fire within a second of their time.
CloudFormation takes AWS::SSM::Document, for runbooks, and the edge may ask which roles Systems Manager
could assume for an automation.
"""

import json
import os
import signal
import sys
import threading

from ministack import app as ministack
from ministack.core import iam_evaluator as evaluator
from ministack.core.responses import get_account_id, get_region, set_request_account_id, set_request_region
from ministack.services import eventbridge, iam, scheduler
from ministack.services.cloudformation import provisioners

PATH = "/_local-aws/decide"

# The content of each document, by account, Region and name.
documents = {}


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
    # aws:PrincipalArn of a role session is the role, and so are principals in resource policies.
    arn = principal.arn
    if principal.type == "AssumedRole":
        name = evaluator._role_name_from_assumed_arn(principal.arn)
        role = iam._roles.get_scoped(principal.account, None, name)
        arn = (role or {}).get("Arn") or f"arn:aws:iam::{principal.account}:role/{name}"
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


def service_may_assume(arn, account, region):
    """Whether Systems Manager can assume a role for an automation of this account and Region."""
    role = find_role(arn)
    if role is None:
        return False
    keys = {
        "aws:sourceaccount": account,
        "aws:sourcearn": f"arn:aws:ssm:{region}:{account}:automation-execution/00000000-0000-4000-8000-000000000000",
    }
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
    question = json.loads(body)
    answer = automation(question["automation"]) if "automation" in question else decide(question)
    answer = json.dumps(answer).encode()
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"application/json")]})
    await send({"type": "http.response.body", "body": answer})


provisioners._RESOURCE_HANDLERS["AWS::SSM::Document"] = {
    "create": create_document,
    "update": update_document,
    "delete": delete_document,
}
eventbridge._SCHEDULER_TICK_INTERVAL = 1
scheduler._SCHEDULE_TICK_INTERVAL = 1
threading.Thread(target=end_with_parent, daemon=True).start()
ministack.app = app
ministack.main()
