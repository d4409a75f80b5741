"""What the trainer's job promises, on real flows in real archives, with the registry as it is."""

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from fortress.cli import main
from fortress.config import Settings
from fortress.config.settings import Store as StoreSettings
from fortress.config.settings import Trainer
from fortress.errors import ConfigError, OutputError
from fortress.inference import FlowClassifier, Registry
from fortress.inference.files import only_writer
from fortress.inference.signing import read_trusted
from fortress.inference.state import write_chosen
from fortress.services.trainer.house import HELD_OUT_DAYS, LEARN_DAYS
from fortress.services.trainer.service import LOCK, Summary
from fortress.services.trainer.service import run as run_trainer
from fortress.store import Store
from tests.need import SHARED, need
from tests.store.test_store import FINDING
from tests.trainer.world import NAME, TODAY, archived, calm, clock, loud, on_day, settings_at

DAYS = range(TODAY - HELD_OUT_DAYS - LEARN_DAYS, TODAY)


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return settings_at(tmp_path / "state")


def run(settings: Settings) -> Summary:
    return run_trainer(settings, clock_s=clock)


def registry(settings: Settings) -> Registry:
    return Registry(
        settings.registry_path(),
        settings.model_state_path(),
        read_trusted(settings.trusted_paths()),
    )


def command(settings: Settings, *words: str) -> int:
    file = settings.state_dir / "fortress.toml"
    file.write_text(f'state_dir = "{settings.state_dir}"\n')
    return main(["trainer", *words, "--config", str(file)])


