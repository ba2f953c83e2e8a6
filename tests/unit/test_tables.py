import io
import os
import pickle
import random

import numpy as np
import pytest
import tifffile

from exodiff.core.errors import ConfigError
from exodiff.io import images, tables
from exodiff.io.images import read_field, read_labels
from exodiff.io.tables import read_cells_csv


def csv_file(tmp_path, text):
    path = tmp_path / "cells.csv"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def test_cells_are_read_by_the_names_of_columns_in_any_order(tmp_path):
    text = '\ufeffid, Type ,z,y,x,extra\r\n1,tumour,3,2.5,1e1,a\r\n\r\n2, CAF ,-3,0,.5,"b,c"\r\n'
    cells = read_cells_csv(csv_file(tmp_path, text))
    assert len(cells) == 2
    assert list(cells.x_um) == [10.0, 0.5]
    assert list(cells.y_um) == [2.5, 0.0]
    assert list(cells.z_um) == [3.0, -3.0]
    assert list(cells.cell_type) == ["tumour", "CAF"]


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "is empty"),
        ("x,y,z,type\n", "holds no cells"),
        ("\n\n", "holds no cells"),
        ("x,y,type\n1,2,a\n", r"line 1: has 0 columns 'z'.*needed is one each of x, y, z"),
        ("x,y,z,x,type\n", "has 2 columns 'x'"),
        ("x,y,z,type\n1,2,3,a\n1,two,3,a\n", r"line 3, column y: 'two' is not a finite number"),
        ("x,y,z,type\n1,2,nan,a\n", "line 2, column z: 'nan'"),
        ("x,y,z,type\ninf,2,3,a\n", "line 2, column x: 'inf'"),
        ("x,y,z,type\n1_0,2,3,a\n", "column x: '1_0'"),
        ("x,y,z,type\n1,,3,a\n", "column y: ''"),
        ("x,y,z,type\n1,2,3\n", "line 2, column type: is missing: the row has only 3 values"),
        ("x,y,z,type\n1,2,3,\n", "column type: '' is no name"),
        ("x,y,z,type\n1,2,3,T cell\n", "column type: 'T cell' is no name"),
        ("x,y,z,type\n1,2,3," + "a" * 101 + "\n", "at most 100"),
        ('x,y,z,type\n1,2,3,"a\n', "line 2: is not CSV"),
        ("x,y,z,type\n1,2,3," + "a" * 200_000 + "\n", "line 2: is not CSV .field larger"),
        (b"x,y,z,type\n1,2,3,\xff\n", "is not UTF-8"),
        (b"x,y,z,type\n1,2,\x00,a\n", "column z"),
    ],
)
def test_a_bad_table_is_refused_with_file_line_and_column(tmp_path, text, problem):
    path = csv_file(tmp_path, text)
    with pytest.raises(ConfigError, match=problem) as caught:
        read_cells_csv(path)
    assert str(caught.value).startswith(str(path))
    assert "\n" not in str(caught.value)


def test_what_is_no_ordinary_file_or_too_large_is_refused_unread(tmp_path, monkeypatch):
    with pytest.raises(ConfigError, match="No such file"):
        read_cells_csv(tmp_path / "absent.csv")
    folder = tmp_path / "folder.csv"
    folder.mkdir()
    with pytest.raises(ConfigError, match="not an ordinary file"):
        read_cells_csv(folder)
    os.mkfifo(tmp_path / "pipe.csv")
    with pytest.raises(ConfigError, match="not an ordinary file"):
        read_cells_csv(tmp_path / "pipe.csv")
    (tmp_path / "cells.txt").write_text("secret")
    with pytest.raises(ConfigError, match="is not a table of cells"):
        read_cells_csv(tmp_path / "cells.txt")
    monkeypatch.setattr(tables, "MAX_BYTES", 10)
    with pytest.raises(ConfigError, match="has 18 bytes; at most 10"):
        read_cells_csv(csv_file(tmp_path, "x,y,z,type\n1,2,3,a"))


def labels_xyz(shape=(5, 4, 3)):
    return np.arange(np.prod(shape), dtype=np.uint16).reshape(shape)


