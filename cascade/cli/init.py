"""`cascade init`: a first configuration file that fits this machine."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Annotated, Literal

import anyio
from cyclopts import Parameter

from cascade.cli.codes import ExitCode
from cascade.cli.first_config import SIMULATED, choose, first_config
from cascade.cli.found import Found, look_around
from cascade.cli.output import Common, as_json, configure_logs, write
from cascade.errors import ConfigError

__all__ = ["init"]

_DEFAULTS = Common()
_DEFAULT_FILE = Path("cascade.toml")


def init(
    file: Path = _DEFAULT_FILE,
    *,
    force: Annotated[bool, Parameter(negative="")] = False,
    simulated: Annotated[bool, Parameter(negative="")] = False,
    provider: Literal["openai", "anthropic", "openrouter"] | None = None,
    common: Common = _DEFAULTS,
) -> int:
    """Write a first cascade.toml that fits this machine.

    Looks for keys in the environment (OPENAI_API_KEY, ANTHROPIC_API_KEY, OPENROUTER_API_KEY) and
    for model servers on this machine (Ollama, vLLM and LM Studio at their usual ports on
    127.0.0.1). With neither, the file names simulated models, which need no key and no network;
    with several keys, models of the first of these providers, unless --provider names another.
    Keys are not read into the file.

    ```
    cascade init
    cascade init staging.toml --simulated
    cascade init --provider anthropic
    ```

    Parameters
    ----------
    file
        The file to write.
    force
        Overwrite the file if it is there.
    simulated
        Use simulated models, whatever else is found.
    provider
        Use models of this provider, whichever keys are found.
    """
    configure_logs(common.log_level)
    if file.exists() and not force:
        raise ConfigError(
            f"{file} is there already; name another file, or overwrite it with --force"
        )
    if simulated and provider is not None:
        raise ConfigError(f"--simulated and --provider {provider} exclude each other; drop one")
    found = Found() if simulated else anyio.run(partial(look_around, os.environ))
    asked = found if provider is None else replace(found, hosted=(provider,))
    ladder = SIMULATED if simulated else choose(asked)
    file.write_text(first_config(ladder), encoding="utf-8")
    models = [offer.model for offer in ladder]
    if common.json:
        facts = {"file": str(file), "keys": found.hosted, "local": found.local, "ladder": models}
        write(as_json(facts))
    else:
        seen = "Did not look for keys or local models." if simulated else _seen(found)
        if provider is None and len(found.hosted) > 1:
            seen += _chosen(found.hosted, file)
        write(_told(file, seen, models))
    return ExitCode.OK


def _seen(found: Found) -> str:
    seen = [f"a key for {name}" for name in found.hosted]
    seen += [f"the local model {model}" for model in found.local]
    shown = ", ".join(seen) if seen else "no keys and no local models, so the models are simulated"
    return f"Found {shown}."


def _chosen(hosted: Sequence[str], file: Path) -> str:
    first, *others = hosted
    option = "" if file == _DEFAULT_FILE else f"{file} "
    return (
        f"\nOf these keys the file uses that for {first}. For another: "
        f"cascade init {option}--force --provider {' or '.join(others)}"
    )


def _told(file: Path, seen: str, models: list[str]) -> str:
    option = "" if file == _DEFAULT_FILE else f" --config {file}"
    return (
        f"{seen}\n"
        f"Wrote {file} with the ladder {' > '.join(models)}.\n\n"
        f"Next:\n  cascade check{option and f' {file}'}\n"
        f'  cascade run{option} "Name a prime number above 10."'
    )
