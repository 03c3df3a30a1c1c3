"""The table [telemetry] of a `cascade.toml`."""

from __future__ import annotations

from typing import Annotated, TypeAlias

from pydantic import AfterValidator, Discriminator, Tag, WithJsonSchema
from pydantic_core import PydanticCustomError

from cascade.config.fields import Table

__all__ = ["TelemetryTable"]


def _host_and_port(address: str) -> str:
    host, _, port = address.rpartition(":")
    if not host or not port.isdecimal() or int(port) > 65535:
        raise PydanticCustomError("address", "it should be 'HOST:PORT', true or false")
    return address


Address: TypeAlias = Annotated[
    str,
    AfterValidator(_host_and_port),
    WithJsonSchema({"type": "string", "pattern": "^.+:[0-9]{1,5}$"}),
]
AddressOrFlag: TypeAlias = Annotated[
    Annotated[bool, Tag("flag")] | Annotated[Address, Tag("address")],
    Discriminator(lambda value: "flag" if isinstance(value, bool) else "address"),
]


class TelemetryTable(Table):
    """Where traces and metrics of the calls of all cascades go."""

    otel: bool = False
    """Whether spans and metrics go to OpenTelemetry, as the program set it up (extra `otel`)."""
    prometheus: AddressOrFlag = False
    """Whether metrics are kept for Prometheus (extra `prometheus`): true puts them into the
    client's default registry, which the program shows; "HOST:PORT" shows them there as well, from
    the first call on."""
