"""The registry: what is published is taken, what was not signed by a trusted publisher is not."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from fortress.errors import OutputError
from fortress.inference import ModelRejected, Registry
from fortress.inference.opening import open_model
from fortress.inference.registry import SHIPPED, read_draft, version_order
from fortress.inference.shelf import Publication
from fortress.inference.state import MOST_BEFORE, Chosen, read_chosen, step_back, write_chosen
from fortress.inference.statement import SIGNATURE, STATEMENT, read_statement, write_signature
from tests.registry.world import (
    KEY,
    NAME,
    OTHER_KEY,
    draft,
    publish,
    registry_at,
    sign_anyway,
)


@pytest.fixture
def registry(tmp_path: Path) -> Registry:
    """A registry with version 1.1.0 published, in use nothing but what ships."""
    registry = registry_at(tmp_path)
    publish(registry, tmp_path, "1.1.0")
    return registry


@pytest.fixture
def place(registry: Registry) -> Path:
    return registry.root / NAME / "1.1.0"


def reason(registry: Registry, version: str = "1.1.0") -> str:
    with pytest.raises(ModelRejected) as caught:
        registry.load(NAME, version)
    assert str(registry.root) in str(caught.value)
    return caught.value.reason


def test_what_is_published_is_taken_with_its_publisher(registry: Registry) -> None:
    entry = registry.load(NAME, "1.1.0")
    assert (entry.recipe.version, entry.publisher) == ("1.1.0", KEY.public.id)
    assert registry.versions(NAME) == ("1.1.0",)
    statement = registry.verify(NAME, "1.1.0")
    assert statement is not None
    kinds = "variants/kinds.onnx"
    assert set(statement.files) == {"model.toml", "card.md", f"{NAME}.onnx", kinds}
    assert registry.card(NAME, "1.1.0") == f"# {NAME} 1.1.0\n"


def test_a_published_version_is_not_in_use_before_it_is_promoted(registry: Registry) -> None:
    assert registry.current(NAME) == SHIPPED
    assert registry.load(NAME).publisher == SHIPPED
    assert registry.state is not None
    write_chosen(registry.state, NAME, "1.1.0")
    assert registry.load(NAME).recipe.version == "1.1.0"
    assert step_back(registry.state, NAME) == Chosen(SHIPPED)
    assert registry.load(NAME).publisher == SHIPPED


def test_versions_that_were_in_use_are_remembered_and_bounded(tmp_path: Path) -> None:
    for number in range(40):
        write_chosen(tmp_path, NAME, f"1.0.{number}")
    chosen = read_chosen(tmp_path, NAME)
    assert chosen.version == "1.0.39"
    assert chosen.before[:2] == ("1.0.38", "1.0.37")
    assert len(chosen.before) == MOST_BEFORE
    write_chosen(tmp_path, NAME, "1.0.38")
    assert read_chosen(tmp_path, NAME).before[:2] == ("1.0.39", "1.0.37")
    write_chosen(tmp_path, NAME, "1.0.38")
    assert read_chosen(tmp_path, NAME).before[0] == "1.0.39", "twice is once"


def test_there_is_nothing_to_go_back_to_at_first(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="no version was in use before shipped"):
        step_back(tmp_path, NAME)
    with pytest.raises(OutputError, match="no name"):
        write_chosen(tmp_path, "../secret", "1")


def test_a_version_never_changes(registry: Registry, tmp_path: Path) -> None:
    before = registry.load(NAME, "1.1.0").recipe.sha256
    with pytest.raises(ModelRejected, match="published already"):
        registry.add(draft(tmp_path / "again" / NAME, "1.1.0", seed=2), KEY)
    assert registry.load(NAME, "1.1.0").recipe.sha256 == before


def test_a_key_that_is_not_trusted_publishes_nothing(registry: Registry, tmp_path: Path) -> None:
    with pytest.raises(ModelRejected) as caught:
        registry.add(draft(tmp_path / "new" / NAME, "1.2.0"), OTHER_KEY)
    assert caught.value.reason == "untrusted"
    assert registry.versions(NAME) == ("1.1.0",)


def test_another_publishers_signature_is_refused(registry: Registry, tmp_path: Path) -> None:
    sign_anyway(registry, draft(tmp_path / "new" / NAME, "1.2.0"), "1.2.0", OTHER_KEY)
    assert reason(registry, "1.2.0") == "untrusted"


def test_a_version_without_a_signature_is_refused(registry: Registry, place: Path) -> None:
    (place / SIGNATURE).unlink()
    assert reason(registry) == "unsigned"


@pytest.mark.parametrize("file", ["model.toml", f"{NAME}.onnx", STATEMENT, SIGNATURE])
@pytest.mark.parametrize("at", [0, 70, -2])
def test_a_changed_byte_anywhere_is_refused(
    registry: Registry, place: Path, file: str, at: int
) -> None:
    content = bytearray((place / file).read_bytes())
    content[at] ^= 1
    (place / file).write_bytes(content)
    assert reason(registry) in ("sha256", "signature", "untrusted")


def test_a_changed_card_is_found_by_verify(registry: Registry, place: Path) -> None:
    (place / "card.md").write_text("# A perfect model\n")
    with pytest.raises(ModelRejected) as caught:
        registry.verify(NAME, "1.1.0")
    assert caught.value.reason == "sha256"


def test_a_signature_over_another_version_is_refused(registry: Registry, place: Path) -> None:
    shutil.copytree(place, place.with_name("9.9.9"))
    assert reason(registry, "9.9.9") == "signature"


def test_a_signature_of_another_kind_of_text_is_refused(registry: Registry, place: Path) -> None:
    raw = KEY._key.sign((place / STATEMENT).read_bytes()).signature  # without what it stands for
    (place / SIGNATURE).write_text(f"ed25519 {KEY.public.raw.hex()} {raw.hex()}\n")
    assert reason(registry) == "signature"


@pytest.mark.parametrize(
    "text", [b"", b"{}", b"[1]", b'{"format":2}', b'{"format":1,"files":3}', b"\xff", b"null"]
)
def test_a_statement_that_says_nothing_is_refused(
    registry: Registry, place: Path, text: bytes
) -> None:
    (place / STATEMENT).write_bytes(text)
    (place / SIGNATURE).write_bytes(write_signature(KEY, text))
    assert reason(registry) == "signature"


def test_a_file_that_was_not_signed_is_refused(registry: Registry, place: Path) -> None:
    (place / "variants" / "x.onnx").write_bytes(b"x")
    assert reason(registry) == "signature"


@pytest.mark.parametrize("name", ["run.py", "model.pkl", ".hidden", "weights.bin"])
def test_what_has_no_place_in_a_models_folder_is_refused(
    registry: Registry, place: Path, name: str
) -> None:
    (place / name).write_bytes(b"x")
    assert reason(registry) == "unknown"


def test_two_graphs_in_one_folder_are_refused(registry: Registry, place: Path) -> None:
    (place / "more.onnx").write_bytes(b"x")
    assert reason(registry) == "missing"


def test_links_pipes_and_folders_are_no_files(registry: Registry, place: Path) -> None:
    graph = place / f"{NAME}.onnx"
    kept = graph.rename(place.parent.parent / "elsewhere.onnx")
    graph.symlink_to(kept)
    assert reason(registry) == "missing"
    graph.unlink()
    os.mkfifo(graph)
    assert reason(registry) == "missing"
    graph.unlink()
    graph.mkdir()
    assert reason(registry) == "missing"


def test_a_graph_of_a_gigabyte_is_refused_unread(registry: Registry, place: Path) -> None:
    os.truncate(place / f"{NAME}.onnx", 1 << 30)
    os.truncate(place / "card.md", 1 << 30)
    before = peak_bytes()
    assert reason(registry) == "size"
    with pytest.raises(ModelRejected, match="bytes"):
        registry.card(NAME, "1.1.0")
    with pytest.raises(ModelRejected, match="bytes"):
        read_draft(place, NAME)
    assert peak_bytes() - before < 64 << 20


def peak_bytes() -> int:
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


Spoil = Callable[[str], str]


@pytest.mark.parametrize(
    ("spoil", "wanted"),
    [
        (lambda text: text.replace('"tcp"', '"tpc"'), "features"),
        (lambda text: text.replace('fingerprint = "', 'fingerprint = "0'), "fingerprint"),
        (lambda text: text.replace("opset = 17", "opset = 21"), "opset"),
        (lambda text: text.replace("format = 2", "format = 1"), "recipe"),
        (lambda text: text + "[surprise]\n", "recipe"),
        (lambda text: text.replace(f'name = "{NAME}"', 'name = "other"'), "recipe"),
        (lambda text: text.replace('version = "1', 'version = "2'), "recipe"),
    ],
)
def test_a_trusted_signature_does_not_excuse_a_model_that_does_not_fit(
    registry: Registry, tmp_path: Path, spoil: Spoil, wanted: str
) -> None:
    made = draft(tmp_path / "odd" / NAME, "1.2.0")
    text = (made / "model.toml").read_text()
    assert spoil(text) != text
    (made / "model.toml").write_text(spoil(text))
    sign_anyway(registry, made, "1.2.0")
    assert reason(registry, "1.2.0") == wanted


def test_what_does_not_fit_is_not_published(registry: Registry, tmp_path: Path) -> None:
    made = draft(tmp_path / "odd" / NAME, "1.2.0")
    (made / f"{NAME}.onnx").write_bytes(b"no model")
    with pytest.raises(ModelRejected):
        registry.add(made, KEY)
    assert registry.versions(NAME) == ("1.1.0",)
    assert sorted(path.name for path in (registry.root / NAME).iterdir()) == [".lock", "1.1.0"]


def test_an_altered_model_in_use_gives_way_to_the_last_good_one(
    registry: Registry, tmp_path: Path
) -> None:
    publish(registry, tmp_path, "1.2.0", seed=2)
    assert registry.state is not None
    for version in ("1.1.0", "1.2.0"):
        write_chosen(registry.state, NAME, version)
    graph = registry.root / NAME / "1.2.0" / f"{NAME}.onnx"
    graph.write_bytes(graph.read_bytes() + b"x")
    entry, _, refused = registry.load_usable(NAME, open_model)
    assert (entry.recipe.version, [one.reason for one in refused]) == ("1.1.0", ["sha256"])
    shutil.rmtree(registry.root / NAME)
    entry, _, refused = registry.load_usable(NAME, open_model)
    assert (entry.publisher, len(refused)) == (SHIPPED, 2)
    (registry.state / NAME).write_text("../../x\n")
    entry, _, refused = registry.load_usable(NAME, open_model)
    assert (entry.publisher, [one.reason for one in refused]) == (SHIPPED, ["state"])


def test_without_any_model_the_first_reason_is_told(tmp_path: Path) -> None:
    empty = Registry(tmp_path / "r", tmp_path / "s", shipped=tmp_path / "none")
    with pytest.raises(ModelRejected) as caught:
        empty.load_usable(NAME, open_model)
    assert caught.value.reason == "missing"


def test_the_list_says_what_is_in_use_and_who_signed_it(registry: Registry, place: Path) -> None:
    assert registry.state is not None
    write_chosen(registry.state, NAME, "1.1.0")
    rows = [row for row in registry.list() if row.name == NAME]
    assert [(row.publisher, row.current, row.problem) for row in rows] == [
        (SHIPPED, False, ""),
        (KEY.public.id, True, ""),
    ]
    assert rows[1].published_s > 1_700_000_000
    (place / SIGNATURE).unlink()
    (problem,) = [row.problem for row in registry.list() if row.version == "1.1.0"]
    assert "not signed" in problem


def test_old_versions_are_removed_but_never_one_that_is_or_was_in_use(tmp_path: Path) -> None:
    registry = registry_at(tmp_path)
    assert registry.state is not None
    for number in range(8):
        made = draft(tmp_path / f"d{number}" / NAME, f"1.{number}.0", seed=number)
        registry.add(made, KEY, how=Publication(keep=2))
        if number in (0, 3):
            write_chosen(registry.state, NAME, f"1.{number}.0")
    assert registry.versions(NAME) == ("1.0.0", "1.3.0", "1.6.0", "1.7.0")
    assert registry.load(NAME).recipe.version == "1.3.0"


def test_versions_sort_as_people_count() -> None:
    versions = ["1.10.0", "1.9.0", "2.0.0-rc1", "1.9.0.1", "2.0.0"]
    assert sorted(versions, key=version_order)[:3] == ["1.9.0", "1.9.0.1", "1.10.0"]


def test_a_clock_that_went_back_publishes_nothing(registry: Registry, tmp_path: Path) -> None:
    made = draft(tmp_path / "new" / NAME, "1.2.0", seed=2)
    with pytest.raises(ModelRejected, match="the clock went back; set it") as caught:
        registry.add(made, KEY, how=Publication(clock_s=lambda: 1_000_000.0))
    assert caught.value.reason == "clock"
    assert registry.versions(NAME) == ("1.1.0",)
    assert registry.load(NAME, "1.1.0").publisher == KEY.public.id


def test_why_a_worse_model_was_published_is_signed_with_it(
    registry: Registry, tmp_path: Path
) -> None:
    why = 'line one\n"quoted" ü'
    registry.add(draft(tmp_path / "new" / NAME, "1.2.0"), KEY, forced=why)
    statement, key = read_statement(registry.root / NAME / "1.2.0", registry.trusted)
    assert (statement.forced, key) == (why, KEY.public)
    forged = registry.root / NAME / "1.2.0" / STATEMENT
    forged.write_bytes(forged.read_bytes().replace(b"quoted", b"forged"))
    assert reason(registry, "1.2.0") == "signature"


def test_a_variant_is_checked_like_the_graph_it_stands_for(registry: Registry, place: Path) -> None:
    other = place / "variants" / "kinds.onnx"
    assert registry.load(NAME, "1.1.0").graph("kinds") == other.read_bytes()
    with pytest.raises(ModelRejected, match=r"variants\.fp16 is missing"):
        registry.load(NAME, "1.1.0").graph("fp16")
    other.write_bytes(other.read_bytes() + b"x")
    with pytest.raises(ModelRejected, match="sha256"):
        registry.load(NAME, "1.1.0").graph("kinds")
    with pytest.raises(ModelRejected, match="sha256"):
        registry.verify(NAME, "1.1.0")
    other.unlink()
    with pytest.raises(ModelRejected, match="cannot be read"):
        registry.load(NAME, "1.1.0").graph("kinds")


def test_what_its_own_class_refuses_gives_way_too(registry: Registry, tmp_path: Path) -> None:
    made = draft(tmp_path / "odd" / NAME, "1.2.0", own={"kinds": ["one"]})
    registry.add(made, KEY)
    assert registry.state is not None
    write_chosen(registry.state, NAME, "1.2.0")
    assert registry.load(NAME).recipe.version == "1.2.0"
    entry, _, refused = registry.load_usable(NAME, open_model)
    assert (entry.publisher, [one.reason for one in refused]) == (SHIPPED, ["recipe"])
