"""Checks that SAM built what `make package` packed.

    same.py BUILD DIST TEMPLATE…

BUILD has a folder with the name of each TEMPLATE, as `sam build` lays it out: a folder for each function.
"""

import pathlib
import sys

import dist


def main():
    build, packages, *templates = map(pathlib.Path, sys.argv[1:])
    names, differ = [], []
    for template in templates:
        for resource, name in dist.functions(template).items():
            names.append(name)
            built = (build / template.name / resource / "bootstrap").read_bytes()
            if built != dist.read(packages / f"{name}.zip"):
                differ.append(name)
    if differ or not names:
        sys.exit(f"not what make package packed: {', '.join(differ) or 'nothing was built'}")
    print(f"SAM built what make package packed: {', '.join(names)}")


main()
