"""Mutate model files, expressions and checkpoints: every one is read, or refused in one clear line, in bounded time.

python -m bench.fuzz [--configs 10000] [--expressions 10000] [--checkpoints 1000] [--resealed 1000] [--build-each 4]
    [--seed 1]

A model file is changed in its text or in its keys and values; every fourth one is also built, if the loader takes it
and it is small. A checkpoint is changed in its bytes, and must then never be used: the one before it is. Changed and
sealed anew, as by an attacker, so that its hashes are right, it is refused, or read with the arrays that it had; what
goes through HDF5's parser is read in a process of its own, which may crash or hang. What goes wrong is printed.
"""

import argparse
import copy
import math
import multiprocessing
import random
import signal
import sys
import tempfile
import time
import tomllib
import traceback
from collections import Counter
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import tomli_w

from bench.rows import print_row
from exodiff.build import ConfiguredModel as Model
from exodiff.build import build
from exodiff.config import load as config_load
from exodiff.core.errors import CheckpointError, ExodiffError
from exodiff.core.expressions import FORMS, parse
from exodiff.core.syntax import FUNCTIONS
from exodiff.io import checkpoint
from exodiff.io.pieces import Block, piece_path, write_piece
from exodiff.io.sealed import encode_head, read_seal, write_seal
from exodiff.runner.directory import CHECKPOINTS
from exodiff.runner.entry import run

SEEDS = sorted(Path("configs").rglob("*.toml"))
LIMIT_S = 20  # of the processor; what only waits is stopped after ten times as long
TIMERS = (
    (signal.ITIMER_PROF, signal.SIGPROF, LIMIT_S),
    (signal.ITIMER_REAL, signal.SIGALRM, 10 * LIMIT_S),
)
BUILT_AT_MOST = 5_000  # voxels
BUILT_EACH = 4
ODD: tuple[Any, ...] = (
    0, -1, 1, 2**31, 2**63, -(2**63), 1e308, -1e-308, math.inf, math.nan, True, False, "", " ", "1", "-1 um", "1 /h",
    "1e999 um^2/s", "3 parsecs", "EV", "tumour", "t", "dose", "__import__('os')", "k_on * k_on", "hill(EV, 1, 2)",
    "1/0", "(" * 300, "é", "\0", "a" * 5000, "../../etc/passwd", "/dev/zero", "tumour -> 2 tumour", "-> EV", "A + B ->",
    "1000000000 EV -> EV", "total(tumour) > 1", [], [0], [1, 2, 3], ["x"], [[1]], {}, {"file": "x.npy"},
    {"file": "/dev/zero"}, {"csv": "/dev/zero"}, {"poisson": -1}, {"by_cell": {}}, {"x": {"y": {"z": {}}}},
)  # fmt: skip
WORDS = (*FUNCTIONS, *FORMS, "a", "b", "k_on", "t", "lambda", "if", "__import__", "plasma.EV", "1e308", "9", "0")
SYMBOLS = (*"+-*/^()<>=!.,:[]{}'\"@~%&|;# \n\t0123456789", "**", "<=", "==", "->", "µ", "\x00", "é")
Problems = list[str]


class TooSlowError(Exception):
    """One case took longer than the limit."""


def tried(case: Callable[[], str], shown: Callable[[], str], problems: Problems) -> str:
    """What came of a case; whatever is not a clear refusal goes to the problems."""

    def ring(number: int, frame: Any) -> None:
        raise TooSlowError(f"over {LIMIT_S} s")

    for timer, number, limit_s in TIMERS:
        signal.signal(number, ring)
        signal.setitimer(timer, limit_s)
    try:
        return case()
    except ExodiffError as error:
        lines = str(error).splitlines()
        if all(lines) and len(lines) < 200 and max(map(len, lines)) < 4000:
            return "refused"
        problems.append(f"an unclear refusal: {str(error)[:300]!r}\n{shown()}")
    except Exception:
        problems.append(f"{traceback.format_exc(limit=-3)}\n{shown()}")
    finally:
        for timer, _, _ in TIMERS:
            signal.setitimer(timer, 0)
    return "failed"