def test_an_empty_archive_is_told_and_is_no_error(
    settings: Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    assert command(settings, "run", "--json") == 0
    told = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert told["outcome"] == "empty"
    assert "no flows in the archive yet" in told["told"]
    assert len(told["imported"]) == 3


def test_models_that_ship_are_imported_once_signed_by_the_installation(settings: Settings) -> None:
    first, second = run(settings), run(settings)
    assert len(first.imported) == 3
    assert second.imported == ()
    for name, version in registry(settings).shipped().items():
        assert registry(settings).verify(name, version) is not None
        assert registry(settings).current(name) == "shipped"


def test_without_a_key_nothing_is_begun(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="fortress model keygen"):
        run(Settings(state_dir=tmp_path))
    assert list(tmp_path.iterdir()) == []


def test_the_second_of_two_runs_says_so(
    settings: Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    settings.registry_path().mkdir(parents=True)
    with only_writer(settings.registry_path(), name=LOCK):
        assert command(settings, "run") == 75
    assert "another trainer has been writing" in capsys.readouterr().err
    assert command(settings, "run") == 0


def test_too_few_days_are_told(settings: Settings) -> None:
    archived(settings, *(calm(day) for day in DAYS[1:]))
    done = run(settings)
    assert done.outcome == "few_days"
    assert done.told == "6 days with conversations in the archive, 7 are needed"


def test_a_quiet_network_keeps_the_model_that_ships(settings: Settings) -> None:
    archived(settings, *(calm(day) for day in DAYS))
    done = run(settings)
    assert done.outcome == "unchanged"
    assert done.days == 7
    assert "trainer.captures names no public captures" in done.public


def test_a_network_with_false_alarms_gets_a_higher_threshold(settings: Settings) -> None:
    archived(settings, *(loud(day) for day in DAYS))
    done = run(settings)
    assert done.outcome == "published", done.told
    assert done.threshold_in_use < done.threshold <= (1 + done.threshold_in_use) / 2
    models = registry(settings)
    entry = models.load(NAME, done.version)
    assert entry.threshold() == done.threshold
    assert models.current(NAME) == "shipped"
    held_out, in_use = (entry.recipe.metrics[key] for key in ("held_out", "in_use"))
    rate = [table["lower"]["false_positive_rate"][0] for table in (held_out, in_use)]
    assert rate[0] < rate[1]
    card = models.card(NAME, done.version)
    assert "benign flows called attacks" in card
    assert "(3 days), which neither" in card
    FlowClassifier(entry)


def test_loud_days_that_are_fewer_than_half_move_nothing(settings: Settings) -> None:
    """Who makes the network loud for a day does not blind the model."""
    archived(settings, loud(DAYS[0]), *(calm(day) for day in DAYS[1:]))
    assert run(settings).outcome == "unchanged"


def test_what_does_worse_than_the_version_in_use_is_not_published(settings: Settings) -> None:
    archived(settings, *(loud(day) for day in DAYS))
    first = run(settings)
    write_chosen(settings.model_state_path(), NAME, first.version)
    for path in settings.archive_path().glob("day=*/hour=*/*.parquet"):
        path.unlink()
    learn, held = DAYS[:LEARN_DAYS], DAYS[LEARN_DAYS:]
    archived(settings, *(calm(day) for day in learn), *(loud(day) for day in held))
    done = run_trainer(settings, clock_s=lambda: clock() + 60)
    assert done.outcome == "worse", done.told
    assert "false_positive_rate is" in done.told
    assert done.version not in registry(settings).versions(NAME)


def test_damaged_files_are_named_passed_over_and_counted(
    settings: Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    archived(settings, *(on_day(day, slice(0, 1000)) for day in DAYS))
    cut, garbage, *rest = sorted(settings.archive_path().glob("day=*/hour=*/*.parquet"))
    cut.write_bytes(cut.read_bytes()[:-200])
    content = bytearray(garbage.read_bytes())
    content[1000:-2000] = bytes(len(content) - 3000)
    garbage.write_bytes(content)
    done = run(settings)
    assert done.files == len(rest)
    assert [str(path) in told for path, told in zip((cut, garbage), done.damages, strict=True)]
    assert done.flows == 1000 * len(rest)
    assert command(settings, "run") == 3
    assert f"{cut}: damaged" in capsys.readouterr().err


def test_a_full_disk_is_told_and_nothing_half_is_left(tiny_disk: Path, tmp_path: Path) -> None:
    settings = settings_at(tmp_path / "state")
    full = replace(settings, models=replace(settings.models, folder=tiny_disk / "models"))
    with pytest.raises(OutputError, match="No space left on device; nothing was published"):
        run(full)
    left = [path for path in (tiny_disk / "models").rglob("*") if path.is_file()]
    whole = {path for path in left if path.name.startswith(".")}
    models = Registry(tiny_disk / "models", trusted=read_trusted(settings.trusted_paths()))
    for name in models.names():
        for version in models.versions(name):
            whole |= {p for p in left if models.load(name, version).folder in p.parents}
    assert set(left) == whole


def test_findings_are_labelled_and_their_flows_learnt_as_what_they_are(
    settings: Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = replace(settings, store=StoreSettings())
    flows = on_day(DAYS[-1], slice(0, 1000))
    archived(settings, *(calm(day) for day in DAYS[:-1]), flows)
    source, end = "192.0.2.1", int(flows["last_ns"][500])
    from fortress.archive.arrow import address_text

    source, target = (
        address_text(flows[name][500].tobytes()) for name in ("orig_addr", "resp_addr")
    )
    port = int(flows["resp_port"][500])
    finding = replace(
        FINDING,
        time_ns=end,
        host=source,
        src_ip=source,
        target=target,
        dest_ip=target,
        dest_port=port,
    )
    with Store(settings.store_url()) as store:
        store.write(store.begin_run(["eth0"], "0"), [finding])
    before = run(settings)
    assert before.left_out > 0
    assert before.confirmed == 0
    assert command(settings, "findings", "--json") == 0
    number = json.loads(capsys.readouterr().out)["id"]
    assert command(settings, "label", str(number), "confirmed") == 0
    after = run(settings)
    assert 0 < after.confirmed <= before.left_out
    assert after.left_out == before.left_out - after.confirmed
    assert command(settings, "label", str(number), "false_alarm") == 0
    assert run(settings).left_out == 0
    assert command(settings, "label", "999", "confirmed") == 1
    assert "no finding 999" in capsys.readouterr().err


def test_the_store_is_read_where_it_cannot_be_written(settings: Settings) -> None:
    """As in the trainer's container, whose volume of the agent is read-only."""
    need("root")
    with Store(settings.store_url()) as store:
        store.write(store.begin_run(["eth0"], "0"), [FINDING])
    code = (
        "import sys; from fortress.store.opinions import read_findings;"
        "print(len(read_findings(sys.argv[1], 0, 1 << 62)))"
    )
    folder, script = (
        settings.state_dir,
        'mount --bind "$0" "$0" && mount -o remount,ro,bind "$0" && exec "$@"',
    )
    found = subprocess.run(
        [
            "unshare",
            "-m",
            "sh",
            "-c",
            script,
            folder,
            sys.executable,
            "-c",
            code,
            settings.store_url(),
        ],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ},
    )
    assert found.stdout == "1\n"


def test_with_public_captures_the_gate_is_trained_anew(settings: Settings) -> None:
    need("shared")
    archived(settings, *(calm(day) for day in DAYS))
    done = run(replace(settings, trainer=Trainer(captures=SHARED)))
    assert done.outcome in ("published", "worse"), done.told
    assert "flows of public captures" in done.public
    if done.outcome == "published":
        recipe = registry(settings).load(NAME, done.version).recipe
        assert set(recipe.metrics["held_out"]["higher"]) == {
            "pr_auc_unseen_tools",
            "recall_unseen_tools",
        }


def test_without_the_folder_of_public_captures_it_goes_on(settings: Settings) -> None:
    archived(settings, *(calm(day) for day in DAYS))
    done = run(replace(settings, trainer=Trainer(captures=settings.state_dir / "nowhere")))
    assert done.outcome == "unchanged"
    assert "nowhere: no labels.tsv there" in done.public
    assert np.isfinite(done.threshold)
