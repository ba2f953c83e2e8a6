"""The model file: TOML, units and names in; a frozen, checked `RunConfig` out."""
