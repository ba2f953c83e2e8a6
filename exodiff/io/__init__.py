"""Everything that touches the disk: checkpoints, snapshots, tables, provenance, the run lock."""
