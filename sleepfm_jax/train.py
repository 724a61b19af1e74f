"""THE loop: evaluate → save → next batch → step. One for every objective and every cluster."""

from __future__ import annotations

import functools
import json
import signal
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np
from absl import logging
from jax.experimental import multihost_utils
from tqdm import tqdm

from sleepfm_jax import experiment
from sleepfm_jax.data import datasets
from sleepfm_jax.errors import CheckpointError, TrainingStopped
from sleepfm_jax.evaluators import retrieval as evaluator
from sleepfm_jax.losses import contrastive
from sleepfm_jax.report import page, run_folder
from sleepfm_jax.training import optim, sharding
from sleepfm_jax.training import state as train_state
from sleepfm_jax.training.checkpoint import Checkpoints
from sleepfm_jax.training.metric_writer import MetricWriter

FREE_TO_CHANGE = (
    "mesh",
    "sharding_rules",
    "max_skipped_in_a_row",
    "log_every",
    "eval_every",
    "eval_clips",
    "test_clips",
    "candidates",
    "save_every",
    "keep",
    "num_threads",
    "prefetch",
)
"""Keys that may differ from those of the run that is gone on with: none changes a number."""


def train(config: Mapping[str, Any], data_dir: str | Path, workdir: str | Path) -> dict[str, Any]:
    """Pretrain, from the newest checkpoint in `workdir` if there is one.

    Writes under workdir: config.json, metrics.jsonl, tensorboard/, checkpoints/, build_reports/,
    example_clip.npz, results.json and report/. Every process of a run calls this with the same
    arguments; workdir is shared by all.

    Args:
      config: see `configs/common.py`.
      data_dir: where `launch.build` put the datasets.
      workdir: the run's folder.

    Returns:
      The results that were written: {"retrieval": …, "seconds": …, "versions": …}.

    Raises:
      ConfigError, DatasetError, CheckpointError: what was asked for cannot be; nothing was started.
      TrainingStopped: SIGTERM (after saving), or too many updates in a row that were not finite.
    """
    experiment.check_config(config)
    config = json.loads(
        json.dumps(config)
    )  # tuples become lists, as they come back from a checkpoint
    workdir, first = Path(workdir), jax.process_index() == 0
    records = datasets.open_records(data_dir, config["data"]["datasets"], "train")
    datasets.check_no_leak(data_dir, config["data"]["datasets"])
    with experiment.config_errors():
        task = experiment.make_task(config)
        spec = experiment.make_spec(config, records.clip_samples)
        mesh = sharding.make_mesh(config["mesh"])
        tx = optim.optimiser(config["optimiser"], config["steps"])
        create = functools.partial(train_state.create, task, tx, config["seed"])
        shapes = jax.eval_shape(create)
        shardings = sharding.tree_shardings(shapes, mesh, config["sharding_rules"])
        sharding.check_batch(config["batch_size"], mesh)
    batches = datasets.train_batches(
        records,
        spec,
        batch_size=config["batch_size"],
        seed=config["seed"],
        process_index=jax.process_index(),
        process_count=jax.process_count(),
        num_threads=config["data"]["num_threads"],
        prefetch=config["data"]["prefetch"],
    )

    if first:
        workdir.mkdir(parents=True, exist_ok=True)
    multihost_utils.sync_global_devices("the workdir exists")
    checkpoints = Checkpoints(workdir / "checkpoints", keep=config["keep"])
    start = checkpoints.latest() or 0
    if start:
        check_same_run(checkpoints.about(start)["config"], config, checkpoints.folder)
    state = jax.jit(create, out_shardings=shardings)()
    if start:
        state, about = checkpoints.restore(start, state)
        batches.set_state(about["data_position"])
        logging.info("going on from step %d of %d", start, config["steps"])
    about = {"config": config, "preprocessing": records.metadata}
    about["subjects"] = sorted(records.subjects())  # for `probing` to refuse scoring them
    if first:
        run_folder.write_inputs(workdir, config, records)

    step_fn = jax.jit(
        train_state.step_function(task, tx),
        donate_argnums=0,
        out_shardings=(shardings, sharding.replicated(mesh)),
    )
    evaluate = _evaluation(task, spec, mesh, config, data_dir)
    writer = MetricWriter(workdir, resume_at=start, active=first)
    stop = StopSignal()
    seconds = {"train": 0.0, "evaluate": 0.0}
    progress = tqdm(
        total=config["steps"], initial=start, unit="step", disable=not first, mininterval=1.0
    )
    results = {}
    try:
        logged_at, logged_step = time.perf_counter(), start
        for step in range(start, config["steps"] + 1):
            last = step == config["steps"]
            tick = time.perf_counter()
            resumed_here = step == start > 0  # what was evaluated before the save stands
            if (step % config["eval_every"] == 0 or last) and not resumed_here:
                writer.write(step, _flat("validation", evaluate(state, "validation")))
                seconds["evaluate"] += time.perf_counter() - tick
            stopping = stop.requested(checkpoints, step)
            if step > start and (step % config["save_every"] == 0 or last or stopping):
                checkpoints.save(step, state, about | {"data_position": batches.get_state()})
            if stopping:
                raise TrainingStopped(
                    f"SIGTERM: saved at step {step}; run again to go on from there"
                )
            if last:
                break
            logged_at += time.perf_counter() - tick  # speed is that of steps alone
            tick = time.perf_counter()
            state, metrics = step_fn(state, sharding.global_batch(next(batches), mesh))
            if (step + 1) % config["log_every"] == 0 or step + 1 == config["steps"]:
                metrics = jax.device_get(metrics)
                now = time.perf_counter()
                speed = (step + 1 - logged_step) * config["batch_size"] / (now - logged_at)
                logged_at, logged_step = now, step + 1
                metrics["clips_per_second"] = speed
                writer.write(step + 1, _flat("train", metrics))
                progress.set_postfix_str(f"loss {metrics['loss']:.3f}, {speed:.1f} clips/s")
                if metrics["skipped_in_a_row"] >= config["max_skipped_in_a_row"]:
                    raise TrainingStopped(
                        f"step {step + 1}: {metrics['skipped_in_a_row']} updates in a row were not "
                        "finite and were refused; lower the learning rate, or look at the clips"
                    )
            seconds["train"] += time.perf_counter() - tick
            progress.update()
        checkpoints.wait()
        if first:
            logging.info("trained to step %d; scoring the test split", config["steps"])
        results = evaluate(state, "test")
    finally:
        progress.close()
        writer.close()
        checkpoints.close()
        stop.restore()
    update = {"seconds": seconds, "versions": page.versions()}
    if results:
        update["retrieval"] = results["retrieval"]
    if first:
        page.merge_results(workdir, update)
        page.write_report(workdir)
    return update


