"""Commands on data: fit, sbc, synthesise."""

import time
from pathlib import Path
from typing import Annotated

import typer

from exodiff.commands.shared import STDERR, STDOUT, Config, Set, cache_compilations, overrides
from exodiff.core.errors import ConfigError
from exodiff.progress import duration


def _refuse_second(file: Path, what: str, *, overwrite: bool) -> None:
    if file.exists() and not overwrite:
        raise ConfigError(str(file.parent), f"holds {what} already; give another --out, or --overwrite")


def fit(
    config: Config,
    out: Annotated[Path | None, typer.Option("--out", help="Directory; default runs/<config name>-fit.")] = None,
    set_: Set = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the fit in the directory.")] = False,
) -> None:
    """Fit the parameters of [fit] to its data: estimates with intervals, fit.h5, fit.json and figures.

    Example: exodiff fit configs/fit_plasma.toml --set fit.calibrate=1000

    What the data cannot tell is said before any interval. Without data of your own: exodiff synthesise CONFIG.
    """
    from exodiff.config import load as config_load  # noqa: PLC0415

    out = out or Path("runs") / f"{config.stem}-fit"
    settings = config_load.load(config, overrides(set_, None))
    _refuse_second(out / "fit.h5", "a fit", overwrite=overwrite)
    from exodiff.build import build  # noqa: PLC0415
    from exodiff.inference.command import fit_model  # noqa: PLC0415

    cache_compilations()
    began = time.monotonic()

    def tell(phase: str, told: str) -> None:
        STDERR.print(f"[{duration(time.monotonic() - began)}] {phase}: {told}")

    found, written = fit_model(build(settings), out, tell)
    STDOUT.print(found.summary())
    for path in written:
        STDOUT.print(str(path))


def sbc(
    config: Config,
    fits: Annotated[int, typer.Option("--fits", min=20, help="Number of truths drawn from the priors.")] = 200,
    out: Annotated[Path | None, typer.Option("--out", help="Directory; default runs/<config name>-sbc.")] = None,
    set_: Set = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace what is in the directory.")] = False,
) -> None:
    """Simulation-based calibration: is the fit of this file right for data like these? Writes sbc.json and a figure.

    Example: exodiff sbc configs/fit_plasma.toml --fits 200 --set fit.uncertainty='"fisher"'

    Draws truths from the priors, simulates data at the times of [fit], fits them, and tells how often the 90 %
    intervals hold the truth and whether it lies uniformly in its posterior.
    """
    from exodiff.config import load as config_load  # noqa: PLC0415

    out = out or Path("runs") / f"{config.stem}-sbc"
    settings = config_load.load(config, overrides(set_, None))
    _refuse_second(out / "sbc.json", "a calibration", overwrite=overwrite)
    from exodiff.build import build  # noqa: PLC0415
    from exodiff.inference.command import calibrate_model  # noqa: PLC0415

    cache_compilations()
    began = time.monotonic()

    def tell(done: int) -> None:
        spent = time.monotonic() - began
        if done == 1 or done * 20 // fits > (done - 1) * 20 // fits:
            left = duration(spent / done * (fits - done))
            STDERR.print(f"[{duration(spent)}] {done} of {fits} fits, {left} left")

    found, written = calibrate_model(build(settings), fits, out, tell)
    STDOUT.print(found.summary())
    for path in written:
        STDOUT.print(str(path))


def synthesise(
    config: Config,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Of the simulation and the measurement errors.")] = 0,
    set_: Set = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the data files.")] = False,
) -> None:
    """Make the data files of [fit] by a simulation with the parameters of the file.

    Example: exodiff synthesise model.toml --seed 1 --set parameters.k_on="2e-4 um^3/s" --set run.replicates=5

    Tables have a row every run.observe_every for each of run.replicates tissues.
    """
    from exodiff.build import load  # noqa: PLC0415
    from exodiff.inference.synthesise import synthesise as make  # noqa: PLC0415

    cache_compilations()
    model = load(config, overrides(set_, None))
    folders = (config.parent.resolve(), Path.cwd())
    for data in model.config.fit.data if model.config.fit is not None else ():
        if not any(data.file.is_relative_to(folder) for folder in folders):
            told = (
                f"is neither in the folder of the model file nor in {folders[1]}, and is not written; go to its folder"
            )
            raise ConfigError(str(data.file), told)
    for path in make(model, seed, overwrite=overwrite):
        STDOUT.print(str(path))
