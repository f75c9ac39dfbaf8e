"""MiniStack as it runs behind the edge: itself, mended, and what only its own process can do.

It answers which principal an access key belongs to and what that principal's policies decide, with
MiniStack's own evaluator and with any condition keys; iam:SimulatePrincipalPolicy there ignores
ContextEntries, permissions boundaries and session policies. It ends, with every function process it
started, when the process that started it is gone. CloudFormation takes AWS::SSM::Document, for runbooks,
and the edge may ask which roles Systems Manager could assume for an automation or a managed node. An
instance gets the credentials of its profile. A parameter can be made older.
"""

import json
import os
import signal
import sys
import threading
import time

from ministack import app as ministack
from ministack.core import iam_evaluator as evaluator
from ministack.core.responses import get_account_id, get_region, set_request_account_id, set_request_region
from ministack.services import ec2, iam, ssm, sts
from ministack.services.cloudformation import provisioners

from ministack_mended import allows_service, dials, mend, role_of

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
    return allows_service(document, "ssm.amazonaws.com", "sts:AssumeRole", arn, **keys)


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


def older(question):
    """Lets a parameter have been written earlier."""
    set_request_account_id(question["account"])
    set_request_region(question["region"])
    ssm._parameters[question["name"]]["LastModifiedDate"] -= question["by"]
    return {}


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
    if "older" in question:
        return older(question["older"])
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
mend(*sys.argv[1:])
# MiniStack reads what is left.
del sys.argv[1:]
threading.Thread(target=end_with_parent, daemon=True).start()
ministack.app = app
ministack.main()
