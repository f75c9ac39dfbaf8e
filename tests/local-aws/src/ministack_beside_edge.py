"""MiniStack as it runs behind the edge: itself, and three things that only its own process can do.

It answers which principal an access key belongs to and what that principal's policies decide, with
MiniStack's own evaluator and with any condition keys; iam:SimulatePrincipalPolicy there ignores
ContextEntries, permissions boundaries and session policies. It ends, with every function process it
started, when the process that started it is gone. And schedules fire within a second of their time.
"""

import json
import os
import signal
import sys
import threading

from ministack import app as ministack
from ministack.core import iam_evaluator as evaluator
from ministack.core.responses import set_request_account_id, set_request_region
from ministack.services import eventbridge, iam, scheduler

PATH = "/_local-aws/decide"


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
    answer = json.dumps(decide(json.loads(body))).encode()
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"application/json")]})
    await send({"type": "http.response.body", "body": answer})


eventbridge._SCHEDULER_TICK_INTERVAL = 1
scheduler._SCHEDULE_TICK_INTERVAL = 1
threading.Thread(target=end_with_parent, daemon=True).start()
ministack.app = app
ministack.main()
