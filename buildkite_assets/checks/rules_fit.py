"""Rules of the rules file that fit nothing, told by the table that they are for."""

from functools import partial

import dagster as dg
import polars as pl

from buildkite_assets.checks.check import WARN, Check, Evidence, Finding, NotEvaluatedError
from buildkite_assets.derived_tables import derived_tables
from buildkite_assets.warehouse.preview import as_markdown
from buildkite_assets.warehouse.rule_fits import RULED_TABLES, RuleFit, Status


def rules_fit_checks() -> list[Check[Evidence]]:
    """For each table that rules name things for, the check that they fit something.

    Raises:
        DefinitionError: a SQL file is malformed.
    """
    return [
        Check(
            table=table,
            name="rules_fit",
            statement=(
                "Every rule for it in the rules file fits something known.\n\n"
                "A rule that fits nothing changes no figure: most often it has a typo, or a "
                "bracket that is read as a pattern. Whether exit statuses and sources ever occur "
                "is not looked at."
            ),
            remedy="correct the rule in the rules file, or remove it.",
            severity=WARN,
            evaluate=partial(_rules_fit, table.name),
        )
        for table in derived_tables()
        if table.name in RULED_TABLES
    ]


def _rules_fit(table_name: str, evidence: Evidence) -> Finding:
    fits = [fit for fit in evidence.rule_fits if fit.table == table_name]
    useless = [fit for fit in fits if fit.status is Status.FITS_NOTHING]
    unknown = [fit for fit in fits if fit.status is Status.NOT_EVALUATED]
    if not fits:
        raise NotEvaluatedError("the rules file has no rule for it that names anything.")
    if len(unknown) == len(fits):
        raise NotEvaluatedError(unknown[0].message)
    return Finding(
        passed=not useless,
        description=_told(useless) or f"{len(fits) - len(unknown)} of {len(fits)} rules fit.",
        metadata={
            "rules": len(fits),
            "fit_nothing": len(useless),
            "not_evaluated": len(unknown),
            "preview": dg.MetadataValue.md(_table([*useless, *unknown])),
        },
    )


def _told(useless: list[RuleFit]) -> str:
    return " ".join(f"{fit.rule}: {fit.message}" for fit in useless)


def _table(fits: list[RuleFit]) -> str:
    rows = [(fit.rule, fit.status.replace("_", " "), fit.message) for fit in fits]
    return as_markdown(
        pl.DataFrame(rows, dict.fromkeys(("rule", "status", "why"), pl.String), orient="row")
    )
