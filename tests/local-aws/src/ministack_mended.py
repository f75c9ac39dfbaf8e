"""What MiniStack does otherwise than AWS, mended from inside its process; `mend` puts all of it in place.

Tags of instances that change, and instances that change
their state, put their events on the default bus; an event may go to the bus of another Region, and to a
queue whose policy lets it. Event source mappings of queues keep their batching window and their batch
size. Policies have variables, sessions are the roles that they are of, accounts may be in one
organization, and every request counts as one over TLS. A nested stack may be a SAM template,
and a change set shows what a condition adds or removes. A task of a state machine may have its time-out
in an expression, a history has the parameters of tasks, and a map begins nothing more once one of its items
has failed. A stack cannot make what another one has made under the same name, and generated names differ
between Regions. Tasks also call CloudFormation, CloudWatch, and Organizations, as the role of their state
machine, and whoever answers a task's token needs permission on its state machine alone. What is in an
organizational unit, and the parameters below a path, are authorized for that unit and that path.
"""

import contextvars
import dataclasses
import hashlib
import json
import logging
import os
import re
import time
import uuid
from functools import partial

import boto3
import botocore.exceptions
from ministack.core import iam_actions
from ministack.core import iam_evaluator as evaluator
from ministack.core import responses
from ministack.core.responses import get_account_id, get_region
from ministack.services import ec2, eventbridge, iam, lambda_svc, organizations, scheduler, sqs, stepfunctions, sts
from ministack.services.cloudformation import _stacks, changesets, engine, provisioners

logger = logging.getLogger("local-aws")

# What the dials of the local AWS say.
dials = {"tagEvents": True, "organization": None}

# How often the tags of an instance have changed, by ARN.
versions = {}

# On the way to an instance and from it.
TRANSITIONS = {"terminated": "shutting-down", "stopped": "stopping", "running": "pending"}


def role_of(arn):
    """The role of a session's ARN; any other ARN as it is."""
    if ":assumed-role/" not in arn:
        return arn
    account, name = arn.split(":")[4], evaluator._role_name_from_assumed_arn(arn)
    role = iam._roles.get_scoped(account, None, name)
    return (role or {}).get("Arn") or f"arn:aws:iam::{account}:role/{name}"


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
        known = {**keys(credential), **session.get("RequestKeys", {})}
        return {**known, "ec2:sourceinstancearn": session["SourceInstance"]} if "SourceInstance" in session else known
    return described


def condition_key(resolve):
    """aws:PrincipalArn of a session is its role, also where it assumes another role. All is over TLS."""
    def resolving(key, context):
        if key.lower() == "aws:securetransport":
            return "true"
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


def in_organization(find):
    return lambda account: dials["organization"] or find(account)


def allows_service(document, service, action, resource, **keys):
    """Whether a resource's policy, or a role's trust policy, lets a service do something on behalf of an account.

    The evaluator knows services as principals for MiniStack's own calls only.
    """
    document = json.loads(document) if isinstance(document, str) else document
    asked = evaluator.EvalContext(
        principal_arn=service,
        principal_type="Service",
        principal_account="",
        action=action,
        resource_arn=resource,
        region=get_region(),
        service_context=keys,
    )
    statements = document.get("Statement", [])
    meant = []
    for statement in statements if isinstance(statements, list) else [statements]:
        principal = statement.get("Principal")
        services = principal.get("Service", []) if isinstance(principal, dict) else []
        everybody = principal == "*" or isinstance(principal, dict) and principal.get("AWS") == "*"
        if everybody or service in ([services] if isinstance(services, str) else services):
            resources = statement.get("Resource", "*")
            resources = [resources] if isinstance(resources, str) else resources
            if any(evaluator.fnmatch_iam_cs(resource, pattern) for pattern in resources):
                meant.append({**statement, "Principal": "*"})
    return evaluator.evaluate_trust_policy({"Statement": meant}, "*", asked)


