/*
One row per attempt of a script job that is a shard of a parallel step or has matrix values: the
label that all jobs of its step share.

Buildkite replaces `%n`, `%N` and `%t` in a label by the number of the shard and by their total,
and `{{matrix.os}}` by a value. Here they are put back, so that shards have one label, however many
there are. A number of the label is a shard's number where it is that for all shards of the step in
the build, counted from 1 or from 0: `Python 3 tests 1/5` becomes `Python 3 tests %n/%t`. A total
counts where it follows that number, as in `1/5` or `1 of 5`. The jobs of a matrix are one step, and
its variants are told apart by `logical_job_key` of `job_runs`. Of a step without a label it is the
command that has the values.

Key: job_id
Recomputed: by day

Columns:
  job_id  UUID     Buildkite's id of the attempt.
  day     DATE     The UTC day of the build's creation; the partition.
  label   VARCHAR  The label, else the command, with `%n`, `%t` and `{{matrix.…}}` in place of
                   values.
*/
WITH labelled AS (
    SELECT
        job_id,
        build_id,
        build_created_at::DATE AS day,
        step_id,
        step_key,
        nullif(trim(name), '') AS own_label,
        coalesce(own_label, nullif(trim(command), '')) AS shown,
        parallel_group_index AS shard_index,
        if(own_label IS NULL, NULL, parallel_group_total) AS shard_total,
        -- Keys and values stand in the same order; what is no object is one value. RE2 takes
        -- neither a pattern of a million characters nor a lone backslash in what is written.
        list_transform(
            if(
                json_type(matrix) = 'OBJECT',
                list_zip(json_keys(matrix), json_extract_string(matrix, '$.*')),
                list_zip([''], [json_extract_string(matrix, '$')])
            ),
            lambda entry: {
                'value': if(len(entry[2]) BETWEEN 1 AND 1000, entry[2], NULL),
                'written': if(
                    entry[1] = '',
                    '{{matrix}}',
                    concat('{{matrix.', replace(entry[1], '\', '\\'), '}}')
                )
            }
        ) AS matrix_values
    FROM jobs
    WHERE build_created_at >= $from_day AND build_created_at < $to_day
        AND type = 'script'
        AND (parallel_group_total IS NOT NULL OR matrix IS NOT NULL)
        AND shown IS NOT NULL
),
-- One replacement after the other: the label so far, then each value and what it stands for.
without_values AS (
    SELECT
        *,
        list_reduce(
            list_prepend({'value': shown, 'written': ''}, matrix_values),
            lambda so_far, next: {
                'value': coalesce(
                    regexp_replace(
                        so_far.value,
                        '\b' || regexp_escape(next.value) || '\b',
                        next.written,
                        'g'
                    ),
                    so_far.value
                ),
                'written': ''
            }
        ).value AS label
    FROM labelled
),
numbered AS (
    SELECT
        *,
        coalesce(step_id::VARCHAR, step_key, regexp_replace(label, '[0-9]+', '', 'g'))
            AS step_in_build,
        regexp_extract_all(label, '[0-9]+') AS numbers,
        string_split_regex(label, '[0-9]+') AS words,
        range(1, len(words)) AS places
    FROM without_values
),
-- The places of numbers that may be the total, the shard's number from 1, and that from 0. The
-- total of several shards is no number that they all have; a single shard's may be.
placed AS (
    SELECT
        *,
        list_filter(places, lambda place:
            numbers[place] = shard_total::VARCHAR
            AND numbers[place - 1] IN (shard_index::VARCHAR, (shard_index + 1)::VARCHAR)
            AND regexp_full_match(words[place], '\s*[/|]\s*|-|\W*(out )?of\W*', 'i')
        ) AS totals,
        list_filter(places, lambda place:
            numbers[place] = (shard_index + 1)::VARCHAR
            AND NOT (shard_total = 1 AND list_contains(totals, place))
        ) AS from_one,
        list_filter(places, lambda place:
            numbers[place] = shard_index::VARCHAR
        ) AS from_zero
    FROM numbered
),
shared AS (
    SELECT
        build_id,
        step_in_build,
        list_reduce(list(from_one), lambda one, other: list_intersect(one, other)) AS from_one,
        list_reduce(list(from_zero), lambda one, other: list_intersect(one, other)) AS from_zero
    FROM placed
    WHERE shard_total IS NOT NULL
    GROUP BY ALL
),
written AS (
    SELECT
        job_id,
        build_id,
        placed.day,
        step_id,
        if(len(shared.from_one) > 0, shared.from_one, shared.from_zero) AS shards,
        array_to_string(
            list_transform(range(1, len(words) + 1), lambda place: concat(
                words[place],
                CASE
                    WHEN list_contains(shards, place) THEN '%n'
                    WHEN list_contains(totals, place) AND list_contains(shards, place - 1) THEN '%t'
                    ELSE numbers[place]
                END
            )),
            ''
        ) AS label
    FROM placed
    LEFT JOIN shared USING (build_id, step_in_build)
)
SELECT
    job_id,
    day,
    -- The same for all jobs of a step, also where a word happens to be a value of one of them.
    max(label) OVER (PARTITION BY build_id, coalesce(step_id, job_id)) AS label
FROM written
