"""Who may see what: tokens, scopes, members, teams, rate limits."""

import pytest

from buildkite_assets.sandbox import Organization, Sandbox, Token

from .conftest import Api, StandingClock

ACME = "/organizations/acme"
ALL_PATHS = [
    ("/access-token", None),
    ("/user", "read_user"),
    ("/organizations", "read_organizations"),
    (ACME, "read_organizations"),
    (f"{ACME}/members", "read_organizations"),
    (f"{ACME}/rate_limit", None),
    (f"{ACME}/agents", "read_agents"),
    (f"{ACME}/clusters", "read_clusters"),
    (f"{ACME}/teams", "read_teams"),
    (f"{ACME}/pipelines", "read_pipelines"),
    (f"{ACME}/pipelines/web", "read_pipelines"),
    ("/builds", "read_builds"),
    (f"{ACME}/builds", "read_builds"),
    (f"{ACME}/pipelines/web/builds", "read_builds"),
    (f"{ACME}/pipelines/web/builds/1", "read_builds"),
    (f"{ACME}/pipelines/web/builds/1/jobs", "read_builds"),
]


@pytest.mark.parametrize(("path", "scope"), ALL_PATHS)
def test_each_endpoint_wants_its_scope(
    api: Api, acme: Organization, sandbox: Sandbox, path: str, scope: str | None
) -> None:
    acme.create_build("web")
    token = sandbox.tokens.administrator
    response = api.get(path)
    assert response.status_code == 200
    assert response.headers["X-OAuth-Scopes"] == ",".join(token.scopes)
    assert response.headers.get("X-Accepted-OAuth-Scopes") == scope
    token.scopes = ()
    response = api.get(path)
    assert response.status_code == (403 if scope else 200)
    if scope:
        assert response.json() == {"message": f"Your access token doesn't have the {scope} scope"}


def test_missing_unknown_expired_and_revoked_tokens_are_refused(api: Api, sandbox: Sandbox) -> None:
    tokens = sandbox.tokens
    revoked = tokens.member
    assert api.get("/access-token", revoked).status_code == 200
    tokens.revoke(revoked)
    unknown = Token("nonsense", "", revoked.user, "", sandbox.clock())
    for token in (unknown, tokens.expired, revoked):
        response = api.get("/access-token", token)
        assert response.status_code == 401
        assert response.json()["message"].startswith("Authentication required. Please supply")


def test_a_token_expires_by_the_clock(api: Api, sandbox: Sandbox, clock: StandingClock) -> None:
    sandbox.tokens.administrator.expires_at = clock()
    assert api.get("/access-token").status_code == 401
    clock.move(seconds=-1)
    body = api.json("/access-token")
    assert body["expires_at"] == "2026-11-19 12:00:00 UTC"
    assert list(body) == ["uuid", "scopes", "description", "created_at", "expires_at", "user"]


def test_the_ready_tokens_differ_as_they_are_named(company: Api) -> None:
    tokens = company.sandbox.tokens
    assert company.get(f"{ACME}/teams", tokens.without_read_teams).status_code == 403
    assert company.get(f"{ACME}/clusters", tokens.without_read_clusters).status_code == 403
    for token in (tokens.administrator, tokens.member):
        assert token.value.startswith("bkua_sandbox_")
        assert company.get(f"{ACME}/teams", token).status_code == 200


def test_what_is_unknown_or_invisible_is_not_found(
    api: Api, sandbox: Sandbox, acme: Organization
) -> None:
    def message(path: str) -> str:
        response = api.get(path)
        assert response.status_code == 404
        return str(response.json()["message"])

    assert message("/organizations/nobody/builds") == "No organization found"
    assert message(f"{ACME}/pipelines/none/builds") == "No pipeline found"
    assert message(f"{ACME}/pipelines/web/builds/7") == "No build found"
    assert message(f"{ACME}/pipelines/web/builds/x") == "No build found"
    assert message(f"{ACME}/teams/none/members") == "No team found"
    assert message(f"{ACME}/clusters/none/queues") == "No cluster found"
    assert message("/404-not-found") == "No route matches 404-not-found"
    sandbox.tokens.administrator.organizations = ()
    assert message(f"{ACME}/pipelines/{acme.pipelines['web'].slug}") == "No organization found"


def test_a_token_sees_only_its_pipelines(api: Api, sandbox: Sandbox, acme: Organization) -> None:
    acme.add_pipeline("hidden")
    acme.create_build("web")
    acme.create_build("hidden")
    acme.set_team_pipeline(acme.teams[0], "hidden", "read_only")
    sandbox.tokens.member.visible_pipelines = frozenset({"web"})
    member = sandbox.tokens.member
    pipelines = api.json(f"{ACME}/pipelines", member)
    assert [pipeline["slug"] for pipeline in pipelines] == ["web"]
    builds = api.json("/builds", member)
    assert [build["pipeline"]["slug"] for build in builds] == ["web"]
    assert api.get(f"{ACME}/pipelines/hidden/builds", member).status_code == 404
    path = f"{ACME}/teams/{acme.teams[0].id}/pipelines"
    assert len(api.json(path, member)) == 1
    assert len(api.json(path)) == 2


