import resource
import shutil
import signal
import time
from pathlib import Path

import h5py
import numpy as np
import pytest

from exodiff.core.errors import RunDirectoryError
from exodiff.io import results
from exodiff.io.results import Master, SnapshotReader, discard_after
from exodiff.io.sealed import encode_head, read_seal, write_seal
from exodiff.io.snapshots import FieldArray, list_snapshots, read_head, read_snapshot, write_snapshot
from exodiff.io.vtkhdf import StoredGrid
from tests.unit.test_pieces import COUNTS, write_in_pieces

GRID = StoredGrid((5, 4, 3), (1.0, 2.0, 4.0))
MARK = (4, 1, 2)


def counts_at(index):
    values = np.random.default_rng(index).poisson(5.0, GRID.shape).astype(np.int32)
    values[MARK] = 1000 + index
    return values


def fields_at(index):
    fields = {
        "EV": FieldArray(counts_at(index)),
        "tEV.s1": FieldArray(np.stack([counts_at(10 + index), counts_at(20 + index)])),
        "glucose": FieldArray(counts_at(index).astype(np.float64) / 3, "mM"),
        "is_blood": FieldArray(counts_at(index) > 5),
        "cell_type": FieldArray((counts_at(index) % 3).astype(np.uint8), legend={0: "none", 1: "tumour", 2: "CAF"}),
    }
    if index == 0:
        fields["diffusivity"] = FieldArray(counts_at(99).astype(np.float32), "um^2/s", is_static=True)
    return fields


def write_run(run_dir, indices=range(4), seconds=60.0):
    for index in indices:
        write_snapshot(run_dir, index, seconds * index, fields_at(index), GRID)


def test_a_snapshot_returns_its_fields_in_x_y_z_with_units_and_legend(tmp_path):
    found = read_snapshot(write_snapshot(tmp_path, 0, 12.5, fields_at(0), GRID))
    assert (found.index, found.time_s, found.grid) == (0, 12.5, GRID)
    assert set(found.fields) == set(fields_at(0))
    for name, field in fields_at(0).items():
        values = found.fields[name].values
        assert np.array_equal(values, field.values), name
        assert values.dtype == (np.uint8 if field.values.dtype == bool else field.values.dtype)
        assert values.flags.c_contiguous or values.ndim == 4
        assert found.fields[name].unit == field.unit
        assert found.fields[name].legend == field.legend
        assert found.fields[name].is_static == field.is_static


def test_the_file_has_the_marked_voxel_where_vtk_counts_it(tmp_path):
    path = write_snapshot(tmp_path, 0, 0.0, fields_at(0), GRID)
    nx, ny, _ = GRID.shape
    x, y, z = MARK
    with h5py.File(path) as file:
        group = file["VTKHDF"]
        assert group["CellData/EV"].shape == GRID.shape[::-1]
        assert group["CellData/EV"][...].ravel()[x + nx * (y + ny * z)] == 1000
        assert list(group.attrs["WholeExtent"]) == [0, 5, 0, 4, 0, 3]
        assert list(group.attrs["Spacing"]) == [1.0, 2.0, 4.0]
        assert group.attrs["Type"] == b"ImageData"
        assert "Direction" in group.attrs
        assert group["CellData/is_blood"].dtype == np.uint8
        assert not any("." in name or "/" in name for name in group["CellData"])
        assert {"tEV__s1__r0", "tEV__s1__r1"} <= set(group["CellData"])


def test_only_the_wanted_fields_are_read(tmp_path):
    path = write_snapshot(tmp_path, 0, 0.0, fields_at(0), GRID)
    assert set(read_snapshot(path, ["EV"]).fields) == {"EV"}
    with pytest.raises(KeyError, match="has no field"):
        read_snapshot(path, ["EV", "absent"])


