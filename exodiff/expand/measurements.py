"""``size_histogram`` and ``assay`` of the file become those of the problem: literals as parameters, sizes as a law."""

import math
from collections.abc import Callable

import numpy as np

from exodiff.config.measurement_checks import compartments_in, population_of, regions_in
from exodiff.config.measurements import Assay as GivenAssay
from exodiff.config.measurements import SizeHistogram as GivenSizeHistogram
from exodiff.config.names import Namespace
from exodiff.config.populations import bins_of
from exodiff.config.schema import RunConfig
from exodiff.core.dimensions import DIMENSIONLESS
from exodiff.core.expressions import Call, Expression, Name
from exodiff.core.size_law import SizeLaw
from exodiff.expand.written import Writer
from exodiff.problem import Assay, SizeHistogram

Leaf = Callable[[Expression, str], Expression]
FluidVolume = Callable[[str], float]  # of a region, "" for the whole lattice; um^3
LARGEST_SEEN = 2.0  # measured diameters above so many times the largest are in the last bin


def size_histogram_of(given: GivenSizeHistogram, config: RunConfig) -> SizeHistogram:
    """A size histogram of the config as it was given, with its populations."""
    name = population_of(given.of, config)
    assert name is not None
    population = config.exosomes[name]
    diameter = population.diameter
    assert diameter is not None
    law = diameter.log_law
    first, last = law.cdf(math.log(diameter.min_um)), law.cdf(math.log(diameter.max_um))
    quantiles = tuple(float(q) for q in np.linspace(first, last, diameter.bins + 1))
    num_bins = math.ceil(LARGEST_SEEN * diameter.max_um / given.bin_um)
    return SizeHistogram(
        of=tuple(_number_of(given.of, one) for one in bins_of(name, population)),
        law=SizeLaw(law.mean, law.stdev, quantiles),
        sample=given.sample,
        track_steps=given.track_steps,
        smallest_um=given.smallest_um,
        edges=(*(given.bin_um * i for i in range(num_bins)), math.inf),
    )


def _number_of(of: Expression, one: str) -> Expression:
    """The vesicles of one size bin where ``of`` counts those of all."""
    if isinstance(of, Call):
        return Call("total", (Name(one), *of.arguments[1:]))
    assert isinstance(of, Name)
    return Name(f"{of.name.partition('.')[0]}.{one}")


def assay_of(given: GivenAssay, config: RunConfig, name: str, leaf: Leaf, fluid_um3: FluidVolume) -> Assay:
    """An assay of the config as it was given; what is counted is in a compartment, or in the fluid of a region."""
    where = f"observables.{name}.assay"
    is_number = Namespace(config).dimension_of(given.of, where) == DIMENSIONLESS
    volumes_um3 = [config.compartments[compartment].volume_um3 for compartment in compartments_in(given.of, config)]
    volumes_um3 += [fluid_um3(region) for region in regions_in(given.of)]
    return Assay(
        of=Writer(config).summed(given.of),
        volume=volumes_um3[0] if is_number else None,
        sample=leaf(given.sample, f"{where}.sample"),
        recovery=leaf(given.yield_, f"{where}.yield"),
        background=leaf(given.background, f"{where}.background"),
        false_positive=leaf(given.false_positive, f"{where}.false_positive"),
        detection_limit=leaf(given.detection_limit, f"{where}.detection_limit"),
    )
