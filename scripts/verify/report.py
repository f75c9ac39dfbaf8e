"""What became of each step and each assumption, as text and as JSON."""

import json
import textwrap
from pathlib import Path

HERE = Path(__file__).resolve().parent
REPOSITORY = HERE.parent.parent
VERIFIED = REPOSITORY / "docs" / "verified.json"

CONFIRMED, REFUTED, UNKNOWN, NOT_REACHED = "confirmed", "refuted", "not known here", "not reached"
SHOWN, NOT_SHOWN = "shown", "not shown"


def read():
    return json.loads((HERE / "assumptions.json").read_text())


class Report:
    def __init__(self, place, by, when, version):
        self.place = place
        where = "aws" if place.is_aws else "stand-in"
        self.head = {"by": by, "when": when, "where": where, "region": place.region, "version": version}
        listed = read()
        self.steps = {step["id"]: step | {"verdict": NOT_REACHED, "evidence": ""} for step in listed["steps"]}
        unreached = {"verdict": NOT_REACHED, "evidence": ""}
        self.assumptions = {entry["id"]: entry | unreached for entry in listed["assumptions"]}
        self.left = []

    def step(self, name, verdict, evidence):
        self.steps[name] |= {"verdict": verdict, "evidence": self.masked(evidence)}
        self.place.say(f"{name}: {verdict}: {self.steps[name]['evidence']}")

    def assumption(self, name, verdict, evidence):
        """A stand-in that does not know cannot confirm, and cannot refute either."""
        entry = self.assumptions[name]
        if not self.place.is_aws and entry["standIn"] and verdict != NOT_REACHED:
            verdict, evidence = UNKNOWN, f"{entry['standIn']}; it was seen that {evidence}"
        entry |= {"verdict": verdict, "evidence": self.masked(evidence)}
        self.place.say(f"{name}: {verdict}")

    def masked(self, evidence):
        """A text without the numbers of the accounts, since it is to be shown."""
        for account in (self.place.central, self.place.agency):
            evidence = evidence.replace(account.id, f"<{account.role}>")
        return evidence

    def counts(self, *verdicts):
        entries = [*self.steps.values(), *self.assumptions.values()]
        return sum(entry["verdict"] in verdicts for entry in entries)

    def exit_code(self):
        """0 if nothing speaks against AWS being as assumed, 1 if something does, 2 if it was not all tried or removed."""
        if self.counts(NOT_REACHED) or self.left:
            return 2
        return 1 if self.counts(REFUTED, NOT_SHOWN) else 0

    def document(self):
        def kept(entries, *fields):
            return [{field: entry.get(field) for field in (*fields, "id", "verdict", "evidence")} for entry in entries.values()]

        steps, assumptions = kept(self.steps, "feature"), kept(self.assumptions, "assumption", "feature")
        return self.head | {"steps": steps, "assumptions": assumptions, "left": self.left}

    def text(self):
        lines = [f"{'AWS' if self.place.is_aws else 'A stand-in, and not AWS'}, {self.place.region}, {self.head['when']}", ""]
        for title, entries, what in (
            ("The story", self.steps, "feature"),
            ("Assumptions about AWS", self.assumptions, "assumption"),
        ):
            lines.append(title)
            for name, entry in entries.items():
                lines.append(f"  {entry['verdict'].upper():15} {name}: {entry[what] or 'everything under a prefix of its own'}")
                evidence = textwrap.shorten(entry["evidence"], 900, placeholder=" …")
                lines += textwrap.wrap(evidence, 116, initial_indent=" " * 18, subsequent_indent=" " * 18)
            lines.append("")
        for entry in read()["withoutProbe"]:
            lines.append(f"  {'NO PROBE':15} {entry['id']}: {entry['assumption']}; {entry['reason']}")
        lines += ["", *(self.left or ["Everything was removed again."])]
        return "\n".join(lines)

    def record(self):
        """Adds a run on AWS to docs/verified.json, from which docs/tested.md is made."""
        runs = json.loads(VERIFIED.read_text())
        VERIFIED.write_text(json.dumps([*runs, self.document()], indent=2) + "\n")
