"""A fit as text for people."""

from __future__ import annotations

from typing import TYPE_CHECKING

from exodiff.core.dimensions import DIMENSIONLESS

if TYPE_CHECKING:
    from exodiff.inference.result import Fit, Fitted


def summary(fit: Fit) -> str:
    """Data, spectrum and warnings first, then estimates with intervals."""
    how = fit.settings.uncertainty
    if fit.settings.num_simulations:
        how += f" from {fit.settings.num_simulations} simulations"
    number = len(fit.parameters)
    what = f"{number} parameters" if number > 1 else "1 parameter"
    lines = [
        f"Fit of {what} by {fit.settings.method}, {fit.steps} steps; uncertainty: {how}",
        *map(_data_line, fit.data),
        fit.identifiability.table(),
        *(f"warning: {warning}" for warning in fit.warnings),
        *_table(fit),
        *_agreement(fit),
    ]
    return "\n".join(lines)


def _agreement(fit: Fit) -> list[str]:
    """Whether chains agree."""
    if fit.draws is None:
        return []
    chains, number, _ = fit.draws.u.shape
    told = [
        f"{name} {r_hat:.3f}, {effective:.0f}"
        for name, r_hat, effective in zip(fit.parameters, fit.draws.r_hat, fit.draws.effective, strict=True)
    ]
    diverged = f"{fit.draws.divergences} diverged" if fit.draws.divergences else "none diverged"
    return [f"{chains} chains of {number} draws, {diverged}; R-hat and effective draws: {'; '.join(told)}"]


def _data_line(one: Fitted) -> str:
    data = one.data
    missing = f", {data.num_missing} missing" if data.num_missing else ""
    tissues = len(set(data.replicates.tolist()))
    return (
        f"  {data.name}: {data.num_values} values{missing} of {', '.join(data.observables)} in {tissues} "
        f"replicate{'s' if tissues > 1 else ''}, noise {data.noise.kind}"
    )


def _table(fit: Fit) -> list[str]:
    level = f"{100 * fit.settings.level:g} % interval"
    width = max(9, *(len(name) for name in fit.parameters))
    lines = [f"{'parameter':<{width}}  {'estimate':<10} {level:<24} {'unit':<12} prior"]
    interval, units = fit.interval(), units_of(fit)
    for name, prior in zip(fit.parameters, fit.priors, strict=True):
        low, high = interval[name]
        found = f"{low:.4g} to {high:.4g}"
        lines.append(f"{name:<{width}}  {fit.estimate[name]:<10.4g} {found:<24} {units[name]:<12} {prior}")
    return lines


def units_of(fit: Fit) -> dict[str, str]:
    """The unit of each parameter's value, empty without one."""
    declared = fit.model.config.parameters
    found = {name: str(declared[name].dimension) if name in declared else "internal" for name in fit.parameters}
    return {name: "" if unit == str(DIMENSIONLESS) else unit for name, unit in found.items()}