# Model files


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Paths of all keys and items."""
    entries = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [found for key, inner in entries for found in [(*path, key), *places(inner, (*path, key))]]


def changed(tables: dict[str, Any], source: random.Random) -> dict[str, Any]:
    """A copy with one to four keys or values changed, moved, doubled, removed or renamed."""
    tables = copy.deepcopy(tables)
    for _ in range(source.choice((1, 1, 2, 4))):
        *path, key = source.choice(places(tables))
        owner: Any = tables
        for step in path:
            owner = owner[step]
        kind = source.randrange(6)
        if kind == 0:
            owner[key] = copy.deepcopy(source.choice(ODD))
        elif kind == 1:
            del owner[key]
        elif kind == 2:
            *there, last = source.choice(places(tables))
            other: Any = tables
            for step in there:
                other = other[step]
            owner[key] = copy.deepcopy(other[last])
        elif kind == 3 and isinstance(owner, dict):
            owner[source.choice(("EV", "", "x y", str(key)[:-1], f"{key}s", "tumour", "a.b"))] = owner.pop(key)
        elif kind == 4 and isinstance(owner[key], str) and owner[key]:
            at = source.randrange(len(owner[key]))
            owner[key] = owner[key][:at] + source.choice((*SYMBOLS, "")) + owner[key][at + 1 :]
        elif isinstance(owner[key], int | float) and not isinstance(owner[key], bool):
            owner[key] = owner[key] * source.choice((-1, 0, 0.5, 1e9, 1e-9))
        if not places(tables):
            break
    return tables


def mutated_text(tables: list[dict[str, Any]], source: random.Random) -> bytes:
    """A model file with a change in its keys and values, or in its bytes."""
    chosen = source.choice(tables)
    if source.random() < 0.8:
        try:
            return tomli_w.dumps(changed(chosen, source)).encode()
        except (TypeError, ValueError):  # what TOML cannot write, such as lone surrogates
            return b""
    content = bytearray(tomli_w.dumps(chosen).encode())
    for _ in range(source.randrange(1, 6)):
        at = source.randrange(len(content))
        kind = source.randrange(3)
        if kind == 0:
            content[at] = source.randrange(256)
        elif kind == 1:
            del content[at : at + source.randrange(1, 200)]
        else:
            content[at:at] = content[:at][-source.randrange(1, 200) :]
        if not content:
            break
    return bytes(content)


def fuzz_configs(number: int, source: random.Random, problems: Problems, build_each: int = BUILT_EACH) -> Counter[str]:
    """Load mutated model files and build a share of the small ones."""
    tables = [tomllib.loads(path.read_text()) for path in SEEDS]
    outcomes: Counter[str] = Counter()
    with tempfile.TemporaryDirectory() as scratch:
        path = Path(scratch) / "model.toml"
        for place in range(number):
            content = mutated_text(tables, source)
            path.write_bytes(content)

            def case() -> str:
                config = config_load.load(path)
                if place % build_each or math.prod(config.lattice.shape) > BUILT_AT_MOST:  # noqa: B023
                    return "loaded"
                build(config)
                return "built"

            outcomes[tried(case, lambda: content.decode(errors="replace")[:6000], problems)] += 1  # noqa: B023
    return outcomes


# Expressions


def fuzz_expressions(number: int, source: random.Random, problems: Problems) -> Counter[str]:
    """Parse random words and symbols."""
    outcomes: Counter[str] = Counter()
    for _ in range(number):
        pieces = WORDS if source.random() < 0.5 else SYMBOLS
        text = "".join(source.choice((*pieces, *SYMBOLS[:12])) for _ in range(source.randrange(1, 60)))

        def case() -> str:
            parse(text, "rate", forms=frozenset(FORMS))  # noqa: B023
            return "parsed"

        outcomes[tried(case, lambda: repr(text), problems)] += 1  # noqa: B023
    return outcomes


# Checkpoints


def damaged(whole: bytes, source: random.Random) -> bytes:
    """A file with a bit, a stretch or its end changed."""
    content, at = bytearray(whole), source.randrange(len(whole))
    kind = source.randrange(5)
    if kind == 0:
        content[at] ^= 1 << source.randrange(8)
    elif kind == 1:
        del content[at:]
    elif kind == 2:
        content[at : at + 512] = bytes(len(content[at : at + 512]))
    elif kind == 3:
        content[at : at + 64] = source.randbytes(len(content[at : at + 64]))
    else:
        content += source.randbytes(source.randrange(1, 100))
    return bytes(content)


def written(folder: Path, arrays: list[dict[str, np.ndarray]]) -> list[Path]:
    """Checkpoints of one process in a folder, and of two in another: the files of the newest ones."""
    alone = [checkpoint.write_checkpoint(folder / "alone", a, {"seed": 7}, s) for s, a in enumerate(arrays, 1)]
    files = [alone[-1]]
    for step, each in enumerate(arrays, 1):
        pieces = [piece_path(folder / "pieces", checkpoint.stem_of(step), step, process) for process in range(2)]
        pieces[0].parent.mkdir(exist_ok=True)
        for process, path in enumerate(pieces):
            half = [Block("counts", (0, 2 * process, 0, 0), each["counts"][:, 2 * process : 2 * process + 2])]
            write_piece(path, half + ([Block("pair", (), each["pair"])] if process == 0 else []))
        shapes = {name: array.shape for name, array in each.items()}
        files = [alone[-1], *pieces, checkpoint.join_pieces(folder / "pieces", pieces, shapes, {"seed": 7}, step)]
    return files


def fuzz_checkpoints(number: int, source: random.Random, problems: Problems) -> Counter[str]:
    """Damage a file of the newest of two checkpoints; the one before it must be read, with its values."""
    outcomes: Counter[str] = Counter()
    with tempfile.TemporaryDirectory() as scratch:
        arrays = [
            {"counts": np.full((2, 4, 4, 4), step, np.int32), "pair": np.array(step, np.uint32)} for step in (1, 2)
        ]
        files = {path: path.read_bytes() for path in written(Path(scratch), arrays)}
        for _ in range(number):
            path, whole = source.choice(list(files.items()))
            content = damaged(whole, source)
            path.write_bytes(content)

            def case() -> str:
                found = checkpoint.read_latest(path.parent)  # noqa: B023
                step = 2 if content == whole else 1  # noqa: B023
                if found.step != step or not np.array_equal(found.arrays["counts"], arrays[step - 1]["counts"]):
                    raise AssertionError(f"read step {found.step}, not {step}")
                return "passed over" if step == 1 else "unchanged"

            outcomes[tried(case, lambda: repr(content[:100]), problems)] += 1  # noqa: B023
            path.write_bytes(whole)
    return outcomes


MODEL: dict[str, Any] = {
    "schema": 1,
    "run": {"duration": "20 s", "observe_every": "5 s", "seed": 7, "checkpoint_every": "1e-3 s"},
    "lattice": {"shape": [4, 4, 4], "spacing": "10 um"},
    "species": {"A": {"diffusion": "1 um^2/s", "initial": {"poisson": 3}}, "B": {}},
    "reactions": [{"equation": "A -> B", "rate": "0.1 /s"}],
}
ENDS = ("passed over", "as it was", "refused", "wrong arrays")  # by exit code


def resealed(path: Path, whole: bytes, source: random.Random, *, in_head: bool) -> None:
    """Put a checkpoint in the place of another, with its description or its HDF5 content changed and right hashes."""
    path.write_bytes(whole)
    seal = read_seal(path)
    head = changed(seal.head, source) if in_head else seal.head
    if not in_head:
        for _ in range(source.choice((1, 1, 4, 16))):
            content = whole[seal.block_bytes :] or bytes(1)
            whole = whole[: seal.block_bytes] + damaged(content, source)
    path.write_bytes(whole)
    with path.open("r+b", buffering=0) as file:
        write_seal(file, encode_head(head))


def read_alone(folder: Path, step: int, arrays: dict[str, np.ndarray]) -> None:
    """Read the newest checkpoint of a folder, and end with the code of what came of it."""
    try:
        found = checkpoint.read_latest(folder)
    except CheckpointError:
        sys.exit(2)
    if found.step != step:
        sys.exit(0)
    is_same = found.arrays.keys() == arrays.keys() and all(np.array_equal(found.arrays[k], arrays[k]) for k in arrays)
    sys.exit(1 if is_same else 3)


def in_a_process(folder: Path, step: int, arrays: dict[str, np.ndarray], problems: Problems) -> str:
    """What came of reading a checkpoint where HDF5 may crash or never come back."""
    process = multiprocessing.get_context("forkserver").Process(target=read_alone, args=(folder, step, arrays))
    process.start()
    process.join(LIMIT_S)
    if process.exitcode is None:
        process.kill()
        process.join()
        problems.append("HDF5 did not come back")
        return "hung"
    if 0 <= process.exitcode < 3:
        return ENDS[process.exitcode]
    problems.append(f"a reader ended with {process.exitcode}")
    return "wrong arrays" if process.exitcode == 3 else "crashed"


def fuzz_resealed(number: int, source: random.Random, problems: Problems) -> Counter[str]:
    """Change a checkpoint of a run, seal it anew, and go on from it: alternately its description and its content."""
    multiprocessing.get_context("forkserver").set_forkserver_preload([__name__])
    outcomes: Counter[str] = Counter()
    model = Model.from_dict(MODEL)
    with tempfile.TemporaryDirectory() as scratch:
        run(model, scratch, figures=False)
        folder = Path(scratch) / CHECKPOINTS
        right = checkpoint.read_latest(folder)
        others = {path: path.read_bytes() for path in checkpoint.list_checkpoints(folder)}
        whole = others[right.path]
        for place in range(number):
            resealed(right.path, whole, source, in_head=place % 2 == 0)

            def case() -> str:
                result = run(model, scratch, resume="auto", figures=False)
                kept = checkpoint.read_latest(folder).arrays
                if not result.finished or any(not np.array_equal(kept[k], right.arrays[k]) for k in right.arrays):
                    raise AssertionError("another end than before")
                return "passed over" if list(folder.glob("*.damaged")) else "as it was"

            if place % 2 == 0:
                outcomes[tried(case, lambda: str(read_seal(right.path).head)[:3000], problems)] += 1
            else:
                outcomes[in_a_process(folder, right.step, right.arrays, problems)] += 1
            for path in folder.iterdir():
                path.unlink()
            for path, content in others.items():
                path.write_bytes(content)
    return outcomes


def main() -> None:
    """Print a row for each kind, then the problems."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for kind, default in (("configs", 10_000), ("expressions", 10_000), ("checkpoints", 1_000), ("resealed", 1_000)):
        parser.add_argument(f"--{kind}", type=int, default=default)
    parser.add_argument(
        "--build-each", type=int, default=BUILT_EACH, help="building takes a hundred times as long as loading"
    )
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    kinds = {
        "configs": partial(fuzz_configs, build_each=given.build_each),
        "expressions": fuzz_expressions,
        "checkpoints": fuzz_checkpoints,
        "resealed": fuzz_resealed,
    }
    problems: Problems = []
    for kind, fuzz in kinds.items():
        number = getattr(given, kind)
        if not number:
            continue
        began, before = time.monotonic(), len(problems)
        outcomes = fuzz(number, random.Random(given.seed), problems)
        values = {"problems": len(problems) - before, "seconds": round(time.monotonic() - began, 1), "seed": given.seed}
        print_row(
            "fuzz", kind=kind, **outcomes, **values, **({"built_each": given.build_each} if kind == "configs" else {})
        )
    print("\n\n".join(problems))


if __name__ == "__main__":
    main()
