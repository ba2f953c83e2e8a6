"""The run directory: what lies where, and whether a run may begin or go on in it."""

import shutil
from dataclasses import dataclass
from pathlib import Path

from exodiff.config import load as config_load
from exodiff.config.schema import RunConfig
from exodiff.core.errors import ConfigError, RunDirectoryError
from exodiff.io.atomic import TEMPORARY_PREFIX, make_folder, refuse_links, remove_stale_temporaries, write_text
from exodiff.io.checkpoint import list_checkpoints
from exodiff.io.lock import FILE as LOCK_FILE
from exodiff.io.pieces import remove_orphans
from exodiff.io.snapshots import FOLDER as SNAPSHOTS
from exodiff.io.snapshots import list_snapshots

CONFIG = "config.toml"
RESOLVED = "resolved.toml"
CHECKPOINTS = "checkpoints"
_OURS = (
    CHECKPOINTS,
    "observables.csv",
    "profiles.csv",
    SNAPSHOTS,
    "figures",
    "results.vtkhdf",
    "provenance.json",
    CONFIG,
    RESOLVED,
)


def _is_ours(name: str) -> bool:
    """Whether a run may have left it before it was marked as one: killed at its very beginning."""
    return name in (LOCK_FILE, CONFIG) or name.startswith(TEMPORARY_PREFIX)


@dataclass(frozen=True)
class RunDirectory:
    """A folder that holds one run."""

    path: Path

    @property
    def checkpoints(self) -> Path:
        """Where the checkpoints are."""
        return self.path / CHECKPOINTS

    @property
    def holds_run(self) -> bool:
        """Whether a run was begun here."""
        return (self.path / RESOLVED).exists()

    def config(self) -> RunConfig:
        """The resolved config of the run in this folder.

        Raises:
            ConfigError: when there is none.
            RunDirectoryError: when it cannot be read.

        """
        if not self.holds_run:
            raise ConfigError(
                str(self.path), f"holds no run ({RESOLVED} is missing); start one with `exodiff run CONFIG`"
            )
        try:
            return config_load.load(self.path / RESOLVED)
        except ConfigError as error:
            raise RunDirectoryError(str(self.path), f"its {RESOLVED} cannot be used: {error}") from error

    def refuse_another_run(self) -> None:
        """Refuse to begin a run where another is, or where foreign files are.

        Raises:
            ConfigError: says how to go on, to overwrite, or to write elsewhere.

        """
        where = f"out={self.path}"
        if self.holds_run:
            done = "with" if list_checkpoints(self.checkpoints) else "without"
            raise ConfigError(
                where,
                f"already holds a run ({done} checkpoints); continue it with `exodiff resume {self.path}`, replace it "
                "with overwrite=True, or choose another folder",
            )
        if self.path.exists() and not self.path.is_dir():
            raise ConfigError(where, "is a file; give a folder")
        if self.path.is_dir() and any(not _is_ours(entry.name) for entry in self.path.iterdir()):
            raise ConfigError(where, "is not empty and holds no run; choose a new or empty folder")

    def refuse_another_config(self, config: RunConfig) -> None:
        """Refuse to go on with a config that gives other numbers than the one the run began with.

        Raises:
            ConfigError: names the keys that differ.

        """
        begun = self.config()
        same_numbers = config_load.config_hash(begun) == config_load.config_hash(config)
        if same_numbers and begun.observables == config.observables:
            return
        keys = ", ".join(config_load.differences(begun, config)[:8])
        raise ConfigError(
            f"out={self.path}",
            f"holds a run of another config (it differs in {keys}); choose another folder, go on with the changed "
            "config by accept_changes=True, or replace the run with overwrite=True",
        )

    def clear(self) -> None:
        """Remove the files of a run, and nothing else.

        First what it would go on from, last the mark of a run: after a kill in between it can be overwritten, or begun.
        """
        for name in _OURS:
            entry = self.path / name
            if entry.is_dir() and not entry.is_symlink():
                shutil.rmtree(entry)
            else:
                entry.unlink(missing_ok=True)

    def begin(self, config: RunConfig, given: bytes | None) -> None:
        """Write the config as given and as resolved; the resolved one, last, marks the folder as a run."""
        make_folder(self.path)
        resolved = config_load.dump(config)
        write_text(self.path / CONFIG, given.decode("utf-8-sig") if given is not None else resolved)
        write_text(self.path / RESOLVED, resolved)

    def accept(self, config: RunConfig, given: bytes | None) -> None:
        """Put another config in place of the one that the run began with."""
        if given is not None:
            write_text(self.path / CONFIG, given.decode("utf-8-sig"))
        write_text(self.path / RESOLVED, config_load.dump(config))

    def tidy(self) -> None:
        """Remove temporary files, and pieces without a master, that a killed run left.

        Raises:
            RunDirectoryError: what a run writes is a link, or no file or folder; nothing was changed.

        """
        refuse_links(self.path / name for name in _OURS)
        for folder in (self.path, self.checkpoints, self.path / SNAPSHOTS):
            if folder.is_dir():
                remove_stale_temporaries(folder)
        remove_orphans(self.checkpoints, list_checkpoints(self.checkpoints))
        remove_orphans(self.path / SNAPSHOTS, list_snapshots(self.path))
