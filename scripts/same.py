"""Checks that SAM built what `make package` packed.

    same.py BUILD DIST

BUILD is .aws-sam/build, with a folder for each function of template.yaml, and one for its nested
application with a folder for each function of fanout.yaml.
"""

import pathlib
import sys

import dist


def main():
    build, packages = map(pathlib.Path, sys.argv[1:])
    built = {
        name: build / (application or "") / resource / "bootstrap"
        for template, application in dist.TEMPLATES.items()
        for resource, name in dist.functions(template).items()
    }
    differ = [name for name, path in built.items() if path.read_bytes() != dist.read(packages / f"{name}.zip")]
    if differ or not built:
        sys.exit(f"not what make package packed: {', '.join(differ) or 'nothing was built'}")
    print(f"SAM built what make package packed: {', '.join(built)}")


main()
