"""Designs of sweeps: what --vary means, and that the points fill their ranges."""

import numpy as np
import pytest

from exodiff.core.errors import ConfigError
from exodiff.sweep.design import Range, Variation, design_rows, parse_variation


def test_lists_and_ranges_are_read_with_their_units():
    assert parse_variation("run.engine=leap, exact") == Variation("run.engine", ("leap", "exact"))
    assert parse_variation('parameters.k="1e-5:1e-3 um^3/s:3:log"').values == Range(1e-5, 1e-3, "um^3/s", 3, True)
    assert parse_variation("parameters.k=1 /h:5 /h").values == Range(1, 5, "/h", None, False)
    assert parse_variation("parameters.k=-1:.5e1").values == Range(-1, 5, "", None, False)
    assert parse_variation("lattice.shape=[8, 8], [4, 4]").values == ("[8, 8]", "[4, 4]")
    assert parse_variation("a={ poisson = 2, b = [1, 2] }, min(k, 2)").values == (
        "{ poisson = 2, b = [1, 2] }",
        "min(k, 2)",
    )


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("parameters.k", "is not KEY=VALUES"),
        ("k=1,,2", "empty or repeated"),
        ("k=1,1", "empty or repeated"),
        ("k=2:1", "it must rise"),
        ("k=0:1:log", "begin above 0"),
        ("k=1 /h:2 /s", "differ"),
        ("k=a:b", "is no number with a unit"),
        ("k=1:2:1", "no number of values"),
        ("k=1:2:3:4", "a range is LOW:HIGH"),
    ],
)
def test_a_variation_that_is_not_understood_is_refused_with_what_to_write(text: str, told: str):
    with pytest.raises(ConfigError, match=told):
        parse_variation(text)


def test_a_grid_combines_all_values_evenly_or_evenly_in_the_logarithm():
    rows = design_rows([parse_variation("a=1:100 /h:3:log"), parse_variation("b=0:1:3")], "grid", None, 0)
    assert rows[:4] == [('"1 /h"', "0"), ('"1 /h"', "0.5"), ('"1 /h"', "1"), ('"10 /h"', "0")]
    assert len(rows) == 9
    assert rows[-1] == ('"100 /h"', "1")


@pytest.mark.parametrize("design", ["latin", "sobol"])
def test_one_point_falls_into_each_share_of_every_range(design: str):
    variations = [parse_variation("a=0:16"), parse_variation("b=1:65536:log"), parse_variation("c=x,y,z,w")]
    rows = design_rows(variations, design, 16, 7)
    a, b = (np.asarray([float(row[i]) for row in rows]) for i in (0, 1))
    assert sorted(np.floor(a)) == list(range(16))
    assert sorted(np.floor(np.log2(b))) == list(range(16))
    assert sorted(row[2] for row in rows) == sorted("xyzw" * 4)
    assert rows == design_rows(variations, design, 16, 7) != design_rows(variations, design, 16, 8)


def test_what_a_design_cannot_be_is_refused():
    wide, listed = parse_variation("a=0:1"), parse_variation("a=1,2")
    for arguments, told in (
        (([wide], "grid", None, 0), "a grid needs the number of values"),
        (([listed], "grid", 4, 0), "belongs to --design latin or sobol"),
        (([wide], "sobol", None, 0), "needs the number of points"),
        (([], "latin", 4, 0), "needs a key to vary"),
        (([listed], "halton", None, 0), "is no design"),
        (([listed, wide], "latin", 4, 0), "is given twice"),
    ):
        with pytest.raises(ConfigError, match=told):
            design_rows(*arguments)
