"""Schedules, all stopped until they are switched on in the UI."""

import dagster as dg

CHANGES_JOB = "changes_job"

SETTLE_AGES_DAYS = [2, 7, 30]
"""When a day is read again in full: after most retries, after long blocks, before it is gone."""


SCHEDULES = [
    dg.ScheduleDefinition(
        name="follow_changes",
        job_name=CHANGES_JOB,
        cron_schedule="*/15 * * * *",
        execution_timezone="UTC",
        description=(
            "Every 15 minutes: bring all known days up to date. Costs 4 requests for each "
            "organization when nothing happened, and one more per 100 changed builds."
        ),
    ),
    dg.ScheduleDefinition(
        name="settle",
        job_name=CHANGES_JOB,
        cron_schedule="30 2 * * *",
        execution_timezone="UTC",
        run_config={"ops": {"build_changes": {"config": {"settle_ages_days": SETTLE_AGES_DAYS}}}},
        description=(
            "Every night: a change feed, then the days that are 2, 7 and 30 days old again "
            "in full. Costs what a feed does and about one request per 100 builds of those "
            "days; what the feed missed goes to late_changes, what vanished is marked."
        ),
    ),
]
