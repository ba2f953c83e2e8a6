"""A fit on disk: what ``exodiff fit`` does."""

from pathlib import Path

from exodiff.build import ConfiguredModel
from exodiff.core.errors import ConfigError
from exodiff.inference.fit import Fitter, Report
from exodiff.inference.read import read_data
from exodiff.inference.result import Fit
from exodiff.io.atomic import make_folder, write_json
from exodiff.viz.fits import make_fit_figures


def fit_model(model: ConfiguredModel, out: Path, report: Report) -> tuple[Fit, list[Path]]:
    """Fit a model to the data of its file, and write ``fit.h5``, ``fit.json`` and figures.

    Raises:
        ConfigError: when the file has no [fit], or its data are wrong.
        FitError: when the search does not converge; nothing is written then.

    """
    data = read_data(model)
    settings = model.config.fit
    assert settings is not None
    found = Fitter(model, data, settings).fit(report=report)
    try:
        make_folder(out)
    except OSError as error:
        raise ConfigError(str(out), f"cannot be made ({error.strerror}); give another --out") from None
    found.save(out / "fit.h5")
    write_json(out / "fit.json", found.as_dict())
    return found, [out / "fit.h5", out / "fit.json", *make_fit_figures(out)]
