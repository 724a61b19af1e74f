"""Checksums, damage and agreement between two processes of one run."""

from __future__ import annotations

import json
import socket
import subprocess
import sys

import jax.numpy as jnp
import numpy as np

from sleepfm_jax.training import checksums
from tests.helpers.programs import ROOT, environment

PROCESS = """
import json, sys
from pathlib import Path
import jax, numpy as np
from jax.experimental import multihost_utils
me, port, folder = int(sys.argv[1]), sys.argv[2], Path(sys.argv[3])
jax.distributed.initialize(f"localhost:{port}", 2, me)
from sleepfm_jax.errors import ConfigError
from sleepfm_jax.training import checksums, sharding
from sleepfm_jax.training.checkpoint import Checkpoints
from sleepfm_jax.training.same_data import check_alike

mesh = sharding.make_mesh()
cut = jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec("data"))
whole = sharding.replicated(mesh)
values = np.random.default_rng(0).standard_normal((8, 300)).astype(np.float32)
place = lambda x, where: jax.make_array_from_callback(x.shape, where, lambda index: x[index])
state = {"cut": place(values, cut), "whole": place(values, whole), "mine": np.arange(5)}
found = {"sums": checksums.of_tree(state)}

check_alike(step=3, data={"a": 1})
try:
    check_alike(step=3, data={"a": me})
except ConfigError as error:
    found["unlike"] = str(error)

del state["mine"]
checkpoints = Checkpoints(folder)
for step in (1, 2):
    checkpoints.save(step, state, {"step": step})
checkpoints.wait()
if me == 0:  # only what process 1 wrote, and reads
    files = list((folder / "2" / "state").rglob("ocdbt.process_1/d/*"))
    assert files
    for file in files:
        file.write_bytes(file.read_bytes()[:20])
multihost_utils.sync_global_devices("damaged")
step, (back, about) = checkpoints.newest(lambda step: checkpoints.restore(step, state))
for shard in back["cut"].addressable_shards:
    np.testing.assert_array_equal(shard.data, values[shard.index])
found |= {"step": step, "about": about, "names": sorted(p.name for p in folder.iterdir())}
checkpoints.close()
print(json.dumps(found))
"""


def test_two_processes_find_the_same(tmp_path):
    with socket.socket() as free:
        free.bind(("localhost", 0))
        port = str(free.getsockname()[1])
    command = [sys.executable, "-c", PROCESS]
    started = [
        subprocess.Popen(
            [*command, str(me), port, str(tmp_path / "checkpoints")],
            cwd=ROOT,
            env=environment() | {"PYTHONPATH": str(ROOT)},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for me in (0, 1)
    ]
    try:
        outputs = [process.communicate(timeout=120) for process in started]
    finally:
        for process in started:
            process.kill()
    assert [p.returncode for p in started] == [0, 0], [err[-3000:] for _, err in outputs]
    first, second = (json.loads(out.splitlines()[-1]) for out, _ in outputs)

    values = np.random.default_rng(0).standard_normal((8, 300)).astype(np.float32)
    alone = checksums.of_tree({"cut": jnp.asarray(values), "mine": np.arange(5)})
    assert first["sums"] == second["sums"] == alone | {"whole": alone["cut"]}
    assert second["unlike"].startswith("this process (1) has another data than process 0")
    assert "(process 1: data)" in first["unlike"]
    for found in (first, second):
        assert found["step"] == 1 and found["about"] == {"step": 1}
        assert {"1", "2.damaged"} <= set(found["names"]) and "2" not in found["names"]
    for _, err in outputs:
        assert "checkpoint of step 2 is damaged" in err
