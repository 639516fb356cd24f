/*
One row per application, environment and ISO week from its first deployment to its last.

Builds alone cannot tell all that DORA asks for. Frequency is what it says. The other figures are
proxies, and `basis` says so: the way to a deployment begins with the first build of the commit, not
with the commit, and knows only the newest commit deployed, so it is a lower bound; a deployment
that failed is not yet a change that failed in production; recovery is from a failed deployment to
the next successful one. Weeks without a deployment have a row, and weekends count.

Key: organization_id, application, environment, week
Recomputed: whole

Columns:
  week                          DATE     The week's Monday, in the rules' time zone.
  iso_week                      VARCHAR  The week's ISO name.
  organization_id               UUID     The organization.
  application                   VARCHAR  What was deployed.
  environment                   VARCHAR  Where to.
  deployments                   BIGINT   Successful deployments.
  deployment_days               BIGINT   Local days with a successful one.
  tries                         BIGINT   Deployments, failed ones too: what the failure rate stands
                                         on. A retry by hand is a try of its own: see `deployments`.
  deployment_failure_rate       DOUBLE   Failed, of all tries. A proxy for the change fail rate.
  compared_deployments          BIGINT   Successful deployments whose commits tell whether they
                                         are rollbacks: what the next column stands on.
  rollbacks                     BIGINT   Those of them that went back to an older commit.
  traced_deployments            BIGINT   First successful deployments of a known commit: what the
                                         next column stands on.
  commit_to_deploy_p50_seconds  DOUBLE   From the first build of the commit until deployed, median. A
                                         proxy for the change lead time.
  recoveries                    BIGINT   Failed deployments of the week that a success followed; of
                                         several in a row the first counts.
  recovery_p50_seconds          DOUBLE   From these until the next success, median. A proxy for the
                                         failed deployment recovery time.
  basis                         VARCHAR  `proxy`: see above.
*/
WITH first_builds AS (
    SELECT organization_id, commit, min(created_at) AS first_built_at
    FROM build_runs
    SEMI JOIN deployments USING (organization_id, commit)
    GROUP BY ALL
),
dated AS (
    SELECT
        deployments.*,
        (deployed_at AT TIME ZONE 'UTC' AT TIME ZONE $time_zone)::DATE AS local_day,
        date_trunc('week', local_day)::DATE AS week,
        epoch(deployed_at - first_built_at) AS commit_to_deploy_seconds,
        is_success
        AND commit_to_deploy_seconds > 0
        AND row_number() OVER (
            PARTITION BY organization_id, application, environment, commit, is_success
            ORDER BY deployed_at, number, build_id, deployment_no
        ) = 1 AS is_traced,
        lag(is_success) OVER in_order AS success_before,
        min(deployed_at) FILTER (is_success) OVER (
            in_order ROWS BETWEEN 1 FOLLOWING AND UNBOUNDED FOLLOWING
        ) AS next_success_at
    FROM deployments
    LEFT JOIN first_builds USING (organization_id, commit)
    WINDOW in_order AS (
        PARTITION BY organization_id, application, environment
        ORDER BY deployed_at, number, build_id, deployment_no
    )
),
counted AS (
    SELECT
        organization_id,
        application,
        environment,
        week,
        count(*) AS tries,
        count(*) FILTER (is_success) AS deployments,
        count(DISTINCT local_day) FILTER (is_success) AS deployment_days,
        count(is_rollback) FILTER (is_success) AS compared_deployments,
        count(*) FILTER (is_rollback) AS rollbacks,
        count(*) FILTER (is_traced) AS traced_deployments,
        quantile_cont(commit_to_deploy_seconds, 0.5) FILTER (is_traced)
            AS commit_to_deploy_p50_seconds,
        count(next_success_at) FILTER (NOT is_success AND coalesce(success_before, true))
            AS recoveries,
        quantile_cont(epoch(next_success_at - deployed_at), 0.5)
            FILTER (NOT is_success AND coalesce(success_before, true)) AS recovery_p50_seconds
    FROM dated
    GROUP BY ALL
),
spans AS (
    SELECT
        organization_id, application, environment, min(week) AS first_week, max(week) AS last_week
    FROM counted
    GROUP BY ALL
),
weeks AS (
    SELECT
        organization_id,
        application,
        environment,
        unnest(generate_series(first_week, last_week, INTERVAL 7 DAY))::DATE AS week
    FROM spans
)
SELECT
    week,
    strftime(week, '%G-W%V') AS iso_week,
    organization_id,
    application,
    environment,
    coalesce(deployments, 0) AS deployments,
    coalesce(deployment_days, 0) AS deployment_days,
    coalesce(tries, 0) AS tries,
    (tries - deployments) / tries AS deployment_failure_rate,
    coalesce(compared_deployments, 0) AS compared_deployments,
    coalesce(rollbacks, 0) AS rollbacks,
    coalesce(traced_deployments, 0) AS traced_deployments,
    commit_to_deploy_p50_seconds,
    coalesce(recoveries, 0) AS recoveries,
    recovery_p50_seconds,
    'proxy' AS basis
FROM weeks
LEFT JOIN counted USING (organization_id, application, environment, week)
