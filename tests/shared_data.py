"""The shared captures, unpacked once into `.cache/` of the checkout, for tests and benches."""

import csv
import shutil
import tarfile
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.need import ROOT, SHARED

GROUPS = ("attack", "benign", "dns-benign", "dns-tunnel")


@dataclass(frozen=True, slots=True)
class Capture:
    """A shared capture: where it is unpacked and what its publisher says of it."""

    path: Path
    group: str
    label: str
    packets: int


def unpacked(group: str) -> Path:
    """Return the folder with the captures of `group`, unpacking it when that has not been done."""
    archive = SHARED / "data" / "pcap" / f"{group}.tar.xz"
    folder = ROOT / ".cache" / "shared" / f"{group}-{archive.stat().st_size}"
    if not folder.is_dir():
        folder.parent.mkdir(parents=True, exist_ok=True)
        part = Path(tempfile.mkdtemp(prefix=f"{group}.", dir=folder.parent))
        with tarfile.open(archive) as tar:
            tar.extractall(part)  # Debian 12's 3.11.2 has no filter; the archives are our own
        try:
            part.rename(folder)
        except OSError:  # another run was quicker
            shutil.rmtree(part)
    return folder


def captures(*groups: str) -> Iterator[Capture]:
    """Yield every capture of `groups` (all of them without any) as labels.tsv lists them."""
    with (SHARED / "data" / "pcap" / "labels.tsv").open(newline="") as table:
        for row in csv.DictReader(table, delimiter="\t"):
            group = row["group"]
            if not groups or group in groups:
                path = unpacked(group) / row["file_in_tar"]
                yield Capture(path, group, row["label"], int(row["packets"]))
