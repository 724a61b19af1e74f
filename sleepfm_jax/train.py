"""THE loop: evaluate → save → next batch → step. One for every objective and every cluster."""

from __future__ import annotations

import contextlib
import functools
import json
import math
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np
from absl import logging
from tqdm import tqdm

from sleepfm_jax import config as configuration
from sleepfm_jax import experiment, folders, frozen_tokens
from sleepfm_jax.data import datasets, follow_up, people, stream
from sleepfm_jax.data.division import Division
from sleepfm_jax.data.mispaired import Mispaired
from sleepfm_jax.errors import DatasetError, Preempted, TrainingStopped
from sleepfm_jax.evaluation import Evaluation
from sleepfm_jax.evaluators.evaluator import due, flat
from sleepfm_jax.signals.night_layout import OF_NIGHTS
from sleepfm_jax.training import announce, lock, plateau, sharding
from sleepfm_jax.training.best import KeepBest
from sleepfm_jax.training.checkpoint import Checkpoints
from sleepfm_jax.training.compiled import compiled
from sleepfm_jax.training.metric_writer import MetricWriter
from sleepfm_jax.training.start import parameter_count, start
from sleepfm_jax.training.step import means
from sleepfm_jax.training.stopping import Interrupted, StopSignal, told


def train(
    config: Mapping[str, Any],
    data_dir: str | Path,
    workdir: str | Path,
    begun: Callable[[Mapping[str, Any], datasets.Records], None] = lambda config, records: None,
) -> dict[str, Any]:
    """Trains what the configuration names, from the newest checkpoint in `workdir` if there is one.

    Writes under workdir: metrics.jsonl, tensorboard/, checkpoints/ and, where asked for, best/.
    Every process of a run calls this with the same arguments; workdir is shared by all.

    Args:
      config: complete; see `sleepfm_jax.config`.
      data_dir: where `launch.build` put the datasets.
      workdir: the run's folder.
      begun: called by the first process, with the configuration and the training records, when
        nothing can be refused any more.

    Returns:
      {"evaluations": {row: {name: figure}}, "seconds": {"train": s, "evaluate": s}, "step": step}:
      of the rows that are run after the last step, and of which step's weights they are (the best
      ones', with `config.keep_best.restore`).

    Raises:
      ConfigError, DatasetError, CheckpointError: what was asked for cannot be; nothing was started.
      WorkdirInUse: another training is at work there; nothing was started.
      Preempted: SIGTERM; says what is saved.
      TrainingStopped: too many updates in a row were not finite.
    """
    with contextlib.ExitStack() as held:
        return _train(config, data_dir, workdir, begun, held)


