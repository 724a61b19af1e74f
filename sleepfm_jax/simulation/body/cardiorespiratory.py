"""Simulated ECG, EMG, breathing and oximetry channels: hidden state in, physical units out."""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from sleepfm_jax.simulation.body import conduction
from sleepfm_jax.simulation.body import noise as sn
from sleepfm_jax.simulation.body.eeg import add_interference
from sleepfm_jax.simulation.body.pathology import HEALTHY, Pathology
from sleepfm_jax.simulation.body.physiology import Night
from sleepfm_jax.simulation.body.traits import SubjectTraits

_TABLE_SFREQ = 4000  # of the beat's template; fine enough that the nearest sample will do
_TABLE_LEVELS = 12  # heart rates the template is drawn for
_BEFORE = 0.32  # s of the template before the R peak

# log chin tone (W, N1, N2, N3, REM) at contrast 1, relative to N2
_TONE = (1.7, 0.8, 0.0, -0.6, -1.9)

#: Gaussian parts of a beat: (centre s at 60/min, width s, height as a share of R); P moves with the
#: rate, T stretches.
_WAVES = (
    (-0.17, 0.022, 0.11),
    (-0.027, 0.009, -0.10),
    (0.0, 0.011, 1.0),
    (0.03, 0.010, -0.22),
    (0.29, 0.050, 0.26),
)


def beat_table(heights: np.ndarray, wide: bool = False) -> np.ndarray:
    """One beat at `_TABLE_LEVELS` R-R intervals (0.4-1.5 s), float32 [levels, L]; R at
    `_BEFORE`.
    """
    tau = np.arange(int(1.9 * _TABLE_SFREQ)) / _TABLE_SFREQ - _BEFORE
    table = []
    for rr in np.linspace(0.4, 1.5, _TABLE_LEVELS):
        stretch = np.sqrt(rr)
        beat = np.zeros_like(tau)
        for wave, (centre, width, height) in enumerate(_WAVES):
            if wave == 4:
                centre, width = centre * stretch, width * stretch
            if wide:  # a ventricular beat: no P, broad QRS, T the other way
                width, height = 2.8 * width, (0.0, -0.2, 1.3, -1.0, -1.2)[wave] * abs(height)
            beat += heights[wave] * height * np.exp(-0.5 * ((tau - centre) / width) ** 2)
        table.append(beat)
    return np.asarray(table, np.float32)


def beats_wave(
    beats: np.ndarray,
    table: np.ndarray,
    gains: np.ndarray,
    variant: np.ndarray,
    sfreq: float,
    samples: int,
    before: float = _BEFORE,
) -> np.ndarray:
    """Lay one template a beat along the time axis, float32 [samples].

    Args:
      beats: R peaks in seconds, [N].
      table: [variants, levels, L], from `beat_table`.
      gains: amplitude of each beat, [N].
      variant: which template each beat takes, int [N].
      before: s of the template before the R peak.
    """
    rr = np.diff(beats, append=2 * beats[-1] - beats[-2])
    edges = np.clip(np.ceil((beats - before) * sfreq).astype(np.int64), 0, samples)
    counts = np.diff(edges, append=samples)
    level = np.clip(np.round((rr - 0.4) / 1.1 * (_TABLE_LEVELS - 1)), 0, _TABLE_LEVELS - 1).astype(
        int
    )
    length = table.shape[-1]
    offset = (
        edges / sfreq - beats + before
    ) * _TABLE_SFREQ  # template position of the first sample
    row = (variant * _TABLE_LEVELS + level) * length
    place = (np.arange(edges[0], samples) - np.repeat(edges, counts)).astype(np.float32)
    place *= np.float32(_TABLE_SFREQ / sfreq)
    place += np.repeat(offset.astype(np.float32), counts)
    index = np.minimum(place.astype(np.int32), length - 1)
    index += np.repeat(row.astype(np.int32), counts)
    wave = table.reshape(-1)[index]
    wave *= np.repeat(gains.astype(np.float32), counts)
    return np.concatenate([np.zeros(edges[0], np.float32), wave])


