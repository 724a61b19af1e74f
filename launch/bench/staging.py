"""wav2sleep beside plain PyTorch: nights/s of training and of inference, and memory, in one run.

  python -m launch.bench.staging --batch=2 --hours=10 --repeats=5
  python -m launch.bench.staging --batch=2 --absent=PPG,ABD    # no night of the batch has these
  python -m launch.bench.staging --stream                      # sleep_epoch by sleep_epoch, alone

The replica of `launch.bench.replica.wav2sleep` gets our weights and the same nights; before
anything is timed its logits and loss have to be ours. A training step is the loop's own (AdamW,
gradients clipped, dropout), a signal that no night has is not given to PyTorch at all. Each side is
a process of its own, so that its peak of memory is; they take turns, and the one that is not asked
waits. CPU seconds are of all threads of a side; wall seconds suffer from whatever else runs.
"""

from __future__ import annotations

import dataclasses
import json
import multiprocessing
import os
import resource
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from absl import app, flags

from launch import programs

SIZES: dict[str, dict[str, Any]] = {
    "published": {},
    "twin": {"width": 32, "initial_channels": 8, "max_channels": 32, "heads": 4, "mlp_dim": 64,
             "sequence_kernel": 5, "dilations": 4},
    "tiny": {"width": 16, "initial_channels": 4, "max_channels": 8, "heads": 2, "mlp_dim": 32,
             "mixer_layers": 1, "sequence_blocks": 1, "dilations": 2},
}  # fmt: skip
SAME = (
    *("classes", "width", "initial_channels", "max_channels", "heads", "mlp_dim"),
    *("mixer_layers", "sequence_blocks", "sequence_kernel", "dilations", "dropout"),
)
"""Sizes that the replica takes."""

LOGITS, LOSS = 1e-3, 1e-4
"""How far the two sides may be from each other: rounding, added up over a night."""

_SIZES = flags.DEFINE_enum("sizes", "published", list(SIZES), "Of the network.")
_BATCH = flags.DEFINE_integer("batch", 2, "Nights of a step.", lower_bound=1)
_HOURS = flags.DEFINE_float("hours", 10.0, "Length of each.", lower_bound=0.1)
_REPEATS = flags.DEFINE_integer("repeats", 5, "Times that each side is timed.", lower_bound=1)
_SIGNALS = flags.DEFINE_list("signals", ["ABD", "ECG", "PPG", "THX"], "That the model knows.")
_ABSENT = flags.DEFINE_list("absent", [], "Those that no night of the batch has.")
_THREADS = flags.DEFINE_integer("threads", None, "Of PyTorch. [default: a core each]")
_STREAM = flags.DEFINE_bool("stream", False, "The latency of the causal model instead.")
_OUT = flags.DEFINE_string("out", None, "File for the figures as JSON.")


@dataclasses.dataclass(frozen=True)
class Task:
    """What both sides do; `weights`: a file of the published names."""

    config: dict[str, Any]
    absent: tuple[str, ...]
    threads: int
    weights: str


def configured(sizes: str, signals, hours: float, batch: int) -> dict[str, Any]:
    """The published recipe with these sizes; nothing is left out or turned over at random."""
    from configs.staging import wav2sleep

    config = wav2sleep.get_config().to_dict()
    config["model"].update(SIZES[sizes], signals=tuple(sorted(signals)))
    config["data"].update(night_hours=hours, night_hours_longest=hours)
    config["objective"]["masking"] = dict.fromkeys(config["objective"]["masking"], 0.0)
    config["objective"]["turn_over"] = False
    config["optimiser"]["warmup_steps"] = 0
    config["batch_size"] = batch
    return config


def nights(layout, rows: int, absent) -> dict[str, np.ndarray]:
    """A batch of noise with stages at random: how fast it goes does not depend on what it is."""
    rng = np.random.default_rng(0)
    batch = {
        f"signal/{name}": rng.standard_normal((rows, layout.sleep_epochs * samples), np.float32)
        * np.float32(name not in absent)
        for name, samples in layout.signals
    }
    there = [name not in absent for name in layout.names]
    return batch | {
        "present": np.tile(there, (rows, 1)),
        "epoch_mask": np.ones((rows, layout.sleep_epochs), bool),
        "stages": rng.integers(0, 5, (rows, layout.sleep_epochs)).astype(np.int32),
        "index": np.arange(rows, dtype=np.int32),
    }


