"""Every config in configs/ runs."""

from pathlib import Path

import pytest

import exodiff as ex

CONFIGS = sorted((Path(__file__).parents[2] / "configs").rglob("*.toml"))


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_config_runs_to_the_end_and_draws_figures(path, tmp_path):
    model = ex.load(path, ['run.duration="3 min"', 'run.observe_every="1 min"', 'run.snapshot_every="3 min"'])
    result = ex.run(model, tmp_path / "run")
    assert result.finished
    assert any(figure.suffix == ".png" and figure.stat().st_size > 5000 for figure in result.figures)
