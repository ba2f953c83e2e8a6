"""Fits and their calibration on disk: what ``exodiff fit`` and ``exodiff sbc`` do."""

from collections.abc import Callable
from pathlib import Path

from exodiff.build import ConfiguredModel
from exodiff.core.errors import ConfigError, ExodiffError
from exodiff.inference.fit import Fitter, Report
from exodiff.inference.read import read_data
from exodiff.inference.result import Fit
from exodiff.inference.sbc import Calibration, calibration_of
from exodiff.inference.unfinished import Unfinished
from exodiff.io.atomic import make_folder, write_json
from exodiff.viz.fits import make_fit_figures, make_rank_figure


def fit_model(model: ConfiguredModel, out: Path, report: Report) -> tuple[Fit, list[Path]]:
    """Fit a model to the data of its file, and write ``fit.h5``, ``fit.json`` and figures.

    A fit that was stopped is taken up again where its search or its simulations were.

    Raises:
        ConfigError: when the file has no [fit], or its data are wrong.
        FitError: when the search does not converge; nothing is written then.

    """
    fitter = _fitter(model)
    _make(out)
    fitter.unfinished = Unfinished(out, "fit", model, fitter.data)
    try:
        found = fitter.fit(report=report)
    except ExodiffError:
        fitter.unfinished.remove()
        raise
    report("writing", str(out))
    found.save(out / "fit.h5")
    write_json(out / "fit.json", found.as_dict())
    fitter.unfinished.remove()
    return found, [out / "fit.h5", out / "fit.json", *make_fit_figures(out)]


def calibrate_model(
    model: ConfiguredModel, n: int, out: Path, report: Callable[[int, int], None]
) -> tuple[Calibration, list[Path]]:
    """Fit simulated data of the design that a model's file measures, and write ``sbc.json`` and a figure.

    A call that was stopped is taken up again after its last whole fit.

    Raises:
        ConfigError: when the file has no [fit], or its data are wrong.
        FitError: when more than a twentieth of the searches does not converge; nothing is written then.

    """
    fitter = _fitter(model)
    _make(out)
    unfinished = Unfinished(out, f"sbc of {n}", model, fitter.data)
    try:
        found = calibration_of(fitter, n, fitter.settings.seed, report, unfinished)
    except ExodiffError:
        unfinished.remove()
        raise
    figures = make_rank_figure(out, found.parameters, found.ranks)
    write_json(out / "sbc.json", found.as_dict())
    unfinished.remove()
    return found, [out / "sbc.json", *figures]


def _fitter(model: ConfiguredModel) -> Fitter:
    data = read_data(model)
    assert model.config.fit is not None
    return Fitter(model, data, model.config.fit)


def _make(out: Path) -> None:
    try:
        make_folder(out)
    except OSError as error:
        raise ConfigError(str(out), f"cannot be made ({error.strerror}); give another --out") from None
