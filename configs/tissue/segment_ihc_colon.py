"""Segment a stained section of colon into cells on a lattice.

Reads `skimage.data.immunohistochemistry()`: colonic glands, immunohistochemistry of the protein FHL2 revealed with DAB
(brown), counterstained with haematoxylin (blue), 512 x 512 pixels. Acquired at the Center for Microscopy And Molecular
Imaging (CMMI); no known copyright restrictions (docstring of that function, scikit-image 0.26). The image ships with
scikit-image. Writes `ihc_colon.csv` (x, y, z, type; um from the lattice corner), one row a nucleus.

x runs along the columns of the image and y from its bottom row upward, so a plot of the cells with the origin in the
lower left corner has the orientation of the image.

    python configs/tissue/segment_ihc_colon.py --figure ihc_colon.png
"""

import argparse
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy import ndimage
from skimage import color, data, feature, filters, measure, morphology, segmentation

# The image comes without a scale. A 20x objective gives about this, and nuclei then measure about 5 by 10 um.
PIXEL_SIZE_UM = 0.5
# A square of this side has about the area of the median nucleus, and 40 in a row span the 256 um of the image.
SPACING_UM = 6.4

EPITHELIAL = "epithelial"  # DAB-positive
STROMAL = "stromal"  # DAB-negative

# Lengths are in pixels and stains in the units of `rgb2hed`. All were chosen by eye on this one image.
MEMBRANE_WEIGHT = 0.4  # DAB outlines the gland cells: its fine structure is taken off the nuclear signal
MEMBRANE_BACKGROUND_PX = 5.0
DAB_CEILING = 0.3  # black specks reach 1.5
SIGNAL_BLUR_PX = 0.8
LOCAL_MEAN_PX = 14.0
SIGNAL_ABOVE_LOCAL_MEAN = 0.002
MASK_BLUR_PX = 1.5
HAEMATOXYLIN_FLOOR = 0.022  # just under the Otsu threshold of the whole image, 0.024
DAB_OPAQUE = 0.13  # above it the blue under the brown cannot be read (dark folds between glands)
OPENING_RADIUS_PX = 2
LARGEST_HOLE_PX = 30
SEED_BLUR_PX = 2.5
SEED_DEPTH_WEIGHT = 0.5
SEED_DISTANCE_PX = 5
SMALLEST_NUCLEUS_PX = 50
RING_WIDTH_PX = 3

POSITION_STEP_UM = 0.01  # the resolution of the CSV


@dataclass(frozen=True)
class Nuclei:
    """Segmented nuclei: nucleus i has the value i + 1 in `labels`."""

    labels: np.ndarray  # (rows, columns)
    centroid_px: np.ndarray  # (nuclei, 2), row and column
    area_px: np.ndarray
    dab: np.ndarray  # mean over the nucleus and a ring around it
    dab_threshold: float  # Otsu over the nuclei

    @property
    def is_positive(self) -> np.ndarray:
        """Whether each nucleus counts as DAB-positive."""
        return self.dab > self.dab_threshold


@dataclass(frozen=True)
class Cells:
    """Nuclei placed on a lattice of one layer, at most one in a voxel."""

    position_um: np.ndarray  # (cells, 3)
    voxel: np.ndarray  # (cells, 2)
    is_positive: np.ndarray
    num_dropped: int
    shape: tuple[int, int, int]
    spacing_um: float

    @property
    def types(self) -> list[str]:
        """The cell type of each cell."""
        return [EPITHELIAL if positive else STROMAL for positive in self.is_positive]


