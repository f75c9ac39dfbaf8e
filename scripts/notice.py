"""Writes NOTICE: the licenses of every crate that is compiled into what is released.

    notice.py [--check]

The texts are those that the crates ship: they name the holders of the copyrights. With --check nothing is written, and
NOTICE has to name the crates that Cargo.lock has now.
"""

import collections
import json
import pathlib
import re
import subprocess
import sys

REPOSITORY = pathlib.Path(__file__).resolve().parent.parent
NOTICE = REPOSITORY / "NOTICE"
HEAD = """Tag Hub
Licensed under the Apache License, Version 2.0: see LICENSE.

The programs of Tag Hub contain the crates below, under the licenses that each is listed with. The texts of the
licenses, as the crates ship them, follow.
"""
TEXTS = re.compile(r"(license|licence|copying|copyright|notice|unlicense)([-_.].*)?", re.IGNORECASE)


def cargo(*arguments):
    command = ["cargo", *arguments]
    return subprocess.run(command, cwd=REPOSITORY, check=True, capture_output=True, text=True).stdout


def crates():
    """The crates of the programs, and of nothing that only builds or tests them: `name version`."""
    tree = ["tree", "--locked", "--edges", "normal", "--prefix", "none", "--format", "{p}"]
    lines = set()
    for target in ["x86_64-unknown-linux-gnu", "aarch64-unknown-linux-gnu"]:
        lines.update(cargo(*tree, "--target", target).splitlines())
    found = (re.match(r"(\S+) v(\S+)( \(proc-macro\))?( \(\*\))?( \(/.*\))?", line) for line in lines if line)
    # Our own crates have a path, and what a macro is made of is not in what it makes.
    return sorted({f"{match[1]} {match[2]}" for match in found if not match[3] and not match[5]})


def write():
    metadata = json.loads(cargo("metadata", "--locked", "--format-version", "1"))
    packages = {f"{package['name']} {package['version']}": package for package in metadata["packages"]}
    lines, texts = [HEAD], collections.defaultdict(list)
    for name in crates():
        package = packages[name]
        lines.append(f"- {name} ({package['license'] or 'see its text'}) {package['repository'] or ''}".rstrip())
        folder = pathlib.Path(package["manifest_path"]).parent
        for path in sorted(path for path in folder.iterdir() if TEXTS.fullmatch(path.name) and path.is_file()):
            text = "\n".join(line.rstrip() for line in path.read_text(errors="replace").splitlines()).strip("\n")
            texts[text].append(f"{name}: {path.name}")
    for text, origins in texts.items():
        lines += ["", "=" * 80, *origins, "", text]
    NOTICE.write_text("\n".join([*lines, ""]))


def check():
    named = re.findall(r"^- (\S+ \S+) ", NOTICE.read_text(), re.MULTILINE)
    if missing := sorted(set(crates()) - set(named)):
        sys.exit(f"NOTICE does not name {', '.join(missing)}; run make notice")


check() if sys.argv[1:] == ["--check"] else write()
