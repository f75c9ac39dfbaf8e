"""Checks that NOTICE names every crate that is compiled into what is released.

    notice.py

`make notice` writes NOTICE; this compares it with the lock file, which it takes no tool to read.
"""

import pathlib
import re
import subprocess
import sys

REPOSITORY = pathlib.Path(__file__).resolve().parent.parent


def crates():
    """The crates of the programs, and of nothing that only builds or tests them: `name version`."""
    command = ["cargo", "tree", "--locked", "--edges", "normal", "--target", "all", "--prefix", "none", "--format", "{p}"]
    lines = subprocess.run(command, cwd=REPOSITORY, check=True, capture_output=True, text=True).stdout.splitlines()
    found = (re.match(r"(\S+) v(\S+)( \(proc-macro\))?( \(\*\))?( \(/.*\))?", line) for line in lines if line)
    # Our own crates have a path, and what a macro is made of is not in what it makes.
    return {f"{match[1]} {match[2]}" for match in found if not match[3] and not match[5]}


def main():
    named = set(re.findall(r"^- (\S+ \S+)", (REPOSITORY / "NOTICE").read_text(), re.MULTILINE))
    missing = sorted(crates() - named)
    if missing:
        sys.exit(f"NOTICE does not name {', '.join(missing)}; run make notice")


main()