def to_allowed_queue(invoke):
    """Events for a queue whose policy does not let the rule send are dropped, as by AWS."""
    def invoking(target, event, rule, *rest):
        queue = sqs._queue_by_arn(target["Arn"]) if ":sqs:" in target.get("Arn", "") else None
        if queue is not None:
            policy = queue["attributes"].get("Policy") or "{}"
            keys = {"aws:sourcearn": rule.get("Arn"), "aws:sourceaccount": get_account_id()}
            if not allows_service(policy, "events.amazonaws.com", "sqs:SendMessage", target["Arn"], **keys):
                logger.warning("the policy of %s does not let %s send", target["Arn"], rule.get("Arn"))
                return None
        return invoke(target, event, rule, *rest)
    return invoking


def concurrency(limit):
    """The limit of a mapping, which a template may have given as a text."""
    def limiting(mapping, *rest):
        scaling = mapping.get("ScalingConfig") or {}
        if "MaximumConcurrency" in scaling:
            mapping["ScalingConfig"] = {**scaling, "MaximumConcurrency": int(scaling["MaximumConcurrency"])}
        return limit(mapping, *rest)
    return limiting


# The stack whose nested stack is being deployed.
parent_stack = contextvars.ContextVar("parent_stack", default=None)


def nested(deploy):
    """Deploys a nested stack whose template may need a transform, which MiniStack applies to top-level ones alone."""
    def deploying(name, properties, stack, **options):
        token = parent_stack.set(stack)
        try:
            return deploy(name, properties, stack, **options)
        finally:
            parent_stack.reset(token)
    return deploying


def transformed(parse):
    """The template of a nested stack as the transforms leave it, where the parent acknowledged that they run."""
    def parsing(text):
        template = parse(text)
        if parent_stack.get() is None:
            return template
        provisioners._check_nested_stack_capabilities(parent_stack.get(), template)
        return engine._apply_transforms(template)
    return parsing


def with_attributes(update):
    """An update in a nested stack keeps the attributes of what does not change, as in a top-level stack."""
    def updating(kind, physical_id, before, after, stack, name, *rest):
        new_id, attributes = update(kind, physical_id, before, after, stack, name, *rest)
        if parent_stack.get() is not None and new_id == physical_id:
            known = _stacks[stack]["_resources"].get(name, {}).get("Attributes", {})
            attributes = {**known, **(attributes or {})}
        return new_id, attributes
    return updating


def conditional(resolve):
    """A change set compares the resources that the conditions leave, so that one that comes or goes is a change."""
    def resolving(template, params, *rest):
        resolved = resolve(template, params, *rest)
        conditions = engine._evaluate_conditions(template, params) if template else {}
        there = lambda resource: conditions.get(resource.get("Condition"), True)
        return {"Resources": {name: one for name, one in resolved.get("Resources", {}).items() if there(one)}}
    return resolving


def with_timeout(execute):
    """A task with its TimeoutSeconds evaluated, which may be an expression of JSONata, and scaled as waits are."""
    def executing(state, given, execution, context):
        if isinstance(state.get("TimeoutSeconds"), str):
            seconds = stepfunctions._jsonata_state_field(state, "TimeoutSeconds", "number", given, context)
            state = {**state, "TimeoutSeconds": seconds * stepfunctions._SFN_WAIT_SCALE}
        return execute(state, given, execution, context)
    return executing


# Which state machine waits for each task token.
waiting_machines = {}

# The state machine whose task is on its way.
task_machine = contextvars.ContextVar("task_machine", default="*")


def of_machine(execute):
    """A task that knows its state machine."""
    def executing(state, given, execution, context):
        task_machine.set((execution or {}).get("stateMachineArn", "*"))
        return execute(state, given, execution, context)
    return executing


def noting_machine(invoke):
    """A task that waits for its token, noted with its state machine."""
    def invoking(resource, given, token, state):
        waiting_machines[token] = task_machine.get()
        return invoke(resource, given, token, state)
    return invoking


def on_machine(extract):
    """Whoever answers a task acts on the state machine that waits for it."""
    def extracting(service, method, path, headers, body, *rest):
        arn = extract(service, method, path, headers, body, *rest)
        if service == "states" and arn == "*":
            token = iam_actions._safe_json_field(body, "taskToken")
            return waiting_machines.get(token, arn)
        return arn
    return extracting


