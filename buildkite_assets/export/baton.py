"""What `baton resources`, `baton entitlements` and `baton grants` print, and Baton's CSV.

The JSON is protojson of the messages in baton-sdk's `proto/baton/v1/outputs.proto`, the CSV that of
`baton export csv`. In Baton's terms each organization is a sync of its own, so each has a folder.
"""

import csv
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from buildkite_assets.warehouse import connect

Message = dict[str, Any]

_TYPE = "type.googleapis.com/c1.connector.v2."
CSV_HEADER = (
    "Type",
    "Last Name",
    "First Name",
    "User ID",
    "User Status",
    "Email Address",
    "Entitlement Display Name",
    "Entitlement",
    "Resource Type",
    "Resource Name",
    "Entitlement Description",
    "Entitlement Slug",
)


@dataclass(frozen=True)
class _Sync:
    """One organization's resources and entitlements as messages, by id."""

    types: dict[str, Message]
    resources: dict[str, Message]
    entitlements: dict[str, Message]


def export_baton(warehouse: Path, folder: Path) -> list[Path]:
    """Write `resources.json`, `entitlements.json`, `grants.json` and `baton.csv`.

    Args:
        warehouse: the published file.
        folder: gets a folder for each organization of which a snapshot is known.

    Returns:
        These folders.

    Raises:
        WarehouseError: there is no published file.
    """
    written = []
    with connect(warehouse) as connection:

        def rows(query: str, *values: object) -> list[Message]:
            result = connection.execute(query, values)
            names = [column[0] for column in result.description or []]
            return [dict(zip(names, row, strict=True)) for row in result.fetchall()]

        types = {row["external_id"]: _type(row) for row in rows("FROM resource_types")}
        for organization in rows(
            """
            SELECT organization_id, resource_id, coalesce(slug, resource_id) AS slug
            FROM resources LEFT JOIN organizations USING (organization_id)
            WHERE resource_type_id = 'organization' ORDER BY slug
            """
        ):
            organization_id = organization["organization_id"]
            resources = {
                row["external_id"]: _resource(row) for row in rows(_RESOURCES, organization_id)
            }
            sync = _Sync(types, resources, {})
            for row in rows(_ENTITLEMENTS, organization_id):
                sync.entitlements[row["external_id"]] = _entitlement(row, sync)
            out = folder / organization["slug"]
            out.mkdir(parents=True, exist_ok=True)
            _write_json(out / "resources.json", "resources", _resource_outputs(sync))
            _write_json(out / "entitlements.json", "entitlements", _entitlement_outputs(sync))
            grants = rows(_GRANTS, organization_id)
            _write_json(out / "grants.json", "grants", (_grant_output(row, sync) for row in grants))
            _write_csv(out / "baton.csv", sync, grants)
            written.append(out)
    return written


_RESOURCES = """
SELECT resources.*, members.email
FROM resources
LEFT JOIN organization_members AS members
    ON resources.resource_type_id = 'user'
    AND members.organization_id = resources.organization_id
    AND members.user_id::VARCHAR = resources.resource_id
WHERE resources.organization_id = ?
ORDER BY resources.resource_type_id, resources.resource_id
"""
_ENTITLEMENTS = """
FROM entitlements WHERE organization_id = ?
ORDER BY resource_type_id, resource_id, exclusion_order
"""
_GRANTS = """
FROM grants WHERE organization_id = ? ORDER BY external_id
"""


def _type(row: Message) -> Message:
    return _filled(
        {"id": row["external_id"], "displayName": row["display_name"], "traits": row["traits"]}
    )


def _resource(row: Message) -> Message:
    annotations: list[Message] = []
    if row["resource_type_id"] == "user":
        emails = [{"address": row["email"], "isPrimary": True}] if row["email"] else []
        annotations.append(
            _filled(
                {
                    "@type": f"{_TYPE}UserTrait",
                    "emails": emails,
                    "status": {} if row["is_placeholder"] else {"status": "STATUS_ENABLED"},
                    "login": row["email"],
                }
            )
        )
    elif row["resource_type_id"] == "team":
        annotations.append({"@type": f"{_TYPE}GroupTrait"})
    return _filled(
        {
            "id": {"resourceType": row["resource_type_id"], "resource": row["resource_id"]},
            "displayName": row["display_name"],
            "annotations": annotations,
        }
    )


