"""`./dev bench [PART [OPTIONS]]`: measures Fortress, beside others that do the same.

Parts: `file` (capture files; needs ../shared), `gate` (XDP), `gateway` (forwarding, reaction,
blocks) and `live` (capture of a wire); each writes its page, `./dev bench PART --help` tells its
options. Without a part all run in turn, each in a process of its own; with `--again` each writes
the page of its last run. Exit status 1: a part failed, or missed a target (it says which).
"""

import subprocess
import sys
from collections.abc import Sequence
from importlib import import_module

PARTS = {"file": "files", "gate": "gate", "gateway": "gateway", "live": "live"}


def main(words: Sequence[str]) -> int:
    if words and words[0] in PARTS:
        status: int = import_module(f"bench.{PARTS[words[0]]}").main(words[1:])
        return status
    if words and list(words) != ["--again"]:
        print(__doc__, file=sys.stdout if words[0] in ("-h", "--help") else sys.stderr)
        return 0 if words[0] in ("-h", "--help") else 2
    failed = []
    for part in PARTS:
        print(f"-- bench {part}", file=sys.stderr, flush=True)
        if subprocess.run([sys.executable, "-m", "bench", part, *words]).returncode:
            failed.append(part)
    for part in failed:
        print(f"bench: {part} failed or was not met", file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