def beats_of(night: Night, pathology: Pathology) -> conduction.Beats:
    """The beats of a night (s) with someone's fibrillation and ectopy.

    A function of the two alone: signals that show the same fibrillation have the same beats; those
    that do not have nothing of its disorder in common.
    """
    if pathology.fibrillation == 0.0 and pathology.ectopy == 0.0:
        return conduction.Beats(night.beats, night.ectopic, np.zeros(len(night.beats), bool))
    told = np.array([pathology.fibrillation, pathology.ectopy, night.beats[0], night.start])
    rng = sn.generator(*map(int, told.view(np.uint32)))
    size = len(night.effort)
    where = conduction.in_fibrillation(rng, pathology.fibrillation, size)
    sinus = conduction.sinus_of(night.beats, night.ectopic)
    ectopy = max(pathology.ectopy, float(night.ectopic.mean()))
    return conduction.rhythm(
        rng, sinus, where, ectopy, spread=rng.uniform(0.13, 0.24), early=rng.uniform(0.25, 0.4)
    )


class Heart:
    """One night's ECG in mV, without noise; drawn once for each sampling rate that asks."""

    def __init__(
        self,
        rng: np.random.Generator,
        traits: SubjectTraits,
        night: Night,
        *,
        pathology: Pathology = HEALTHY,
    ):
        heights = np.exp(traits.ecg_morphology)
        self._night = night
        self.pathology = pathology
        self.beats = beats_of(night, pathology)
        index = np.clip((self.beats.seconds * sn.STATE_SFREQ).astype(int), 0, len(night.effort) - 1)
        # the electrical axis turns a little with each breath and with each change of posture
        breath = 0.12 * night.effort[index] * np.sin(2 * np.pi * (night.breath[index] - 0.08))
        posture = 0.12 * rng.standard_normal(int(night.posture.max()) + 1)[night.posture[index]]
        beat = 0.02 * rng.standard_normal(len(index))
        self._gains = traits.ecg_amplitude * np.exp(posture + breath + beat)
        self._waves: dict[int, np.ndarray] = {}
        if pathology == HEALTHY:
            self._table = np.stack([beat_table(heights), beat_table(heights, wide=True)])
        else:
            lead = np.asarray(conduction.SLEEP_LEAD) + 0.12 * rng.standard_normal(3)
            late = np.exp(0.25 * rng.standard_normal())
            parts = conduction.waves(pathology, heights, None, late, conduction.draw_habit(rng))
            variants = [parts, conduction.ventricular(parts)]
            self._p = conduction.p_table(parts, lead[None])[0]
            self._qrst = conduction.qrst_table(variants, lead[None])[0]
            self._atrium = traits.ecg_amplitude * float(np.exp(0.3 * rng.standard_normal()))
            self._flutter = int(rng.integers(2**31))

    def wave(self, sfreq: int) -> np.ndarray:
        if sfreq not in self._waves:
            healthy = self.pathology == HEALTHY
            self._waves[sfreq] = self._healthy(sfreq) if healthy else self._diseased(sfreq)
        return self._waves[sfreq]

    def _healthy(self, sfreq: int) -> np.ndarray:
        samples = round(self._night.seconds * sfreq)
        variant = self.beats.premature.astype(int)
        return beats_wave(self.beats.seconds, self._table, self._gains, variant, sfreq, samples)

    def _diseased(self, sfreq: int) -> np.ndarray:
        samples = round(self._night.seconds * sfreq)
        beats, premature, fibrillating = self.beats
        out = beats_wave(
            beats, self._qrst, self._gains, premature.astype(int), sfreq, samples, conduction.BEFORE
        )
        without = (premature | fibrillating).astype(int)
        out += beats_wave(beats, self._p, self._gains, without, sfreq, samples, conduction.P_BEFORE)
        if fibrillating.any():
            rng = sn.generator(self._flutter)  # the same at every sampling rate
            times = np.arange(len(self._night.effort)) / sn.STATE_SFREQ
            level = np.interp(times, beats, fibrillating)
            curve = conduction.fibrillatory(rng, samples, sfreq)
            curve *= sn.upsample(level, sfreq, samples)
            out += np.float32(0.035 * self._atrium) * curve
        return out


def render_ecg(rng: np.random.Generator, night: Night, heart: Heart, sfreq: int) -> np.ndarray:
    """ECG in mV: beats, baseline moved by breath and body, muscle, mains. float32 [T]."""
    out = heart.wave(sfreq) * np.float32(-1.0 if rng.random() < 0.08 else 1.0)  # swapped electrodes
    size = len(night.effort)
    baseline = 0.10 * night.effort * np.sin(2 * np.pi * (night.breath - rng.uniform(0.0, 0.2)))
    baseline = baseline * np.exp(0.4 * rng.standard_normal()) + 0.05 * sn.wander(rng, size, 4.0)
    baseline = baseline + 1.2 * night.movement * sn.wander(rng, size, 0.5)
    out += sn.upsample(baseline, sfreq, len(out))
    # the muscles under the electrodes relax with the rest of the body
    tone = np.exp(0.6 * (np.asarray(_TONE, np.float32) @ night.weights))
    tension = 0.015 * tone + 0.15 * night.movement + 0.03 * night.arousal
    out += sn.upsample(tension, sfreq, len(out)) * sn.fir_noise(rng, len(out), (1.0, 0.0, -1.0))
    add_interference(rng, out, sfreq, int(rng.choice([50, 60])), 0.004)
    return out