@pytest.mark.parametrize("shape", [(1, 1, 1), (3, 1, 1), (200, 2, 1), (130, 65, 2)])
def test_thin_and_large_lattices_round_trip(tmp_path, shape):
    values = np.arange(np.prod(shape), dtype=np.int64).reshape(shape)
    path = write_snapshot(tmp_path, 0, 0.0, {"n": FieldArray(values)}, StoredGrid(shape, (1.0, 1.0, 1.0)))
    assert np.array_equal(read_snapshot(path).fields["n"].values, values)


@pytest.mark.parametrize(
    ("fields", "problem"),
    [
        ({"EV": FieldArray(np.ones((5, 4)))}, "shape"),
        ({"EV": FieldArray(np.ones((3, 4, 5)))}, "shape"),
        ({"EV": FieldArray(np.ones((2, 2, 5, 4, 3)))}, "shape"),
        ({"EV": FieldArray(np.ones(GRID.shape, complex))}, "type"),
        ({"../EV": FieldArray(np.ones(GRID.shape))}, "cannot be written"),
        ({"a.b": FieldArray(np.ones(GRID.shape)), "a__b": FieldArray(np.ones(GRID.shape))}, "would both be"),
    ],
)
def test_fields_that_do_not_fit_are_refused_and_leave_nothing(tmp_path, fields, problem):
    with pytest.raises(ValueError, match=problem):
        write_snapshot(tmp_path, 0, 0.0, fields, GRID)
    assert list_snapshots(tmp_path) == []


def test_the_master_shows_what_the_snapshots_hold(tmp_path):
    write_run(tmp_path)
    report = Master(tmp_path).write()
    assert (report.num_steps, report.left_out) == (4, ())
    nx, ny, _ = GRID.shape
    x, y, z = MARK
    with h5py.File(report.path) as file:
        group = file["VTKHDF"]
        assert list(group["Steps/Values"]) == [0.0, 60.0, 120.0, 180.0]
        assert group["Steps"].attrs["NSteps"] == 4
        assert list(group["Steps/CellDataOffsets/EV"]) == [0, 1, 2, 3]
        assert list(group["Steps/CellDataOffsets/diffusivity"]) == [0, 0, 0, 0]
        assert group["CellData/diffusivity"].shape == (1, 3, 4, 5)
        assert group["CellData/glucose"].attrs["unit"] == "mM"
        for index in range(4):
            step = group["CellData/EV"][index]
            assert np.array_equal(step, counts_at(index).T)
            assert step.ravel()[x + nx * (y + ny * z)] == 1000 + index
            assert np.array_equal(group["CellData/tEV__s1__r1"][index], counts_at(20 + index).T)
    assert report.path.stat().st_size < 60_000


def test_a_moved_run_shows_its_own_snapshots_and_not_those_of_the_working_directory(tmp_path, monkeypatch):
    write_run(tmp_path / "a")
    Master(tmp_path / "a").write()
    shutil.move(tmp_path / "a", tmp_path / "b")
    decoy = tmp_path / "decoy"
    for index in range(4):
        write_snapshot(decoy, index, 0.0, {"EV": FieldArray(np.zeros(GRID.shape, np.int32))}, GRID)
    monkeypatch.chdir(decoy)
    with h5py.File(Path("..") / "b" / "results.vtkhdf") as file:
        assert np.array_equal(file["VTKHDF/CellData/EV"][2], counts_at(2).T)


def test_a_missing_snapshot_shows_no_plausible_value(tmp_path):
    write_run(tmp_path)
    path = Master(tmp_path).write().path
    list_snapshots(tmp_path)[1].unlink()
    with h5py.File(path) as file:
        assert (file["VTKHDF/CellData/EV"][1] == -1).all()
        assert np.isnan(file["VTKHDF/CellData/glucose"][1]).all()
        assert (file["VTKHDF/CellData/cell_type"][1] == 255).all()


def test_an_array_that_some_snapshots_lack_is_left_out_of_the_master_and_named(tmp_path):
    write_run(tmp_path, [0, 1])
    fields = {name: field for name, field in fields_at(2).items() if name != "EV"}
    fields["glucose"] = FieldArray(np.ones(GRID.shape, np.float32))
    write_snapshot(tmp_path, 2, 120.0, fields, GRID)
    report = Master(tmp_path).write()
    assert report.num_steps == 3
    assert [line.split(":")[0] for line in report.left_out] == ["array EV", "array glucose"]
    with h5py.File(report.path) as file:
        assert "EV" not in file["VTKHDF/CellData"]


