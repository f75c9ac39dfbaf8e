"""Lays out dist/: what a deployment needs, and nothing that has to be built.

    dist.py PACKAGES DIST [PROGRAM…]

PACKAGES holds <function>/bootstrap.zip, as cargo lambda leaves them. DIST gets, anew each time:

- <function>.zip for each function of template.yaml, fanout.yaml and cfn/agency.yaml. The same binary gives the same
  bytes: the times in the archive are fixed, so that deploying an unchanged function changes nothing.
- template.yaml and fanout.yaml, with these packages in the place of the sources. Nothing else differs.
- each PROGRAM as it is, named after its architecture: the folder target/<triple>/release says which.
- cfn/ as it is.
- register-instance.service, and install.sh and state-manager.yaml with the checksums of what they fetch.
- SHA256SUMS of all of these.
"""

import hashlib
import pathlib
import re
import shutil
import sys
import zipfile

REPOSITORY = pathlib.Path(__file__).resolve().parent.parent
# The hub, and the nested application that it deploys: the logical id there, none for the hub itself.
TEMPLATES = {"template.yaml": None, "fanout.yaml": "FanoutApplication"}
# The function of cfn/agency.yaml, whose package lies in a bucket of S3.
AGENCY_FUNCTION = "tags-collector"
PACKAGING = REPOSITORY / "bin" / "register-instance" / "packaging"
UNIT = "register-instance.service"
# The earliest time that an archive can hold.
NEVER = (1980, 1, 1, 0, 0, 0)


def functions(name):
    """The functions of a template: the name of the binary by logical id."""
    resource, found = None, {}
    for line in (REPOSITORY / name).read_text().splitlines():
        if match := re.fullmatch(r"  (\w+):", line):
            resource = match[1]
        if match := re.fullmatch(r" +Binary: (\S+)", line):
            found[resource] = match[1]
    return found


def packaged(name):
    """A template with each function's package in the place of its sources."""
    binary, lines = None, []
    for line in (REPOSITORY / name).read_text().splitlines():
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
        archive.writestr(entry, binary, compresslevel=9)


def architecture(program):
    """The processor that a program was built for, as `uname -m` calls it: it stands in the name of the target."""
    for part in program.resolve().parts:
        if match := re.fullmatch(r"(x86_64|aarch64)-unknown-linux-gnu", part):
            return match[1]
    raise SystemExit(f"{program}: expected a program under target/<architecture>-unknown-linux-gnu/release")


def checksum(path):
    return hashlib.sha256(path.read_bytes()).hexdigest()


def packaging(target):
    """The files that bring register-instance to an instance, with the checksums of what they fetch."""
    shutil.copy(PACKAGING / UNIT, target)
    install = (PACKAGING / "install.sh").read_text().replace("@SHA256_UNIT@", checksum(target / UNIT))
    for name in ["x86_64", "aarch64"]:
        program = target / f"register-instance-{name}"
        # Without a program the script says so on an instance of that kind.
        install = install.replace(f"@SHA256_{name.upper()}@", checksum(program) if program.exists() else "")
    (target / "install.sh").write_text(install)
    (target / "install.sh").chmod(0o755)
    document = (PACKAGING / "state-manager.yaml").read_text()
    script = "|\n" + "".join(f"          {line}".rstrip() + "\n" for line in install.splitlines())
    (target / "state-manager.yaml").write_text(document.replace('"@INSTALL@"\n', script))


def sum_up(target):
    """Writes SHA256SUMS over everything in a folder."""
    sums = target / "SHA256SUMS"
    sums.unlink(missing_ok=True)
    files = sorted(path for path in target.rglob("*") if path.is_file())
    sums.write_text("".join(f"{checksum(path)}  {path.relative_to(target)}\n" for path in files))


def main():
    packages, target, *programs = map(pathlib.Path, sys.argv[1:])
    shutil.rmtree(target, ignore_errors=True)
    target.mkdir(parents=True)
    for template in TEMPLATES:
        for name in functions(template).values():
            write(target / f"{name}.zip", read(packages / name / "bootstrap.zip"))
        (target / template).write_text(packaged(template))
    write(target / f"{AGENCY_FUNCTION}.zip", read(packages / AGENCY_FUNCTION / "bootstrap.zip"))
    for program in programs:
        shutil.copy(program, target / f"{program.name}-{architecture(program)}")
    packaging(target)
    shutil.copytree(REPOSITORY / "cfn", target / "cfn")
    sum_up(target)


if __name__ == "__main__":
    main()
