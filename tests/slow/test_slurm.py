"""The README's lines for a SLURM allocation, word for word but for sizes and names, on a SLURM of one node."""

import getpass
import os
import re
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from copied_project import copied

from clipcap_lib.files import read_json

TOOLS = ("munged", "slurmctld", "slurmd", "sbatch", "srun", "scontrol", "sinfo")
pytest.importorskip("ray", reason="needs Ray: pip install -e '.[ray]'")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not all(map(shutil.which, TOOLS)), reason="needs SLURM: apt-get install slurm-wlm"),
]
CONFIG = """
ClusterName=tried
SlurmctldHost={host}
SlurmUser={user}
SlurmdUser={user}
SlurmctldPort={ports[0]}
SlurmdPort={ports[1]}
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.log
ProctrackType=proctrack/pgid
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
NodeName={host} CPUs={cores} State=UNKNOWN
PartitionName=all Nodes=ALL Default=YES MaxTime=INFINITE State=UP
"""


@pytest.fixture
def slurm(tmp_path) -> Iterator[dict[str, str]]:
    """The environment in which SLURM's commands speak to daemons of this test."""
    for name in ("state", "spool"):
        (tmp_path / name).mkdir()
    (tmp_path / "munge.key").write_bytes(os.urandom(1024))
    (tmp_path / "munge.key").chmod(0o600)
    config = tmp_path / "slurm.conf"
    host, cores = socket.gethostname().partition(".")[0], len(os.sched_getaffinity(0))
    config.write_text(
        CONFIG.format(host=host, user=getpass.getuser(), folder=tmp_path, cores=cores, ports=[free_port(), free_port()])
    )
    environment = os.environ | {
        "SLURM_CONF": str(config), "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    }  # fmt: skip
    files = {"key": "munge.key", "socket": "munge.socket", "pid": "munge.pid", "log": "munge.log", "seed": "munge.seed"}
    munge = [f"--{kind}{'' if kind == 'socket' else '-file'}={tmp_path / name}" for kind, name in files.items()]
    commands = (["munged", "--foreground", "--force", *munge], ["slurmctld", "-D"], ["slurmd", "-D"])
    daemons = []
    try:
        for command in commands:
            daemons.append(subprocess.Popen(command, env=environment, stderr=subprocess.DEVNULL))
            time.sleep(2)
        yield environment
    finally:
        for daemon in reversed(daemons):
            daemon.terminate()
            daemon.wait(30)


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]


def lines_of_the_readme(project: Path) -> str:
    """The script of a batch job that the README shows, for one node without GPUs and for a small sweep."""
    text = (project / "README.md").read_text(encoding="utf-8")
    (script,) = re.findall(r"```sh\n(#SBATCH .*?)```", text, re.DOTALL)
    cores = len(os.sched_getaffinity(0))
    for told, here in (
        ("--nodes=4", "--nodes=1"), ("--cpus-per-task=8", f"--cpus-per-task={cores}"), (" --gpus-per-node=1", ""),
        ("clipcap run emoji-zh-bridges", "clipcap run emoji-tiny -S training.steps=3 -S training.warmup_steps=1"),
    ):  # fmt: skip
        assert told in script
        script = script.replace(told, here)
    return f"#!/bin/bash\n{script}"


def test_the_lines_of_the_readme_run_an_experiment_on_slurm(slurm, project, tmp_path):
    clone = copied(project, tmp_path / "clone")
    (tmp_path / "job.sh").write_text(lines_of_the_readme(project))
    told = tmp_path / "told.txt"
    command = ["sbatch", "--wait", f"--output={told}", str(tmp_path / "job.sh")]
    done = subprocess.run(command, cwd=clone, env=slurm, capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == 0, done.stderr + (told.read_text() if told.exists() else "")
    (experiment,) = (clone / "reports").glob("emoji-tiny*/experiment.json")
    assert "failed" not in told.read_text() and read_json(experiment)["name"].startswith("emoji-tiny")
    assert len(list(experiment.parent.glob("runs/*/DONE"))) == 4
