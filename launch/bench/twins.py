"""Do the simulated tasks of labelled wake EEG ask for more than a number?

    OMP_NUM_THREADS=1 python -m launch.bench.twins --people=400

renders every twin in memory and prints a row for each: the AUROC (several classes: mean of one
against the rest) of the best single number (a ratio of bands, the loudest channel, ...), of the
project's plain features under a linear probe fitted on other people, and of the latent itself
against what raters said; how often raters err; the classes' shares; how many people are tested.

Wanted: plain features .60 to .75, the latent .90 to .95, raters 5 to 10 % wrong, 150 people or
more tested.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator

import numpy as np
from absl import app, flags
from scipy import signal, stats
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score

from sleepfm_jax.metrics.plain_features import wake_features
from sleepfm_jax.simulation.archives import twins, wake_eeg
from sleepfm_jax.simulation.body.findings import place

SFREQ = 128
_PEOPLE = flags.DEFINE_integer("people", 400, "People of each twin.", lower_bound=50)
_TWINS = flags.DEFINE_list("twins", list(twins.SHARES), "Which.")
_SEED = flags.DEFINE_integer("seed", 0, "Names the cohorts.", lower_bound=0)
_EACH = flags.DEFINE_bool("each", False, "Print every single number, not the best one alone.")
_C = (0.001, 0.01, 0.1, 1.0)


@dataclasses.dataclass(frozen=True)
class Clip:
    """signals: uV, [C, T]; across: where each channel is, left to right, [C]; label, true: of the
    classes; latent: the larger, the more the last class; None: `true` is all there is.
    """

    signals: np.ndarray
    across: np.ndarray
    label: str
    true: str
    person: int
    latent: float | None = None


def clips(twin: str, people: int, seed: int, rare: float | None = None) -> Iterator[Clip]:
    """A twin's clips, at a size that has enough of the rare classes."""
    return _CLIPS[twin](people, seed, _RARE.get(twin, 1.0) if rare is None else rare)


_RARE = {"tuev": 8.0, "tusl": 4.0, "chb_mit": 40.0}


def _tuab(people: int, seed: int, rare: float) -> Iterator[Clip]:
    across = place(twins.TUH)[:, 0]
    for index in range(people):
        found = twins.tuab(seed, index, 0, 10, SFREQ, index % 5 in (1, 4))
        yield Clip(found.eeg, across, found.label, found.true, index, found.latent)


def _tuev(people: int, seed: int, rare: float) -> Iterator[Clip]:
    across = place(twins.TUH)[:, 0]
    for index in range(people):
        found = twins.tuev(seed, index, 20, SFREQ, rare)
        for event in found.events:
            start = round(min(max(0.0, event.start - 2.0), 15.0) * SFREQ)
            part = found.eeg[:, start : start + 5 * SFREQ]
            yield Clip(part, across, event.label, event.true, index)


def _tusl(people: int, seed: int, rare: float) -> Iterator[Clip]:
    across = place(twins.TUH)[:, 0]
    for index in range(people):
        found = twins.tusl(seed, index, 30, SFREQ, rare)
        for event in found.events:
            part = found.eeg[:, int(event.start) * SFREQ : int(event.stop) * SFREQ]
            yield Clip(part, across, event.label, event.true, index)


def _chb_mit(people: int, seed: int, rare: float) -> Iterator[Clip]:
    pairs = [pair.split("-") for pair in wake_eeg.CHB_PAIRS]
    names = {**twins.TUH_SITES, "T7": "T7", "T8": "T8", "P7": "P7", "P8": "P8"}
    sites = [[names.get(end, end) for end in pair] for pair in pairs]
    across = np.array([place(tuple(pair))[:, 0].mean() for pair in sites])
    for index in range(people):
        for number in (1, 2):
            found = twins.chb_mit(seed, index, index, number, 30, SFREQ, rare)
            eeg = wake_eeg.chb_pairs(found)
            for begin in (0, 10, 20):
                part = eeg[:, begin * SFREQ : (begin + 10) * SFREQ]
                events = [e for e in found.events if _holds(e, begin)]
                touched = any(_touches(e, begin) for e in found.events)
                if not events and touched:
                    continue
                label = "seizure" if any(e.label == "seizure" for e in events) else "no_seizure"
                true = "seizure" if any(e.true == "seizure" for e in events) else "no_seizure"
                yield Clip(part, across, label, true, index)