def test_only_administrators_and_oneself_see_sso_modes(company: Api) -> None:
    member = company.sandbox.tokens.member
    everyone = company.json(f"{ACME}/members", per_page=100)
    assert len(everyone) == 40
    assert all("sso_mode" in person for person in everyone)
    seen = company.json(f"{ACME}/members", member, per_page=100)
    assert [person["id"] for person in seen if "sso_mode" in person] == [member.user.id]
    assert {person["role"] for person in seen} == {"admin", "member"}


def test_secret_teams_are_for_administrators_and_their_members(
    api: Api, sandbox: Sandbox, acme: Organization
) -> None:
    secret = acme.add_team("Secret Team", privacy="secret")
    member = sandbox.tokens.member
    assert {team["slug"] for team in api.json(f"{ACME}/teams")} == {"everyone", "secret-team"}
    seen = api.json(f"{ACME}/teams", member)
    assert [team["slug"] for team in seen] == ["everyone"]
    assert api.get(f"{ACME}/teams/{secret.id}", member).status_code == 404
    acme.add_team_member(secret, member.user, role="maintainer")
    assert len(api.json(f"{ACME}/teams", member)) == 2
    (membership,) = api.json(f"{ACME}/teams/{secret.id}/members", member)
    assert membership == {
        "role": "maintainer",
        "created_at": "2026-11-19T12:00:00.000Z",
        "user_id": member.user.id,
        "user_name": member.user.name,
    }
    acme.remove_team_member(secret, member.user)
    assert len(api.json(f"{ACME}/teams", user_id=member.user.id)) == 1


def test_teams_can_be_disabled_and_organizations_empty(company: Api) -> None:
    assert company.json("/organizations/umbrella/teams") == []
    assert company.json("/organizations/vacant/pipelines") == []
    assert company.json("/organizations/vacant/builds") == []
    slugs = [organization["slug"] for organization in company.json("/organizations")]
    assert slugs == ["acme", "umbrella", "vacant"]


def test_the_company_has_all_kinds_of_teams(company: Api) -> None:
    teams = company.json(f"{ACME}/teams")
    assert len(teams) == 8
    assert [team["name"] for team in teams if team["default"]] == ["Everyone"]
    assert [team["name"] for team in teams if team["privacy"] == "secret"] == ["Security"]
    members = {
        team["name"]: company.json(f"{ACME}/teams/{team['id']}/members", per_page=100)
        for team in teams
    }
    assert {person["role"] for person in members["Data"]} == {"member"}
    in_teams = {person["user_id"] for people in members.values() for person in people}
    everybody = {person["id"] for person in company.json(f"{ACME}/members", per_page=100)}
    assert len(everybody - in_teams) == 1


def test_the_users_limit_is_refused_with_its_scope(
    api: Api, sandbox: Sandbox, clock: StandingClock
) -> None:
    sandbox.limits.user_limit = 2
    clock.move(seconds=18)
    headers = api.get("/user").headers
    assert headers["RateLimit-Scope"] == "rest"
    assert (headers["RateLimit-Limit"], headers["RateLimit-Remaining"]) == ("200", "199")
    assert headers["RateLimit-User-Scope"] == "rest_user"
    assert headers["RateLimit-User-Remaining"] == "1"
    assert headers["RateLimit-User-Reset"] == "42"
    assert "RateLimit-User-Warning" in api.get("/user").headers
    response = api.get("/user")
    assert response.status_code == 429
    assert response.json() == {
        "message": "You have exceeded your API rate limit. "
        "Please wait 42 seconds before making more requests.",
        "scope": "rest_user",
        "limit": 2,
        "current": 3,
        "reset": 42,
    }
    assert response.headers["RateLimit-User-Remaining"] == "-1"
    clock.move(seconds=42)
    assert api.get("/user").status_code == 200


def test_others_use_up_the_organizations_limit_too(api: Api, sandbox: Sandbox) -> None:
    assert api.json(f"{ACME}/rate_limit")["scopes"]["rest"]["current"] == 1
    sandbox.limits.consume(198)
    assert api.json(f"{ACME}/rate_limit")["scopes"]["rest"]["current"] == 200
    response = api.get(f"{ACME}/builds")
    assert response.status_code == 429
    assert (response.json()["scope"], response.json()["current"]) == ("rest", 201)


def test_limits_can_be_switched_off(api: Api, sandbox: Sandbox) -> None:
    sandbox.limits.user_limit = None
    sandbox.limits.organization_limit = None
    responses = [api.get("/user") for _ in range(60)]
    assert {response.status_code for response in responses} == {200}
    assert int(responses[-1].headers["RateLimit-User-Remaining"]) > 900_000