def render_emg(
    rng: np.random.Generator,
    traits: SubjectTraits,
    night: Night,
    heart: Heart,
    kind: str,
    sfreq: int,
) -> np.ndarray:
    """Chin or leg EMG in uV. float32 [T]."""
    weights = night.weights
    size = weights.shape[1]
    tone = traits.tone_contrast * (np.asarray(_TONE, np.float32) @ weights)
    tone = tone + 0.18 * sn.wander(rng, size, 200.0) + 0.12 * sn.wander(rng, size, 3.0)
    if kind == "chin":
        base = traits.chin_tone
        twitches = sn.events(rng, 3600.0 * 0.15 * night.phasic)
        twitch = sn.bumps(size, twitches, rng.uniform(0.1, 0.4, len(twitches)), 1.2, 0.1)
        snore = 0.5 * night.snore * np.maximum(0.0, np.sin(2 * np.pi * night.breath))
        burst = 1.3 * night.arousal + 1.8 * night.movement + twitch + snore
    else:
        base, tone = 2.5, 0.7 * tone
        own = rng.random(1 + int(night.posture.max()))[
            night.posture
        ]  # which leg moves depends on posture
        burst = 3.0 * night.leg_movement * (0.4 + 0.6 * own) + 0.4 * night.arousal
    level = np.minimum(base * np.exp(tone + burst + 0.3 * rng.standard_normal()), 400.0)
    samples = round(night.seconds * sfreq)
    out = sn.upsample(level, sfreq, samples) * sn.fir_noise(rng, samples, (1.0, 0.0, -1.0))
    out += np.float32(rng.normal(0.0, 6.0 if kind == "chin" else 12.0)) * heart.wave(sfreq)
    add_interference(rng, out, sfreq, int(rng.choice([50, 60])))
    return out


def _inspiration(phase: np.ndarray) -> np.ndarray:
    """Lung volume over one cycle: quick in (40 %), slower out; zero mean, about -1..1."""
    fraction = phase - np.floor(phase)
    angle = np.where(fraction < 0.4, fraction / 0.4 * np.pi, np.pi + (fraction - 0.4) / 0.6 * np.pi)
    return -np.cos(angle)


def render_breathing(
    rng: np.random.Generator, traits: SubjectTraits, night: Night, kind: str, sfreq: int
) -> np.ndarray:
    """Belts, airflow, nasal pressure, snore: about unit amplitude. Saturation: per cent."""
    size = len(night.effort)
    samples = round(night.seconds * sfreq)
    if kind == "oxygen":
        grid = np.minimum((np.arange(samples) * sn.STATE_SFREQ / sfreq).astype(int), size - 1)
        lost = sn.bumps(size, *_lost_contact(rng, night), 1.0, 0.2)[grid] > 0.5
        step = 1.0 if traits.age > 50 else 0.1  # oximeters round differently
        return np.where(lost, 0.0, np.round(night.oxygen[grid] / step) * step).astype(np.float32)
    phase = np.interp(np.arange(samples) / sfreq, np.arange(size) / sn.STATE_SFREQ, night.breath)

    def up(curve: np.ndarray) -> np.ndarray:
        return np.interp(np.arange(samples) / sfreq, np.arange(size) / sn.STATE_SFREQ, curve)

    posture = np.exp(0.25 * rng.standard_normal(int(night.posture.max()) + 1))[night.posture]
    artefact = 2.0 * night.movement * sn.wander(rng, size, 1.0) + 0.05 * sn.wander(rng, size, 20.0)
    if kind in ("thorax", "abdomen"):
        sign = 1.0 if kind == "thorax" else -1.0
        share = 0.5 + sign * (traits.thoracic_share - 0.5)
        rem = 1.0 - 0.35 * sign * night.weights[4]  # the rib cage goes slack in REM
        # against a closed airway chest and abdomen move against each other
        lag = (0.04 + 0.42 * night.obstruction) * (0.0 if kind == "thorax" else 1.0)
        out = up(2.0 * share * night.effort * rem * posture) * _inspiration(phase - up(lag))
        out += up(artefact)
    elif kind in ("airflow", "nasal"):
        speed = np.sin(2 * np.pi * (phase - 0.03)) + 0.25 * np.sin(4 * np.pi * phase)
        flow = up(night.ventilation * (0.7 + 0.3 * posture)) * speed
        if (
            kind == "nasal"
        ):  # pressure goes with the square of flow; a narrow airway flattens the top
            limit = 1.0 - 0.5 * up(np.clip(night.obstruction + 0.4 * night.snore, 0.0, 1.0))
            flow = np.minimum(np.sign(flow) * np.abs(flow) ** 1.6, limit)
        out = flow + 0.3 * up(artefact)
    else:
        gate = np.maximum(0.0, np.sin(2 * np.pi * phase)) ** 2
        out = up(night.snore) * gate * 2.0 * sn.fir_noise(rng, samples, (1.0, 0.4, -0.6))
        out += 0.5 * up(night.movement) * sn.noise(rng, samples)
    out += rng.uniform(0.01, 0.06) * sn.noise(rng, samples)
    return out.astype(np.float32)


