"""Names of files made from slugs, which are whatever somebody typed."""

from pathlib import Path
from uuid import UUID

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from pathvalidate import validate_filename

from buildkite_assets.export.file_names import file_names

ID, OTHER = f"{UUID(int=1)}", f"{UUID(int=0xABCDEF)}"
ODD = [
    "../../../x", "..", ".", "", "a/b", "C:\\x", "\x00", "a" * 300, "CON", "nul.txt", "com1", "-",
    "x.", "x ", " ", "\ud800", "İ", "ß", f"x-{ID}", f"X-{OTHER.upper()}", "Web", "web", "WEB",
]  # fmt: skip
slugs = st.sampled_from(ODD) | st.text() | st.from_regex(r"[a-zA-Z.-]{1,3}", fullmatch=True)


# The first text takes a second: hypothesis reads Unicode's tables.
@settings(suppress_health_check=[HealthCheck.too_slow])
@given(st.dictionaries(st.uuids().map(str), slugs, max_size=8))
@example({ID: "a", OTHER: f"a-{ID}"})
@example({ID: "!", OTHER: f"_-{ID}"})
@example({ID: "Web", OTHER: "web"})
def test_any_slugs_get_different_names_that_every_system_takes(named: dict[str, str]) -> None:
    names = file_names(named)
    assert names.keys() == named.keys()
    assert len({name.lower() for name in names.values()}) == len(named)
    for name in names.values():
        for file in (name, f"{name}.csv"):
            validate_filename(file, platform="universal")
            assert Path("out", file).resolve().parent == Path("out").resolve()
            assert len(file.encode()) <= 255


@pytest.mark.parametrize("slug", ["platform", "Team_1", "a-b", "2fa", "a" * 100])
def test_a_slug_that_every_system_takes_is_its_own_name(slug: str) -> None:
    assert file_names({ID: slug}) == {ID: slug}


@pytest.mark.parametrize(
    ("slug", "name"),
    [("../../../x", f"_x-{ID}"), ("CON", f"CON-{ID}"), ("", ID), ("nul.txt", f"nul_txt-{ID}")],
)
def test_any_other_name_ends_in_the_id(slug: str, name: str) -> None:
    assert file_names({ID: slug}) == {ID: name}