def _shared(event: twins.Event, begin: int) -> float:
    return min(event.stop, begin + 10.0) - max(event.start, begin)


def _holds(event: twins.Event, begin: int) -> bool:
    return _shared(event, begin) >= min(event.stop - event.start, 10.0) / 2


def _touches(event: twins.Event, begin: int) -> bool:
    return _shared(event, begin) > 0


def _braincapture(people: int, seed: int, rare: float) -> Iterator[Clip]:
    across = place(twins.NINETEEN)[:, 0]
    for index in range(people):
        found = twins.braincapture(seed, index, 30, SFREQ)
        yield Clip(found.eeg, across, found.label, found.true, index, found.latent)


_CLIPS: dict[str, Callable[[int, int, float], Iterator[Clip]]] = {
    "tuab": _tuab,
    "tuev": _tuev,
    "tusl": _tusl,
    "chb_mit": _chb_mit,
    "braincapture": _braincapture,
}

BANDS = {"delta": (1, 4), "theta": (4, 8), "alpha": (8, 12), "beta": (15, 30), "gamma": (30, 45)}


def single_numbers(x: np.ndarray) -> dict[str, float]:
    """Numbers that a class must not be told by, of a clip [C, T] in uV."""
    frequency, density = signal.welch(x, SFREQ, nperseg=2 * SFREQ, axis=-1)
    power = {
        name: density[:, (frequency >= low) & (frequency < high)].sum(1)
        for name, (low, high) in BANDS.items()
    }
    logs = {name: np.log(p + 1e-9) for name, p in power.items()}
    sd, moves = x.std(1), np.abs(np.diff(x, axis=1)).mean(1)
    high = np.abs(x).max(1)
    found = {f"{name} power": float(p.mean()) for name, p in logs.items()}
    found |= {f"loudest {name}": float(p.max()) for name, p in logs.items()}
    found |= {
        "theta/alpha": float((logs["theta"] - logs["alpha"]).mean()),
        "delta/alpha": float((logs["delta"] - logs["alpha"]).mean()),
        "theta/beta": float((logs["theta"] - logs["beta"]).mean()),
        "slow/fast": float((np.logaddexp(logs["delta"], logs["theta"])
                            - np.logaddexp(logs["alpha"], logs["beta"])).mean()),
        "total power": float(np.log(sd).mean()),
        "loudest channel": float(np.log(sd).max()),
        "loudest/median": float(np.log(sd.max() / np.median(sd))),
        "line length": float(np.log(moves).mean()),
        "longest line": float(np.log(moves).max()),
        "highest peak": float(np.log(high).max()),
        "mean peak": float(np.log(high).mean()),
        "kurtosis": float(stats.kurtosis(x, axis=1).max()),
        "crest": float(np.log(high / sd).max()),
    }  # fmt: skip
    return found


def plain(clip: Clip) -> np.ndarray:
    """The project's plain features of a clip, [F]."""
    x = clip.signals
    where = np.stack([clip.across, np.zeros_like(clip.across), np.zeros_like(clip.across)], 1)
    bas = ["bas"] * len(x)
    valid = np.ones(x.shape, bool)
    return wake_features(x, valid, where, bas, SFREQ, x.shape[1] / SFREQ)[0]


def area(score: np.ndarray, truth: np.ndarray) -> float:
    """Macro AUROC of [N, K] scores for classes int [N], one against the rest; K 1: of class 1."""
    if score.ndim == 1:
        return float(roc_auc_score(truth == 1, score))
    each = [roc_auc_score(truth == k, score[:, k]) for k in np.unique(truth)]
    return float(np.mean(each))


