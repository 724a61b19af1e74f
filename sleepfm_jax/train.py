"""THE loop: evaluate → save → next batch → step. One for every objective and every cluster."""

from __future__ import annotations

import contextlib
import functools
import json
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np
from absl import logging
from tqdm import tqdm

from sleepfm_jax import config as configuration
from sleepfm_jax import experiment, folders
from sleepfm_jax.data import datasets, people, stream
from sleepfm_jax.data.examples import spread, whole_recordings
from sleepfm_jax.data.mispaired import Mispaired
from sleepfm_jax.errors import Preempted, TrainingStopped
from sleepfm_jax.evaluators.evaluator import WHOSE, Evaluator, due, flat
from sleepfm_jax.training import announce, freezing, lock, optim, sharding
from sleepfm_jax.training import state as train_state
from sleepfm_jax.training.best import KeepBest
from sleepfm_jax.training.checkpoint import Checkpoints
from sleepfm_jax.training.metric_writer import MetricWriter
from sleepfm_jax.training.start import parameter_count, start
from sleepfm_jax.training.step import means, step_function
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
      {"evaluations": {row: {name: figure}}, "seconds": {"train": s, "evaluate": s}}: of the rows
      that are run after the last step.

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
    records = datasets.open_records(data_dir, names, "train")
    datasets.check_no_leak(data_dir, names)
    objective = experiment.make_objective(config)
    evaluators = experiment.make_evaluators(config, objective)
    examples = experiment.make_examples(records, objective.layout)
    if config["data"]["mispaired"]:
        examples = Mispaired(examples, objective.layout.slots, config["seed"])
    with experiment.config_errors():
        mesh = sharding.make_mesh(configuration.mesh_axes(config["mesh"]))
        sharding.check_batch(batch_size, mesh)
        tx = optim.optimiser(config["optimiser"], config["steps"], objective.frozen)
        create = functools.partial(train_state.create, objective, tx, config["seed"])
        shapes = jax.eval_shape(create)
        freezing.check_patterns(shapes.params, objective.frozen, "config.frozen")
        shardings = sharding.tree_shardings(shapes, mesh, config["sharding_rules"])
    rows = sharding.local_rows(batch_size, mesh)
    reading = {key: config["data"][key] for key in ("num_threads", "prefetch")}
    batches = stream.training(
        examples,
        batch_size=batch_size,
        seed=config["seed"],
        rows=rows,
        distinct_rows=objective.distinct_rows,
        **reading,
    )

    data = datasets.identities(data_dir, names)
    held.enter_context(lock.only_training(workdir))
    checkpoints = Checkpoints(workdir / "checkpoints", keep=config["keep"])
    begin = start(checkpoints, config, create, shardings, data)
    state, resumed_at = begin.state, begin.step
    if begin.earlier is None:
        logging.warning("config.initialise_from: %s", people.NOT_TOLD)
    else:
        datasets.check_no_leak(data_dir, names, begin.earlier)
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
    if begin.earlier is not None:  # otherwise nobody can say whom no probe may score
        about["subjects"] = sorted(begin.earlier | examples.people())
    if first:
        splits = {row["split"] for row in config["evaluators"].values()} | {"train"}
        clips = {split: datasets.count(data_dir, names, split) for split in splits}
        warnings += configuration.warnings_for_data(config, clips, records.clip_samples)
        warnings += experiment.input_changes(begin.source, config, records.metadata)
        for warning in warnings:
            logging.warning("%s", warning)
        begun(config, records)
        announce.announce(jax.devices(), len(examples), parameter_count(state.params), config)

    step_fn = jax.jit(
        step_function(objective, tx),
        donate_argnums=0,
        out_shardings=(shardings, sharding.replicated(mesh)),
    )
    evaluate = _evaluation(objective, mesh, config, data_dir, rows, reading, stop)
    during = {name: row for name, row in config["evaluators"].items() if row["every"]}
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
                        figures |= flat(name, evaluate(state, name, evaluators[name]))
                    writer.write(step, figures)
                    about["best"] = best.look(step, figures, state, about)
                    evaluated = True
                seconds["evaluate"] += time.perf_counter() - tick
            about["evaluated"] = evaluated or not looked
            stopping = not about["evaluated"] or stop.requested()
            if step > resumed_at and (step % config["save_every"] == 0 or last or stopping):
                best.wait()
                checkpoints.save(step, state, about | {"data_position": batches.get_state()})
            if stopping:
                raise Preempted(told(step, resumed_at))
            if last:
                break
            logged_at += time.perf_counter() - tick  # speed is that of steps alone
            tick = time.perf_counter()
            batch = sharding.global_batch(next(batches), mesh, batch_size, rows)
            state, metrics = step_fn(state, batch)
            if (step + 1) % config["log_every"] == 0 or step + 1 == config["steps"]:
                metrics = means(metrics)
                now = time.perf_counter()
                speed = (step + 1 - logged_step) * batch_size / (now - logged_at)
                logged_at, logged_step = now, step + 1
                metrics["clips_per_second"] = speed
                writer.write(step + 1, flat("train", metrics))
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
            logging.info("trained to step %d; the last evaluations", config["steps"])
        found = {
            name: evaluate(state, name, evaluators[name])
            for name in config["evaluators"]
            if name not in during
        }
    except Interrupted:  # of the last evaluations; of the others the loop knows
        raise Preempted(
            f"SIGTERM: saved at step {config['steps']}, the last; run again for its evaluations"
        ) from None
    finally:
        progress.close()
        writer.close()
        checkpoints.close()
        best.close()
    return {"evaluations": {name: f for name, f in found.items() if f}, "seconds": seconds}


