"""Every model that ships says what it is worth, on what, and what was chosen with hindsight."""

import re
from dataclasses import replace

import pytest

from fortress.inference.shipped import PINS
from fortress.training.summary import QUESTIONS, Summary, at_a_glance
from tests.need import ROOT

MODELS = ROOT / "models"
NUMBERS = ("base rate", "PR-AUC", "recall at the shipped threshold", "latency", "size",
           "false positives on benign traffic, 95 %", "alerts a device and day, expected",
           "data of another origin", "by class")  # fmt: skip
SECTIONS = ("At a glance", "What it cannot do", "Hindsight", "Data", "Curves")
MOST_BYTES = 5_000_000  # of all models together


def card(name: str) -> str:
    return (MODELS / name / "card.md").read_text(encoding="utf-8")


def answers(name: str) -> dict[str, str]:
    """The rows of the card's first table."""
    text = card(name).split("## At a glance")[1].split("\n## ")[0]
    rows = [line.split("|")[1:3] for line in text.splitlines() if line.startswith("| ")]
    return {question.strip(): answer.strip() for question, answer in rows[2:]}


@pytest.mark.parametrize("name", PINS)
def test_every_card_answers_every_question(name: str) -> None:
    told = answers(name)
    assert tuple(told) == tuple(QUESTIONS.values())
    assert all(told.values())
    for question in NUMBERS:
        assert re.search(r"\d", told[question]), f"{question}: no number"
    assert re.search(r"`[0-9a-f]{64}`", told["data: origin, licence, digest"])
    for licence in ("GPL", "CC BY") if name != "flow-classifier" else ("GPL", "MIT"):
        assert licence in told["data: origin, licence, digest"]


@pytest.mark.parametrize("name", PINS)
@pytest.mark.parametrize("section", SECTIONS)
def test_every_card_has_every_section(name: str, section: str) -> None:
    assert f"\n## {section}\n" in card(name)


@pytest.mark.parametrize("name", PINS)
def test_every_picture_of_a_card_is_there_as_png_and_as_text(name: str) -> None:
    named = re.findall(r"\]\((figures/\w+)\.png\)", card(name))
    assert {"figures/precision_recall", "figures/roc"} <= {*named}
    for picture in named:
        assert (MODELS / name / f"{picture}.png").read_bytes().startswith(b"\x89PNG")
        assert (MODELS / name / f"{picture}.txt").read_text(encoding="utf-8") in card(name)


@pytest.mark.parametrize("name", ["flow-classifier", "threat-lstm"])
def test_classifiers_show_calibration_and_confusion(name: str) -> None:
    for picture in ("calibration", "confusion"):
        assert f"(figures/{picture}.png)" in card(name)


def test_what_was_chosen_on_held_out_scores_is_told() -> None:
    assert "from 12 to 20" in answers("host-anomaly")["hindsight"]
    assert "40 combinations" in answers("flow-classifier")["hindsight"]


def test_all_models_together_are_small() -> None:
    sizes = [path.stat().st_size for path in MODELS.rglob("*") if path.is_file()]
    assert sum(sizes) <= MOST_BYTES


def test_a_question_that_is_left_open_is_an_error() -> None:
    full = Summary(*(["1"] * len(QUESTIONS)))
    assert at_a_glance(full).count("\n| ") == len(QUESTIONS) + 2
    with pytest.raises(ValueError, match="weak spots"):
        at_a_glance(replace(full, weak_spots=" "))
