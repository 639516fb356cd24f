"""What `baton resources`, `baton entitlements` and `baton grants` print, and Baton's CSV.

The JSON is protojson of the messages in baton-sdk's `proto/baton/v1/outputs.proto`, the CSV what
`baton export csv` (baton-sdk's `cmd/baton/csv.go`) makes of the same messages. In Baton's terms
each organization is a sync of its own, so each has a folder.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

import msgspec

from buildkite_assets.export.file_names import file_names
from buildkite_assets.export.spreadsheets import write_rows
from buildkite_assets.private_files import private_folder, private_opener, writing_to
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
        UnwritableError: the folder cannot be written to.
    """
    written = []
    with connect(warehouse) as connection, writing_to(folder):

        def rows(query: str, *values: object) -> list[Message]:
            result = connection.execute(query, values)
            names = [column[0] for column in result.description or []]
            return [dict(zip(names, row, strict=True)) for row in result.fetchall()]

        types = {row["external_id"]: _type(row) for row in rows("FROM resource_types")}
        slugs = {row["resource_id"]: row["slug"] for row in rows(_ORGANIZATIONS)}
        for organization_id, name in file_names(slugs).items():
            resources = {
                row["external_id"]: _resource(row) for row in rows(_RESOURCES, organization_id)
            }
            sync = _Sync(types, resources, {})
            for row in rows(_ENTITLEMENTS, organization_id):
                sync.entitlements[row["external_id"]] = _entitlement(row, sync)
            out = folder / name
            private_folder(out)
            _write_json(out / "resources.json", "resources", _resource_outputs(sync))
            _write_json(out / "entitlements.json", "entitlements", _entitlement_outputs(sync))
            grants = rows(_GRANTS, organization_id)
            _write_json(out / "grants.json", "grants", (_grant_output(row, sync) for row in grants))
            _write_csv(out / "baton.csv", sync, grants)
            written.append(out)
    return written


_ORGANIZATIONS = """
SELECT resource_id, coalesce(slug, resource_id) AS slug
FROM resources LEFT JOIN organizations USING (organization_id)
WHERE resource_type_id = 'organization' ORDER BY slug
"""
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
    resource = {
        "id": {"resourceType": row["resource_type_id"], "resource": row["resource_id"]},
        "displayName": row["display_name"],
    }
    if row["resource_type_id"] == "user":
        resource |= _user(row)
    elif row["resource_type_id"] == "team":
        resource["annotations"] = [{"@type": f"{_TYPE}GroupTrait"}]
    return resource


def _user(row: Message) -> Message:
    """What makes a resource a user: the trait, and beside it what newer readers look for there.

    Who is in no list of members has a status that is not known, which protojson writes as `{}`.
    A hashed e-mail address is a login, but no e-mail address in the sense of the message.
    """
    is_known, email = not row["is_placeholder"], row["email"] or ""
    emails = [{"address": email, "isPrimary": True}] if "@" in email else []
    profile = {"user_id": row["resource_id"], **(_names(row["display_name"]) if is_known else {})}
    trait = {
        "@type": f"{_TYPE}UserTrait",
        **_filled({"emails": emails, "login": email}),
        "status": {"status": "STATUS_ENABLED"} if is_known else {},
        "profile": profile,
    }
    return {
        "annotations": [trait],
        "profile": profile,
        "status": {"status": "RESOURCE_STATUS_ENABLED"} if is_known else {},
    }


def _names(name: str) -> dict[str, str]:
    """The last word as the last name: Buildkite keeps names whole, Baton's CSV wants two."""
    first, _, last = name.strip().rpartition(" ")
    return {"first_name": first, "last_name": last} if first else {"first_name": last}


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
    # As Baton's own, a grant names its entitlement and its principal; both stand beside it in full.
    grant = _filled(
        {
            "entitlement": {"resource": entitlement["resource"], "id": entitlement["id"]},
            "principal": {"id": principal["id"]},
            "id": row["external_id"],
            "sources": _sources(row),
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


def _sources(row: Message) -> Message:
    """The entitlements that a derived grant follows from, all of them granted directly."""
    sources = {source: {"isDirect": True} for source in row["sources"] or []}
    return {"sources": sources} if sources else {}


def _principal_id(row: Message) -> str:
    return f"{row['principal_resource_type_id']}:{row['principal_resource_id']}"


def _filled(message: Message) -> Message:
    """The message without its empty fields, which protojson leaves out."""
    return {key: value for key, value in message.items() if value not in (None, "", [], {})}


def _write_json(path: Path, name: str, outputs: Iterable[Message]) -> None:
    """Write `{name: [outputs]}`, one output after the other: grants may be millions."""
    with open(path, "wb", opener=private_opener) as file:
        file.write(b'{"%s":[' % name.encode())
        for n, output in enumerate(outputs):
            file.write(b",\n" if n else b"\n")
            file.write(msgspec.json.encode(output))
        file.write(b"\n]}\n")


def _write_csv(path: Path, sync: _Sync, grants: Iterable[Message]) -> None:
    """Write users, entitlements, and the grants that users hold, which have no status."""
    rows = ([cells.get(name) for name in CSV_HEADER] for cells in _csv_cells(sync, grants))
    with open(path, "w", newline="", encoding="utf-8", opener=private_opener) as file:
        write_rows(file, chain([CSV_HEADER], rows), is_all_quoted=False)


def _csv_cells(sync: _Sync, grants: Iterable[Message]) -> Iterator[Message]:
    for resource in sync.resources.values():
        if resource["id"]["resourceType"] == "user":
            person = _person_cells(resource)
            yield {"Type": "Identity", **person, "User Status": _status(resource)}
    for entitlement in sync.entitlements.values():
        yield {"Type": "Entitlement", **_entitlement_cells(entitlement)}
    for row in grants:
        if row["principal_resource_type_id"] == "user":
            person = _person_cells(sync.resources[_principal_id(row)])
            entitled = _entitlement_cells(sync.entitlements[row["entitlement_id"]])
            yield {"Type": "Grant", **person, **entitled}


def _person_cells(user: Message) -> dict[str, str]:
    [trait] = user["annotations"]
    return {
        "Last Name": user["profile"].get("last_name", ""),
        "First Name": user["profile"].get("first_name", ""),
        "User ID": user["profile"]["user_id"],
        "Email Address": trait["emails"][0]["address"] if "emails" in trait else "",
    }


def _status(user: Message) -> str:
    return "Enabled" if user["status"] else "Unknown"


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
