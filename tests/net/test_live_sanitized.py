"""The live source under sanitizers: frames of every kind, tags, several rings."""

import subprocess

import pytest

from tests.native.programs import built
from tests.net.namespace import Namespace
from tests.net.traffic import all_kinds, tagged
from tests.patience import patient


@pytest.mark.parametrize("rings", [1, 2])
def test_the_live_source_passes_with_address_and_undefined_behaviour_sanitizers(
    wire: Namespace, seed: int, rings: int
) -> None:
    plain = [frame for frame in all_kinds(seed) if frame[20] & 0x3F == 0 and frame[21] == 0]
    frames = plain + [tagged(frame, (0x8100, 7)) for frame in plain if len(frame) <= 1500]
    frames += [frame[:length] for length in range(14, 60) for frame in plain[:5]]
    words = [built("sanitized") / "fxlive", "right", str(rings), str(len(frames))]
    with (
        subprocess.Popen(
            wire.command(*words), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        ) as reader,
        wire.sender("left") as sender,
    ):
        assert reader.stdout is not None
        assert reader.stdout.readline() == "ready\n"
        for frame in frames:
            sender.send(frame)
        told, errors = reader.communicate(timeout=patient(120))
    assert reader.returncode == 0, errors
    packets, drops, flows = map(int, told.split())
    assert (packets, drops) == (len(frames), 0)
    assert flows > 40
