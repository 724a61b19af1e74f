"""What a label says is in the signal, where and when it says: with the finding and without it.

Each recording is rendered twice from the same draws, once with a finding that is drawn and then not
added: the difference is the finding alone.
"""

from __future__ import annotations

import numpy as np
import pytest

from sleepfm_jax.recordings.labels.intervals import TCP_MONTAGE
from sleepfm_jax.simulation.archives import twins
from sleepfm_jax.simulation.body import findings, waking
from sleepfm_jax.simulation.body.noise import generator

SFREQ = 128


def alone(render, silence) -> tuple[twins.Recording, np.ndarray]:
    """The recording that `render` gives, and what `silence` takes out of it, [C, T]."""
    whole = render()
    with pytest.MonkeyPatch.context() as patch:
        silence(patch)
        without = render()
    assert without.events == whole.events and without.label == whole.label
    return whole, whole.eeg - without.eeg


def nothing(drawn):
    return lambda *args, **kwargs: np.zeros_like(drawn(*args, **kwargs))


def test_slowing_makes_everybody_s_eeg_slower():
    def slow_to_alpha(person: int, slowing: float) -> float:
        who = twins.person(5, person)
        mood = waking.Mood(slowing=slowing)
        eeg = waking.render(generator(person, 1), who, twins.TUH, 20, SFREQ, mood)
        power = np.abs(np.fft.rfft(eeg)) ** 2
        theta, alpha = power[:, 4 * 20 : 8 * 20].sum(1), power[:, 8 * 20 : 13 * 20].sum(1)
        return float(np.log(theta / alpha).mean())

    for person in range(10):
        found = [slow_to_alpha(person, slowing) for slowing in (0.0, 0.3, 0.6, 0.9)]
        assert np.diff(found).min() > 0.03, person


def test_what_tuab_labels_is_the_grade_of_the_slowing():
    held = [twins.tuab(6, index, 0, 10, SFREQ, index % 2 == 1) for index in range(80)]
    true = np.array([one.true == "abnormal" for one in held])
    said = np.array([one.label == "abnormal" for one in held])
    grade = np.array([one.latent for one in held])
    tested = np.arange(80) % 2 == 1
    for part in (tested, ~tested):
        assert grade[part & true].min() > grade[part & ~true].max()
    assert 0.0 < np.mean(said != true) < 0.2
    assert np.mean(grade[said][:, None] > grade[~said]) > 0.8


def test_seizures_are_where_and_when_chb_mit_says():
    def silence(patch):
        patch.setattr(findings, "seizure", nothing(findings.seizure))

    seen = 0
    for index in range(16):
        whole, ictal = alone(
            lambda index=index: twins.chb_mit(2, index, index, 1, 60, SFREQ, rare=100.0), silence
        )
        real = [event for event in whole.events if event.true == "seizure"]
        inside = np.zeros(ictal.shape[1], bool)
        for event in real:
            inside[round(event.start * SFREQ) : round(event.stop * SFREQ)] = True
            early = ictal[:, round(event.start * SFREQ) :][:, : 8 * SFREQ].std(1)
            assert whole.sites[early.argmax()] == twins.person(2, index, 4).focus
            assert early.max() > 8.0  # uV
        assert not ictal[:, ~inside].any()
        seen += len(real)
    assert seen >= 5


def test_each_event_of_tuev_is_what_it_is_called():
    def silence(patch):
        event = twins._tuev_event
        patch.setattr(
            twins, "_tuev_event", lambda rng, eeg, *rest: event(rng, np.zeros_like(eeg), *rest)
        )

    across, ahead, _ = findings.place(twins.TUH).T
    left, right, front, back = across < -0.1, across > 0.1, ahead > 0.8, ahead < -0.2
    seen, artefacts = set(), []
    for index in range(24):
        whole, found = alone(
            lambda index=index: twins.tuev(4, index, 40, SFREQ, rare=15.0), silence
        )
        for event in whole.events:
            lo = round(event.start * SFREQ)
            here = found[:, max(0, lo - SFREQ) : lo + 2 * SFREQ]
            if event.true == "bckg":
                assert not here.any()
                continue
            seen.add(event.true)
            level = np.sqrt((here**2).mean(1))
            if event.true == "artf":  # cables rest now and then, for this second too
                artefacts.append(level.max() > 1.0)
                continue
            assert level.max() > 3.0, event
            peak = np.abs(here[level.argmax()]).argmax() + max(0, lo - SFREQ)
            if event.true == "eyem":
                assert level[front].min() > 3 * level[back].max()
            if event.true == "spsw":
                electrode = TCP_MONTAGE[event.channel].split("-")[0]
                assert twins.TUH[level.argmax()] == twins.TUH_SITES[electrode]
            if event.true in ("pled", "gped"):
                sides = sorted((level[left].max(), level[right].max()))
                one_sided = sides[0] < 0.6 * sides[1]
                assert one_sided == (event.true == "pled"), (event, sides)
            assert event.start - 0.1 < peak / SFREQ < event.stop + 0.4, event
    assert seen == {"spsw", "gped", "pled", "eyem", "artf"}
    assert np.mean(artefacts) > 0.9


def test_rhythms_of_tusl_are_in_their_event_and_only_seizures_evolve():
    def silence(patch):
        for name, drawn in twins._RHYTHMS.items():
            patch.setitem(twins._RHYTHMS, name, nothing(drawn))

    slows = {name: [] for name in twins._RHYTHMS}
    for index in range(24):
        whole, found = alone(lambda index=index: twins.tusl(4, index, 30, SFREQ, rare=5.0), silence)
        for event in whole.events:
            here = found[:, round(event.start * SFREQ) : round(event.stop * SFREQ)]
            assert here.any() == (event.true in slows)
            if event.true in slows:
                loudest = here[here.std(1).argmax()]
                # crossings of zero in the first and in the last third
                cross = [np.diff(np.sign(part)).astype(bool).sum()
                         for part in np.array_split(loudest, 3)]  # fmt: skip
                slows[event.true].append(np.log(cross[0] / cross[2]))
    medians = {name: np.median(found) for name, found in slows.items()}
    assert min(map(len, slows.values())) >= 5
    assert medians["seizure"] > np.log(1.5)
    assert max(abs(medians["slowing"]), abs(medians["complex_background"])) < np.log(1.35)


def test_only_the_abnormal_of_braincapture_have_spikes_at_their_focus():
    spike = findings.spike_wave

    def silence(patch):
        patch.setattr(findings, "spike_wave", nothing(spike))
        # an electrode's pop is made of one too, and stays
        patch.setattr(
            findings,
            "pop",
            lambda rng, sfreq: rng.choice([-1.0, 1.0]).astype(np.float32) * spike(rng, sfreq)[::-1],
        )

    counts = {"normal": [], "abnormal": []}
    for index in range(16):
        whole, found = alone(lambda index=index: twins.braincapture(4, index, 60, SFREQ), silence)
        level = np.abs(found).max(1)
        counts[whole.true].append(int((level > 0).any()))
        if whole.true == "abnormal":
            assert whole.sites[level.argmax()] == twins.person(4, index, 5).focus
            assert level.max() > 60.0
    assert counts["abnormal"] and set(counts["abnormal"]) == {1}
    assert counts["normal"] and set(counts["normal"]) == {0}
