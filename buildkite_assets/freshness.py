"""How old each table may grow: a policy for each asset, by its group and the rules file."""

from collections.abc import Iterable
from datetime import timedelta
from typing import cast

import dagster as dg
import msgspec

from buildkite_assets.rules import FreshnessHours


def with_freshness(
    assets: Iterable[dg.AssetsDefinition], freshness_hours: FreshnessHours
) -> list[dg.AssetsDefinition]:
    """The assets, each with the policy of its group.

    Dagster goes by an asset's last materialization, of whatever partition: a backfill of old days
    counts as well. Which days are missing or behind, the asset checks tell.
    """
    by_group: dict[str, int] = msgspec.structs.asdict(freshness_hours)
    policies = {
        group: dg.FreshnessPolicy.time_window(fail_window=timedelta(hours=hours))
        for group, hours in by_group.items()
    }

    def fresh(spec: dg.AssetSpec) -> dg.AssetSpec:
        return spec.replace_attributes(freshness_policy=policies[spec.group_name or ""])

    return cast("list[dg.AssetsDefinition]", dg.map_asset_specs(fresh, assets))
