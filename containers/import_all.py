"""Import every module of the installed `fortress`: where a library lacks, it fails."""

import argparse
import importlib
import pkgutil
import sys

import fortress


def main() -> int:
    """Import all modules but those under the packages named by --without; return 1 if one fails."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--without", action="append", default=[], metavar="PACKAGE")
    without = tuple(parser.parse_args().without)
    failed = imported = 0
    for module in pkgutil.walk_packages(fortress.__path__, "fortress.", onerror=lambda name: None):
        name = module.name
        if name.endswith(".__main__") or any(f"{name}.".startswith(f"{no}.") for no in without):
            continue
        try:
            importlib.import_module(module.name)
            imported += 1
        except Exception as error:  # every kind of failure is to be seen here
            print(f"{module.name}: {type(error).__name__}: {error}", file=sys.stderr)
            failed += 1
    print(f"{imported} modules imported, {failed} failed")
    return 1 if failed or not imported else 0


if __name__ == "__main__":
    sys.exit(main())
