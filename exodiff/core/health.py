"""Health codes: failures inside compiled code, raised as errors between chunks."""

from enum import IntEnum


class Health(IntEnum):
    """Why a replicate stopped advancing."""

    GOOD = 0
    STEP_TOO_LONG = 1
    NOT_A_NUMBER = 2
    NEGATIVE_RATE = 3
    OVERFLOW = 4
    NOT_SOLVED = 5


ADVICE = {
    Health.STEP_TOO_LONG: "the rates have outgrown the step (leap: even a 64th of it is over the tolerance; "
    "mean_field: an exit probability is above 0.5); lower run.time_step, or look for a runaway reaction",
    Health.NOT_A_NUMBER: "rates must be finite: look for a division by zero or a log of zero in it",
    Health.NEGATIVE_RATE: "no rate may be negative: use max(0, ...) in its expression if that is meant",
    Health.OVERFLOW: "counts go up to 2^31, amounts in compartments to 2^62: use smaller voxels or fewer molecules; "
    'with leap_st in float32 to 2^24: take run.precision = "float64"',
    Health.NOT_SOLVED: "a steady value needs a loss, a fixed value or an open boundary that diffusion reaches, and no "
    'source that grows with it faster than it is lost; correct these, or choose solve = "implicit"',
}
