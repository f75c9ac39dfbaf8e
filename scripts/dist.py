"""Lays out dist/: what a deployment needs, and nothing that has to be built.

    dist.py PACKAGES DIST [PROGRAM…]

PACKAGES holds <function>/bootstrap.zip, as cargo lambda leaves them. DIST gets, anew each time:

- <function>.zip for each function of the SAM templates and of cfn/agency.yaml. The same binary gives the same bytes: the
  times in the archive are fixed, so that deploying an unchanged function changes nothing.
- each SAM template, with these packages in the place of the sources. Nothing else differs.
- cfn/ as it is.
- each PROGRAM, a file as it is.
- SHA256SUMS of all of these.
"""

import hashlib
import pathlib
import re
import shutil
import sys
import zipfile

REPOSITORY = pathlib.Path(__file__).resolve().parent.parent
# The SAM templates; what is in cfn/ is plain CloudFormation.
TEMPLATES = sorted(REPOSITORY.glob("*.yaml"))
# The function of cfn/agency.yaml, whose package lies in a bucket of S3.
AGENCY_FUNCTION = "tags-collector"
# The earliest time that an archive can hold.
NEVER = (1980, 1, 1, 0, 0, 0)


def functions(template):
    """The functions of a SAM template: the name of the binary by logical id."""
    resource, found = None, {}
    for line in template.read_text().splitlines():
        if match := re.fullmatch(r"  (\w+):", line):
            resource = match[1]
        if match := re.fullmatch(r" +Binary: (\S+)", line):
            found[resource] = match[1]
    return found


def packaged(template):
    """A SAM template with each function's package in the place of its sources."""
    binary, lines = None, []
    for line in template.read_text().splitlines():
        if match := re.fullmatch(r" +Binary: (\S+)", line):
            binary = match[1]
        if line.endswith("CodeUri: ."):
            line = f"{line[:-1]}{binary}.zip"
        lines.append(line)
    return "\n".join([*lines, ""])


def read(package):
    """The binary in a package."""
    with zipfile.ZipFile(package) as archive:
        return archive.read("bootstrap")


def write(package, binary):
    """Packs a binary."""
    entry = zipfile.ZipInfo("bootstrap", NEVER)
    entry.compress_type = zipfile.ZIP_DEFLATED
    # Unix, whoever packs it: a regular file that everyone may run.
    entry.create_system = 3
    entry.external_attr = 0o100755 << 16
    with zipfile.ZipFile(package, "w") as archive:
        archive.writestr(entry, binary)


def sum_up(target):
    """Writes SHA256SUMS over everything in a folder."""
    sums = target / "SHA256SUMS"
    sums.unlink(missing_ok=True)
    files = sorted(path for path in target.rglob("*") if path.is_file())
    lines = [f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path.relative_to(target)}\n" for path in files]
    sums.write_text("".join(lines))


def main():
    packages, target, *programs = map(pathlib.Path, sys.argv[1:])
    shutil.rmtree(target, ignore_errors=True)
    target.mkdir(parents=True)
    names = {AGENCY_FUNCTION}.union(*(functions(template).values() for template in TEMPLATES))
    for name in sorted(names):
        write(target / f"{name}.zip", read(packages / name / "bootstrap.zip"))
    for template in TEMPLATES:
        (target / template.name).write_text(packaged(template))
    shutil.copytree(REPOSITORY / "cfn", target / "cfn")
    for program in programs:
        shutil.copy(program, target)
    sum_up(target)


if __name__ == "__main__":
    main()
