"""Hidden state of one simulated night: what every channel of the recording has in common.

All of it lives on one 4-Hz grid: stage weights, arousals, movements, eyes, breathing and its
failures, oxygen, heart
rate. Channels (synthetic_eeg, synthetic_body) only ever read this state, so what two modalities
share is physiology:
the same breath moves the belts, the airflow, the R-R interval and the R amplitude; the same arousal
speeds the heart, tenses the chin and flattens the EEG.
"""

from __future__ import annotations

import dataclasses

import numpy as np
from scipy import ndimage, signal

from sleepfm_jax.signals import SLEEP_EPOCH_SECONDS, STAGES
from sleepfm_jax.simulation.body.noise import (
    STATE_SFREQ,
    bumps,
    events,
    resonance,
    sigmoid,
    wander,
)
from sleepfm_jax.simulation.body.pathology import HEALTHY, Pathology, ictal_course
from sleepfm_jax.simulation.body.sleep import N1, N2, N3, REM, W
from sleepfm_jax.simulation.body.traits import SubjectTraits

STATES_PER_EPOCH = SLEEP_EPOCH_SECONDS * STATE_SFREQ


@dataclasses.dataclass
class Night:
    """Hidden state; every curve is float32 [T] on the state grid unless said otherwise."""

    stages: np.ndarray  # int8 [E], what a scorer would write
    weights: np.ndarray  # [5, T], mixture of stages the body is in, sums to one
    arousal: np.ndarray  # 0..1
    movement: np.ndarray  # 0..1, whole body
    leg_movement: np.ndarray  # 0..1
    posture: np.ndarray  # int32, counts up with each turn of the body
    eyes_open: np.ndarray  # 0..1
    phasic: np.ndarray  # 0..1, bursts of rapid eye movements
    breath: np.ndarray  # float64, phase in cycles (inspiration starts at integers)
    effort: np.ndarray  # amplitude of the respiratory effort, 1 = quiet breathing
    ventilation: np.ndarray  # amplitude of the airflow
    obstruction: np.ndarray  # 0..1, closed upper airway
    snore: np.ndarray  # 0..1
    oxygen: np.ndarray  # saturation, per cent
    heart_rate: np.ndarray  # beats a minute
    beats: np.ndarray  # float64 [N], seconds from the start
    ectopic: np.ndarray  # bool [N]
    apnoeas: np.ndarray  # float64 [A, 2], onset and duration in seconds (hypopnoeas included)
    start: float = 0.0  # s of the whole night before this part of it

    @property
    def seconds(self) -> float:
        return self.weights.shape[1] / STATE_SFREQ


def simulate_night(
    rng: np.random.Generator,
    traits: SubjectTraits,
    stages: np.ndarray,
    pathology: Pathology = HEALTHY,
) -> Night:
    """Hidden state of a whole night with the given scored stages (int8 [E]).

    `pathology`: what heart and breath show; the traits already have what does not change with time.
    """
    size = len(stages) * STATES_PER_EPOCH
    weights = _stage_weights(rng, traits, stages)
    breathing = _breathing_events(rng, traits, weights)
    movement, arousal, leg, posture = _arousals(rng, traits, weights, breathing["ends"])
    # an arousal is a short visit to wake, whoever caused it
    push = 0.85 * np.maximum(arousal, movement)
    weights *= 1.0 - push
    weights[W] += push
    eyes_open = (weights[W] * sigmoid(2.5 * wander(rng, size, 40.0) - 0.3)).astype(np.float32)
    phasic = (weights[REM] * sigmoid(3.0 * (wander(rng, size, 20.0) - 0.4))).astype(np.float32)
    breath, effort, ventilation = _breathing(rng, traits, weights, arousal, phasic, breathing)
    oxygen = _oxygen(rng, traits, ventilation, breathing)
    heart_rate = _heart_rate(rng, traits, weights, arousal, phasic, breath, effort, breathing)
    if pathology.seizures:
        heart_rate = _racing(pathology, heart_rate)
    beats, ectopic = _beats(rng, traits, heart_rate)
    slow_snore = sigmoid(2.0 * wander(rng, size, 400.0) + 4.0 * traits.snoring - 3.0)
    snore = traits.snoring * slow_snore * (1.0 - weights[W]) * (1.0 - 0.6 * weights[REM])
    snore = snore * np.clip(ventilation, 0.0, 1.5)
    return Night(
        stages=np.asarray(stages, np.int8),
        weights=weights,
        arousal=arousal,
        movement=movement,
        leg_movement=leg,
        posture=posture,
        eyes_open=eyes_open,
        phasic=phasic,
        breath=breath,
        effort=effort,
        ventilation=ventilation,
        obstruction=breathing["obstruction"],
        snore=snore.astype(np.float32),
        oxygen=oxygen,
        heart_rate=heart_rate,
        beats=beats,
        ectopic=ectopic,
        apnoeas=breathing["spans"],
    )