def check_same_run(saved: Mapping[str, Any], config: Mapping[str, Any], folder: Path) -> None:
    """A checkpoint goes on only with the configuration it was made with.

    Raises:
      CheckpointError: names each key that differs and both its values.
    """

    def differences(a, b, where):
        for key in sorted(set(a) | set(b)):
            if key in FREE_TO_CHANGE:
                continue
            x, y, name = a.get(key), b.get(key), f"{where}.{key}"
            if isinstance(x, dict) and isinstance(y, dict):
                yield from differences(x, y, name)
            elif x != y:
                yield f"{name}: {x!r} in the checkpoint, {y!r} now"

    found = list(differences(saved, config, "config"))
    if found:
        raise CheckpointError(
            f"{folder}: made with another configuration ({'; '.join(found)}): give another "
            "workdir, "
            "or the same configuration"
        )


def _evaluation(task, spec, mesh, config, data_dir) -> Callable[[Any, str], dict[str, Any]]:
    """(state, split) → {"loss", "retrieval"}; {} where no dataset in use has the split."""

    def forward(params, batch_stats, batch):
        out = task.embed(params, batch_stats, batch)
        loss, _ = task.loss_fn(params, batch_stats, batch, None)
        clip = contrastive.unit_vectors(out["clip"].astype(np.float32))
        return {"loss": loss, "clip": clip, "presence": out["presence"], "index": batch["index"]}

    forward = jax.jit(forward, out_shardings=sharding.replicated(mesh))

    def evaluate(state, split):
        names = [
            name for name in config["data"]["datasets"] if datasets.has_split(data_dir, name, split)
        ]
        if not names:
            logging.info("no %s split in %s", split, config["data"]["datasets"])
            return {}
        records = datasets.open_records(data_dir, names, split)
        batches = datasets.evaluation_batches(
            records,
            spec,
            batch_size=config["batch_size"],
            process_index=jax.process_index(),
            process_count=jax.process_count(),
            limit=config["test_clips" if split == "test" else "eval_clips"],
        )

        def predict(batch):
            batch = sharding.global_batch(batch, mesh)
            return jax.device_get(forward(state.params, state.batch_stats, batch))

        return dict(
            evaluator.evaluate(
                predict, batches, modalities=task.modalities, candidates=config["candidates"]
            )
        )

    return evaluate


def _flat(prefix: str, metrics: Mapping[str, Any]) -> dict[str, Any]:
    """{"train/loss": …}; of a retrieval its top-1 and chance."""
    flat = {f"{prefix}/{k}": v for k, v in metrics.items() if not isinstance(v, dict)}
    if "retrieval" in metrics:
        flat[f"{prefix}/retrieval_top1"] = metrics["retrieval"]["top1"]
        flat[f"{prefix}/retrieval_chance"] = metrics["retrieval"]["chance"]
    return flat


class StopSignal:
    """SIGTERM asks a run to save and leave.

    One process catches it itself. Among several the cluster's preemption notice is shared through
    jax.distributed, so that all save at the same step.
    """

    def __init__(self):
        self._asked = False
        self._alone = jax.process_count() == 1
        if self._alone:
            self._before = signal.signal(signal.SIGTERM, self._ask)

    def _ask(self, *_):
        self._asked = True

    def requested(self, checkpoints: Checkpoints, step: int) -> bool:
        """Has this step become the last? The same answer on every process."""
        return self._asked if self._alone else checkpoints.preempted(step)

    def restore(self) -> None:
        """Give the signal back."""
        if self._alone:
            signal.signal(signal.SIGTERM, self._before)
