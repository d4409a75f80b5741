"""A labels file that says something impossible is refused with the place at fault."""

import json
from pathlib import Path

import pytest

from tests.lab.labels import LabelsError, labels_path, read_labels


@pytest.fixture
def document(samples: Path) -> dict:
    """Return the labels file of a shipped capture, to spoil."""
    return json.loads((samples / "port_scan.labels.json").read_text())


def refusal(document: object, folder: Path) -> str:
    path = folder / "spoilt.labels.json"
    path.write_text(json.dumps(document))
    with pytest.raises(LabelsError) as caught:
        read_labels(path)
    assert str(caught.value).startswith(str(path))
    return str(caught.value)


def test_labels_lie_beside_their_capture_whatever_its_compression() -> None:
    for name in ("a/x.pcap", "a/x.pcap.gz", "a/x.pcap.zst", "a/x.pcapng", "a/x.pcapng.zst"):
        assert labels_path(Path(name)) == Path("a/x.labels.json")


def test_a_missing_or_broken_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(LabelsError, match=r"none\.labels\.json: no labels file"):
        read_labels(tmp_path / "none.labels.json")
    broken = tmp_path / "broken.labels.json"
    broken.write_text('{"schema": 1,')
    with pytest.raises(LabelsError, match=r"broken\.labels\.json: not JSON"):
        read_labels(broken)
    assert "not a JSON object" in refusal([1], tmp_path)


def test_a_missing_or_mistyped_fact_is_named(document: dict, tmp_path: Path) -> None:
    for key in ("packets", "sha256", "hosts", "labels", "offloads"):
        assert f"{key}: want" in refusal({k: document[k] for k in document if k != key}, tmp_path)
    assert "packets: want int, have '7'" in refusal({**document, "packets": "7"}, tmp_path)
    assert "schema: 2 is not 1" in refusal({**document, "schema": 2}, tmp_path)


@pytest.mark.parametrize(
    ("key", "value", "words"),
    [
        ("start", 1, "start and end are not within"),
        ("technique", "scan", "'scan' is no ATT&CK id"),
        ("src", "camera", "src: 'camera' does not appear to be"),
        ("dst", "10.0.0.0/99", "dst: '10.0.0.0/99' does not appear to be"),
        ("colour", "red", "unexpected keyword argument 'colour'"),
    ],
)
def test_a_label_that_cannot_be_is_refused(document, tmp_path, key, value, words) -> None:
    document["labels"][0][key] = value
    message = refusal(document, tmp_path)
    assert "labels[0]" in message
    assert words in message
