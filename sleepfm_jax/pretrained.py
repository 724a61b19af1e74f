"""A trained model without what trained it: what load, probe, transfer and convert share."""

from __future__ import annotations

import dataclasses
import functools
import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np

from sleepfm_jax import config as configuration
from sleepfm_jax import experiment
from sleepfm_jax.data import stream
from sleepfm_jax.data.datasets import check_made_alike
from sleepfm_jax.data.examples import Examples, spread
from sleepfm_jax.errors import CheckpointError, DatasetError
from sleepfm_jax.training import sharding
from sleepfm_jax.training.checkpoint import open_existing
from sleepfm_jax.training.paths import path_string

OUTPUTS = ("clip", "tokens", "raw_tokens")
"""What `Pretrained.embed` can be asked for."""

_OF_MOMENTS = ("signals", "scale", "offset", "mask", "index")


@dataclasses.dataclass(frozen=True)
class Pretrained:
    """A model with parameters that nothing changes any more, always in evaluation mode.

    Attributes:
      model: a family's description (`models.sleepfm.SleepFM`): layout, apply.
      params, stats: of the model.
      config: of the run, in today's layout.
      preprocessing: metadata of the records that it was trained on.
      people: pseudonyms of the people that it was trained on; None when it does not say.
      others: the objective's own parameters, such as the log logit scale.
      source, step: the checkpoint that it was read from; "" and None: from none.
    """

    model: Any
    params: Any
    stats: Any
    config: Mapping[str, Any]
    preprocessing: Mapping[str, Any]
    people: frozenset[str] | None = None
    others: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    source: str = ""
    step: int | None = None

    @functools.cached_property
    def fingerprint(self) -> str:
        """See `fingerprint_of`."""
        return fingerprint_of((self.params, self.stats))

    def randomised(self, seed: int) -> Pretrained:
        """The same architecture before training: the baseline that says what training added."""
        params, stats = _init(self.model)(jax.random.key(seed))
        return dataclasses.replace(self, params=params, stats=stats, source="", step=None)

    def calibrated(
        self, examples: Examples, *, batches: int = 4, batch_size: int = 32
    ) -> Pretrained:
        """The same weights with batch statistics estimated anew on data.

        A fresh encoder's statistics are those of no data at all (mean 0, variance 1), so that its
        layers normalise nothing; after this they normalise as after training. Each stage's mean
        and variance are exact over all clips used (pooled, not decayed), one stage after the
        other, those before it already in place and in evaluation mode: nothing depends on the
        order or the size of the batches, nor is any dropout drawn. A model without batch
        statistics comes back as it is.

        Args:
          examples: training data; as many of them as `batches` hold are taken, spread evenly over
            all, and kept in memory.

        Raises:
          DatasetError: no clip in it has a valid patch.
        """
        if not jax.tree.leaves(self.stats):
            return self
        mesh = sharding.make_mesh()
        batch_size = -(-batch_size // mesh.size) * mesh.size
        rows = sharding.local_rows(batch_size, mesh)
        whole = sharding.replicated(mesh)
        limit = min(batches * batch_size, len(examples))
        read = stream.one_pass(spread(examples, limit), batch_size=batch_size, rows=rows)
        held = [{k: x for k, x in batch.items() if k in _OF_MOMENTS} for batch in read]
        params = jax.device_put(self.params, whole)
        stats = jax.device_get(self.stats)
        for stage in range(self.model.normalisers):
            moments = _moments(self.model, stage, whole)
            before = jax.device_put(stats, whole)
            found = [
                moments(params, before, sharding.global_batch(batch, mesh, batch_size, rows))
                for batch in held
            ]
            count, mean, var = _pooled(*zip(*jax.device_get(found), strict=True))
            if count == 0:
                raise DatasetError(f"{examples.name}: no valid patch to calibrate with")
            unbiased = var * (count / max(count - 1, 1))  # as training keeps it
            stats = self.model.with_moments(stats, stage, np.float32(mean), np.float32(unbiased))
        return dataclasses.replace(self, stats=stats)

    def with_slots(self, slots: tuple[tuple[str, int], ...]) -> Pretrained:
        """The same weights, for rows with other numbers of channels of each modality."""
        return dataclasses.replace(self, model=dataclasses.replace(self.model, slots=slots))

    def check_made_alike(self, metadata: Mapping[str, Any], name: str) -> None:
        """Records must have been made as those that it was trained on; clips may be of any length.

        Raises:
          DatasetError: names what differs, with both values.
        """
        check_made_alike(self.preprocessing, metadata, ("the checkpoint", name))

    def embed(
        self,
        examples: Examples,
        *,
        batch_size: int = 32,
        outputs: Sequence[str] = ("clip", "tokens"),
    ) -> Iterator[tuple[int, dict[str, np.ndarray]]]:
        """Outputs of every row, in order, from all devices.

        Args:
          outputs: which of `OUTPUTS`. "raw_tokens" are the tokenizer's, before positions and any
            attention, averaged over the modality's valid channels; computed only when asked for.

        Yields:
          index of the row, and its outputs: clip [M, D], tokens [M, S, D] or raw_tokens
          [M, S, D] as asked for, and always presence bool [M] and token_mask bool [M, S].

        Raises:
          ValueError: an output of another name.
        """
        if unknown := set(outputs) - set(OUTPUTS):
            raise ValueError(f"no such output: {sorted(unknown)}; there are {OUTPUTS}")
        wanted = frozenset(outputs)

        def forward(placed):
            return _forward(self.model, wanted, placed)

        yield from each_row(forward, (self.params, self.stats), examples, batch_size)


def fingerprint_of(tree: Any) -> str:
    """Says which weights these are: 16 hexadecimal digits over all paths and values."""
    digest = hashlib.sha256()
    for path, leaf in jax.tree_util.tree_leaves_with_path(tree):
        leaf = np.asarray(leaf)
        digest.update(f"{path_string(path)}{leaf.shape}{leaf.dtype}".encode())
        digest.update(np.ascontiguousarray(leaf).tobytes())
    return digest.hexdigest()[:16]


def each_row(
    forward: Callable[[jax.sharding.Sharding], Callable],
    weights: Any,
    examples: Examples,
    size: int,
) -> Iterator[tuple[int, dict[str, np.ndarray]]]:
    """Outputs of every row, in order, from all devices.

    Args:
      forward: where outputs are to be → compiled (params, stats, batch) → (outputs, index).
      weights: (params, stats). size: of a batch, made a multiple of the devices.

    Yields:
      index of the row, and its outputs by name.
    """
    mesh = sharding.make_mesh()
    size = -(-size // mesh.size) * mesh.size
    rows, whole = sharding.local_rows(size, mesh), sharding.replicated(mesh)
    params, stats = jax.device_put(weights, whole)
    for batch in stream.one_pass(examples, batch_size=size, rows=rows):
        arrays = sharding.global_batch(batch, mesh, size, rows)
        out, index = jax.device_get(forward(whole)(params, stats, arrays))
        for row, number in enumerate(index):
            if number >= 0:
                yield int(number), {name: value[row] for name, value in out.items()}


@functools.cache
def _init(model: Any):
    """Compiled once for all seeds."""
    return jax.jit(model.init)


@functools.cache
def _forward(model: Any, wanted: frozenset[str], placed: jax.sharding.Sharding):
    """Compiled once for all parameters and splits; a model is a hashable description."""

    def outputs(params, stats, batch):
        out = dict(model.apply(params, stats, batch)[0])
        if "raw_tokens" in wanted:
            out["raw_tokens"] = model.raw_tokens(params, stats, batch)
        unasked = set(OUTPUTS) - wanted
        return {name: x for name, x in out.items() if name not in unasked}, batch["index"]

    return jax.jit(outputs, out_shardings=placed)


@functools.cache
def _moments(model: Any, stage: int, placed: jax.sharding.Sharding):
    """Compiled once for all parameters."""

    def moments(params, stats, batch):
        return model.moments(params, stats, batch, stage)

    return jax.jit(moments, out_shardings=placed)


def _pooled(counts, means, variances) -> tuple[float, np.ndarray, np.ndarray]:
    """Number, mean [F] and biased variance [F] of all values, from those of parts of them."""
    n = np.array(counts, np.float64)[:, None]
    total = max(n.sum(), 1.0)
    means = np.array(means, np.float64)
    mean = (n * means).sum(0) / total
    var = (n * (np.array(variances, np.float64) + (means - mean) ** 2)).sum(0) / total
    return float(n.sum()), mean, var


class Stored(NamedTuple):
    """What a checkpoint holds of a run, without its optimiser: `about` it, its configuration in
    today's layout, the objective, params and stats as numpy-like trees, the folder and the step."""

    about: Mapping[str, Any]
    config: Mapping[str, Any]
    objective: Any
    params: Any
    stats: Any
    source: str
    step: int

    @property
    def people(self) -> frozenset[str] | None:
        """Pseudonyms of whom it was trained on; None when it does not say."""
        return frozenset(self.about["subjects"]) if "subjects" in self.about else None


def read(folder: str | Path, step: int | None = None, what: str = "encoder of a run") -> Stored:
    """What a run of launch.pretrain learned.

    Args:
      folder: the run's workdir, its `checkpoints` or its `best` folder.
      step: which checkpoint; None: the newest that is not damaged.
      what: is asked for, for the message.

    Raises:
      CheckpointError: the folder is none, has no such step, holds a converted model with a head, or
        that step (or each) is damaged.
      ConfigError: the run was made by a version whose keys this one cannot read.
    """
    checkpoints = open_existing(folder)

    def read_step(step: int) -> Stored:
        about = checkpoints.about(step)
        if "config" not in about:
            kind = about.get("weights", {}).get("kind", "something else")
            raise CheckpointError(f"{folder}: holds {kind}, converted, and no {what}")
        config = configuration.upgrade(about["config"])
        configuration.check(config)
        objective = experiment.make_objective(config)
        here = jax.sharding.SingleDeviceSharding(jax.local_devices()[0])
        shapes = jax.eval_shape(lambda: objective.init(jax.random.key(0)))
        like = jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=here), shapes)
        state = checkpoints.restore_parts(step, dict(zip(("params", "batch_stats"), like)))
        found = state["params"], state["batch_stats"]
        return Stored(about, config, objective, *found, str(folder), step)

    stored = read_step(step) if step is not None else checkpoints.newest(read_step)[1]
    checkpoints.close()
    return stored


def load(folder: str | Path, step: int | None = None) -> Pretrained:
    """The model of a run of launch.pretrain, without its optimiser; see `read`."""
    stored = read(folder, step)
    params = dict(stored.params)
    return Pretrained(
        model=experiment.make_model(stored.config),
        params=params.pop("encoder"),
        stats=stored.stats["encoder"],
        config=stored.config,
        preprocessing=stored.about["preprocessing"],
        people=stored.people,
        others=params,
        source=stored.source,
        step=stored.step,
    )