# Services that a task may call, which MiniStack's own tasks do not: with what an error of theirs begins.
SDK_SERVICES = {"cloudformation": "CloudFormation", "cloudwatch": "CloudWatch", "organizations": "Organizations"}


def with_sdk(invoke):
    """A task that calls a service as AWS's SDK does, and as the role of its state machine."""
    def invoking(resource, given):
        service, operation = resource.split(":")[6:8]
        if service not in SDK_SERVICES:
            return invoke(resource, given)
        # A session of one call, which MiniStack does not read the namespace of.
        keys = {"cloudwatch:namespace": given["Namespace"]} if "Namespace" in given else {}
        client = as_machine(service, keys)
        names = {name[0].lower() + name[1:]: method for method, name in client.meta.method_to_api_mapping.items()}
        try:
            answer = getattr(client, names[operation])(**given)
        except botocore.exceptions.ClientError as error:
            name = error.response["Error"]["Code"].removesuffix("Exception")
            raise stepfunctions._ExecutionError(f"{SDK_SERVICES[service]}.{name}Exception", str(error)) from error
        except (botocore.exceptions.ParamValidationError, KeyError) as error:
            raise stepfunctions._ExecutionError("States.Runtime", str(error)) from error
        answer.pop("ResponseMetadata")
        return json.loads(json.dumps(answer, default=lambda value: value.isoformat()))
    return invoking


def as_machine(service, keys):
    """A client with a session of the role of the state machine whose task is on its way, and with more condition keys."""
    machine = stepfunctions._state_machines.get(task_machine.get())
    account, role = get_account_id(), iam._roles.get(machine["roleArn"].rsplit("/", 1)[-1])
    key, secret, token = iam._gen_session_access_key(), iam._gen_secret(), iam._gen_session_token()
    sts.register_session(key, {
        "Arn": f"arn:aws:sts::{account}:assumed-role/{role['RoleName']}/task",
        "UserId": f"{role['RoleId']}:task",
        "SecretAccessKey": secret,
        "SessionToken": token,
        "Expiration": time.time() + 900,
        "AccountId": account,
        "PrincipalType": "AssumedRole",
        "RequestKeys": keys,
    })
    session = boto3.Session(key, secret, token, region_name=get_region())
    return session.client(service, endpoint_url=os.environ["AWS_ENDPOINT_URL"])


def in_parent(extract):
    """Whoever lists what is in an organizational unit, or in the root, acts on that."""
    def extracting(service, method, path, headers, body, *rest):
        parent = iam_actions._safe_json_field(body, "ParentId") if service == "organizations" else None
        found = organizations._ous.get(parent) or organizations._roots.get(parent) if parent else None
        return found["Arn"] if found else extract(service, method, path, headers, body, *rest)
    return extracting


def on_path(extract):
    """Whoever lists the parameters below a path acts on the parameter of that name."""
    def extracting(service, method, path, headers, body, *rest):
        arn = extract(service, method, path, headers, body, *rest)
        target = next((value for name, value in headers.items() if name.lower() == "x-amz-target"), "")
        if service == "ssm" and target.endswith(".GetParametersByPath"):
            parent = (iam_actions._safe_json_field(body, "Path") or "").strip("/")
            if parent:
                return f"arn:aws:ssm:{get_region()}:{get_account_id()}:parameter/{parent}"
        return arn
    return extracting


# What the task that is on its way calls its resource with.
task_arguments = contextvars.ContextVar("task_arguments", default=None)


def remembering(evaluate):
    """The arguments of a task, kept for the event that says it was scheduled."""
    def evaluating(state, given, context):
        arguments = evaluate(state, given, context)
        task_arguments.set(arguments)
        return arguments
    return evaluating


def with_parameters(add):
    """A history whose scheduled tasks have their parameters, a token that is waited for among them."""
    def adding(execution, kind, details=None):
        if kind == "TaskScheduled" and task_arguments.get() is not None:
            scheduled = {**details["taskScheduledEventDetails"], "parameters": json.dumps(task_arguments.get())}
            details = {**details, "taskScheduledEventDetails": scheduled}
        return add(execution, kind, details)
    return adding


