"""Tries on AWS what Tag Hub promises, and what it assumes of AWS; then removes everything again.

    verify_aws.py --central-profile central --agency-profile agency [--yes] [--by NAME]
    verify_aws.py --clean …

Deploys a hub under a prefix of its own in two accounts, launches two small instances, lets them register, sweeps, changes
tags, runs a runbook and leaves. On the way, a probe for each assumption of verify/assumptions.json says whether it was
confirmed or refuted, and what was seen. What was made is removed at the end, after a failure and after Ctrl-C too.

The exit code is 0 if all was confirmed, 1 if something was refuted, 2 if not everything was tried or removed.
"""

import argparse
import datetime
import json
import os
import re
import signal
import sys
import time
from pathlib import Path

import botocore.exceptions

from verify import cleanup, probes, report, stacks, story
from verify.aws import NOT_ABOUT_IT, NOT_ALLOWED, Account, Place, code

# What follows cannot be without these.
ESSENTIAL = {"deployment", "activation", "registration"}
# US dollars in us-east-1, in 2026: what, how many, price, for how many hours of a run. Everything else is pennies.
PRICES = [
    ("t3.micro instances", 2, 0.0104, 1.0),
    ("t3.nano instance for one probe", 1, 0.0052, 0.2),
    ("public IPv4 addresses", 3, 0.005, 1.0),
    ("disks of 8 GB", 3, 8 * 0.08 / 730, 1.0),
    ("alarms", 30, 0.10 / 730, 1.0),
    ("custom metrics", 40, 0.30 / 730, 1.0),
    ("automation steps", 10, 0.002, 1.0),
]


def say(text):
    print(f"{time.strftime('%H:%M:%S')} {text}", file=sys.stderr, flush=True)


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--central-profile", default="central", help="profile of the central account")
    parser.add_argument("--agency-profile", default="agency", help="profile of an agency's account")
    parser.add_argument("--region", default=os.environ.get("AWS_DEFAULT_REGION", "us-east-1"))
    parser.add_argument("--prefix", default="verify-", help="what all names begin with")
    parser.add_argument("--subnet", help="where the instances run, without a default VPC")
    parser.add_argument("--endpoint-url", help="a stand-in for AWS")
    parser.add_argument("--dist", type=Path, default=stacks.REPOSITORY / "dist", help="what make package laid out")
    parser.add_argument("--results", type=Path, help="where the results go, as JSON")
    parser.add_argument("--by", help="who ran it: adds the results to docs/verified.json")
    parser.add_argument("--yes", action="store_true", help="do not ask")
    parser.add_argument("--clean", action="store_true", help="only remove what an earlier run has left")
    given = parser.parse_args()
    if not re.fullmatch(r"[a-z][a-z0-9-]{0,14}-", given.prefix):
        parser.error("--prefix takes at most 16 lowercase letters, digits, and hyphens, from a letter to a hyphen")
    return given


def objections(place):
    """Why it must not begin."""
    if place.central.id == place.agency.id:
        yield f"both profiles are of the account {place.central.id}; the central account and the agency must differ"
    for name in ("template.yaml", "tags-collector.zip", "install.sh", "register-instance-x86_64"):
        if not (place.dist / name).exists():
            yield f"{place.dist / name} is missing; run make package"
    for account in (place.central, place.agency):
        stack = stacks.find(account, place.named("tag-hub"))
        if stack:
            whose = "an earlier run left it: use CLEAN=1" if stacks.is_own(stack) else "somebody else made it: take another prefix"
            yield f"{account.role}: the stack {stack['StackName']} already exists; {whose}"
    pages = place.agency.client("ec2").get_paginator("describe_instances").paginate(
        Filters=[{"Name": "tag-key", "Values": ["managedinstanceid"]}, {"Name": "instance-state-name", "Values": ["running"]}]
    )
    found = [instance["InstanceId"] for page in pages for group in page["Reservations"] for instance in group["Instances"]]
    if found:
        yield f"the agency has registered instances, such as {found[0]}, which this hub would take over; use another account"