def _lost_contact(rng: np.random.Generator, night: Night) -> tuple[np.ndarray, np.ndarray]:
    onsets = sn.events(rng, 2.0 * night.movement)
    return onsets, rng.uniform(3.0, 20.0, len(onsets))


def render_pleth(
    rng: np.random.Generator,
    traits: SubjectTraits,
    night: Night,
    sfreq: int,
    *,
    pathology: Pathology = HEALTHY,
) -> np.ndarray:
    """Finger pulse wave, about unit amplitude; each beat comes one transit time after R.

    A beat throws out what came in since the one before, so an irregular heart has an irregular
    pulse; the left ventricle that is late (left bundle) makes the pulse late.
    """
    heart = beats_of(night, pathology)
    index = np.clip((heart.seconds * sn.STATE_SFREQ).astype(int), 0, len(night.effort) - 1)
    # vessels narrow after an arousal, and a breath changes the filling
    squeeze = ndimage.gaussian_filter1d(night.arousal, 2.0 * sn.STATE_SFREQ)[
        np.maximum(index - 8, 0)
    ]
    breath = np.sin(2 * np.pi * night.breath[index])
    gains = np.exp(-0.8 * squeeze + 0.06 * night.effort[index] * breath) * np.where(
        heart.premature, 0.4, 1.0
    )
    transit = np.full(len(index), traits.transit_seconds)
    if pathology != HEALTHY:
        rr = np.diff(heart.seconds, prepend=heart.seconds[0] - 1.0)
        usual = ndimage.uniform_filter1d(rr, 25, mode="nearest")
        filled = np.where(heart.fibrillating, np.clip(rr / usual, 0.3, 1.8), 1.0)
        gains = gains * np.clip(2.0 * filled - 1.0, 0.1, 2.0)
        transit = transit + 0.02 * (1.0 - filled)
        if pathology.bundle == "left":
            transit = transit + 1.1 * (pathology.qrs - HEALTHY.qrs)
    tau = np.arange(int(1.9 * _TABLE_SFREQ)) / _TABLE_SFREQ
    table = []
    for rr in np.linspace(0.4, 1.5, _TABLE_LEVELS):
        stretch = np.sqrt(rr)
        wave = np.exp(-0.5 * ((tau - 0.20) / (0.07 * stretch)) ** 2)
        wave += 0.4 * np.exp(-0.5 * ((tau - 0.20 - 0.23 * stretch) / (0.10 * stretch)) ** 2)
        table.append(wave)
    samples = round(night.seconds * sfreq)
    beats = heart.seconds + transit + _BEFORE
    out = beats_wave(
        beats, np.asarray(table, np.float32)[None], gains, np.zeros(len(beats), int), sfreq, samples
    )
    size = len(night.effort)
    baseline = 0.10 * night.effort * np.sin(2 * np.pi * (night.breath - 0.1)) + 0.1 * sn.wander(
        rng, size, 10.0
    )
    baseline = baseline + 1.5 * night.movement * sn.wander(rng, size, 0.6) - 0.3
    out += sn.upsample(baseline, sfreq, samples)
    out += np.float32(0.01) * sn.noise(rng, samples)
    return out
