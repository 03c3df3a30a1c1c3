"""The JSON Schema of a `cascade.toml`, for editors that check while one types."""

from __future__ import annotations

from typing import Any, Final

from cascade.config.tables import ConfigTables

__all__ = ["SCHEMA_URL", "json_schema"]

SCHEMA_URL: Final = (
    "https://raw.githubusercontent.com/cascade-engine/cascade/main/docs/cascade.schema.json"
)


def json_schema() -> dict[str, Any]:
    """The schema, as draft 2020-12."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": SCHEMA_URL,
        **_tidied(ConfigTables.model_json_schema()),
    }


def _tidied(node: Any) -> Any:
    """Without what TOML has no word for (null) and what only repeats a key (its title)."""
    if isinstance(node, list):
        items: list[Any] = node  # pyright: ignore[reportUnknownVariableType]
        return [_tidied(one) for one in items]
    if not isinstance(node, dict):
        return node
    table: dict[str, Any] = node  # pyright: ignore[reportUnknownVariableType]
    kept = {
        key: _tidied(value)
        for key, value in table.items()
        if key != "propertyNames"  # which not every version of pydantic writes
        and not (key == "title" and isinstance(value, str))
        and not (key == "default" and value is None)
    }
    if isinstance(kept.get("description"), str):
        kept["description"] = " ".join(kept["description"].split())
    if "anyOf" in kept:
        alternatives = [one for one in kept["anyOf"] if one != {"type": "null"}]
        if len(alternatives) == 1:
            del kept["anyOf"]
            kept = {**alternatives[0], **kept}
        else:
            kept["anyOf"] = alternatives
    return kept
