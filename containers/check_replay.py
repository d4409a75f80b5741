"""Look, inside the agent's container, at what a replay wrote and at what this process may do."""

import json
import os
import sys
from pathlib import Path


def main(folder: Path) -> int:
    """Print what was found; return 1 with the reason when it is not what a replay should leave."""
    events = [json.loads(line) for line in (folder / "eve.json").read_text().splitlines()]
    kinds = dict.fromkeys(("alert", "score", "verdict", "stats"), 0)
    for event in events:
        if event["event_type"] in kinds:
            kinds[event["event_type"]] += 1
    status = dict(
        line.split(":\t", 1)
        for line in Path("/proc/self/status").read_text().splitlines()
        if ":\t" in line
    )
    wrong = [kind for kind, count in kinds.items() if not count]
    if events[-1]["event_type"] != "stats":
        wrong.append("the last event is not stats")
    if not (folder / "fortress.sqlite").stat().st_size:
        wrong.append("the database is empty")
    if os.getuid() != 1000 or int(status["CapEff"], 16) or status["NoNewPrivs"] != "1":
        wrong.append(f"uid {os.getuid()}, CapEff {status['CapEff']}, {status['NoNewPrivs']}")
    try:
        Path("/written").touch()
        wrong.append("the root file system can be written")
    except OSError:
        pass
    print(", ".join(f"{count} {kind}" for kind, count in kinds.items()))
    if wrong:
        print(f"wrong: {'; '.join(wrong)}")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