def test_a_growing_master_reads_each_head_once_and_tells_what_one_written_at_once_tells(tmp_path, monkeypatch):
    read = []
    monkeypatch.setattr(results, "read_head", lambda path: read.append(path) or read_head(path))
    master = Master(tmp_path)
    for index in range(6):
        fields = {name: field for name, field in fields_at(index).items() if (name, index) != ("EV", 4)}
        path = write_snapshot(tmp_path, index, 10.0 if index == 3 else 60.0 * index, fields, GRID)
        if index == 2:
            path.write_bytes(path.read_bytes()[:2000])
        report = master.add(path)
        assert len(read) == index + 1
    grown = report.path.read_bytes()
    assert (report.num_steps, [line.split(":")[0] for line in report.left_out]) == (
        4,
        ["snapshots/snap-00000002.vtkhdf", "snapshots/snap-00000003.vtkhdf", "array EV"],
    )
    time.sleep(1.1)  # HDF5 stores whole seconds
    assert Master(tmp_path).write() == report
    assert report.path.read_bytes() == grown


def test_a_kill_while_the_master_is_written_leaves_the_earlier_one_and_the_next_run_shows_all(tmp_path, monkeypatch):
    class Killed(BaseException):
        pass

    def kill(*_):
        raise Killed

    write_run(tmp_path, range(2))
    before = Master(tmp_path).write().path.read_bytes()
    monkeypatch.setattr(results, "write_steps", kill)
    with pytest.raises(Killed):
        Master(tmp_path).add(write_snapshot(tmp_path, 2, 120.0, fields_at(2), GRID))
    monkeypatch.undo()
    assert (tmp_path / "results.vtkhdf").read_bytes() == before
    report = Master(tmp_path).add(write_snapshot(tmp_path, 3, 180.0, fields_at(3), GRID))
    with h5py.File(report.path) as file:
        assert list(file["VTKHDF/Steps/Values"]) == [0.0, 60.0, 120.0, 180.0]
        assert np.array_equal(file["VTKHDF/CellData/EV"][2], counts_at(2).T)


def test_damaged_snapshots_are_named_and_the_others_still_make_a_series(tmp_path):
    write_run(tmp_path)
    paths = list_snapshots(tmp_path)
    Master(tmp_path).write()
    paths[1].write_bytes(paths[1].read_bytes()[:2000])
    paths[2].write_bytes(b"")
    write_snapshot(tmp_path, 9, 999.0, {"EV": FieldArray(np.ones((2, 2, 2)))}, StoredGrid((2, 2, 2), (1.0,) * 3))
    reader = SnapshotReader(tmp_path)
    assert list(reader.times_s) == [0.0, 180.0]
    assert [line.split(":")[0] for line in reader.problems] == [
        "snapshots/snap-00000001.vtkhdf",
        "snapshots/snap-00000002.vtkhdf",
        "snapshots/snap-00000009.vtkhdf",
    ]
    report = Master(tmp_path).write()
    assert (report.num_steps, len(report.left_out)) == (2, 3)
    with pytest.raises(RunDirectoryError, match="cannot be read as a snapshot"):
        read_snapshot(paths[1])


def test_a_snapshot_that_claims_more_than_its_bytes_can_hold_is_refused(tmp_path):
    path = write_snapshot(tmp_path, 0, 0.0, {"EV": FieldArray(counts_at(0))}, GRID)
    with h5py.File(path, "r+") as file:
        del file["VTKHDF/CellData/EV"]
        file["VTKHDF/CellData"].create_dataset("EV", (1500, 1500, 1500), np.int32, chunks=(64, 64, 64))
    head = read_seal(path).head
    head["grid"]["shape"] = [1500, 1500, 1500]
    with path.open("r+b", buffering=0) as file:
        write_seal(file, encode_head(head))
    with pytest.raises(RunDirectoryError, match="claim to be larger"):
        read_snapshot(path)