def _train(config, data_dir, workdir, begun, held: contextlib.ExitStack) -> dict[str, Any]:
    stop = held.enter_context(StopSignal())
    # Tuples become lists, as they come back from a checkpoint.
    config = json.loads(json.dumps(config))
    warnings = configuration.check(config)
    workdir, data_dir = folders.local(workdir, "workdir"), folders.local(data_dir, "data_dir")
    first = jax.process_index() == 0
    names, batch_size = config["data"]["datasets"], config["batch_size"]
    objective = experiment.make_objective(config)
    evaluators = experiment.make_evaluators(config, objective)
    frozen = frozen_tokens.frozen(config, objective.layout, workdir)
    make_examples = functools.partial(experiment.make_examples, **frozen.options)
    division = Division(data_dir, config, objective.layout, make_examples)
    division.check_no_leak(config["evaluators"].values(), frozen.people or frozenset())
    _check_watched(config, division)
    records, examples = division.records, division.training()
    what = "nights" if objective.layout.examples in OF_NIGHTS else objective.layout.examples
    if config["data"]["mispaired"]:
        examples = Mispaired(examples, objective.layout.slots, config["seed"])
    with experiment.config_errors():
        mesh = sharding.make_mesh(configuration.mesh_axes(config["mesh"]))
        sharding.check_batch(batch_size, mesh)
        shared = compiled(objective, config, mesh)
    create = functools.partial(shared.create, np.uint32(config["seed"]))
    rows = sharding.local_rows(batch_size, mesh)
    batches = stream.training(
        examples,
        batch_size=batch_size,
        seed=config["seed"],
        rows=rows,
        distinct_rows=objective.distinct_rows,
        num_threads=config["data"]["num_threads"],
        prefetch=config["data"]["prefetch"],
    )

    data = datasets.identities(data_dir, names) | frozen.identity
    data |= follow_up.identity(getattr(objective.layout, "follow_up", None))
    held.enter_context(lock.only_training(workdir))
    checkpoints = Checkpoints(workdir / "checkpoints", keep=config["keep"])
    begin = start(checkpoints, config, create, shared.shardings, data)
    state, resumed_at = begin.state, begin.step
    for key, who in (("initialise_from", begin.earlier), ("data.encoder", frozen.people)):
        if who is None:
            logging.warning("config.%s: %s", key, people.NOT_TOLD)
    if begin.earlier:
        division.check_no_leak(config["evaluators"].values(), begin.earlier)
    if resumed_at:
        batches.set_state(begin.about["data_position"])
    best = KeepBest(workdir / "best", config["keep_best"], begin.about.get("best"))
    about = {
        "config": config,
        "preprocessing": records.metadata,
        "datasets": dict(zip(names, records.metadata_of.values())),
        "data": data,
        "best": begin.about.get("best"),  # a save may come before anybody looks again
    }
    if None not in (begin.earlier, frozen.people):  # else nobody can say whom no probe may score
        about["subjects"] = sorted(begin.earlier | frozen.people | examples.people())
    if first:
        splits = {row["split"] for row in config["evaluators"].values()} | {"train"}
        clips = {split: division.clips(split) for split in splits}
        warnings += configuration.warnings_for_data(config, clips, records.clip_samples)
        warnings += experiment.input_changes(begin.source, config, records.metadata)
        for warning in warnings:
            logging.warning("%s", warning)
        begun(config, records)
        announce.announce(jax.devices(), len(examples), parameter_count(state.params), config, what)

    evaluate = Evaluation(
        objective, evaluators, mesh, config, data_dir, division, stop, frozen.datasets
    )
    during = {name: row for name, row in config["evaluators"].items() if row["every"]}
    figure, largest = config["keep_best"]["figure"], config["keep_best"]["largest"]
    watched = figure.partition("/")[0]  # the row whose looks patience and plateau count
    patience = config["keep_best"]["patience"]
    writer = MetricWriter(workdir, resume_at=resumed_at, active=first)
    seconds = {"train": 0.0, "evaluate": 0.0}
    progress = tqdm(
        total=config["steps"], initial=resumed_at, unit="step", disable=not first, mininterval=1.0
    )
    try:
        logged_at, logged_step = time.perf_counter(), resumed_at
        for step in range(resumed_at, config["steps"] + 1):
            last = step == config["steps"]
            tick = time.perf_counter()
            # What was evaluated before the save stands.
            evaluated = step == resumed_at > 0 and begin.about.get("evaluated", True)
            looked = [name for name, row in during.items() if due(row, step, last)]
            if looked and not evaluated:
                figures = {}
                with contextlib.suppress(Interrupted):
                    for name in looked:
                        figures |= flat(name, evaluate(state, name))
                    writer.write(step, figures)
                    about["best"] = best.look(step, figures, state, about)
                    if watched in looked and step % during[watched]["every"] == 0:
                        value = figures.get(figure, math.nan)
                        opt_state = plateau.told(
                            state.opt_state, value, config["optimiser"], largest=largest
                        )
                        state = state.replace(opt_state=opt_state)
                    evaluated = True
                seconds["evaluate"] += time.perf_counter() - tick
            about["evaluated"] = evaluated or not looked
            stopping = not about["evaluated"] or stop.requested()
            enough = watched in looked and evaluated and patience > 0
            enough = enough and best.nothing_since(step, patience * during[watched]["every"])
            saving = step % config["save_every"] == 0 or last or enough or stopping
            if step > resumed_at and saving:
                best.wait()
                checkpoints.save(step, state, about | {"data_position": batches.get_state()})
            if stopping:
                raise Preempted(told(step, resumed_at))
            if last or enough:
                break
            logged_at += time.perf_counter() - tick  # speed is that of steps alone
            tick = time.perf_counter()
            batch = sharding.global_batch(next(batches), mesh, batch_size, rows)
            state, metrics = shared.step(state, batch)
            if (step + 1) % config["log_every"] == 0 or step + 1 == config["steps"]:
                metrics = means(metrics)
                now = time.perf_counter()
                speed = (step + 1 - logged_step) * batch_size / (now - logged_at)
                logged_at, logged_step = now, step + 1
                metrics[f"{what}_per_second"] = speed
                writer.write(step + 1, flat("train", metrics))
                progress.set_postfix_str(f"loss {metrics['loss']:.3f}, {speed:.1f} {what}/s")
                if metrics["skipped_in_a_row"] >= config["max_skipped_in_a_row"]:
                    raise TrainingStopped(
                        f"step {step + 1}: {metrics['skipped_in_a_row']} updates in a row were not "
                        f"finite and were refused; lower the learning rate, or look at the {what}"
                    )
            seconds["train"] += time.perf_counter() - tick
            progress.update()
        checkpoints.wait()
        weights = best.weights(state) if config["keep_best"]["restore"] else state
        if first:
            logging.info("%s", _ended(step, config["steps"], about["best"], int(weights.step)))
        found = {
            name: evaluate(weights, name) for name in config["evaluators"] if name not in during
        }
    except Interrupted:  # of the last evaluations; of the others the loop knows
        raise Preempted(
            f"SIGTERM: saved at step {step}, the last; run again for its evaluations"
        ) from None
    finally:
        progress.close()
        writer.close()
        checkpoints.close()
        best.close()
    evaluations = {name: figures for name, figures in found.items() if figures}
    return {"evaluations": evaluations, "seconds": seconds, "step": int(weights.step)}


def _check_watched(config: Mapping[str, Any], division: Division) -> None:
    """Whose figure ends a run, lowers its rate or chooses its weights must be there."""
    keep, figure = config["keep_best"], config["keep_best"]["figure"]
    plateaus = config["optimiser"]["schedule"] == "plateau"
    if not (keep["patience"] or keep["restore"] or plateaus):
        return
    row = config["evaluators"][figure.partition("/")[0]]
    if division.rows(row["split"], row["datasets"]) is None:
        raise DatasetError(
            f"{', '.join(row['datasets'] or division.names)}: nobody in split {row['split']!r}, of "
            f"whom config.keep_best.figure={figure!r} is: build it with such a split, give "
            "config.data.folds, or neither patience, restore nor a plateau"
        )


def _ended(step: int, steps: int, best: Mapping[str, Any] | None, evaluated: int) -> str:
    said = f"trained to step {step}"
    if step < steps and best:
        said += f" of {steps}, with nothing better than {best['value']:.4g} of step {best['step']}"
    return f"{said}; the last evaluations" + (f", of step {evaluated}" if evaluated != step else "")
