"""A SLURM job array that runs a sweep, one task a run, and puts pre-empted tasks back into the queue."""

import shlex
import sys
from pathlib import Path

from exodiff.io.atomic import make_folder, write_text
from exodiff.sweep.plan import Plan

FILE = "array.sbatch"
AT_ONCE = 8

_SCRIPT = """#!/usr/bin/env bash
#SBATCH --job-name={name}
#SBATCH --array=0-{last}%{at_once}
#SBATCH --time=04:00:00
#SBATCH --ntasks=1
#SBATCH --cpus-per-task=4
#SBATCH --mem=8G
#SBATCH --output={logs}/%a.log
#SBATCH --open-mode=append
#SBATCH --requeue
#SBATCH --signal=USR1@300
# For GPUs add: #SBATCH --gpus-per-task=1

# Five minutes before its time is over a run writes a checkpoint and ends with 75; the task then queues again.
srun --cpus-per-task="$SLURM_CPUS_PER_TASK" {python} -m exodiff.cli sweep {sweep} --only "$SLURM_ARRAY_TASK_ID"
code=$?
if [ "$code" -eq 75 ]; then
    scontrol requeue "${{SLURM_ARRAY_JOB_ID}}_${{SLURM_ARRAY_TASK_ID}}"
fi
exit "$code"
"""


def write_array(plan: Plan) -> Path:
    """Write the script of the job array into the sweep's directory; submit it from the same working directory.

    One that is there is left as it is: users put their partition and their times into it.
    """
    if (plan.path / FILE).exists():
        return plan.path / FILE
    make_folder(plan.path / "logs")
    script = _SCRIPT.format(
        name=shlex.quote(plan.path.name),
        last=len(plan.rows) - 1,
        at_once=min(AT_ONCE, len(plan.rows)),
        logs=shlex.quote(str(plan.path / "logs")),
        python=shlex.quote(sys.executable),
        sweep=shlex.quote(str(plan.path)),
    )
    write_text(plan.path / FILE, script)
    return plan.path / FILE