def large_chunk(values):
    return {"data": values, "maxshape": (None,) * 3, "chunks": (64, 64, 64), "compression": "gzip", "shuffle": True}


def other_filter(values):
    return {"data": values, "compression": "lzf"}


def twice_packed(values):
    return {"data": values, "compression": "gzip", "scaleoffset": 0}


def text(values):
    return {"data": np.full(values.shape, "x", object), "dtype": h5py.string_dtype()}


def other_type(values):
    return {"data": values.astype(np.int16)}


@pytest.mark.parametrize("store", [large_chunk, other_filter, twice_packed, text, other_type])
def test_what_a_snapshot_does_not_hold_is_not_read(tmp_path, store):
    """Sealed anew; some would unpack to gigabytes from a small file, others are no numbers."""
    path = write_snapshot(tmp_path, 0, 0.0, {"EV": FieldArray(counts_at(0))}, GRID)
    head = read_seal(path).head
    with h5py.File(path, "r+") as file:
        values = file["VTKHDF/CellData/EV"][...]
        del file["VTKHDF/CellData/EV"]
        file.create_dataset("VTKHDF/CellData/EV", **store(values))
    with path.open("r+b", buffering=0) as file:
        write_seal(file, encode_head(head))
    with pytest.raises(RunDirectoryError, match=r"is not stored as exodiff stores it|does not fit"):
        read_snapshot(path)


def rename(head):
    """Replicates 0 and 2, without 1."""
    head["arrays"]["tEV__s1__r1"]["replicate"] = 2


@pytest.mark.parametrize(
    "change",
    [
        lambda head: head["grid"]["shape"].__setitem__(0, float("inf")),
        lambda head: head["grid"]["spacing_um"].__setitem__(0, float("nan")),
        lambda head: head.update(index=float("inf")),
        lambda head: head.update(time_s=float("nan")),
        lambda head: head["arrays"]["EV"].update(dtype="(,)f4"),
        lambda head: head["arrays"]["EV"].update(dtype="(100000,100000)f4"),
        lambda head: head["arrays"]["EV"].update(dtype="<c8"),
        lambda head: head["arrays"]["EV"].update(replicate=float("inf")),
        lambda head: head["arrays"]["EV"].update(replicate=0, name="tEV.s1"),
        rename,
    ],
)
def test_a_head_that_makes_no_sense_is_damage(tmp_path, change):
    """Sealed anew: other files are used, and nothing but the one error is raised."""
    write_run(tmp_path, range(2))
    path = list_snapshots(tmp_path)[0]
    head = read_seal(path).head
    change(head)
    with path.open("r+b", buffering=0) as file:
        write_seal(file, encode_head(head))
    with pytest.raises(RunDirectoryError, match="cannot be read as a snapshot"):
        read_snapshot(path)
    report = Master(tmp_path).write()
    assert (report.num_steps, len(report.left_out)) == (1, 1)


def test_one_array_is_not_read_under_many_names(tmp_path):
    grid = StoredGrid((32, 32, 32), (1.0, 1.0, 1.0))
    noise = np.random.default_rng(0).normal(size=(3, *grid.shape))
    path = write_snapshot(tmp_path, 0, 0.0, {"a": FieldArray(noise)}, grid)
    head = read_seal(path).head
    with h5py.File(path, "w", userblock_size=read_seal(path).block_bytes) as file:
        file["VTKHDF/CellData/a__r0"] = noise[0].T
        file["VTKHDF/CellData/a__r1"] = file["VTKHDF/CellData/a__r2"] = file["VTKHDF/CellData/a__r0"]
    with path.open("r+b", buffering=0) as file:
        write_seal(file, encode_head(head))
    with pytest.raises(RunDirectoryError, match="claim to be larger"):
        read_snapshot(path)


def external_link(file, other, name):
    file[name] = h5py.ExternalLink(other, name)