def test_npy_labels_are_x_y_z_and_gain_missing_axes(tmp_path):
    for shape in [(5, 4, 3), (5, 4), (5,)]:
        for order in "CF":
            np.save(tmp_path / "a.npy", np.asarray(labels_xyz(shape), order=order))
            found = read_labels(tmp_path / "a.npy")
            assert found.shape == shape + (1,) * (3 - len(shape))
            assert np.array_equal(found.reshape(shape), labels_xyz(shape))
            assert found.flags.c_contiguous


@pytest.mark.parametrize("options", [{}, {"compression": "zlib"}, {"imagej": True}, {"metadata": None}, {"ome": True}])
def test_tiff_pages_are_z_and_rows_are_y(tmp_path, options):
    labels = labels_xyz()
    if options.get("ome"):
        options = options | {"metadata": {"axes": "ZYX"}}
    if options.get("imagej"):
        options = options | {"metadata": {"axes": "ZYX"}}
    tifffile.imwrite(tmp_path / "a.tif", labels.T, photometric="minisblack", **options)
    assert np.array_equal(read_labels(tmp_path / "a.tif"), labels)


def test_a_single_tiff_image_is_one_layer(tmp_path):
    tifffile.imwrite(tmp_path / "a.TIFF", labels_xyz((5, 4)).T)
    assert np.array_equal(read_labels(tmp_path / "a.TIFF")[:, :, 0], labels_xyz((5, 4)))


def test_images_that_are_no_labels_are_refused(tmp_path):
    tifffile.imwrite(tmp_path / "rgb.tif", np.zeros((4, 5, 3), np.uint8), photometric="rgb")
    with pytest.raises(ConfigError, match=r"axes YXS.*allowed are YX, or ZYX"):
        read_labels(tmp_path / "rgb.tif")
    tifffile.imwrite(tmp_path / "float.tif", np.zeros((4, 5), np.float32))
    with pytest.raises(ConfigError, match="type float32; allowed are whole numbers"):
        read_labels(tmp_path / "float.tif")
    with tifffile.TiffWriter(tmp_path / "two.tif") as writer:
        writer.write(np.zeros((4, 5), np.uint8))
        writer.write(np.zeros((6, 5), np.uint16))
    with pytest.raises(ConfigError, match="holds 2 images"):
        read_labels(tmp_path / "two.tif")
    np.save(tmp_path / "four.npy", np.zeros((2, 2, 2, 2), int))
    with pytest.raises(ConfigError, match="one to three axes"):
        read_labels(tmp_path / "four.npy")
    (tmp_path / "a.png").write_bytes(b"x")
    with pytest.raises(ConfigError, match=r"allowed are .npy"):
        read_labels(tmp_path / "a.png")


@pytest.mark.parametrize("part", [("StripByteCounts", 0), ("StripOffsets", 10**6)])
def test_a_tiff_with_a_missing_strip_is_refused_and_not_filled_with_zeros(tmp_path, part):
    path = tmp_path / "a.tif"
    labels = 1 + labels_xyz((5, 4))
    tifffile.imwrite(path, labels.T, rowsperstrip=1, compression="zlib")
    assert np.array_equal(read_labels(path)[:, :, 0], labels)
    name, value = part
    with tifffile.TiffFile(path, mode="r+b") as image:
        tag = image.pages[0].tags[name]
        tag.overwrite((*tag.value[:-1], value))
    with pytest.raises(ConfigError, match="cut off"):
        read_labels(path)


def test_a_pickle_is_never_opened(tmp_path):
    class Bomb:
        def __reduce__(self):
            return os.mkdir, (str(tmp_path / "exploded"),)

    np.save(tmp_path / "a.npy", np.array([Bomb()], object), allow_pickle=True)
    (tmp_path / "b.npy").write_bytes(pickle.dumps(Bomb()))
    for name in ["a.npy", "b.npy"]:
        for read in [read_labels, lambda path: read_field(path, (1,))]:
            with pytest.raises(ConfigError):
                read(tmp_path / name)
    assert not (tmp_path / "exploded").exists()


def npy_with_header(header):
    raw = header.encode().ljust(117) + b"\n"
    return b"\x93NUMPY\x01\x00" + len(raw).to_bytes(2, "little") + raw + bytes(64)