def cut(night: Night, first_epoch: int, epochs: int) -> Night:
    """The part of a night from `first_epoch` on, `epochs` long; times count from the new start."""
    a, b = first_epoch * STATES_PER_EPOCH, (first_epoch + epochs) * STATES_PER_EPOCH
    values = {}
    for field in dataclasses.fields(night):
        value = getattr(night, field.name)
        if field.name not in ("stages", "beats", "ectopic", "apnoeas", "start"):
            values[field.name] = np.ascontiguousarray(value[..., a:b])
    start = a / STATE_SFREQ
    # beats a little outside keep the first and last P and T waves whole
    near = (night.beats > start - 2.0) & (night.beats < b / STATE_SFREQ + 2.0)
    inside = (night.apnoeas[:, 0] >= start) & (night.apnoeas[:, 0] < b / STATE_SFREQ)
    return Night(
        stages=night.stages[first_epoch : first_epoch + epochs],
        beats=night.beats[near] - start,
        ectopic=night.ectopic[near],
        apnoeas=night.apnoeas[inside] - [start, 0.0],
        start=night.start + start,
        **values,
    )


def _by_stage(weights: np.ndarray, values: tuple[float, ...]) -> np.ndarray:
    return np.asarray(values, np.float32) @ weights


def _stage_weights(
    rng: np.random.Generator, traits: SubjectTraits, stages: np.ndarray
) -> np.ndarray:
    """[5, T]: the scored stage, blurred as sleep is. Sums to one.

    Transitions fall anywhere near the border of an epoch and take some seconds; within a stage a
    slow and a fast fluctuation carry the sleeper towards the lighter and the deeper neighbour.
    """
    size = len(stages) * STATES_PER_EPOCH
    jitter = 7.0 * STATE_SFREQ * wander(rng, size, 40.0)
    moment = np.clip(np.arange(size) + jitter, 0, size - 1).astype(int) // STATES_PER_EPOCH
    pure = np.zeros((len(STAGES), size), np.float32)
    pure[stages[moment], np.arange(size)] = 1.0
    pure = ndimage.gaussian_filter1d(pure, 4.0 * STATE_SFREQ, axis=-1)
    depth = 0.60 * wander(rng, size, 150.0) + 0.65 * wander(rng, size, 7.0)
    deeper = 0.85 * sigmoid(3.0 * (traits.ambiguity * depth - 1.25))
    lighter = 0.85 * sigmoid(3.0 * (-traits.ambiguity * depth - 1.25))
    weights = pure * (1.0 - deeper - lighter)
    # a sleeper drifts: W <-> N1 <-> N2 <-> N3, and REM towards N1 and wake
    for stage, down, up in ((W, N1, W), (N1, N2, W), (N2, N3, N1), (N3, N3, N2), (REM, N1, W)):
        weights[down] += pure[stage] * deeper
        weights[up] += pure[stage] * lighter
    return (weights / weights.sum(axis=0)).astype(np.float32)


def _breathing_events(
    rng: np.random.Generator, traits: SubjectTraits, weights: np.ndarray
) -> dict[str, np.ndarray]:
    """Apnoeas and hypopnoeas: a renewal process, thinned by stage and by slow clusters."""
    size = weights.shape[1]
    count = int(size / STATE_SFREQ / 25.0)
    seconds = np.clip(rng.gamma(9.0, 2.4, count), 10.0, 55.0)
    pauses = 12.0 + rng.exponential(14.0, count)
    onsets = np.cumsum(seconds + pauses) - seconds
    inside = onsets + seconds < size / STATE_SFREQ - 30.0
    onsets, seconds = onsets[inside], seconds[inside]
    index = (onsets * STATE_SFREQ).astype(int)
    clusters = np.exp(0.9 * wander(rng, size, 900.0) - 0.4)
    factor = _by_stage(weights, (0.0, 1.3, 1.0, 0.25, 1.6)) * clusters
    chosen = rng.random(len(index)) < np.minimum(
        traits.apnoea_index * factor[index] * 48.0 / 3600.0, 0.95
    )
    index, seconds, onsets = index[chosen], seconds[chosen], onsets[chosen]
    draw = rng.random(len(index))
    central = draw < traits.central_share
    partial = ~central & (rng.random(len(index)) < traits.hypopnoea_share)
    depth = np.where(
        partial, rng.uniform(0.45, 0.75, len(index)), rng.uniform(0.9, 1.0, len(index))
    )

    def curve(which: np.ndarray, height: np.ndarray) -> np.ndarray:
        return np.clip(bumps(size, index[which], seconds[which], height[which], 1.0), 0.0, 1.0)

    ends = index + np.round(seconds * STATE_SFREQ).astype(int)
    recovery = np.clip(
        bumps(size, np.minimum(ends, size - 1), np.full(len(ends), 9.0), 0.7, 1.5), 0.0, 1.2
    )
    # effort against a closed airway grows breath by breath
    through = np.zeros(size, np.float32)
    for onset, end in zip(index, ends):
        through[onset:end] = np.linspace(0.0, 1.0, end - onset, dtype=np.float32)
    return {
        "obstruction": curve(~central, depth),
        "central": curve(central, depth),
        "recovery": recovery,
        "through": through,
        "ends": ends,
        "spans": np.stack([onsets, seconds], axis=1),
    }


