"""What a query refers to, as DuckDB's own parser sees it."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any

import duckdb


@dataclass(frozen=True)
class References:
    """The tables that a query reads and the parameters that it wants bound."""

    tables: frozenset[str]
    parameters: frozenset[str]


@cache
def references(query: str) -> References:
    """What a SELECT refers to; names of its own common table expressions are left out.

    Raises:
        ValueError: it is no SELECT that DuckDB can parse.
    """
    with _parser().cursor() as connection:
        [(text,)] = connection.execute(
            "SELECT json_serialize_sql($query::VARCHAR)", {"query": query}
        ).fetchall()
    tree = json.loads(text)
    if tree["error"]:
        raise ValueError(tree["error_message"])
    nodes = list(_nodes(tree))
    own = {entry["key"] for node in nodes for entry in node.get("cte_map", {}).get("map", [])}
    tables = {node["table_name"] for node in nodes if node.get("type") == "BASE_TABLE"}
    parameters = {node["identifier"] for node in nodes if node.get("class") == "PARAMETER"}
    return References(frozenset(tables - own), frozenset(parameters))


@cache
def _parser() -> duckdb.DuckDBPyConnection:
    """A database that holds nothing: to open one takes longer than to parse a query."""
    return duckdb.connect()


def _nodes(tree: Any) -> Iterator[dict[str, Any]]:  # noqa: ANN401 - any JSON value
    if isinstance(tree, dict):
        yield tree
        for value in tree.values():
            yield from _nodes(value)
    elif isinstance(tree, list):
        for value in tree:
            yield from _nodes(value)
