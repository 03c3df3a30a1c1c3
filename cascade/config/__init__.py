"""Cascades from a file: `load("cascade.toml").cascade("support")`."""

from __future__ import annotations

from os import PathLike
from pathlib import Path

from cascade.config.building import Config, import_modules
from cascade.config.mistakes import ConfigFileError, Mistake
from cascade.config.reading import read_tables
from cascade.config.schema import json_schema
from cascade.config.tokenizers import register_tokenizers

__all__ = ["Config", "ConfigFileError", "Mistake", "json_schema", "load"]


def load(file: str | PathLike[str]) -> Config:
    """What a configuration file says, its `imports` imported and its `tokenizers` in use.

    Raises:
        ConfigError: the file cannot be read, has another shape than a `cascade.toml`, a module in
            `imports` cannot be imported, or a tokenizer cannot be used; all mistakes of a kind at
            once.
    """
    path = Path(file)
    tables = read_tables(path)
    import_modules(path, tables.imports)
    register_tokenizers(path, tables)
    return Config(path, tables)
