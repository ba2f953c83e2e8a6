import random
import resource
import signal

import numpy as np
import pytest

from exodiff.core.errors import RunDirectoryError
from exodiff.io.records import PROFILE_COLUMNS, RecordWriter, Truncation, profile_rows, read_table, truncate_after

COLUMNS = ("time_s", "replicate", "caf_fraction", "plasma.EV")


def rows(num_times=5, replicates=2):
    rng = np.random.default_rng(1)
    return [(60.0 * t, r, float(rng.normal()), rng.normal()) for t in range(num_times) for r in range(replicates)]


def write_rows(path, some=None):
    with RecordWriter(path, COLUMNS) as table:
        table.append_rows(rows() if some is None else some)


def test_numbers_come_back_with_the_same_bits(tmp_path):
    path = tmp_path / "run" / "observables.csv"
    values = [
        0.1,
        1e-320,
        -0.0,
        np.float64(2 / 3),
        np.float32(0.1),
        1.7976931348623157e308,
        np.nan,
        np.inf,
        np.int32(7),
    ]
    values += [np.array(0.3), np.nextafter(1.0, 2.0), 2**53]
    write_rows(path, [(float(i), i, value, -i) for i, value in enumerate(values)])
    table = read_table(path)
    assert list(table) == list(COLUMNS)
    expected = np.array([float(value) for value in values])
    assert table["caf_fraction"].tobytes() == expected.tobytes()
    assert table["replicate"].dtype == np.int64
    assert table["plasma.EV"].dtype == np.float64


def test_random_numbers_come_back_with_the_same_bits(tmp_path):
    bits = np.random.default_rng(0).integers(0, 2**63, 5000, np.uint64).view(np.float64)
    values = bits[np.isfinite(bits)]
    write_rows(tmp_path / "o.csv", [(0.0, 0, value, 0) for value in values])
    assert read_table(tmp_path / "o.csv")["caf_fraction"].tobytes() == values.tobytes()


def test_rows_are_appended_to_a_table_that_is_there(tmp_path):
    write_rows(tmp_path / "o.csv", rows()[:4])
    write_rows(tmp_path / "o.csv", rows()[4:])
    assert len(read_table(tmp_path / "o.csv")["time_s"]) == 10


def test_flushed_rows_can_be_read_while_the_table_is_open(tmp_path):
    with RecordWriter(tmp_path / "o.csv", COLUMNS) as table:
        table.append(rows()[0])
        table.flush()
        assert len(read_table(tmp_path / "o.csv")["time_s"]) == 1
        table.close()
        table.close()


def test_other_columns_are_refused_on_resume_and_the_table_is_untouched(tmp_path):
    path = tmp_path / "o.csv"
    write_rows(path)
    before = path.read_bytes()
    with pytest.raises(RunDirectoryError, match=r"has the columns .*plasma.EV.*this run writes"):
        RecordWriter(path, (*COLUMNS[:3], "other"))
    path.write_bytes(before[:-3])
    with pytest.raises(RunDirectoryError, match="half-written"):
        RecordWriter(path, COLUMNS)
    assert path.read_bytes() == before[:-3]


def test_a_table_of_other_columns_is_not_cut(tmp_path):
    path = tmp_path / "o.csv"
    for text in ("precious line\n" * 9, "time_s,replicate,other\n0.0,0,1\n9.0,0,1\n"):
        path.write_text(text)
        with pytest.raises(RunDirectoryError, match="this run writes"):
            truncate_after(path, COLUMNS, 1.0)
        assert path.read_text() == text


def test_a_table_is_not_written_through_a_link(tmp_path):
    write_rows(tmp_path / "other.csv")
    before = (tmp_path / "other.csv").read_bytes()
    (tmp_path / "o.csv").symlink_to("other.csv")
    with pytest.raises(OSError, match="symbolic link"):
        truncate_after(tmp_path / "o.csv", COLUMNS, 60.0)
    with pytest.raises(RunDirectoryError, match="symbolic link"):
        RecordWriter(tmp_path / "o.csv", COLUMNS)
    assert (tmp_path / "other.csv").read_bytes() == before


def test_a_row_of_another_length_is_refused(tmp_path):
    with RecordWriter(tmp_path / "o.csv", COLUMNS) as table, pytest.raises(ValueError, match="4 columns"):
        table.append((0.0, 1))
    assert len(read_table(tmp_path / "o.csv")["time_s"]) == 0