class Ours:
    """The loop's own step, and prediction."""

    def __init__(self, task: Task):
        import jax

        from sleepfm_jax import experiment
        from sleepfm_jax.interop import to_torch
        from sleepfm_jax.training import optim, state, step

        config = task.config
        self.objective = objective = experiment.make_objective(config)
        tx = optim.optimiser(config["optimiser"], config["steps"], objective.frozen)
        batch = nights(objective.layout, config["batch_size"], task.absent)
        self.batch = jax.device_put(batch)
        self.state = state.create(objective, tx, seed=0)
        self.step = jax.jit(step.step_function(objective, tx), donate_argnums=0)
        self.predict = jax.jit(objective.predict)
        sd = to_torch("wav2sleep", self.state.params["encoder"], {})
        np.savez(task.weights, **sd)

    def check(self) -> tuple[np.ndarray, float]:
        """Logits [B, E, K] and the loss, without dropout."""
        import jax

        params, stats = self.state.params, self.state.batch_stats
        logits, _ = jax.jit(self.objective._logits, static_argnums=3)(
            params, stats, self.batch, None
        )
        evaluated = jax.jit(lambda *a: self.objective.loss(*a, None)[0])
        return np.asarray(logits), float(evaluated(params, stats, self.batch))

    def infer(self) -> None:
        self.predict(self.state.params, self.state.batch_stats, self.batch)[
            "probabilities"
        ].block_until_ready()

    def train(self) -> None:
        self.state, metrics = self.step(self.state, self.batch)
        loss, skipped = metrics["loss"][0], metrics["skipped"][0]
        if not np.isfinite(float(loss)) or int(skipped):
            raise RuntimeError(f"a step was refused: loss {float(loss)}")


class Theirs:
    """The same in PyTorch."""

    def __init__(self, task: Task):
        import torch

        from launch.bench.replica import wav2sleep
        from sleepfm_jax import experiment
        from sleepfm_jax.signals.stages import class_of_stage

        torch.set_num_threads(task.threads)
        config = task.config
        layout = experiment.make_model(config).layout
        batch = nights(layout, config["batch_size"], task.absent)
        self.signals = {
            name: torch.from_numpy(batch[f"signal/{name}"])
            for name in layout.names
            if name not in task.absent
        }
        table = np.array(class_of_stage(layout.classes))
        self.classes = torch.from_numpy(table[batch["stages"]]).long()
        model = config["model"]
        self.model = wav2sleep.Wav2Sleep(dict(layout.signals), **{k: model[k] for k in SAME})
        sd = {k: torch.from_numpy(v) for k, v in np.load(task.weights).items()}
        self.model.load_state_dict(sd, strict=True)
        recipe = config["optimiser"]
        self.clip = recipe["clip_norm"]
        self.tx = torch.optim.AdamW(
            self.model.parameters(), recipe["learning_rate"], weight_decay=recipe["weight_decay"]
        )

    def loss(self, logits):
        import torch

        return torch.nn.functional.cross_entropy(
            logits.flatten(0, 1), self.classes.flatten(), ignore_index=-1
        )

    def check(self) -> tuple[np.ndarray, float]:
        """As ours."""
        import torch

        self.model.eval()
        with torch.inference_mode():
            logits = self.model(self.signals)
            return logits.numpy(), float(self.loss(logits))

    def infer(self) -> None:
        import torch

        self.model.eval()
        with torch.inference_mode():
            torch.softmax(self.model(self.signals), -1)

    def train(self) -> None:
        import torch

        self.model.train()
        self.tx.zero_grad(set_to_none=True)
        self.loss(self.model(self.signals)).backward()
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), self.clip)
        self.tx.step()


SIDES = {"ours": Ours, "PyTorch": Theirs}


def serve(side: str, task: Task, pipe) -> None:
    """A side's process: names of its methods in; what they return, seconds and peaks out."""
    made = SIDES[side](task)
    pipe.send("ready")
    while name := pipe.recv():
        wall, cpu = time.perf_counter(), time.process_time()
        found = getattr(made, name)()
        pipe.send(
            {
                "found": found,
                "wall": time.perf_counter() - wall,
                "cpu": time.process_time() - cpu,
                "peak": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
            }
        )