# Whether an item of the map that is on its way has failed.
map_failures = contextvars.ContextVar("map_failures", default=None)


def failing_fast(run_items):
    """A map that notes which of its items failed."""
    def running(state, given, execution, context):
        token = map_failures.set([])
        try:
            return run_items(state, given, execution, context)
        finally:
            map_failures.reset(token)
    return running


def unless_failed(run_machine):
    """An item of a map, which is not begun after another one has failed."""
    def running(states, start_at, given, execution, context):
        failures = map_failures.get()
        if failures:
            raise stepfunctions._ExecutionError("States.MapFailed", "another item has failed")
        try:
            return run_machine(states, start_at, given, execution, context)
        except Exception as error:
            if failures is not None:
                failures.append(error)
            raise
    return running


def query_definition_id(properties):
    """Checks a saved query of Logs Insights, and gives it an id. Nothing is kept: nobody here can run one."""
    for name in ("Name", "QueryString"):
        if not isinstance(properties.get(name), str) or not properties[name]:
            raise ValueError(f"{name} is required for AWS::Logs::QueryDefinition")
    return str(uuid.uuid4())


# A resource of CloudFormation that MiniStack does not know.
QUERY_DEFINITION = {
    "create": lambda logical_id, properties, stack: (query_definition_id(properties), {}),
    "update": lambda physical_id, old, new, stack: (query_definition_id(new) and physical_id, {}),
    "delete": lambda physical_id, properties: None,
}


def with_expression(record):
    """An alarm on an expression, which MiniStack does not evaluate: it watches the first of the metrics."""
    def recording(name, properties):
        stats = [metric["MetricStat"] for metric in properties.get("Metrics") or [] if "MetricStat" in metric]
        if not stats:
            return record(name, properties)
        plain = {key: value for key, value in properties.items() if key != "Metrics"}
        first = {**stats[0]["Metric"], "Statistic": stats[0]["Stat"], "Period": stats[0]["Period"]}
        return record(name, {**plain, **first})
    return recording


def with_region(physical_name):
    """A name that CloudFormation chooses, another one in each Region: what IAM names is there once in an account."""
    def naming(stack, logical_id, **options):
        name = physical_name(stack, logical_id, **options)
        head, _, suffix = name.rpartition("-")
        digest = hashlib.sha256(f"{suffix} {get_account_id()} {get_region()}".encode()).hexdigest()[:len(suffix)]
        return f"{head}-{digest if options.get('lowercase') else digest.upper()}"
    return naming


# The property with the name, of resources of which an account has one of that name in a Region.
NAMED = {
    "AWS::CloudWatch::Alarm": "AlarmName",
    "AWS::CloudWatch::Dashboard": "DashboardName",
    "AWS::DynamoDB::Table": "TableName",
    "AWS::Events::Rule": "Name",
    "AWS::Lambda::Function": "FunctionName",
    "AWS::Logs::LogGroup": "LogGroupName",
    "AWS::SNS::Topic": "TopicName",
    "AWS::SQS::Queue": "QueueName",
    "AWS::Scheduler::Schedule": "Name",
    "AWS::StepFunctions::StateMachine": "StateMachineName",
}
# IAM has no Regions, and a role may also be there that no stack has made.
NAMED_BY_IAM = {"AWS::IAM::Role": ("RoleName", "_roles"), "AWS::IAM::InstanceProfile": ("InstanceProfileName", "_instance_profiles")}


def is_taken(kind, name, stack):
    """Whether a resource of this name is there, which another stack or nobody's stack has made."""
    if kind in NAMED_BY_IAM:
        own = _stacks.get(stack, {}).get("_resources", {}).values()
        is_own = any(resource.get("ResourceType") == kind and resource.get("PhysicalResourceId") == name for resource in own)
        return name in getattr(iam, NAMED_BY_IAM[kind][1]) and not is_own
    return any(
        resource.get("ResourceType") == kind and (resource.get("Properties") or {}).get(NAMED[kind]) == name
        for other, found in _stacks.items()
        if other != stack and found.get("StackStatus") != "DELETE_COMPLETE"
        for resource in found.get("_resources", {}).values()
    )