def area_of_one(score: np.ndarray, truth: np.ndarray) -> float:
    """The same of one number, for every class the way it points."""
    each = [roc_auc_score(truth == k, score) for k in np.unique(truth)]
    return float(np.mean([max(a, 1 - a) for a in each]))


def tested(people: np.ndarray) -> np.ndarray:
    """Who is scored: two of five, as in TUAB."""
    return np.isin(people % 5, (1, 4))


def probe(x: np.ndarray, y: np.ndarray, person: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Probabilities [N, K] of the tested rows, and which rows these are; the penalty is chosen on
    people who are neither fitted nor tested."""
    test = tested(person)
    validation = ~test & (person % 5 == 0) & (person % 2 == 0)
    train = ~test & ~validation
    x = x[:, np.isfinite(x[train]).any(axis=0)]  # regions that the montage has
    mean = np.nanmean(x[train], axis=0)
    x = np.where(np.isnan(x), mean, x)
    x = (x - mean) / np.maximum(x[train].std(0), 1e-9)
    best, chosen = -1.0, None
    for c in _C:
        model = LogisticRegression(C=c, class_weight="balanced", max_iter=300)
        model.fit(x[train], y[train])
        if (found := area(model.predict_proba(x[validation]), y[validation])) > best:
            best, chosen = found, model
    return chosen.predict_proba(x[test]), test


def measure(twin: str, people: int, seed: int) -> dict:
    """What the table says of a twin."""
    every = list(clips(twin, people, seed))
    names = list(twins.SHARES[twin])
    label = np.array([names.index(c.label) for c in every])
    true = np.array([names.index(c.true) for c in every])
    person = np.array([c.person for c in every])
    test = tested(person)
    numbers = [single_numbers(c.signals) for c in every]
    singles = {
        name: area_of_one(np.array([n[name] for n in numbers])[test], label[test])
        for name in numbers[0]
    }
    features = np.stack([plain(c) for c in every])
    latent = np.eye(len(names))[true]
    if every[0].latent is not None:
        latent = np.array([c.latent for c in every])
    probabilities, _ = probe(features, label, person)
    clean, _ = probe(features, true, person)
    return {
        "singles": singles,
        "plain": area(probabilities, label[test]),
        "plain of truth": area(clean, true[test]),
        "each": {
            names[k]: float(roc_auc_score(label[test] == k, probabilities[:, k]))
            for k in np.unique(label[test])
        },
        "latent": area(latent[test], label[test]),
        "raters": float((label != true).mean()),
        "shares": {name: float((label == k).mean()) for k, name in enumerate(names)},
        "people": len(np.unique(person[test])),
        "clips": int(test.sum()),
    }


def main(argv: list[str]) -> None:
    if len(argv) > 1:
        raise app.UsageError(f"unexpected arguments: {' '.join(argv[1:])}")
    print(
        "| twin | best single number | plain features | latent | raters wrong | shares | tested |"
    )
    print("|---|---|---|---|---|---|---|", flush=True)
    for twin in _TWINS.value:
        row = measure(twin, _PEOPLE.value, _SEED.value)
        best = max(row["singles"], key=row["singles"].get)
        shares = ", ".join(f"{name} {share:.3f}" for name, share in row["shares"].items())
        print(
            f"| {twin} | {row['singles'][best]:.3f} ({best}) | {row['plain']:.3f} | "
            f"{row['latent']:.3f} | {row['raters']:.3f} | {shares} | "
            f"{row['people']} people, {row['clips']} clips |",
            flush=True,
        )
        if _EACH.value:
            order = sorted(row["singles"].items(), key=lambda pair: -pair[1])
            print("  singles: " + ", ".join(f"{name} {a:.3f}" for name, a in order))
            print(f"  plain: of the truth {row['plain of truth']:.3f}; " + str(row["each"]))


if __name__ == "__main__":
    app.run(main)
