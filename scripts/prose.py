"""Checks the prose of the documents: those of proselint's checks that suit technical English, and rules of our own.

    prose.py [page...]

Without pages, all Markdown files. Headings, code, links' addresses, and generated parts are left
out. Each rule has a sentence that it must find, which is checked first.
"""

import pathlib
import re
import subprocess
import sys

from proselint.checks import __register__
from proselint.registry import CheckRegistry
from proselint.tools import LintFile

REPOSITORY = pathlib.Path(__file__).resolve().parent.parent

# Left out: curly quotes and accents, which Markdown does without, and what is a matter of taste.
CHECKS = [
    "archaism",
    "cliches",
    "lexical_illusions",
    "malapropisms",
    "misc.debased",
    "misc.illogic",
    "misc.metadiscourse",
    "misc.pretension",
    "mondegreens",
    "needless_variants",
    "nonwords",
    "redundancy",
    "social_awareness",
    "spelling",
    "uncomparables",
]

SENTENCE = r"(?:^|(?<=[.:;|]\s)|(?<=\n)|(?<=\*\s)|(?<=-\s))"

# A pattern, what to write instead, and a sentence that the pattern must find.
RULES = [
    (r"\btold\b", "'notified', or say who does what", "The end could not be told to the topic."),
    (r"(?<!there )\b(is|are|was|were) none\b", "'is not a …'", "The event is none of SQS."),
    (SENTENCE + r"Who(ever)?\s[^.?|#]*[.|]", "'If you …', or name the actor", "Who prefers SAM's build says so."),
    (r"\bwhoever\b", "'anyone who', or name the actor", "A tag decides for whoever targets by it."),
    (SENTENCE + r"Where\s[^.?|#]*,", "'If'", "Where all instances are in one Region, skip this."),
    (r"\b(also|even|only|except) where\b|, where (there|it|that|nothing)\b", "'if'", "It waits, also where it may."),
    (r"\banew\b", "'again'", "The next sweep reports the same anew."),
    (r"\b(gave|given) up\b", "'retries exhausted', or say who stopped trying", "A report was given up."),
    (r"\bleft behind\b", "'dropped'", "A tag was left behind."),
    (r"\bwork(s|ed)? off\b", "'process'", "It could not work off a report."),
    (r"\b(yardstick|handbook|ticks?|triage)\b", "'baseline', 'operations guide', 'interval'", "A tick later it is right."),
    (r"\balarms? rings?\b", "'fires'", "The alarm rings."),
    (r"\bfail(s|ed)? with(out)? a chance\b", "'retryable', 'for good'", "The node failed with a chance."),
    (r"\bmake(s)? good\b|\bmade good\b", "'catch up'", "The next sweep makes good."),
    (r"\bwithout any\b", "'without'", "It runs without any AWS account."),
    (r"\bas well as it can\b", "'best effort'", "EventBridge delivers as well as it can."),
    (r"\b(calls?|codes?) of AWS\b", "'AWS call', 'AWS code'", "It comes before the first call of AWS."),
    (
        r"\b((behavi|col|fav|hon|flav|neighb)our\w*|licence|centre|cancell(ed|ing)|labell(ed|ing)|grey|whilst|afterwards"
        r"|(recogn|summar|initial|author|organ|optim|util|special|normal|minim|maxim)is(e|es|ed|ing|ation|ations)\b)",
        "American spelling",
        "The colour of the licence is grey.",
    ),
]


def prose(page):
    """The page with everything blank that is not prose, so that lines stay where they are."""

    def blank(match):
        return re.sub(r"[^\n]", " ", match[0])

    page = re.sub(r"<!-- Made from .*?<!-- End of what is made\. -->", blank, page, flags=re.DOTALL)
    page = re.sub(r"<!--.*?-->", blank, page, flags=re.DOTALL)
    page = re.sub(r"^( *)```.*?^ *```", blank, page, flags=re.DOTALL | re.MULTILINE)
    page = re.sub(r"^#.*$", blank, page, flags=re.MULTILINE)
    page = re.sub(r"`[^`\n]*`", lambda code: "…" * len(code[0]), page)
    return re.sub(r"\]\([^()\s]+\)", lambda link: "]" + " " * (len(link[0]) - 1), page)


def own(text):
    for pattern, advice, _ in RULES:
        for found in re.finditer(pattern, text, re.MULTILINE):
            yield text.count("\n", 0, found.start()) + 1, f"'{' '.join(found[0].split())}': write {advice}"


def proselint(text):
    config = {"max_errors": 1000, "checks": dict.fromkeys(CHECKS, True)}
    for found in LintFile("page", text).lint(config):
        yield found.pos[0], f"{found.check_result.message} ({found.check_result.check_path})"


def problems(page):
    text = prose(page)
    return sorted({*own(text), *proselint(text)}) if text.strip() else []


def check_rules():
    for pattern, _, sentence in RULES:
        assert re.search(pattern, sentence, re.MULTILINE), f"{pattern} does not find: {sentence}"
    bad = "# A page\n\nIt is fine.\nIt was reported the the same, anew.\n"
    assert [line for line, _ in problems(bad)] == [4, 4], problems(bad)
    made = "<!-- Made from x. -->\nanew\n<!-- End of what is made. -->\n"
    good = f"# Who is told anew\n\nThe hub `told` it.\n\n```\nanew\n```\n{made}"
    assert problems(good) == [], problems(good)


def pages():
    command = ["git", "ls-files", "-z", "*.md"]
    files = subprocess.run(command, cwd=REPOSITORY, check=True, capture_output=True, text=True).stdout
    return files.split("\0")[:-1]


def main():
    CheckRegistry().register_many(__register__)
    check_rules()
    found = 0
    for page in sys.argv[1:] or pages():
        for line, problem in problems((REPOSITORY / page).read_text()):
            print(f"{page}:{line}: {problem}")
            found += 1
    if found:
        sys.exit(f"{found} problems in the prose")


if __name__ == "__main__":
    main()
