"""A folder of files shaped like /sys/class/powercap, whose counters the test moves."""

from pathlib import Path

RANGE_UJ = 262_143_328_850  # a real one of an Intel client processor

ZONES = {
    "intel-rapl:0": "package-0",
    "intel-rapl:0:0": "core",
    "intel-rapl:0:1": "uncore",
    "intel-rapl:0:2": "dram",
    "intel-rapl:1": "psys",
}


def powercap(folder: Path, zones: dict[str, str] | None = None, energy_uj: int = 0) -> Path:
    """Make the folder, its counters readable by their owner only, as the kernel's are."""
    for zone, name in (ZONES if zones is None else zones).items():
        place = folder / zone
        place.mkdir(parents=True)
        (place / "name").write_text(f"{name}\n")
        (place / "max_energy_range_uj").write_text(f"{RANGE_UJ}\n")
        (place / "energy_uj").write_text(f"{energy_uj}\n")
        (place / "energy_uj").chmod(0o400)
    return folder


def count(folder: Path, zone: str, energy_uj: int) -> None:
    """Set a counter, in place: who has it open sees it."""
    with (folder / zone / "energy_uj").open("r+") as file:
        file.write(f"{energy_uj % RANGE_UJ}\n")
        file.truncate()
