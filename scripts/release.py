"""Adds to dist/ what makes a release of it.

    release.py DIST TARGET

DIST is what `make package` laid out for the Rust target TARGET. It gets LICENSE and NOTICE, CHANGES.md with the
release's section of the changelog, and sbom/<program>.cdx.json: what each program is built from. SHA256SUMS is written
anew.
"""

import os
import pathlib
import re
import shutil
import subprocess
import sys

import dist

REPOSITORY = dist.REPOSITORY


def changes():
    """The section of the changelog for the version in Cargo.toml."""
    version = re.search(r'^version = "(.+)"', (REPOSITORY / "Cargo.toml").read_text(), re.MULTILINE)[1]
    sections = re.split(r"^(?=## )", (REPOSITORY / "CHANGELOG.md").read_text(), flags=re.MULTILINE)
    for section in sections:
        if section.startswith(f"## [{version}]"):
            return section
    sys.exit(f"CHANGELOG.md has no section for {version}")


def sboms(target, rust_target):
    """Writes what each program is built from. The times in it are fixed, so that the same sources give the same."""
    command = ["cargo", "cyclonedx", "--format", "json", "--describe", "binaries", "--spec-version", "1.5"]
    command += ["--no-build-deps", "--target", rust_target, "--quiet"]
    subprocess.run(command, cwd=REPOSITORY, check=True, env={**os.environ, "SOURCE_DATE_EPOCH": "0"})
    (target / "sbom").mkdir()
    names = [*(path.stem for path in target.glob("*.zip")), *(path.name for path in (REPOSITORY / "bin").iterdir())]
    for name in names:
        (found,) = REPOSITORY.glob(f"*/{name}/{name}_bin.cdx.json")
        # Our own crates are named by where they lie, which is nobody's business.
        text = found.read_text().replace(REPOSITORY.as_uri(), "file:///tag-hub")
        (target / "sbom" / f"{name}.cdx.json").write_text(text)
    # The tool leaves a file in the folder of every package.
    for path in REPOSITORY.glob("**/*.cdx.json"):
        if target not in path.parents:
            path.unlink()


def main():
    target, rust_target = pathlib.Path(sys.argv[1]).resolve(), sys.argv[2]
    (target / "CHANGES.md").write_text(changes())
    for name in ["LICENSE", "NOTICE"]:
        shutil.copy(REPOSITORY / name, target)
    sboms(target, rust_target)
    dist.sum_up(target)


main()