def soft_link(file, other, name):
    file["elsewhere"] = h5py.ExternalLink(other, name)
    file[name] = h5py.SoftLink("/elsewhere")


def link_of_a_group(file, other, name):
    group = name.rpartition("/")[0]
    del file[group]
    file[group] = h5py.ExternalLink(other, group)


def virtual(file, other, name):
    layout = h5py.VirtualLayout(GRID.shape[::-1], np.int32)
    layout[:] = h5py.VirtualSource(str(other), name, GRID.shape[::-1])
    file.create_virtual_dataset(name, layout)


def external_storage(file, other, name):
    file.create_dataset(name, GRID.shape[::-1], np.int32, external=[(str(other), 0, 4 * int(np.prod(GRID.shape)))])


@pytest.mark.parametrize("lead_away", [external_link, soft_link, link_of_a_group, virtual, external_storage])
def test_a_snapshot_shows_nothing_of_another_file(tmp_path, lead_away):
    """Sealed anew, as by an attacker; what the links lead to would be right."""
    fields = {"EV": FieldArray(counts_at(0).astype(np.int32))}
    path, other = write_snapshot(tmp_path, 0, 0.0, fields, GRID), tmp_path / "other.h5"
    shutil.copy(path, other)
    head = read_seal(path).head
    with h5py.File(path, "r+") as file:
        del file["VTKHDF/CellData/EV"]
        lead_away(file, other, "VTKHDF/CellData/EV")
    with path.open("r+b", buffering=0) as file:
        write_seal(file, encode_head(head))
    with pytest.raises(RunDirectoryError, match=r"points to another file|there is no dataset"):
        read_snapshot(path)


def test_the_reader_gives_times_names_and_arrays(tmp_path):
    write_run(tmp_path)
    reader = SnapshotReader(tmp_path)
    assert len(reader) == 4
    assert reader.grid == GRID
    assert reader.names == sorted(fields_at(0))
    assert np.array_equal(reader.read(-1, ["tEV.s1"]).fields["tEV.s1"].values, fields_at(3)["tEV.s1"].values)
    assert len(SnapshotReader(tmp_path / "absent")) == 0


def test_a_resume_discards_later_snapshots_by_time_or_index_and_the_master_follows(tmp_path):
    write_run(tmp_path, range(6))
    Master(tmp_path).write()
    assert [path.name for path in discard_after(tmp_path, time_s=180.0)] == [
        "snap-00000004.vtkhdf",
        "snap-00000005.vtkhdf",
    ]
    with h5py.File(tmp_path / "results.vtkhdf") as file:
        assert list(file["VTKHDF/Steps/Values"]) == [0.0, 60.0, 120.0, 180.0]
    damaged = list_snapshots(tmp_path)[3]
    damaged.write_bytes(b"x")
    assert discard_after(tmp_path, time_s=60.0) == [
        list_snapshots(tmp_path)[1].with_name("snap-00000002.vtkhdf"),
        damaged,
    ]
    assert len(discard_after(tmp_path, index=0)) == 1
    assert len(discard_after(tmp_path, index=-1)) == 1
    assert not (tmp_path / "results.vtkhdf").exists()
    with pytest.raises(ValueError, match="either"):
        discard_after(tmp_path)


def test_a_snapshot_that_cannot_be_written_leaves_nothing(tmp_path):
    (tmp_path / "snapshots").write_text("a file where the folder should be")
    with pytest.raises(RunDirectoryError, match="could not be written"):
        write_snapshot(tmp_path, 0, 0.0, fields_at(0), GRID)
    assert [path.name for path in tmp_path.iterdir()] == ["snapshots"]


def test_a_full_disk_leaves_the_earlier_master(tmp_path):
    write_run(tmp_path, range(2))
    path = Master(tmp_path).write().path
    before = path.read_bytes()
    write_run(tmp_path, range(2, 4))
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        for limit in [0, 500, 5000, len(before)]:
            resource.setrlimit(resource.RLIMIT_FSIZE, (limit, hard))
            with pytest.raises(RunDirectoryError, match="could not be written"):
                Master(tmp_path).write()
            assert path.read_bytes() == before
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, handler)
    assert sorted(each.name for each in tmp_path.iterdir()) == ["results.vtkhdf", "snapshots"]


