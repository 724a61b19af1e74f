"""What a row of nights holds: signals, lengths, and what is refused."""

from __future__ import annotations

import pytest

from sleepfm_jax import config as configuration
from sleepfm_jax.errors import ConfigError
from sleepfm_jax.signals import night_layout
from sleepfm_jax.signals.night_layout import NightLayout, from_config, samples_of

DATA = configuration.defaults()["data"]


def test_the_published_shapes_come_from_the_defaults():
    layout = from_config(DATA, ("THX", "ECG", "PPG", "ABD"))
    assert layout.signals == (("ABD", 256), ("ECG", 1024), ("PPG", 1024), ("THX", 256))
    assert (layout.sleep_epochs, layout.longest) == (1200, 1680)
    assert (layout.normalisation, layout.examples, layout.labels) == ("night", "nights", ())
    assert layout.names == night_layout.CARDIORESPIRATORY
    assert layout.sfreq("ECG") == 1024 / 30
    eyes = from_config(DATA, ("EOG-R", "EOG-L"), ("W", "N1", "N2", "N3", "REM"))
    assert eyes.signals == (("EOG-L", 4096), ("EOG-R", 4096)) and len(eyes.classes) == 5
    assert {layout: 1}[from_config(DATA, night_layout.CARDIORESPIRATORY)] == 1


def test_longer_training_rows_are_not_longer_than_the_longest():
    longer = from_config(DATA | {"night_hours": 16.0}, ("ECG",))
    assert (longer.sleep_epochs, longer.longest) == (1920, 1920)
    tiny = from_config(DATA | {"night_hours": 0.1}, ("ECG",), samples={"ECG": 64})
    assert (tiny.sleep_epochs, tiny.signals) == (12, (("ECG", 64),))


@pytest.mark.parametrize(
    "make,said",
    [
        (lambda: samples_of(["EKG"]), "no signal EKG"),
        (lambda: NightLayout(()), "one or more"),
        (lambda: NightLayout((("THX", 4), ("ABD", 4))), "alphabetically"),
        (lambda: NightLayout((("ECG", 0),)), "'ECG': 0"),
        (lambda: NightLayout((("EKG", 4),)), "'EKG'"),
        (lambda: NightLayout((("ECG", 4),), sleep_epochs=9, longest=8), "no more than the longest"),
        (lambda: NightLayout((("ECG", 4),), normalisation="z"), "'z'"),
    ],
)
def test_what_cannot_be_is_refused(make, said):
    with pytest.raises(ConfigError, match=said):
        make()


@pytest.mark.parametrize(
    "options,said",
    [
        ({"night_normalisation": "z"}, "night_normalisation is 'z'"),
        ({"nights_left_out": ("boring",)}, "unscored, no_n1_n3_rem"),
        ({"weights": (1.0, 2.0)}, "expected 1 numbers"),
        ({"weights": (0,)}, "above 0"),
        ({"night_hours": 0}, "more than 0"),
    ],
)
def test_a_configuration_of_nights_is_checked(options, said):
    config = configuration.defaults()
    configuration.check(config)
    with pytest.raises(ConfigError, match=said):
        configuration.check(config | {"data": config["data"] | options})
