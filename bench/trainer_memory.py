"""What the trainer's reading of a large archive costs: `python -m bench.trainer_memory [FLOWS]`.

An archive of that many flows (default: ten million; one capture's flows over and over, in the
agent's own files) is made in a temporary folder and read in a process of its own as the trainer
reads it: by row groups, labelled, sampled by day and label.
"""

import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from fortress.archive import shelf
from fortress.archive.arrow import SEQUENCE, flow_columns
from fortress.archive.writer import _parquet
from fortress.config import Settings
from fortress.config.settings import Store
from fortress.features.collect import collect_flows
from fortress.services.trainer.sample import DAY_NS

FLOWS, DAYS, ROWS = 10_000_000, 30, 5_000
LIMIT_BYTES = 2 << 30
_READ = """
import json, resource, sys, time
from pathlib import Path
from fortress.config import Settings
from fortress.config.settings import Store
from fortress.services.trainer.service import read_house
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
settings = Settings(state_dir=Path(sys.argv[1]), store=Store(enabled=False))
start = time.process_time()
house, scanned = read_house(settings, lambda: float(sys.argv[2]))
print(json.dumps({
    "flows": scanned.rows, "files": scanned.files, "days": len(house.days),
    "sampled": len(house.day), "damages": len(scanned.damages),
    "cpu_s": round(time.process_time() - start, 1), "imported_mib": before // 1024,
    "peak_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
}))
"""


def main() -> int:
    """Print the figures as one JSON object; 1 when more than 2 GiB were needed."""
    wanted = int(sys.argv[1]) if len(sys.argv) > 1 else FLOWS
    capture = Path(__file__).resolve().parents[1] / "samples" / "attack_day.pcap.zst"
    columns = [one for one in flow_columns().values() if not one.name.startswith(SEQUENCE)]
    flows = collect_flows([capture], [one.name for one in columns]).columns
    rows = {name: np.resize(values, ROWS) for name, values in flows.items()}
    today = int(time.time()) // 86_400
    with tempfile.TemporaryDirectory(prefix="fortress-bench.") as room:
        settings = Settings(state_dir=Path(room), store=Store(enabled=False))
        files = -(-wanted // ROWS)
        for number in range(files):
            begin = (today - DAYS) * DAY_NS + number * (DAYS * DAY_NS // files)
            ends = begin + np.arange(ROWS, dtype=np.int64)
            rows |= {"first_ns": ends, "last_ns": ends}
            path = shelf.place(settings.archive_path(), int(ends[0]), int(ends[-1]), ROWS)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(_parquet(columns, rows))
        size = sum(one.bytes for one in shelf.files(settings.archive_path()))
        read = subprocess.run(
            [sys.executable, "-c", _READ, room, str(today * 86_400)],
            check=True,
            capture_output=True,
            text=True,
        )
    told = json.loads(read.stdout) | {"archive_mib": size >> 20}
    print(json.dumps(told))
    return int(told["peak_mib"] > LIMIT_BYTES >> 20 or told["flows"] < wanted)


if __name__ == "__main__":
    sys.exit(main())