def separate_stains(image: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Haematoxylin and DAB densities by colour deconvolution (Ruifrok and Johnston 2001, as in `rgb2hed`)."""
    stains = color.rgb2hed(image)
    return stains[..., 0], stains[..., 2]


def mask_nuclei(haematoxylin: np.ndarray, dab: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Where nuclei are, and the signal that says so: haematoxylin less the DAB of membranes."""
    clipped_dab = np.minimum(dab, DAB_CEILING)
    fine_dab = ndimage.gaussian_filter(clipped_dab, SIGNAL_BLUR_PX)
    membrane = fine_dab - ndimage.gaussian_filter(clipped_dab, MEMBRANE_BACKGROUND_PX)
    # Stroma beside a gland is far below the mean around it; without this bound it would shine as a nucleus.
    membrane = np.maximum(membrane, -0.02)
    signal = ndimage.gaussian_filter(haematoxylin, SIGNAL_BLUR_PX) - MEMBRANE_WEIGHT * membrane

    is_local_high = signal > ndimage.gaussian_filter(signal, LOCAL_MEAN_PX) + SIGNAL_ABOVE_LOCAL_MEAN
    is_blue = ndimage.gaussian_filter(haematoxylin, MASK_BLUR_PX) > HAEMATOXYLIN_FLOOR
    is_readable = ndimage.gaussian_filter(clipped_dab, MASK_BLUR_PX) < DAB_OPAQUE
    mask = morphology.opening(is_local_high & is_blue & is_readable, morphology.disk(OPENING_RADIUS_PX))
    return fill_small_holes(mask), signal


def fill_small_holes(mask: np.ndarray) -> np.ndarray:
    """Fill holes of at most `LARGEST_HOLE_PX`; a larger one is a gap between nuclei, such as a vessel."""
    background, _ = ndimage.label(~mask)
    return mask | (np.bincount(background.ravel()) <= LARGEST_HOLE_PX)[background]


def split_nuclei(mask: np.ndarray, signal: np.ndarray) -> np.ndarray:
    """Label touching nuclei apart: watershed from peaks of blurred signal plus depth inside the mask."""
    if not mask.any():
        return np.zeros(mask.shape, np.int32)
    smooth = ndimage.gaussian_filter(signal, SEED_BLUR_PX)
    depth_px = ndimage.gaussian_filter(ndimage.distance_transform_edt(mask), 1.0)
    landscape = smooth / smooth[mask].std() + SEED_DEPTH_WEIGHT * depth_px
    seeds = feature.peak_local_max(
        landscape, min_distance=SEED_DISTANCE_PX, labels=measure.label(mask), exclude_border=False
    )
    markers = np.zeros(mask.shape, np.int32)
    markers[tuple(seeds.T)] = np.arange(1, len(seeds) + 1)
    labels = segmentation.watershed(-landscape, markers, mask=mask)
    is_kept = np.bincount(labels.ravel()) >= SMALLEST_NUCLEUS_PX
    is_kept[0] = False
    return segmentation.relabel_sequential(np.where(is_kept[labels], labels, 0))[0]


def find_nuclei(image: np.ndarray) -> Nuclei:
    """Segment the nuclei of an RGB image and measure the DAB at each.

    Raises:
        ValueError: With fewer than two nuclei, which have no Otsu threshold.
    """
    haematoxylin, dab = separate_stains(image)
    labels = split_nuclei(*mask_nuclei(haematoxylin, dab))
    index = np.arange(1, labels.max() + 1)
    if len(index) < 2:
        raise ValueError(f"image: {len(index)} nuclei found, at least 2 are needed to classify (is it stained blue?)")
    # FHL2 stains the cytoplasm and the membrane too, and a nucleus alone may look blue in a brown cell.
    with_ring = segmentation.expand_labels(labels, RING_WIDTH_PX)
    dab_at_nucleus = ndimage.mean(dab, with_ring, index)
    return Nuclei(
        labels=labels,
        centroid_px=np.array(ndimage.center_of_mass(labels > 0, labels, index)),
        area_px=np.bincount(labels.ravel())[1:],
        dab=dab_at_nucleus,
        dab_threshold=float(filters.threshold_otsu(dab_at_nucleus)),
    )


def place_on_lattice(nuclei: Nuclei, pixel_size_um: float, spacing_um: float) -> Cells:
    """Map nuclei to voxels of one layer; of two in a voxel the larger stays.

    Positions are rounded to `POSITION_STEP_UM` first and kept off voxel faces, so that whoever reads the CSV finds the
    same voxels.
    """
    num_rows, num_columns = nuclei.labels.shape
    row, column = nuclei.centroid_px.T
    x_y_um = np.stack([column + 0.5, num_rows - 0.5 - row], axis=1) * pixel_size_um
    x_y_um = np.round(x_y_um / POSITION_STEP_UM) * POSITION_STEP_UM
    from_face_um = x_y_um - spacing_um * np.round(x_y_um / spacing_um)
    x_y_um = np.where(np.abs(from_face_um) < POSITION_STEP_UM / 2, x_y_um - POSITION_STEP_UM, x_y_um)
    voxel = np.floor(x_y_um / spacing_um).astype(int)

    extent_um = np.array([num_columns, num_rows]) * pixel_size_um
    shape_x, shape_y = np.ceil(extent_um / spacing_um - 1e-9).astype(int)
    voxel_index = voxel[:, 1] * shape_x + voxel[:, 0]
    by_size = np.argsort(-nuclei.area_px, kind="stable")
    _, first = np.unique(voxel_index[by_size], return_index=True)
    kept = by_size[first]  # in the order of the voxels

    z_um = np.full(len(kept), spacing_um / 2)
    return Cells(
        position_um=np.column_stack([x_y_um[kept], z_um]),
        voxel=voxel[kept],
        is_positive=nuclei.is_positive[kept],
        num_dropped=len(nuclei.area_px) - len(kept),
        shape=(int(shape_x), int(shape_y), 1),
        spacing_um=spacing_um,
    )


def format_csv(cells: Cells) -> str:
    """The cells as CSV text, ordered by voxel (y, then x)."""
    rows = [
        f"{x:.2f},{y:.2f},{z:.2f},{cell_type}"
        for (x, y, z), cell_type in zip(cells.position_um, cells.types, strict=True)
    ]
    return "\n".join(["x,y,z,type", *rows]) + "\n"


def summarise(nuclei: Nuclei, cells: Cells) -> str:
    """Counts and lattice, one a line."""
    num_positive = int(np.sum(nuclei.is_positive))
    num_kept_positive = int(np.sum(cells.is_positive))
    num_kept_negative = len(cells.is_positive) - num_kept_positive
    extent = " x ".join(f"{cells.spacing_um * n:g}" for n in cells.shape)
    return "\n".join(
        [
            f"nuclei found       {len(nuclei.area_px)} (median area {np.median(nuclei.area_px):g} pixels)",
            f"DAB-positive       {num_positive} (threshold {nuclei.dab_threshold:.4f}, Otsu over nuclei)",
            f"DAB-negative       {len(nuclei.area_px) - num_positive}",
            f"dropped            {cells.num_dropped} (smaller one of two in a voxel)",
            f"cells written      {num_kept_positive} {EPITHELIAL} + {num_kept_negative} {STROMAL}",
            f"spacing            {cells.spacing_um:g} um",
            f"lattice            {list(cells.shape)} voxels, {extent} um",
        ]
    )


def draw(path: Path, image: np.ndarray, nuclei: Nuclei, cells: Cells, pixel_size_um: float) -> None:
    """Write a figure: the image with outlined nuclei, and the cells on the lattice."""
    import matplotlib as mpl  # noqa: PLC0415 - not needed for the CSV

    mpl.use("Agg")
    from matplotlib import pyplot as plt  # noqa: PLC0415
    from matplotlib.colors import ListedColormap  # noqa: PLC0415
    from matplotlib.patches import Patch  # noqa: PLC0415

    zoom = 3
    class_colour = {EPITHELIAL: "#ffe000", STROMAL: "#00b050"}
    overlay = np.kron(image, np.ones((zoom, zoom, 1), np.uint8))
    labels = np.kron(nuclei.labels, np.ones((zoom, zoom), nuclei.labels.dtype))
    outline = segmentation.find_boundaries(labels, mode="thick")
    outline &= labels > 0
    colour = np.array([mpl.colors.to_rgb(c) for c in (class_colour[STROMAL], class_colour[EPITHELIAL])]) * 255
    overlay[outline] = colour[nuclei.is_positive.astype(int)[labels[outline] - 1]]

    lattice = np.zeros(cells.shape[:2], int)
    lattice[tuple(cells.voxel.T)] = 1 + cells.is_positive

    image_um = np.array(image.shape[:2]) * pixel_size_um
    lattice_um = np.array(cells.shape[:2]) * cells.spacing_um
    figure, (left, right) = plt.subplots(1, 2, figsize=(20, 10), layout="constrained")
    left.imshow(overlay[::-1], origin="lower", extent=(0, image_um[1], 0, image_um[0]))
    left.set_title(f"{len(nuclei.area_px)} nuclei, outlined by class")
    right.imshow(
        lattice.T,
        origin="lower",
        extent=(0, lattice_um[0], 0, lattice_um[1]),
        cmap=ListedColormap(["#f2f2f2", "#6a8fd0", "#a5612a"]),
        vmin=0,
        vmax=2,
        interpolation="nearest",
    )
    right.plot(*cells.position_um[:, :2].T, "k.", markersize=2)
    right.set_title(
        f"{len(cells.voxel)} cells on {cells.shape[0]} x {cells.shape[1]} voxels of {cells.spacing_um:g} um"
    )
    left.legend(handles=[Patch(color=c, label=name) for name, c in class_colour.items()], loc="lower left")
    right.legend(
        handles=[Patch(color="#a5612a", label=EPITHELIAL), Patch(color="#6a8fd0", label=STROMAL)], loc="lower left"
    )
    for axes in (left, right):
        axes.set(xlabel="x (um)", ylabel="y (um)")
    figure.savefig(path, dpi=100)
    plt.close(figure)


def main() -> None:
    """Segment the image, write the CSV and print a summary."""
    parser = argparse.ArgumentParser(description="Cells of a stained colon section, on a lattice, as CSV.")
    parser.add_argument("--pixel-size", type=float, default=PIXEL_SIZE_UM, help="um a pixel, assumed (%(default)s)")
    parser.add_argument("--spacing", type=float, default=SPACING_UM, help="side of a voxel in um (%(default)s)")
    parser.add_argument("--output", type=Path, default=Path(__file__).with_name("ihc_colon.csv"), help="CSV to write")
    parser.add_argument("--figure", type=Path, help="also write a figure of the segmentation")
    arguments = parser.parse_args()
    for option, value in (("--pixel-size", arguments.pixel_size), ("--spacing", arguments.spacing)):
        if not value > 0:
            parser.error(f"{option}: {value:g} um is not positive")

    image = data.immunohistochemistry()
    nuclei = find_nuclei(image)
    cells = place_on_lattice(nuclei, arguments.pixel_size, arguments.spacing)
    arguments.output.write_text(format_csv(cells), encoding="utf-8", newline="\n")
    print(summarise(nuclei, cells))
    if arguments.figure:
        draw(arguments.figure, image, nuclei, cells, arguments.pixel_size)


if __name__ == "__main__":
    main()
