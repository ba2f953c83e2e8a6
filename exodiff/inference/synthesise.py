"""Measurements made by a simulation: the files of ``[[fit.data]]`` for a model whose parameters are known."""

import csv
import io
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np
import tifffile

from exodiff.build import ConfiguredModel
from exodiff.config.fit import FitData
from exodiff.config.fit_checks import summed_species, unit_of_observable
from exodiff.config.names import Namespace
from exodiff.core.errors import ConfigError
from exodiff.core.expressions import Name, evaluate
from exodiff.inference.fit import in_unit
from exodiff.inference.likelihoods import LIKELIHOODS
from exodiff.io.atomic import make_folder, replace_file, write_text
from exodiff.schedule import multiples
from exodiff.simulation import simulate
from exodiff.stepsize import merge_times
from exodiff.trajectory import Trajectory


def synthesise(model: ConfiguredModel, seed: int = 0, *, overwrite: bool = False) -> list[Path]:
    """Simulate the model and write what would be measured.

    Tables have a row at each multiple of ``run.observe_every`` above 0 for each of ``run.replicates`` tissues; images
    are of the time that they give. Counts are those of the simulation; gaussian and lognormal noise is drawn.

    Returns:
        The files that were written.

    Raises:
        ConfigError: when there is no ``[[fit.data]]``, or a file exists and ``overwrite`` is not given.

    """
    settings, run = model.config.fit, model.config.run
    if settings is None or not settings.data:
        raise ConfigError("fit.data", "there is nothing to make; add [[fit.data]] with a file and an observable")
    files: dict[Path, list[FitData]] = {}
    for given in settings.data:
        files.setdefault(given.file, []).append(given)
    for path, parts in files.items():
        if path.exists() and not overwrite:
            raise ConfigError(str(path), "is there already; give another fit.data.file, or --overwrite")
        if len(parts) > 1 and (parts[0].is_image or any(_is_binned(model, one) for one in parts)):
            raise ConfigError(
                str(path), "several [[fit.data]] share it, which only columns of a table may; use a file each"
            )
    rows_s = merge_times(multiples(run.observe_every_s, run.duration_s), run.duration_s)[1:]
    images = [one for one in settings.data if one.at_s is not None]
    times = merge_times([*rows_s, *(one.at_s for one in images if one.at_s is not None)], run.duration_s)
    times = [time for time in times if time > 0]
    labels = list(dict.fromkeys(one.replicate for one in images))
    engine = "leap" if run.engine == "mean_field" else run.engine
    found = simulate(model, times, seed=seed, engine=engine, replicates=max(run.replicates, len(labels)))
    generator = np.random.default_rng([seed, 3])
    for path, parts in files.items():
        make_folder(path.parent)
        if parts[0].is_image:
            _write_image(model, parts[0], found, labels.index(parts[0].replicate))
        else:
            rows = [int(np.abs(found.times - time).argmin()) for time in rows_s]
            write_text(path, _table(model, parts, found, rows, generator))
    return list(files)


def _is_binned(model: ConfiguredModel, given: FitData) -> bool:
    observable = model.config.observables[given.observable[0]]
    return observable.value is None and observable.assay is None


def _measured(
    model: ConfiguredModel, given: FitData, name: str, seen: np.ndarray, generator: np.random.Generator
) -> list[str]:
    """What is written for some simulated values: numbers, or ``<limit``."""
    noise = in_unit(model.config, given.noise, given.observable[0], "fit.data")
    if noise.kind == "gaussian" and noise.scale is None:
        raise ConfigError("fit.data.noise", f"no sd is known for {name}; write {{ gaussian = {{ sd = ... }} }}")
    scale = np.asarray(1.0)
    if noise.scale is not None:
        scale = np.asarray(evaluate(noise.scale, lambda node: np.float64(_value(model, node)), np))
    values = LIKELIHOODS[noise.kind].draw(generator, seen, scale, seen).ravel()
    return [f"<{noise.limit:.6g}" if value < noise.limit else f"{value:.9g}" for value in values]


def _value(model: ConfiguredModel, node: object) -> float:
    assert isinstance(node, Name)
    return model.parameters[node.name]


def _table(
    model: ConfiguredModel,
    parts: Sequence[FitData],
    found: Trajectory,
    rows: Sequence[int],
    generator: np.random.Generator,
) -> str:
    replicates = range(model.config.run.replicates)
    keys = [(f"{found.times[row]:.9g}", str(replicate)) for replicate in replicates for row in rows]
    names_of = Namespace(model.config)
    table: list[Sequence[str]]
    if _is_binned(model, parts[0]):
        name = parts[0].observable[0]
        seen = np.asarray(found.observables[name], np.float64)[: len(replicates), rows]
        values, edges = _measured(model, parts[0], name, seen, generator), found.bins[name]
        table = [("time_s", "replicate", "bin_low", "bin_high", "value")]
        bins = [(f"{low:.9g}", f"{high:.9g}") for low, high in pairwise(edges)]
        table += [(*key, *one, v) for (key, one), v in zip(((k, b) for k in keys for b in bins), values, strict=True)]
        return _text(table)
    header, columns = ["time_s", "replicate"], []
    for given in parts:
        for name in given.observable:
            seen = np.asarray(found.observables[name], np.float64)[: len(replicates), rows]
            unit = unit_of_observable(names_of, name, "fit.data")
            header.append(name if unit is None else f"{name} [{unit.text}]")
            columns.append(_measured(model, given, name, seen, generator))
    table = [header, *((*key, *cells) for key, *cells in zip(keys, *columns, strict=True))]
    return _text(table)


def _text(rows: Sequence[Sequence[str]]) -> str:
    out = io.StringIO()
    csv.writer(out, lineterminator="\n").writerows(rows)
    return out.getvalue()


def _write_image(model: ConfiguredModel, given: FitData, found: Trajectory, replicate: int) -> None:
    species = {summed_species(model.config.observables[n], f"observables.{n}")[0] for n in given.observable}
    if len(species) > 1:
        raise ConfigError("fit.data.observable", f"an image shows one species, not {', '.join(sorted(species))}")
    row = int(np.abs(found.times - (given.at_s or 0.0)).argmin())
    image = np.asarray(found[species.pop()])[replicate, row]
    with replace_file(given.file) as temporary:
        if given.file.suffix.lower() == ".npy":
            with temporary.open("wb") as file:
                np.save(file, image)
        else:
            tifffile.imwrite(temporary, np.ascontiguousarray(image.astype(np.int32).T))