def _arousals(
    rng: np.random.Generator, traits: SubjectTraits, weights: np.ndarray, apnoea_ends: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Body movements, cortical arousals, leg movements (each 0..1) and posture."""
    size = weights.shape[1]
    moves = events(rng, _by_stage(weights, (60.0, 30.0, 14.0, 6.0, 20.0)))
    movement = bumps(
        size, moves, 1.5 + rng.exponential(4.0, len(moves)), rng.uniform(0.3, 1.0, len(moves)), 0.5
    )
    movement = np.clip(movement, 0.0, 1.0)
    # periodic limb movements: trains of one every 20-40 s while a slow process is up
    train = np.cumsum(rng.gamma(16.0, 1.8, int(size / STATE_SFREQ / 25.0)))
    train = (train[train < size / STATE_SFREQ - 10.0] * STATE_SFREQ).astype(int)
    bout = sigmoid(4.0 * (wander(rng, size, 600.0) - 0.6)) * _by_stage(
        weights, (0.3, 1.0, 1.0, 0.5, 0.05)
    )
    kicks = train[
        rng.random(len(train)) < np.minimum(traits.leg_movement_index * bout[train] * 0.035, 0.95)
    ]
    leg = bumps(
        size, kicks, rng.uniform(0.6, 4.0, len(kicks)), rng.uniform(0.4, 1.0, len(kicks)), 0.15
    )
    spontaneous = events(rng, _by_stage(weights, (0.0, 30.0, 22.0, 8.0, 18.0)))
    onsets = np.concatenate(
        [
            spontaneous,
            apnoea_ends[rng.random(len(apnoea_ends)) < 0.75],
            kicks[rng.random(len(kicks)) < 0.3],
            moves,
        ]
    )
    onsets = np.minimum(onsets, size - 1)
    arousal = bumps(
        size,
        onsets,
        3.0 + rng.gamma(2.0, 2.2, len(onsets)),
        rng.uniform(0.5, 1.0, len(onsets)),
        0.7,
    )
    turns = np.zeros(size, np.int32)
    turns[moves[rng.random(len(moves)) < 0.3]] = 1
    arousal, leg = np.clip(arousal, 0.0, 1.0), np.clip(leg + movement, 0.0, 1.0)
    return movement, arousal, leg, np.cumsum(turns, dtype=np.int32)


def _breathing(
    rng: np.random.Generator,
    traits: SubjectTraits,
    weights: np.ndarray,
    arousal: np.ndarray,
    phasic: np.ndarray,
    failing: dict[str, np.ndarray],
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Phase (cycles), effort and ventilation."""
    size = weights.shape[1]
    ragged = traits.breathing_irregularity * (
        _by_stage(weights, (0.24, 0.11, 0.05, 0.015, 0.22)) + 0.10 * phasic
    )
    rate = traits.breathing_rate * _by_stage(weights, (1.22, 1.05, 0.97, 0.92, 1.10))
    drift = 0.05 * wander(rng, size, 600.0)
    rate = rate * np.exp(drift + ragged * wander(rng, size, 6.0) + 0.2 * arousal)
    breath = np.cumsum(rate / 60.0 / STATE_SFREQ, dtype=np.float64) + rng.random()
    size_of_breath = _by_stage(weights, (1.5, 1.0, 0.85, 1.1, 0.62))
    size_of_breath = size_of_breath * np.exp(
        1.6 * ragged * wander(rng, size, 8.0) + 0.1 * wander(rng, size, 900.0)
    )
    sighs = events(rng, _by_stage(weights, (12.0, 8.0, 6.0, 4.0, 5.0)))
    size_of_breath = size_of_breath + bumps(size, sighs, np.full(len(sighs), 3.5), 1.2, 0.8)
    effort = size_of_breath * (1.0 - 0.97 * failing["central"]) * (1.0 + failing["recovery"])
    closed = failing["obstruction"]
    ventilation = effort * (1.0 - 0.97 * closed)
    effort = effort * (1.0 - closed * (0.55 - 0.7 * failing["through"]))
    return breath, effort.astype(np.float32), ventilation.astype(np.float32)


def _oxygen(
    rng: np.random.Generator,
    traits: SubjectTraits,
    ventilation: np.ndarray,
    failing: dict[str, np.ndarray],
) -> np.ndarray:
    """Saturation at the finger: lacking ventilation, smoothed by the lung, delayed by the blood."""
    size = len(ventilation)
    lack = np.maximum(failing["obstruction"], failing["central"]).astype(np.float64)
    store = np.exp(-1.0 / (14.0 * STATE_SFREQ))
    debt = signal.lfilter([1.0 - store], [1.0, -store], lack)
    delay = int(traits.oxygen_delay * STATE_SFREQ)
    debt = np.concatenate([np.zeros(delay), debt])[:size]
    slow = 0.35 * wander(rng, size, 300.0) + 0.04 * wander(rng, size, 5.0)
    return np.clip(traits.oxygen_base + slow - 1.6 * traits.oxygen_drop * debt, 55.0, 100.0).astype(
        np.float32
    )


def _heart_rate(
    rng: np.random.Generator,
    traits: SubjectTraits,
    weights: np.ndarray,
    arousal: np.ndarray,
    phasic: np.ndarray,
    breath: np.ndarray,
    effort: np.ndarray,
    failing: dict[str, np.ndarray],
) -> np.ndarray:
    """Beats a minute: stage, time of night, variability, sinus arrhythmia, apnoea, arousal."""
    size = weights.shape[1]
    varies = traits.heart_variability
    slow = varies * _by_stage(weights, (0.07, 0.045, 0.026, 0.010, 0.07)) * wander(rng, size, 45.0)
    mayer = (
        varies
        * _by_stage(weights, (0.028, 0.025, 0.018, 0.008, 0.026))
        * resonance(rng, size, 0.1, 3.0)
    )
    vagal = traits.sinus_arrhythmia * _by_stage(weights, (0.020, 0.03, 0.045, 0.070, 0.012))
    arrhythmia = (
        np.minimum(vagal, 0.12)
        * np.sqrt(np.clip(effort, 0.0, 3.0))
        * np.sin(2 * np.pi * (breath - 0.05))
    )
    # a surge two seconds after the cortex wakes, gone in ten
    lag = np.exp(-np.arange(0, 12, 1 / STATE_SFREQ) / 4.0) * (
        1 - np.exp(-np.arange(0, 12, 1 / STATE_SFREQ) / 1.5)
    )
    surge = signal.fftconvolve(arousal, lag / lag.sum())[:size]
    brake = np.maximum(failing["obstruction"], failing["central"])
    level = np.log(traits.heart_rate) + _by_stage(weights, (0.17, 0.04, -0.03, -0.07, 0.08))
    dip = -0.05 * np.sin(np.pi * np.arange(size) / size) + 0.03 * wander(rng, size, 1500.0)
    log_rate = level + dip + slow + mayer + arrhythmia + 0.22 * surge - 0.08 * brake + 0.06 * phasic
    return np.clip(np.exp(log_rate), 30.0, 170.0).astype(np.float32)


def _racing(pathology: Pathology, heart_rate: np.ndarray) -> np.ndarray:
    """A heart (beats a minute) that races in seizures and calms down over a minute."""
    fast = ictal_course(pathology, len(heart_rate))
    fade = np.exp(-1.0 / (12.0 * STATE_SFREQ))
    surge = signal.lfilter([1.0 - fade], [1.0, -fade], fast)
    return np.clip(heart_rate * np.exp(0.55 * surge), 30.0, 175.0).astype(np.float32)


def _beats(
    rng: np.random.Generator, traits: SubjectTraits, heart_rate: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Beat times (s) where the integral of the rate is whole; some come early (ectopic)."""
    cycles = np.cumsum(heart_rate / 60.0 / STATE_SFREQ, dtype=np.float64)
    whole = np.arange(1, int(cycles[-1]))
    beats = np.interp(whole, cycles, np.arange(len(cycles)) / STATE_SFREQ)
    beats += 0.003 * rng.standard_normal(len(beats))
    ectopic = rng.random(len(beats)) < traits.ectopic_rate
    ectopic[:1] = False
    ectopic[1:] &= ~ectopic[:-1]
    early = np.diff(beats, prepend=beats[0] - 1.0)
    beats = beats - 0.35 * early * ectopic
    return beats, ectopic