def _entitlement(row: Message, sync: _Sync) -> Message:
    return {
        "resource": sync.resources[f"{row['resource_type_id']}:{row['resource_id']}"],
        "id": row["external_id"],
        "displayName": row["display_name"],
        "description": row["description"],
        "grantableTo": [sync.types[name] for name in row["grantable_to"]],
        "annotations": [
            {
                "@type": f"{_TYPE}EntitlementExclusionGroup",
                "exclusionGroupId": row["exclusion_group_id"],
                "order": row["exclusion_order"],
            }
        ],
        "purpose": row["purpose"],
        "slug": row["slug"],
    }


def _resource_outputs(sync: _Sync) -> Iterator[Message]:
    for resource in sync.resources.values():
        yield {
            "resource": resource,
            "resourceType": sync.types[resource["id"]["resourceType"]],
        }


def _entitlement_outputs(sync: _Sync) -> Iterator[Message]:
    for entitlement in sync.entitlements.values():
        resource = entitlement["resource"]
        yield {
            "entitlement": entitlement,
            "resource": resource,
            "resourceType": sync.types[resource["id"]["resourceType"]],
        }


def _grant_output(row: Message, sync: _Sync) -> Message:
    entitlement = sync.entitlements[row["entitlement_id"]]
    principal = sync.resources[_principal_id(row)]
    annotations: list[Message] = []
    if row["expands"]:
        annotations.append(
            {
                "@type": f"{_TYPE}GrantExpandable",
                "entitlementIds": row["expands"],
                "shallow": True,
                "resourceTypeIds": ["user"],
            }
        )
    if row["is_derived"]:
        annotations.append({"@type": f"{_TYPE}GrantImmutable"})
    sources: Message = {source: {} for source in row["sources"] or []}
    grant = _filled(
        {
            "entitlement": entitlement,
            "principal": principal,
            "id": row["external_id"],
            "sources": {"sources": sources} if sources else {},
            "annotations": annotations,
        }
    )
    return {
        "grant": grant,
        "entitlement": entitlement,
        "resource": entitlement["resource"],
        "resourceType": sync.types[row["resource_type_id"]],
        "principal": principal,
    }


def _principal_id(row: Message) -> str:
    return f"{row['principal_resource_type_id']}:{row['principal_resource_id']}"


def _filled(message: Message) -> Message:
    """The message without its empty fields, which protojson leaves out."""
    return {key: value for key, value in message.items() if value not in (None, "", [], {})}


def _write_json(path: Path, name: str, outputs: Iterable[Message]) -> None:
    """Write `{name: [outputs]}`, one output after the other: grants may be millions."""
    with path.open("wb") as file:
        file.write(b'{"%s":[' % name.encode())
        for n, output in enumerate(outputs):
            file.write(b",\n" if n else b"\n")
            file.write(msgspec.json.encode(output))
        file.write(b"\n]}\n")


def _write_csv(path: Path, sync: _Sync, grants: Iterable[Message]) -> None:
    """Write users, entitlements, and the grants that users hold."""
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, CSV_HEADER, restval="")
        writer.writeheader()
        for resource in sync.resources.values():
            if resource["id"]["resourceType"] == "user":
                writer.writerow({"Type": "Identity", **_identity(resource)})
        for entitlement in sync.entitlements.values():
            writer.writerow({"Type": "Entitlement", **_entitlement_cells(entitlement)})
        for row in grants:
            if row["principal_resource_type_id"] == "user":
                writer.writerow(
                    {
                        "Type": "Grant",
                        **_identity(sync.resources[_principal_id(row)]),
                        **_entitlement_cells(sync.entitlements[row["entitlement_id"]]),
                    }
                )


def _identity(user: Message) -> dict[str, str]:
    first, _, last = user["displayName"].rpartition(" ")
    [trait] = user["annotations"]
    return {
        "Last Name": last,
        "First Name": first,
        "User ID": user["id"]["resource"],
        "User Status": trait.get("status", {}).get("status", "STATUS_UNSPECIFIED"),
        "Email Address": trait.get("login", ""),
    }


def _entitlement_cells(entitlement: Message) -> dict[str, str]:
    resource = entitlement["resource"]
    return {
        "Entitlement Display Name": entitlement["displayName"],
        "Entitlement": entitlement["id"],
        "Resource Type": resource["id"]["resourceType"],
        "Resource Name": resource["displayName"],
        "Entitlement Description": entitlement["description"],
        "Entitlement Slug": entitlement["slug"],
    }
