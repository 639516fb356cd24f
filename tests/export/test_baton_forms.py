"""Baton's published forms, field by field, of an organization small enough to be written out.

What is expected follows from baton-sdk: `proto/baton/v1/outputs.proto` and the messages in
`proto/c1/connector/v2`, printed by protojson; `cmd/baton/csv.go` for the CSV; `NewGrant` and the
grant expander for what a grant holds; and, for users and teams, from baton-buildkite.
"""

import json
from pathlib import Path
from typing import Any

import pytest

from buildkite_assets.export.baton import export_baton
from buildkite_assets.sandbox import Organization, Sandbox, serve
from tests.access.conftest import Lab, StandingClock
from tests.syncing import without_limits

Body = Any
"""A decoded JSON body."""

_MESSAGE = "type.googleapis.com/c1.connector.v2."


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Export an organization with one of each kind, ids replaced by names."""
    folder = tmp_path_factory.mktemp("forms")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_STATE_HOME", str(folder / "state"))
        clock = StandingClock()
        sandbox = without_limits(Sandbox.empty(clock=clock))
        names = _found(sandbox.organization("acme"))
        with serve(sandbox) as server:
            lab = Lab(server.url, sandbox, clock, folder)
            lab.sync()
            lab.derive()
    [written] = export_baton(lab.path, folder / "baton")
    for path in written.iterdir():
        text = path.read_text(encoding="utf-8")
        for identity, name in names.items():
            text = text.replace(identity, name)
        path.write_text(text, encoding="utf-8")
    return written


def _found(acme: Organization) -> dict[str, str]:
    """People with all kinds of names, one of whom has left meanwhile; ids and what to call them."""
    administrator, leaver = (member.user for member in acme.members)
    [everyone] = acme.teams
    maintainer = acme.add_user("=Cher")
    maintainer.email = "cher@acme.example"
    acme.add_team_member(everyone, maintainer, role="maintainer")
    acme.members = [member for member in acme.members if member.user is not leaver]
    return {
        acme.id: "ACME",
        everyone.id: "EVERYONE",
        acme.pipelines["web"].id: "WEB",
        administrator.id: "ADA",
        maintainer.id: "CHER",
        leaver.id: "GONE",
    }


def read(exported: Path, what: str) -> list[Body]:
    body = json.loads((exported / f"{what}.json").read_text(encoding="utf-8"))
    assert list(body) == [what]
    outputs: list[Body] = body[what]
    return outputs


USER = {"id": "user", "displayName": "User", "traits": ["TRAIT_USER"]}
TEAM = {"id": "team", "displayName": "Team", "traits": ["TRAIT_GROUP"]}
ORGANIZATION = {"id": "organization", "displayName": "Organization"}
PIPELINE = {"id": "pipeline", "displayName": "Pipeline"}

ACME = {"id": {"resourceType": "organization", "resource": "ACME"}, "displayName": "Acme"}
WEB = {"id": {"resourceType": "pipeline", "resource": "WEB"}, "displayName": "Web"}
EVERYONE = {
    "id": {"resourceType": "team", "resource": "EVERYONE"},
    "displayName": "Everyone",
    "annotations": [{"@type": f"{_MESSAGE}GroupTrait"}],
}
ADA = {
    "id": {"resourceType": "user", "resource": "ADA"},
    "displayName": "Ada Admin",
    "annotations": [
        {
            "@type": f"{_MESSAGE}UserTrait",
            "emails": [{"address": "ada.admin@acme.example", "isPrimary": True}],
            "status": {"status": "STATUS_ENABLED"},
            "profile": {"first_name": "Ada", "last_name": "Admin", "user_id": "ADA"},
            "login": "ada.admin@acme.example",
        }
    ],
    "profile": {"first_name": "Ada", "last_name": "Admin", "user_id": "ADA"},
    "status": {"status": "RESOURCE_STATUS_ENABLED"},
}
CHER = {
    "id": {"resourceType": "user", "resource": "CHER"},
    "displayName": "=Cher",
    "annotations": [
        {
            "@type": f"{_MESSAGE}UserTrait",
            "emails": [{"address": "cher@acme.example", "isPrimary": True}],
            "status": {"status": "STATUS_ENABLED"},
            "profile": {"first_name": "=Cher", "user_id": "CHER"},
            "login": "cher@acme.example",
        }
    ],
    "profile": {"first_name": "=Cher", "user_id": "CHER"},
    "status": {"status": "RESOURCE_STATUS_ENABLED"},
}
GONE = {
    "id": {"resourceType": "user", "resource": "GONE"},
    "displayName": "GONE",
    "annotations": [
        {"@type": f"{_MESSAGE}UserTrait", "status": {}, "profile": {"user_id": "GONE"}}
    ],
    "profile": {"user_id": "GONE"},
    "status": {},
}
MAINTAINER = {
    "resource": EVERYONE,
    "id": "team:EVERYONE:maintainer",
    "displayName": "Maintainer",
    "description": "Maintainer of Everyone team in Buildkite",
    "grantableTo": [USER],
    "annotations": [
        {
            "@type": f"{_MESSAGE}EntitlementExclusionGroup",
            "exclusionGroupId": "team:EVERYONE",
            "order": 2,
        }
    ],
    "purpose": "PURPOSE_VALUE_ASSIGNMENT",
    "slug": "maintainer",
}
BUILD_AND_READ = {
    "resource": WEB,
    "id": "pipeline:WEB:build_and_read",
    "displayName": "Build & Read",
    "description": "Creates builds of Web, and reads",
    "grantableTo": [TEAM, ORGANIZATION, USER],
    "annotations": [
        {
            "@type": f"{_MESSAGE}EntitlementExclusionGroup",
            "exclusionGroupId": "pipeline:WEB",
            "order": 2,
        }
    ],
    "purpose": "PURPOSE_VALUE_PERMISSION",
    "slug": "build_and_read",
}


def test_resources_stand_with_their_type(exported: Path) -> None:
    assert sorted(read(exported, "resources"), key=_display_name) == [
        {"resource": CHER, "resourceType": USER},
        {"resource": ACME, "resourceType": ORGANIZATION},
        {"resource": ADA, "resourceType": USER},
        {"resource": EVERYONE, "resourceType": TEAM},
        {"resource": GONE, "resourceType": USER},
        {"resource": WEB, "resourceType": PIPELINE},
    ]


def _display_name(output: Body) -> str:
    return str(output["resource"]["displayName"])


def test_entitlements_stand_with_their_resource_and_its_type(exported: Path) -> None:
    outputs = {output["entitlement"]["id"]: output for output in read(exported, "entitlements")}
    assert list(outputs) == [
        "organization:ACME:member",
        "organization:ACME:admin",
        "pipeline:WEB:read_only",
        "pipeline:WEB:build_and_read",
        "pipeline:WEB:manage_build_and_read",
        "team:EVERYONE:member",
        "team:EVERYONE:maintainer",
    ]
    assert outputs["team:EVERYONE:maintainer"] == {
        "entitlement": MAINTAINER,
        "resource": EVERYONE,
        "resourceType": TEAM,
    }
    assert outputs["pipeline:WEB:build_and_read"] == {
        "entitlement": BUILD_AND_READ,
        "resource": WEB,
        "resourceType": PIPELINE,
    }


def test_grants_name_entitlement_and_principal_and_have_both_beside_them(exported: Path) -> None:
    outputs = {output["grant"]["id"]: output for output in read(exported, "grants")}
    assert sorted(outputs) == [
        "organization:ACME:admin:user:ADA",
        "organization:ACME:member:user:CHER",
        "pipeline:WEB:build_and_read:team:EVERYONE",
        "pipeline:WEB:build_and_read:user:ADA",
        "pipeline:WEB:build_and_read:user:CHER",
        "pipeline:WEB:build_and_read:user:GONE",
        "pipeline:WEB:manage_build_and_read:organization:ACME",
        "pipeline:WEB:manage_build_and_read:user:ADA",
        "team:EVERYONE:maintainer:user:CHER",
        "team:EVERYONE:member:user:ADA",
        "team:EVERYONE:member:user:GONE",
    ]
    assert outputs["team:EVERYONE:maintainer:user:CHER"] == {
        "grant": {
            "entitlement": {"resource": EVERYONE, "id": "team:EVERYONE:maintainer"},
            "principal": {"id": {"resourceType": "user", "resource": "CHER"}},
            "id": "team:EVERYONE:maintainer:user:CHER",
        },
        "entitlement": MAINTAINER,
        "resource": EVERYONE,
        "resourceType": TEAM,
        "principal": CHER,
    }
    assert outputs["pipeline:WEB:build_and_read:team:EVERYONE"] == {
        "grant": {
            "entitlement": {"resource": WEB, "id": "pipeline:WEB:build_and_read"},
            "principal": {"id": {"resourceType": "team", "resource": "EVERYONE"}},
            "id": "pipeline:WEB:build_and_read:team:EVERYONE",
            "annotations": [
                {
                    "@type": f"{_MESSAGE}GrantExpandable",
                    "entitlementIds": ["team:EVERYONE:member", "team:EVERYONE:maintainer"],
                    "shallow": True,
                    "resourceTypeIds": ["user"],
                }
            ],
        },
        "entitlement": BUILD_AND_READ,
        "resource": WEB,
        "resourceType": PIPELINE,
        "principal": EVERYONE,
    }
    assert outputs["pipeline:WEB:build_and_read:user:GONE"] == {
        "grant": {
            "entitlement": {"resource": WEB, "id": "pipeline:WEB:build_and_read"},
            "principal": {"id": {"resourceType": "user", "resource": "GONE"}},
            "id": "pipeline:WEB:build_and_read:user:GONE",
            "sources": {"sources": {"team:EVERYONE:member": {"isDirect": True}}},
            "annotations": [{"@type": f"{_MESSAGE}GrantImmutable"}],
        },
        "entitlement": BUILD_AND_READ,
        "resource": WEB,
        "resourceType": PIPELINE,
        "principal": GONE,
    }


def test_the_csv_fills_the_columns_that_batons_fills_for_each_type_of_row(exported: Path) -> None:
    text = (exported / "baton.csv").read_bytes().decode()
    header, *lines, end = text.split("\n")
    assert end == ""
    assert header == (
        "Type,Last Name,First Name,User ID,User Status,Email Address,Entitlement Display Name,"
        "Entitlement,Resource Type,Resource Name,Entitlement Description,Entitlement Slug"
    )
    assert sorted(line for line in lines if line.startswith("Identity")) == [
        "Identity,,'=Cher,CHER,Enabled,cher@acme.example,,,,,,",
        "Identity,,,GONE,Unknown,,,,,,,",
        "Identity,Admin,Ada,ADA,Enabled,ada.admin@acme.example,,,,,,",
    ]
    assert [line for line in lines if line.startswith("Entitlement")] == [
        (
            "Entitlement,,,,,,Member,organization:ACME:member,organization,Acme,"
            "Member of Acme in Buildkite,member"
        ),
        (
            "Entitlement,,,,,,Administrator,organization:ACME:admin,organization,Acme,"
            "Has full access to all of Acme,admin"
        ),
        (
            "Entitlement,,,,,,Read Only,pipeline:WEB:read_only,pipeline,Web,"
            "Reads Web and its builds,read_only"
        ),
        (
            "Entitlement,,,,,,Build & Read,pipeline:WEB:build_and_read,pipeline,Web,"
            '"Creates builds of Web, and reads",build_and_read'
        ),
        (
            "Entitlement,,,,,,Full Access,pipeline:WEB:manage_build_and_read,pipeline,Web,"
            '"Changes Web, creates builds of it, and reads",manage_build_and_read'
        ),
        (
            "Entitlement,,,,,,Member,team:EVERYONE:member,team,Everyone,"
            "Member of Everyone team in Buildkite,member"
        ),
        (
            "Entitlement,,,,,,Maintainer,team:EVERYONE:maintainer,team,Everyone,"
            "Maintainer of Everyone team in Buildkite,maintainer"
        ),
    ]
    grants = [line for line in lines if line.startswith("Grant")]
    assert len(grants) == 9  # all but those to the team and to the organization
    assert len(lines) == 3 + 7 + 9
    assert (
        "Grant,,'=Cher,CHER,,cher@acme.example,Maintainer,team:EVERYONE:maintainer,team,Everyone,"
        "Maintainer of Everyone team in Buildkite,maintainer"
    ) in grants
    assert (
        "Grant,,,GONE,,,Build & Read,pipeline:WEB:build_and_read,pipeline,Web,"
        '"Creates builds of Web, and reads",build_and_read'
    ) in grants


def test_a_hashed_email_address_is_a_login_only(tmp_path: Path) -> None:
    clock = StandingClock()
    sandbox = without_limits(Sandbox.empty(clock=clock))
    with pytest.MonkeyPatch.context() as patch, serve(sandbox) as server:
        patch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
        lab = Lab(server.url, sandbox, clock, tmp_path)
        lab.environment = {"BUILDKITE_EMAILS": "hashed", "BUILDKITE_EMAIL_KEY": "0123456789abcdef"}
        lab.sync()
        lab.derive()
    [exported] = export_baton(lab.path, tmp_path / "baton")
    traits = [
        output["resource"]["annotations"][0]
        for output in read(exported, "resources")
        if output["resourceType"]["id"] == "user"
    ]
    assert [("emails" in trait, len(trait["login"])) for trait in traits] == [(False, 64)] * 2