def once(kind, handler):
    """Creation that fails for a name that is taken, as CloudFormation's does; MiniStack takes the resource over."""
    key = NAMED_BY_IAM[kind][0] if kind in NAMED_BY_IAM else NAMED[kind]

    def creating(logical_id, properties, stack):
        name = properties.get(key)
        if name and is_taken(kind, name, stack):
            raise ValueError(f"Resource of type '{kind}' with identifier '{name}' already exists.")
        return handler["create"](logical_id, properties, stack)
    return {**handler, "create": creating}


# Each mend: whose function or setting, its name, and what takes its place. tests/it/mends.rs shows that each is needed.
MENDS = {
    "tag-events": [(ec2._ACTION_MAP, name, with_tag_events) for name in ("CreateTags", "DeleteTags")],
    "state-events": [(ec2._ACTION_MAP, name, with_state_events)
                     for name in ("TerminateInstances", "StopInstances", "StartInstances")],
    "organization": [(evaluator, "_principal_org_id", in_organization)],
    "source-instance": [(evaluator, "_principal_keys", session_keys)],
    "condition-keys": [(evaluator, "_resolve_condition_key", condition_key)],
    "policy-variables": [(evaluator, "_first_match", with_variables)],
    "other-region": [(eventbridge, "_dispatch_to_event_bus", to_other_region)],
    "queue-policy": [(eventbridge, "_invoke_target", to_allowed_queue)],
    "concurrency": [(lambda_svc, "_sqs_esm_concurrency", concurrency)],
    "batching-window": [(sqs, "_receive_messages_for_esm", with_window)],
    "task-timeout": [(stepfunctions, "_execute_task", with_timeout)],
    "map-fails-fast": [(stepfunctions, "_run_map_items", failing_fast),
                       (stepfunctions, "_run_sub_machine", unless_failed)],
    "task-parameters": [(stepfunctions, "_apply_jsonata_arguments", remembering),
                        (stepfunctions, "_add_event", with_parameters)],
    "task-machine": [(stepfunctions, "_execute_task", of_machine),
                     (stepfunctions, "_invoke_with_callback", noting_machine),
                     (iam_actions, "extract_resource_arn", on_machine)],
    "task-sdk": [(stepfunctions, "_execute_task", of_machine),
                 (stepfunctions, "_invoke_aws_sdk_integration", with_sdk)],
    "parent-resource": [(iam_actions, "extract_resource_arn", in_parent)],
    "parameter-path": [(iam_actions, "extract_resource_arn", on_path)],
    "conditional-change": [(changesets, "_resolve_props_for_diff", conditional)],
    "nested-attributes": [(provisioners, "_update_resource", with_attributes)],
    "nested-transform": [(engine, "_parse_template", transformed),
                         (provisioners, "_cfn_nested_stack_deploy", nested)],
    "names-by-region": [(provisioners, "_physical_name", with_region)],
    "names-once": [(provisioners._RESOURCE_HANDLERS, kind, partial(once, kind)) for kind in [*NAMED, *NAMED_BY_IAM]],
    "alarm-expression": [(provisioners, "_cw_metric_alarm_record", with_expression)],
    "saved-query": [(provisioners._RESOURCE_HANDLERS, "AWS::Logs::QueryDefinition", lambda _: QUERY_DEFINITION)],
}


def mend(without=None):
    """Puts everything in its place but the mend of that name. Called once, before MiniStack serves."""
    if without is not None and without not in MENDS:
        raise SystemExit(f"no mend is called {without}")
    # Schedules fire within a second of their time, which is only quicker.
    eventbridge._SCHEDULER_TICK_INTERVAL = 1
    scheduler._SCHEDULE_TICK_INTERVAL = 1
    for name, places in MENDS.items():
        for owner, member, replacement in places if name != without else []:
            if isinstance(owner, dict):
                owner[member] = replacement(owner.get(member))
            else:
                setattr(owner, member, replacement(getattr(owner, member)))
