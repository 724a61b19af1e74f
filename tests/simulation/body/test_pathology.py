"""Sleepers with pathology: what is coupled, what stays as it is, and that health is as before."""

from __future__ import annotations

import json

import edfio
import numpy as np
import pytest
from scipy import signal, stats

from sleepfm_jax.errors import SimulationError
from sleepfm_jax.simulation import cohorts, sleepers
from sleepfm_jax.simulation.body import eeg, pathology, physiology
from sleepfm_jax.simulation.body.noise import generator
from sleepfm_jax.simulation.body.pathology import Pathology
from sleepfm_jax.simulation.body.traits import draw_subject
from sleepfm_jax.simulation.montage import ChannelPlan

SEED = 3
WELL = Pathology(course=1)  # rendered like the others: nothing is wrong
SHARED = ("vigilance", "autonomic", "slowing", "fibrillation", "pr", "qrs")
BEFORE = (
    (314, 1003, 9792, -391),
    (-1803, -480, 5243, -5920),
    (-4416, -5676, 3904, -442),
    (-3401, -3813, 10060, -885),
    (-3661, 452, 2997, -3624),
    (-95, 8661, 3153, -1958),
    (-2334, -9594, 3142, -3125),
    (-1836, 771, 257, 304),
    (126, 1258, 782, 609),
    (5581, -286, -9700, -5248),
    (4014, -146, -6020, -5893),
    (-5894, -3635, 3973, 11868),
    (-7509, -3521, 4121, 7015),
    (590, -110, 619, -503),
    (31784, 31784, 31784, 31784),
    (-3261, -4217, -2458, -2459),
    (-3692, -1730, 708, -45),
    (-80, -37, -31, 119),
)  # fmt: skip


def _column(latents, side, name):
    return np.array([getattr(getattr(both, side), name) for both in latents])


@pytest.mark.parametrize("coupling", [0.0, 0.5, 1.0])
def test_other_modalities_share_as_much_as_the_coupling_says(coupling):
    latents = [sleepers.draw_latents(SEED, i, coupling) for i in range(1500)]
    for name in SHARED:
        own, seen = _column(latents, "own", name), _column(latents, "seen", name)
        assert np.corrcoef(own, seen)[0, 1] == pytest.approx(coupling, abs=0.12), name
        assert stats.ks_2samp(own, seen).pvalue > 0.001, name  # each by itself stays as it is
    focus = [np.mean(_column(latents, side, "focus") != "") for side in ("own", "seen")]
    assert focus[0] == pytest.approx(focus[1], abs=0.03)
    if coupling == 1.0:
        assert all(both.own == both.seen for both in latents)
    # what the EEG alone has is never a stranger's
    assert all(b.own.side == b.seen.side and b.own.lesion == b.seen.lesion for b in latents)


def test_what_the_heart_shows_of_slowing_is_by_the_coupling_and_a_little_by_age():
    found = {}
    for coupling in (0.0, 1.0):
        own, heart = [], []
        for index in range(1000):
            latents = sleepers.draw_latents(SEED, index, coupling)
            healthy = draw_subject(generator(sleepers.KEY, SEED, index, 0))
            traits = pathology.beside_the_eeg(healthy, latents.seen, latents.own)
            own.append(latents.own.slowing)
            heart.append(np.log(traits.heart_variability))
        found[coupling] = np.corrcoef(own, heart)[0, 1]
    assert found[1.0] < -0.5
    assert -0.2 < found[0.0] < 0.1  # age slows the one and stills the other, whatever the coupling


@pytest.mark.parametrize("sign", [-1.0, 1.0])
def test_the_worst_off_have_signals_that_can_be_written(sign):
    """Four standard deviations from the middle, and more slowing than anybody draws."""
    ill = Pathology(
        vigilance=4 * sign, autonomic=-4 * sign, slowing=2.5, course=5, lesion=1.0, side=1,
        focus="C3", seizures=tuple(np.arange(0.0, 28800.0, 130.0)), fibrillation=1.0, ectopy=0.3,
        pr=0.32, qrs=0.16, bundle="left",
    )  # fmt: skip
    both = sleepers.Latents(ill, ill)
    for index in range(3):
        traits, night, montage = sleepers.simulate_subject(SEED, index, 0.05, both)
        for channel in sleepers.render_psg(SEED, index, traits, night, montage, both):
            assert np.ptp(channel.digital.astype(int)) > 0, channel.label
            for limit in channel.physical_range:
                assert len(f"{limit:g}") <= 8, (channel.label, limit)
                assert abs(limit) < 1e5, (channel.label, limit)


def test_own_latents_do_not_depend_on_the_coupling():
    for index in range(30):
        assert (
            sleepers.draw_latents(SEED, index, 0.0).own
            == sleepers.draw_latents(SEED, index, 1.0).own
        )