@pytest.mark.parametrize(
    "header",
    [
        "{'descr': '<i8', 'fortran_order': False, 'shape': (1000000, 1000000), }",
        "{'descr': '<i8', 'fortran_order': False, 'shape': (-8, -1), }",
        "{'descr': '<i8', 'fortran_order': False, 'shape': (0,), }",
        "{'descr': '<i8', 'fortran_order': False, 'shape': (), }",
        "{'descr': '<i8', 'fortran_order': False, 'shape': (7,), }",
        "{'descr': '|O', 'fortran_order': False, 'shape': (8,), }",
        "{'descr': '<U2', 'fortran_order': False, 'shape': (8,), }",
        "{'descr': [('a', '<i8')], 'fortran_order': False, 'shape': (8,), }",
        "((((((((((",
        "__import__('os')",
    ],
)
def test_a_hostile_npy_header_is_refused_before_memory_is_taken(tmp_path, header):
    (tmp_path / "a.npy").write_bytes(npy_with_header(header))
    with pytest.raises(ConfigError):
        read_labels(tmp_path / "a.npy")


def damaged_copies(whole, seed, num):
    rng = random.Random(seed)
    for trial in range(num):
        damaged = bytearray(whole)
        offset = rng.randrange(min(len(whole), 400) if trial % 2 else len(whole))
        if trial % 3 == 0:
            del damaged[offset:]
        else:
            damaged[offset] ^= 1 << rng.randrange(8)
        yield trial % 3 == 0, bytes(damaged)


@pytest.mark.filterwarnings("default")
def test_damaged_images_are_refused_or_read_and_never_crash(tmp_path):
    numpy_file = io.BytesIO()
    np.save(numpy_file, labels_xyz())
    files = {".npy": numpy_file.getvalue()}
    for name, options in {"a.tif": {}, "b.tif": {"compression": "zlib"}, "c.tif": {"metadata": None}}.items():
        tifffile.imwrite(tmp_path / name, labels_xyz().T, photometric="minisblack", **options)
        files[name] = (tmp_path / name).read_bytes()
    for name, whole in files.items():
        path = tmp_path / f"damaged{name}"
        for is_cut, content in damaged_copies(whole, 1, 150):
            path.write_bytes(content)
            try:
                found = read_labels(path)
            except ConfigError:
                continue
            assert found.ndim == 3
            assert not is_cut or np.array_equal(found, labels_xyz())


def test_a_field_comes_back_in_the_shape_of_the_lattice(tmp_path):
    values = np.random.default_rng(0).normal(size=(5, 4))
    np.save(tmp_path / "f.npy", np.asfortranarray(values).astype(">f8"))
    found = read_field(tmp_path / "f.npy", (5, 4, 1))
    assert np.array_equal(found[:, :, 0], values)
    assert found.dtype == np.float64
    assert found.dtype.isnative


def test_a_field_of_another_shape_or_with_a_hole_is_refused(tmp_path):
    values = np.ones((5, 4, 3))
    values[3, 2, 1] = np.nan
    values[4, 0, 0] = np.inf
    np.save(tmp_path / "f.npy", values)
    with pytest.raises(ConfigError, match=r"has shape \(5, 4, 3\); needed is \(3, 4, 5\)"):
        read_field(tmp_path / "f.npy", (3, 4, 5))
    with pytest.raises(ConfigError, match=r"holds nan at \[3, 2, 1\]"):
        read_field(tmp_path / "f.npy", (5, 4, 3))
    np.save(tmp_path / "c.npy", np.ones(3, complex))
    with pytest.raises(ConfigError, match="allowed are real numbers"):
        read_field(tmp_path / "c.npy", (3,))
    (tmp_path / "f.csv").write_text("1")
    with pytest.raises(ConfigError, match=r"allowed is a .npy"):
        read_field(tmp_path / "f.csv", (3,))


def test_an_image_larger_than_allowed_is_refused_by_its_header(tmp_path, monkeypatch):
    monkeypatch.setattr(images, "MAX_VOXELS", 50)
    np.save(tmp_path / "a.npy", labels_xyz())
    tifffile.imwrite(tmp_path / "a.tif", labels_xyz().T, photometric="minisblack")
    for name in ["a.npy", "a.tif"]:
        with pytest.raises(ConfigError, match=r"has shape \(\d, 4, \d\)"):
            read_labels(tmp_path / name)