@pytest.fixture
def vtk_arrays():
    """Reads a file with VTK: (path, step) -> (name -> values in VTK's order, spacing, dimensions, number of steps)."""
    pytest.importorskip("vtk")
    vtk_to_numpy = pytest.importorskip("vtkmodules.util.numpy_support").vtk_to_numpy
    vtkHDFReader = pytest.importorskip("vtkmodules.vtkIOHDF").vtkHDFReader

    def read(path, step=None):
        reader = vtkHDFReader()
        assert reader.CanReadFile(str(path))
        reader.SetFileName(str(path))
        reader.UpdateInformation()
        if step is not None:
            reader.SetStep(step)
        reader.Update()
        image = reader.GetOutputDataObject(0)
        data = image.GetCellData()
        arrays = {data.GetArrayName(i): vtk_to_numpy(data.GetArray(i)).copy() for i in range(data.GetNumberOfArrays())}
        return arrays, image.GetSpacing(), image.GetDimensions(), reader.GetNumberOfSteps()

    return read


def test_vtk_reads_each_snapshot_as_it_is(tmp_path, vtk_arrays):
    path = write_snapshot(tmp_path, 0, 0.0, fields_at(0), GRID)
    arrays, spacing, dimensions, _ = vtk_arrays(path)
    nx, ny, _ = GRID.shape
    x, y, z = MARK
    assert spacing == (1.0, 2.0, 4.0)
    assert dimensions == (6, 5, 4)
    assert set(arrays) == {"EV", "tEV__s1__r0", "tEV__s1__r1", "glucose", "is_blood", "cell_type", "diffusivity"}
    assert arrays["EV"][x + nx * (y + ny * z)] == 1000
    assert np.array_equal(arrays["EV"], counts_at(0).T.ravel())
    assert np.array_equal(arrays["glucose"], (counts_at(0) / 3).T.ravel())
    assert np.array_equal(arrays["is_blood"], (counts_at(0) > 5).T.ravel())


def test_vtk_reads_what_several_processes_wrote_as_one(tmp_path, vtk_arrays):
    times_s = [0.0, 60.0]
    paths = [write_in_pieces(tmp_path, index, time_s, 1) for index, time_s in enumerate(times_s)]
    whole = COUNTS[0, 0].T.ravel()
    for path, step in ((paths[1], None), (Master(tmp_path).write().path, 1)):
        arrays = vtk_arrays(path, step)[0]
        assert np.array_equal(arrays["EV"], whole)
        assert np.array_equal(arrays["plasma__oxygen"], whole / 3.0)


def test_vtk_reads_all_steps_of_the_master(tmp_path, vtk_arrays):
    write_run(tmp_path)
    path = Master(tmp_path).write().path
    for index in [0, 3, 1, 2]:
        arrays, spacing, _, num_steps = vtk_arrays(path, index)
        assert num_steps == 4
        assert spacing == (1.0, 2.0, 4.0)
        assert np.array_equal(arrays["EV"], counts_at(index).T.ravel())
        assert np.array_equal(arrays["tEV__s1__r1"], counts_at(20 + index).T.ravel())
        assert np.array_equal(arrays["diffusivity"], counts_at(99).T.ravel().astype(np.float32))


def test_a_changed_byte_anywhere_in_a_snapshot_is_found(tmp_path):
    path = write_snapshot(tmp_path, 0, 0.0, {"EV": FieldArray(counts_at(0))}, GRID)
    whole = path.read_bytes()
    for byte in range(0, len(whole), 37):
        path.write_bytes(whole[:byte] + bytes([whole[byte] ^ 16]) + whole[byte + 1 :])
        with pytest.raises(RunDirectoryError, match="cannot be read as a snapshot"):
            read_snapshot(path)