def test_a_cohort_without_pathology_is_what_it_was(tmp_path):
    """Samples of a recording as they were before there was any pathology."""
    cohorts.write_psg_cohort(tmp_path / "c", subjects=1, hours=0.05, seed=SEED)
    told = json.loads((tmp_path / "c" / "simulation.json").read_text())
    assert told == {"dataset": "simulated_psg", "hours": 0.05, "seed": SEED, "version": 1}
    found = edfio.read_edf(tmp_path / "c" / "sim00000.edf")
    for part, wanted in zip(found.signals, BEFORE, strict=True):
        samples = part.digital[:: len(part.digital) // 4]
        # another processor may round a sample otherwise
        np.testing.assert_allclose(samples[:4], wanted, atol=2, err_msg=part.label)


def test_a_cohort_with_pathology_says_so(tmp_path):
    cohorts.write_psg_cohort(tmp_path / "c", subjects=1, hours=0.05, seed=SEED, coupling=0.5)
    told = json.loads((tmp_path / "c" / "simulation.json").read_text())
    assert (told["pathology"], told["coupling"]) == (pathology.VERSION, 0.5)
    with pytest.raises(SimulationError, match="another simulation"):
        cohorts.write_psg_cohort(tmp_path / "c", subjects=1, hours=0.05, seed=SEED, coupling=1.0)
    with pytest.raises(SimulationError, match="coupling=2"):
        cohorts.write_psg_cohort(tmp_path / "d", subjects=1, hours=0.05, coupling=2.0)


def _waves(own: Pathology, sites=("C3", "C4", "O1", "O2"), hours=2.0):
    latents = sleepers.Latents(own, own)
    traits, night, _ = sleepers.simulate_subject(SEED, 1, hours, latents)
    plans = [ChannelPlan(site, "eeg", 128, "uV", site) for site in sites]
    cardiac = np.zeros(round(night.seconds * 128), np.float32)
    return np.stack(eeg.render((1, 2), traits, night, plans, cardiac, pathology=own)), night


def _power(waves, low, high):
    frequencies, power = signal.welch(waves, 128, nperseg=512)
    return np.log(power[..., (frequencies >= low) & (frequencies < high)].sum(-1))


def test_slowing_shows_in_the_eeg_and_in_the_heart():
    ill = Pathology(slowing=1.0, course=5)
    (plain, before), (slowed, after) = _waves(WELL), _waves(ill)
    assert (_power(slowed, 4, 8) - _power(plain, 4, 8)).mean() > 0.4
    assert (_power(slowed, 12, 15) - _power(plain, 12, 15)).mean() < -0.2  # spindles

    def variability(night):
        return np.diff(np.log(np.diff(night.beats[~night.ectopic]))).std()

    assert variability(after) < 0.7 * variability(before)


def test_a_lesion_is_on_its_side():
    (plain, _), (ill, _) = _waves(WELL), _waves(Pathology(lesion=1.0, side=1))
    slower = (_power(ill, 1, 7) - _power(ill, 9, 12)) - (_power(plain, 1, 7) - _power(plain, 9, 12))
    assert slower[1] + slower[3] > slower[0] + slower[2] + 0.3


def test_a_heart_races_in_seizures():
    ill = Pathology(focus="C3", seizures=tuple(np.arange(300.0, 28800.0, 400.0)))
    (plain, before), (ictal, after) = _waves(WELL), _waves(ill)
    within = pathology.ictal_course(ill, len(after.heart_rate), after.start) > 0.5
    assert 0.05 < within.mean() < 0.2
    ratio = after.heart_rate / before.heart_rate
    assert ratio[within].mean() > 1.2
    assert np.median(ratio[~within]) < 1.1
    at = np.repeat(within, 32)[: ictal.shape[1]]
    assert ictal[0, at].std() > 1.3 * plain[0, at].std()
    # the seizure is where the recording is cut, too
    cut = physiology.cut(after, 60, 60)
    assert cut.start == after.start + 1800.0
    np.testing.assert_array_equal(
        pathology.ictal_course(ill, 7200, cut.start) > 0.5, within[7200:14400]
    )


def test_the_eeg_looks_the_same_whatever_others_show_of_it():
    own, seen = Pathology(slowing=0.8, course=5), Pathology(vigilance=2.0)
    montage = [ChannelPlan("C3", "eeg", 128, "uV", "C3")]
    cardiac = np.zeros(128 * 360, np.float32)
    waves = []
    for latents in (sleepers.Latents(own, own), sleepers.Latents(own, seen)):
        traits, night, _ = sleepers.simulate_subject(SEED, 1, 0.1, latents)
        (wave,) = eeg.render((1, 2), traits, night, montage, cardiac, pathology=own)
        waves.append(wave)
    np.testing.assert_array_equal(*waves)
