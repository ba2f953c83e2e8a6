"""Commands on data: fit, sbc, synthesise."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

from exodiff.commands.interrupts import Watch, watching
from exodiff.commands.shared import STDERR, STDOUT, Config, Set, cache_compilations, overrides
from exodiff.core.errors import ConfigError
from exodiff.progress import duration
from exodiff.runner.signals import StopRequest

TELL_EVERY_S = 10.0


def _refuse_second(file: Path, what: str, *, overwrite: bool) -> None:
    if file.exists() and not overwrite:
        raise ConfigError(str(file.parent), f"holds {what} already; give another --out, or --overwrite")


@contextmanager
def _stoppable() -> Iterator[Watch]:
    """While the block lasts a signal ends the process, for all that is done is kept; only results are waited for."""
    watch = Watch(
        "writing the results",
        at_second=lambda: None,  # raises KeyboardInterrupt
        computes=False,
        otherwise="with all that is done kept; give the same command again",
    )
    with watching(watch), StopRequest():
        yield watch


def fit(
    config: Config,
    out: Annotated[Path | None, typer.Option("--out", help="Directory; default runs/<config name>-fit.")] = None,
    set_: Set = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the fit in the directory.")] = False,
) -> None:
    """Fit the parameters of [fit] to its data: estimates with intervals, fit.h5, fit.json and figures.

    Example: exodiff fit configs/fit_plasma.toml --set fit.calibrate=1000

    What the data cannot tell is said before any interval. Without data of your own: exodiff synthesise CONFIG.
    Stopped by Ctrl-C or a signal, it goes on when the same command is given again.
    """
    with _stoppable() as watch:
        from exodiff.config import load as config_load  # noqa: PLC0415

        out = out or Path("runs") / f"{config.stem}-fit"
        settings = config_load.load(config, overrides(set_, None))
        _refuse_second(out / "fit.h5", "a fit", overwrite=overwrite)
        from exodiff.build import build  # noqa: PLC0415
        from exodiff.inference.command import fit_model  # noqa: PLC0415

        cache_compilations()
        began = time.monotonic()

        def tell(phase: str, told: str) -> None:
            watch.computes = phase == "writing"
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
    intervals hold the truth and whether it lies uniformly in its posterior. Stopped by Ctrl-C or a signal, it goes on
    after its last whole fit when the same command is given again.
    """
    with _stoppable() as watch:
        from exodiff.config import load as config_load  # noqa: PLC0415

        out = out or Path("runs") / f"{config.stem}-sbc"
        settings = config_load.load(config, overrides(set_, None))
        _refuse_second(out / "sbc.json", "a calibration", overwrite=overwrite)
        from exodiff.build import build  # noqa: PLC0415
        from exodiff.inference.command import calibrate_model  # noqa: PLC0415

        cache_compilations()
        began = time.monotonic()
        first_s = told_s = 0.0

        def tell(done: int, earlier: int) -> None:
            nonlocal first_s, told_s
            spent = time.monotonic() - began
            watch.computes = done == fits  # then they are written
            told = f"[{duration(spent)}] {done} of {fits} fits"
            if done == earlier:
                STDERR.print(f"{told} are done already")
            elif done == earlier + 1:  # with all compilation, so it tells nothing of the others
                first_s = told_s = spent
                STDERR.print(told)
            elif done == fits or spent - told_s >= TELL_EVERY_S:
                told_s = spent
                left = (spent - first_s) / (done - earlier - 1) * (fits - done)
                STDERR.print(f"{told}, {duration(left)} left")

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
