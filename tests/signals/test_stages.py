"""What annotations call the stages."""

from __future__ import annotations

import pytest

from sleepfm_jax.signals import STAGES, UNSCORED, parse_stage


@pytest.mark.parametrize(
    ("stage", "texts"),
    [
        ("W", ["Sleep stage W", "W", "Wake|0", "sleep-wake", "SLEEP-S0", "Wake", "Stage W"]),
        (
            "N1",
            ["Sleep stage 1", "Sleep stage N1", "N1", "Stage 1 sleep|1", "SLEEP-S1", "sleep-n1"],
        ),
        ("N2", ["Sleep stage 2", "N2", "Stage 2 sleep|2", "NREM2", "sleep_stage_n2"]),
        ("N3", ["Sleep stage 3", "Sleep stage 4", "N3", "Stage 4 sleep|4", "Stage 3 sleep|3"]),
        ("REM", ["Sleep stage R", "R", "REM", "REM sleep|5", "SLEEP-REM", "sleep-rem", " rem "]),
        (None, ["Sleep stage ?", "?", "Movement time", "Unscored|9", "Sleep stage e", "MT"]),
    ],
)
def test_stage_texts(stage: str | None, texts: list[str]):
    expected = UNSCORED if stage is None else STAGES.index(stage)
    assert {text: parse_stage(text) for text in texts} == dict.fromkeys(texts, expected)


def test_other_annotations_name_no_stage():
    texts = ["Lights off", "1", "4", "S1", "T0", "Arousal", "Stage", "", "Hypopnea|Hypopnea"]
    texts += ["stage shift", "sleep apnea", "Recording starts", "Movement", "N", "x"]
    assert {text: parse_stage(text) for text in texts} == dict.fromkeys(texts)
