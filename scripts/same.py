"""Checks that SAM built what `make package` packed.

    same.py BUILD DIST

BUILD is .aws-sam/build, with a folder for each function of template.yaml.
"""

import pathlib
import sys

import dist


def main():
    build, packages = map(pathlib.Path, sys.argv[1:])
    functions = dist.functions()
    differ = [
        name
        for resource, name in functions.items()
        if (build / resource / "bootstrap").read_bytes() != dist.read(packages / f"{name}.zip")
    ]
    if differ or not functions:
        sys.exit(f"not what make package packed: {', '.join(differ) or 'nothing was built'}")
    print(f"SAM built what make package packed: {', '.join(functions.values())}")


main()
