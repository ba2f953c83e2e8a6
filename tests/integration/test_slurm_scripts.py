"""The scripts for SLURM: read by bash and a linter; options are known, and commands are those that exodiff has."""

import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import tomli_w
import typer
from typer.testing import CliRunner

from exodiff.cli import app
from tests.integration.test_sweep import DECAY

SCRIPTS = sorted(Path("runs/slurm").glob("*.sbatch"))
NUMBER = r"[1-9]\d*"
OPTIONS = {
    "array": r"\d+-\d+(%[1-9]\d*)?",
    "cpus-per-task": NUMBER,
    "gpu-bind": "none",
    "gpus-per-node": NUMBER,
    "gpus-per-task": NUMBER,
    "job-name": r"[^/]+",
    "mem": r"[1-9]\d*[MGT]",
    "nodes": NUMBER,
    "ntasks": NUMBER,
    "ntasks-per-node": NUMBER,
    "open-mode": "append",  # what a requeued job says must not replace what it said before
    "output": r".*%(j|a|A-%a)\.log",
    "requeue": None,
    "signal": r"USR1@\d+",  # to the step, not to the shell alone (B:), which would not pass it on
    "time": r"(\d+-)?\d\d:[0-5]\d:[0-5]\d",
}
CORES = "--cpus-per-task=6"
OF_SRUN = {"--kill-on-bad-exit=0", CORES}


def written(folder: Path, name: str) -> Path:
    """The job array that a sweep writes for itself."""
    config, out = folder / "decay.toml", folder / name
    config.write_text(tomli_w.dumps(DECAY))
    given = ["sweep", str(config), "--vary", "parameters.k=0.1 /s:0.3 /s:5", "--out", str(out), "--slurm"]
    assert CliRunner().invoke(app, given, catch_exceptions=False).exit_code == 0
    return out / "array.sbatch"


@pytest.fixture(params=[*(path.name for path in SCRIPTS), "sweep", "my sweep's"])
def script(request, tmp_path) -> Path:
    found = Path("runs/slurm") / request.param
    return (found if found.exists() else written(tmp_path, request.param)).resolve()


def test_there_are_scripts_for_one_gpu_one_node_many_nodes_and_an_array():
    assert {path.stem for path in SCRIPTS} == {"one_gpu", "one_node", "many_nodes", "array"}


def test_bash_reads_the_script(script):
    subprocess.run(["bash", "-n", script], check=True)


def test_the_linter_has_no_complaint(script):
    beside = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])  # a venv that is not activated
    linter = shutil.which("shellcheck", path=beside)
    if linter is None:
        pytest.skip("no shellcheck; it comes with: pip install 'exodiff[dev]'")
    done = subprocess.run([linter, "--norc", script], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


def test_every_sbatch_line_has_a_known_option_with_a_legal_value_and_stands_before_the_commands(script):
    given: dict[str, str | None] = {}
    is_over = False
    for line in script.read_text().splitlines():
        is_over |= bool(line.strip()) and not line.startswith("#")
        if not line.startswith("#SBATCH"):
            continue
        assert not is_over, f"SLURM reads no {line!r} after the first command"
        (word,) = shlex.split(line.removeprefix("#SBATCH"))
        found = re.fullmatch(r"--([a-z-]+)(?:=(.+))?", word)
        assert found is not None, line
        name, value = found.groups()
        assert name not in given, line
        assert name in OPTIONS, line
        legal = OPTIONS[name]
        assert (value is None) if legal is None else re.fullmatch(legal, value or ""), line
        given[name] = value
    assert given.keys() >= {"time", "mem", "output", "open-mode", "requeue", "signal"}


def commands(script: Path, folder: Path, code: int) -> tuple[list[list[str]], int]:
    """What the script calls where all programs are stand-ins, ``srun`` ends with a code, and how the script ends."""
    for name, ends in (("srun", code), ("scontrol", 0)):
        program = folder / "bin" / name
        program.parent.mkdir(exist_ok=True)
        line = f"#!/usr/bin/env bash\nprintf '%s\\0' {name} \"$@\" $'\\n' >> '{folder}/called'\nexit {ends}\n"
        program.write_text(line)
        program.chmod(0o755)
    slurm = {"SLURM_CPUS_PER_TASK": "6", "SLURM_JOB_ID": "7", "SLURM_ARRAY_JOB_ID": "7", "SLURM_ARRAY_TASK_ID": "3"}
    path = f"{folder / 'bin'}:{os.environ['PATH']}"
    given = ["a model.toml", "--set", "run.duration='2 h'"] if script.parent.name == "slurm" else []
    done = subprocess.run(["bash", script, *given], env={"PATH": path, **slurm}, check=False)
    called = (folder / "called").read_text()
    (folder / "called").unlink()
    return [line.strip("\0").split("\0") for line in called.split("\0\n\0") if line], done.returncode


def test_every_command_is_one_that_exodiff_has_and_only_75_queues_again(script, tmp_path):
    for code in (0, 1, 2, 3, 75):
        (step, *others), ended = commands(script, tmp_path, code)
        assert ended == code
        assert [name for name, *_ in others] == (["scontrol"] if code == 75 else [])
        if others:
            assert others[0][1:] in (["requeue", "7"], ["requeue", "7_3"])
    assert step[0] == "srun"
    assert CORES in step  # since SLURM 22.05 a step does not take it from the job
    words = [word for word in step[1:] if word not in OF_SRUN]
    if words[0] != "exodiff":
        python, *module, name = words[:3]
        assert (Path(python).exists(), module, name) == (True, ["-m"], "exodiff.cli")
        words = words[2:]
    group = typer.main.get_command(app)
    context = group.make_context("exodiff", words[1:2], resilient_parsing=True)
    name, command, rest = group.resolve_command(context, words[1:])  # pyright: ignore[reportAttributeAccessIssue]
    parsed = command.make_context(name, rest, parent=context).params
    if name == "run":
        assert parsed["resume"] == "auto"
        assert str(parsed["config"]) == "a model.toml"
        assert parsed["set_"][0] == "run.duration='2 h'"
    else:
        assert (name, parsed["only"], str(parsed["source"])) == ("sweep", 3, str(script.parent))


def test_what_exodiff_does_not_know_is_found(tmp_path):
    """So that the test above means something."""
    group = typer.main.get_command(app)
    context = group.make_context("exodiff", ["run"], resilient_parsing=True)
    _, command, _ = group.resolve_command(context, ["run"])  # pyright: ignore[reportAttributeAccessIssue]
    with pytest.raises(Exception, match="No such option"):
        command.make_context("run", ["model.toml", "--requeue"], parent=context)