class Side:
    """The other end of a side's process."""

    def __init__(self, name: str, task: Task):
        context = multiprocessing.get_context("spawn")
        self.name = name
        self.pipe, theirs = context.Pipe()
        self.process = context.Process(target=serve, args=(name, task, theirs), daemon=True)
        self.process.start()
        theirs.close()
        self._answer()

    def _answer(self) -> Any:
        try:
            return self.pipe.recv()
        except EOFError:
            self.process.join()
            raise RuntimeError(f"{self.name} died, code {self.process.exitcode}") from None

    def ask(self, what: str) -> dict[str, Any]:
        """`serve`'s answer."""
        self.pipe.send(what)
        return self._answer()

    def close(self) -> None:
        self.pipe.send("")
        self.process.join()


def agree(answers) -> tuple[float, float]:
    """The largest difference of logits and that of losses.

    Raises:
      RuntimeError: they are further apart than `LOGITS` and `LOSS`.
    """
    (ours, our_loss), (theirs, their_loss) = (answer["found"] for answer in answers)
    logits, loss = float(np.abs(ours - theirs).max()), abs(our_loss - their_loss)
    if not (logits <= LOGITS and loss <= LOSS):
        raise RuntimeError(
            f"not the same network: logits differ by {logits:.1e}, losses by {loss:.1e}"
        )
    return logits, loss


def compare(task: Task, repeats: int) -> dict[str, Any]:
    """Figures of both sides: medians of seconds of a batch, and bytes at most so far."""
    sides = [Side(name, task) for name in SIDES]
    found: dict[str, Any] = {}
    found["logits"], found["loss"] = agree([side.ask("check") for side in sides])
    for what in ("infer", "train"):  # in this order: a peak is one of all before it
        times: dict[str, list] = {side.name: [] for side in sides}
        for i in range(repeats + 1):  # the first compiles
            for side in sides if i % 2 else sides[::-1]:
                times[side.name].append(side.ask(what))
        found[what] = {
            name: {
                "wall": float(np.median([a["wall"] for a in answers[1:]])),
                "cpu": float(np.median([a["cpu"] for a in answers[1:]])),
                "first": answers[0]["wall"],
                "peak": answers[-1]["peak"],
            }
            for name, answers in times.items()
        }
    for side in sides:
        side.close()
    return found


def main(argv: list[str]) -> int:
    """See the module's docstring."""
    if len(argv) > 1:
        raise app.UsageError(f"unexpected argument {argv[1]!r}: flags begin with --")
    if missing := sorted(set(_ABSENT.value) - set(_SIGNALS.value)):
        raise app.UsageError(f"--absent: {', '.join(missing)} is none of --signals")
    config = configured(_SIZES.value, _SIGNALS.value, _HOURS.value, _BATCH.value)
    if _STREAM.value:
        from launch.bench import stream

        found = stream.measure(config)
    else:
        threads = _THREADS.value or len(os.sched_getaffinity(0))
        with tempfile.TemporaryDirectory() as folder:
            weights = str(Path(folder) / "weights.npz")
            task = Task(config, tuple(_ABSENT.value), threads, weights)
            found = compare(task, _REPEATS.value)
        say(found)
    if _OUT.value:
        Path(_OUT.value).write_text(json.dumps(found, indent=1))
    return 0


def say(found: dict[str, Any]) -> None:
    """Prints a comparison."""
    batch = _BATCH.value
    absent = f", none has {'+'.join(_ABSENT.value)}" if _ABSENT.value else ""
    print(
        f"{_SIZES.value} sizes, {'+'.join(sorted(_SIGNALS.value))}, {batch} nights of "
        f"{_HOURS.value:g} h{absent}; logits differ by {found['logits']:.1e} at most, losses by "
        f"{found['loss']:.1e}"
    )
    print(f"{'':20}{'nights/s':>10}{'wall s':>9}{'CPU s':>9}{'first s':>9}{'peak GB':>9}")
    for what in ("infer", "train"):
        for name in SIDES:
            row = found[what][name]
            print(
                f"{what:6}{name:14}{batch / row['wall']:>10.3f}{row['wall']:>9.2f}"
                f"{row['cpu']:>9.2f}{row['first']:>9.2f}{row['peak'] / 1e9:>9.2f}"
            )
        ours, theirs = found[what]["ours"], found[what]["PyTorch"]
        print(
            f"{what}: ours / PyTorch {theirs['wall'] / ours['wall']:.2f} by wall clock, "
            f"{theirs['cpu'] / ours['cpu']:.2f} by CPU; memory {ours['peak'] / theirs['peak']:.2f}"
        )


if __name__ == "__main__":
    programs.run(main)
