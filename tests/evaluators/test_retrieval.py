"""Retrieval as a guest of the loop: all real clips, loss by terms, filler rows not at all."""

from __future__ import annotations

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sleepfm_jax.data import stream
from sleepfm_jax.data.clip_examples import ClipExamples
from sleepfm_jax.evaluators import retrieval
from sleepfm_jax.metrics.retrieval import retrieval as measure
from sleepfm_jax.objectives.contrastive import Contrastive
from sleepfm_jax.signals.layout import Layout
from tests.helpers.records import NumberedRecords

LAYOUT = Layout((("bas", 2), ("ecg", 1), ("emg", 1)), patch_samples=10)


@dataclasses.dataclass(frozen=True)
class TableModel:
    """A model whose vector of a row is a table's; presence is what the mask says."""

    layout = LAYOUT

    def init(self, key):
        return {"table": jax.random.normal(key, (40, 3, 8))}, {}

    def apply(self, params, stats, batch, key=None, is_frozen=None):
        here = jnp.stack(
            [batch["mask"][:, i : i + n].any((1, 2)) for i, n in ((0, 2), (2, 1), (3, 1))]
        )
        # A filling row has a vector too: the last of the table.
        return {"clip": params["table"][batch["index"]], "presence": here.T}, stats


@pytest.fixture(scope="module")
def objective():
    return Contrastive(TableModel(), log_scale=1.0)


@pytest.fixture(scope="module")
def arrays(objective):
    return objective.init(jax.random.key(0))


@pytest.fixture(scope="module")
def predict(objective, arrays):
    """As the loop's: rows that are filling are left out of the predictions."""

    @jax.jit
    def forward(batch):
        return objective.predict(*arrays, batch), objective.loss(*arrays, batch, None)[1][1]

    def run(batch):
        predictions, metrics = jax.device_get(forward(batch))
        real = batch["index"] >= 0
        found = {name: value[real] for name, value in predictions.items()}
        index = batch["index"][real]
        whose = {"person": index // 4, "recording": index // 4}  # nights of four clips
        return found | whose | {"index": index}, metrics

    return run


def clips(count):
    """Clips of three modalities; every third has no ECG, so that it counts for less."""
    records = NumberedRecords(count)
    for i in range(0, count, 3):
        records.items[i].modalities[2] = "other"
    return ClipExamples(records, LAYOUT)


def run(predict, count, batch_size, candidates=6):
    evaluator = retrieval.Retrieval(LAYOUT.modalities, candidates)
    batches = stream.one_pass(clips(count), batch_size=batch_size)
    return dict(evaluator.run(predict, batches))


def test_a_row_of_the_configuration_becomes_the_evaluator(objective):
    made = retrieval.make({"kind": "retrieval", "candidates": 7, "every": 50}, objective)
    assert made == retrieval.Retrieval(("bas", "ecg", "emg"), 7)
    assert made.wants == ("clip", "presence", "person", "recording")
    assert made.whole_recordings
    last = retrieval.make({"kind": "retrieval", "candidates": 7, "every": 0}, objective)
    assert last.names_people and not made.names_people, "the probe of people costs seconds"


def test_all_real_clips_are_ranked_whatever_the_batches(predict, arrays):
    table = np.asarray(arrays[0]["encoder"]["table"])[:11].swapaxes(0, 1)  # [M, N, D]
    presence = np.ones((3, 11), bool)
    presence[1, ::3] = False
    whose = np.arange(11) // 4
    wanted = measure(table, presence, whose, whose, candidates=6, names=LAYOUT.modalities)
    assert set(wanted["across_people"]["per_modality"]) == {"bas", "ecg", "emg"}
    assert wanted["across_people"]["per_modality"]["ecg"]["clips"] == 7
    assert wanted["within_person"]["nights"] == 3
    for batch_size in (4, 11, 16):  # the last batch is filled up by 1, 0 and 5 rows
        assert run(predict, 11, batch_size)["retrieval"] == wanted


def test_people_are_probed_in_the_order_of_their_clips(predict):
    """Whatever the order in which rows come."""
    evaluator = retrieval.Retrieval(LAYOUT.modalities, 6, names_people=True)

    def people_of_ten(batch):
        predictions, metrics = predict(batch)
        return predictions | {"person": predictions["index"] // 10}, metrics

    batches = list(stream.one_pass(clips(40), batch_size=8))
    found, turned = (
        dict(evaluator.run(people_of_ten, order))["retrieval"] for order in (batches, batches[::-1])
    )
    assert found == turned
    probe = found["person_probe"]
    assert probe["per_modality"]["bas"]["people"] == 4
    assert probe["per_modality"]["ecg"]["clips"] == 4 * 2


def test_the_loss_is_weighted_by_what_counted(predict):
    """A batch of four and one of two: by their terms, neither by batches nor by rows."""
    found = run(predict, 6, 4)
    each = [predict(batch)[1]["loss"] for batch in stream.one_pass(clips(6), batch_size=4)]
    (sums, counts) = zip(*each)
    # bas and emg take part always, ECG in two of three clips; both directions.
    assert list(counts) == [2 * (4 + 4 + 2), 2 * (2 + 2 + 2)]
    np.testing.assert_allclose(found["loss"], sum(sums) / sum(counts), rtol=1e-6)
    means = [total / count for total, count in each]
    assert abs(found["loss"] - np.mean(means)) > 1e-3
    assert abs(found["loss"] - np.average(means, weights=[4, 2])) > 1e-4


def test_filler_rows_do_not_count(predict):
    """One clip beside three filling rows is a clip alone: no candidates but itself."""
    whole, alone = (predict(b)[1] for b in stream.one_pass(clips(5), batch_size=4))
    assert alone["loss"][1] == 2 * 3 and alone["loss"][0] == 0
    assert alone["presence"] == (3, 3) and whole["presence"] == (4 * 3 - 2, 4 * 3)
    found = run(predict, 5, 4)
    total, count = whole["loss"]
    np.testing.assert_allclose(found["loss"], total / (count + 6), rtol=1e-6)
    # What four clips count for is the same in a batch of their own and in one filled up.
    (exact,), (filled,) = (
        [predict(b)[1] for b in stream.one_pass(clips(4), batch_size=size)] for size in (4, 8)
    )
    for name in ("loss", "top1", "presence"):
        np.testing.assert_allclose(filled[name], exact[name], rtol=1e-6, err_msg=name)