def test_truncation_keeps_the_rows_up_to_the_time_and_gives_the_same_file_again(tmp_path):
    path = tmp_path / "o.csv"
    write_rows(path)
    whole = path.read_bytes()
    assert truncate_after(path, COLUMNS, 120.0) == Truncation(rows_kept=6, lines_dropped=4)
    assert list(np.unique(read_table(path)["time_s"])) == [0.0, 60.0, 120.0]
    write_rows(path, rows()[6:])
    assert path.read_bytes() == whole
    assert truncate_after(path, COLUMNS, 1e9) == Truncation(10, 0)
    assert truncate_after(path, COLUMNS, -1.0) == Truncation(0, 10)
    assert truncate_after(tmp_path / "absent.csv", COLUMNS, 0.0) == Truncation(0, 0)


def test_a_file_cut_at_any_byte_resumes_to_the_same_file(tmp_path):
    path = tmp_path / "o.csv"
    write_rows(path)
    whole = path.read_bytes()
    header_end = whole.index(b"\n") + 1
    for cut in range(header_end, len(whole)):
        path.write_bytes(whole[:cut])
        kept = truncate_after(path, COLUMNS, 1e9).rows_kept
        assert kept == whole[header_end:cut].count(b"\n")
        write_rows(path, rows()[kept:])
        assert path.read_bytes() == whole


def test_an_end_of_zeros_or_garbage_is_dropped(tmp_path):
    path = tmp_path / "o.csv"
    write_rows(path)
    whole = path.read_bytes()
    for tail in [bytes(500), b'"180', b"\xff\xfe\n", b"1,2\n", b"nan,0,1,1\n", random.Random(0).randbytes(300)]:
        path.write_bytes(whole + tail)
        assert truncate_after(path, COLUMNS, 1e9).rows_kept == 10
        assert path.read_bytes() == whole


def test_damage_before_good_rows_is_an_error_and_drops_nothing(tmp_path):
    path = tmp_path / "o.csv"
    write_rows(path)
    lines = path.read_bytes().splitlines(keepends=True)
    lines[3] = b"60.0,0,zz\n"
    path.write_bytes(b"".join(lines))
    before = path.read_bytes()
    with pytest.raises(RunDirectoryError, match=r"line 5 of time 60.0 s"):
        truncate_after(path, COLUMNS, 240.0)
    assert path.read_bytes() == before
    with pytest.raises(RunDirectoryError, match="line 4 is damaged"):
        read_table(path)


def test_a_half_written_last_line_is_not_read(tmp_path):
    write_rows(tmp_path / "o.csv")
    with (tmp_path / "o.csv").open("a") as file:
        file.write("300.0,0,1.5,2")
    assert len(read_table(tmp_path / "o.csv")["time_s"]) == 10


def test_profiles_are_one_value_a_row(tmp_path):
    path = tmp_path / "profiles.csv"
    with RecordWriter(path, PROFILE_COLUMNS) as table:
        table.append_rows(profile_rows(60.0, 1, "free_profile", [0.0, 20.0, 40.0], np.array([1.5, 2.5])))
    found = read_table(path)
    assert list(found["observable"]) == ["free_profile"] * 2
    assert list(found["bin_low"]) == [0.0, 20.0]
    assert list(found["bin_high"]) == [20.0, 40.0]
    assert list(found["value"]) == [1.5, 2.5]
    with pytest.raises(ValueError, match="need 3 edges"):
        list(profile_rows(0.0, 0, "a", [0.0, 1.0], [1.0, 2.0]))


def test_missing_and_empty_tables_are_errors(tmp_path):
    with pytest.raises(RunDirectoryError, match="cannot be read"):
        read_table(tmp_path / "absent.csv")
    (tmp_path / "empty.csv").touch()
    with pytest.raises(RunDirectoryError, match="holds no table"):
        read_table(tmp_path / "empty.csv")


def test_a_full_disk_is_an_error_and_the_table_can_go_on_afterwards(tmp_path):
    path = tmp_path / "o.csv"
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    table = RecordWriter(path, COLUMNS)
    resource.setrlimit(resource.RLIMIT_FSIZE, (300, hard))
    try:
        table.append_rows(rows(20))
        with pytest.raises(RunDirectoryError, match=r"could not be written.*exodiff resume"):
            table.flush()
        with pytest.raises(RunDirectoryError):
            table.close()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, before)
    table.close()
    kept = truncate_after(path, COLUMNS, 1e9).rows_kept
    assert 0 < kept < 40
    write_rows(path, rows(20)[kept:])
    assert len(read_table(path)["time_s"]) == 40