def asked(place):
    """Says what it will cost, and asks whether to go on."""
    total = 0
    say(f"central account {place.central.id}, agency {place.agency.id}, Region {place.region}, names {place.prefix}…")
    for what, count, price, hours in PRICES:
        total += count * price * hours
        say(f"  {count:3} {what:34} {count * price * hours:8.3f} USD")
    say(f"  in all about {total:.2f} USD for an hour; a run takes 20 to 40 minutes. An estimate, not an offer by AWS.")
    if place.yes:
        return True
    if not sys.stdin.isatty():
        sys.exit("nothing was done: say YES=1 where nobody can be asked")
    return input("Go on? Only yes does. ").strip() == "yes"


def tell(place, found):
    """The story, and after each step the probes that need no more than that."""
    unlisted = set(probes.PROBES) ^ set(found.assumptions)
    if unlisted:
        raise RuntimeError(f"assumptions.json and the probes differ: {', '.join(sorted(unlisted))}")
    for name in found.steps:
        try:
            found.step(name, report.SHOWN, getattr(story, name.replace("-", "_"))(place))
        except story.Unexpected as otherwise:
            found.step(name, report.NOT_SHOWN, str(otherwise))
        except Exception as problem:  # noqa: BLE001: what comes after may still be of use
            found.step(name, report.NOT_REACHED, f"{type(problem).__name__}: {problem}")
        if found.steps[name]["verdict"] != report.SHOWN and name in ESSENTIAL:
            return
        for assumption, (after, function) in probes.PROBES.items():
            if after == name:
                found.assumption(assumption, *outcome(place, function))


def outcome(place, function):
    """The verdict of a probe, and what it saw."""
    try:
        return report.CONFIRMED, function(place)
    except probes.Refuted as otherwise:
        return report.REFUTED, str(otherwise)
    except botocore.exceptions.ClientError as error:
        # A refusal that no probe expects is what AWS does, unless it is about whoever runs this.
        is_about_it = code(error) not in NOT_ABOUT_IT | NOT_ALLOWED
        return (report.REFUTED if is_about_it else report.NOT_REACHED), str(error)
    except Exception as problem:  # noqa: BLE001: one probe must not keep the others
        return report.NOT_REACHED, f"{type(problem).__name__}: {problem}"


def interrupted(*_):
    raise KeyboardInterrupt


def main():
    given = arguments()
    if given.endpoint_url:
        os.environ["AWS_ENDPOINT_URL"] = given.endpoint_url
    central = Account("central", given.central_profile, given.region)
    agency = Account("agency", given.agency_profile, given.region)
    place = Place(central, agency, given.prefix, say)
    place.dist, place.subnet, place.yes = given.dist.resolve(), given.subnet, given.yes
    if given.clean:
        left = cleanup.everything(place)
        sys.exit("\n".join(left) if left else print("Nothing of an earlier run is left."))
    if given.by and not place.is_aws:
        sys.exit("--by records what was seen on AWS, and this is a stand-in")
    if reasons := list(objections(place)):
        sys.exit("\n".join(reasons))
    if not asked(place):
        sys.exit("nothing was done")
    signal.signal(signal.SIGTERM, interrupted)
    when = datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d")
    version = re.search(r'^version = "(.*)"', (stacks.REPOSITORY / "Cargo.toml").read_text(), re.MULTILINE)[1]
    found, is_interrupted = report.Report(place, given.by, when, version), False
    try:
        tell(place, found)
    except KeyboardInterrupt:
        is_interrupted = True
        say("interrupted; removing everything. Interrupt again to leave it there: CLEAN=1 removes it later")
    found.left = cleanup.everything(place)
    if given.results:
        given.results.write_text(json.dumps(found.document(), indent=2) + "\n")
    print(found.text())
    if given.by:
        found.record()
        say("added to docs/verified.json; UPDATE_DOCS=1 cargo nextest run -E 'binary(tidy)' puts it into docs/tested.md")
    sys.exit(130 if is_interrupted else found.exit_code())


main()
