"""The command line, e.g. ``exodiff run``: its commands, and what an error looks like."""

import gc
import re
import sys
from typing import Annotated

import typer

from exodiff.commands import fits, runs, sweeps
from exodiff.commands.shared import INTERRUPTED, STDERR, STDOUT
from exodiff.core.errors import ExodiffError, SimulationError

app = typer.Typer(
    name="exodiff",
    help="Simulate how cells talk by exosomes in tissue: one TOML file in, tables, figures and ParaView files out.",
    epilog="First run: exodiff run configs/quickstart.toml. Exit codes: 0 done, 2 wrong config or call, 3 failed, "
    "75 stopped by a signal and resumable.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
for command in (runs.run, runs.resume, runs.check):
    app.command()(command)
app.command(name="import")(runs.import_)
for command in (runs.plot, runs.movie, sweeps.sweep, sweeps.collect, fits.fit, fits.sbc, fits.synthesise, runs.info):
    app.command()(command)


def _print_version(wanted: bool) -> None:
    if wanted:
        from importlib import metadata  # noqa: PLC0415

        STDOUT.print(f"exodiff {metadata.version('exodiff')}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    del version


def in_options(message: str) -> str:
    """A message that names an argument, as in Python, with its option: ``--out runs/x`` for ``out=runs/x``."""

    def option(found: re.Match[str]) -> str:
        name, value = found[1].replace("_", "-"), found[2]
        return f"--{name}" if value == "True" else f"--{name} {value}"

    return re.sub(r"(?<!\S)(out|resume|overwrite|from_last_good|accept_changes)=(True\b|)", option, message)


def main() -> None:
    """Run the command line; errors are one line and an exit code."""
    gc.set_threshold(50_000, 20, 50)  # tracing a model makes millions of objects, few of them cycles
    try:
        app()
    except ExodiffError as error:
        for line in str(error).splitlines():
            STDERR.print(f"exodiff: {in_options(line)}", style="red")
        sys.exit(error.exit_code)
    except OSError as error:
        told = f"{error.filename or 'a file'}: {error.strerror or error}"
        STDERR.print(f"exodiff: {told}; make room or mend the permissions, and give the command again", style="red")
        sys.exit(SimulationError.exit_code)
    except (MemoryError, RuntimeError) as error:
        if not isinstance(error, MemoryError) and "RESOURCE_EXHAUSTED" not in str(error):
            raise
        STDERR.print(
            "exodiff: not enough memory; lower lattice.shape or run.replicates (`exodiff check` prints the size of the "
            "state), or use a larger machine",
            style="red",
        )
        sys.exit(SimulationError.exit_code)
    except KeyboardInterrupt:
        goes_on = {"run", "resume"} & set(sys.argv[1:2])
        then = (
            "continue from the last checkpoint with `exodiff resume DIR`" if goes_on else "give the same command again"
        )
        STDERR.print(f"exodiff: interrupted; {then}")
        sys.exit(INTERRUPTED)


if __name__ == "__main__":
    main()
