"""Whether what a file takes answers from is there: recorded runs and simulated models."""

from __future__ import annotations

from collections.abc import Iterator

from cascade.config import Config
from cascade.config.mistakes import Mistakes, place_of
from cascade.errors import ConfigError, did_you_mean
from cascade.providers import split_model
from cascade.tier import Tier

__all__ = ["check_sources"]


def check_sources(config: Config, mistakes: Mistakes) -> None:
    """Note the tiers of a file whose recorded runs or simulated model are not there.

    Every call to them would fail. Whether the models of other providers are there is for those to
    say: nothing is sent.
    """
    for name in config.tables.tiers:
        try:
            tier = config.tier(name)
        except ConfigError:
            continue  # told already, if a cascade uses it
        for model in dict.fromkeys(_models(tier)):
            with mistakes.at(place_of("tiers", name)):
                _check_source(model)


def _models(tier: Tier) -> Iterator[str]:
    """The models that this process itself is to answer for."""
    if tier.model is not None and tier.base_url is None and not tier.deployments:
        yield tier.model
    for one in tier.deployments:
        model, base_url = one.model or tier.model, one.base_url or tier.base_url
        if model is not None and base_url is None:
            yield model


def _check_source(model: str) -> None:
    provider, name = split_model(model) or ("", model)
    if provider == "recorded":
        from cascade.providers.recorded import check_recording

        check_recording(name)
    elif provider == "simulated":
        from cascade.simulated import simulated_models

        known = [one.name for one in simulated_models()]
        if name not in known:
            raise ConfigError(f"there is no simulated model {name!r}; {did_you_mean(name, known)}")