def _evaluation(objective, mesh, config, data_dir, rows, reading, stop):
    """(state, row's name, evaluator) → {name: figure}; {} where no dataset in use has the split.
    Raises Interrupted before the batch at which the run is asked to stop."""
    batch_size = config["batch_size"]

    @functools.cache
    def forward(wanted: tuple[str, ...]):
        def run(params, stats, batch):
            predictions = objective.predict(params, stats, batch) if wanted else {}
            _, (_, metrics) = objective.loss(params, stats, batch, None)
            return {name: predictions[name] for name in wanted}, metrics, batch["index"]

        return jax.jit(run, out_shardings=sharding.replicated(mesh))

    @functools.cache
    def examples_of(split: str):
        names = config["data"]["datasets"]
        names = [name for name in names if datasets.has_split(data_dir, name, split)]
        if not names:
            logging.info("no %s split in %s", split, config["data"]["datasets"])
            return None
        records = datasets.open_records(data_dir, names, split)
        return experiment.make_examples(records, objective.layout)

    @functools.cache
    def view_of(split: str, choose: Callable, limit: int):
        return choose(examples_of(split), limit)

    def evaluate(state, name: str, evaluator: Evaluator) -> dict[str, Any]:
        row = config["evaluators"][name]
        examples = examples_of(row["split"])
        if examples is None:
            return {}

        def predict(batch):
            stop.check()
            batch = sharding.global_batch(batch, mesh, batch_size, rows)
            out = forward(predicted)(state.params, state.batch_stats, batch)
            predictions, metrics, index = jax.device_get(out)
            real = index >= 0
            predictions = {key: np.asarray(value)[real] for key, value in predictions.items()}
            for said in whose:  # of all processes' rows: an index is of the whole split
                ask = getattr(examples, f"{said}_of")
                predictions[said] = np.array([ask(int(i)) for i in index[real]], np.str_)
            return predictions | {"index": index[real]}, metrics

        whose = [name for name in evaluator.wants if name in WHOSE]
        predicted = tuple(name for name in evaluator.wants if name not in WHOSE)
        choose = whole_recordings if getattr(evaluator, "whole_recordings", False) else spread
        looked_at = view_of(row["split"], choose, row["examples"])
        batches = stream.one_pass(looked_at, batch_size=batch_size, rows=rows, **reading)
        return dict(evaluator.run(predict, batches))

    return evaluate
