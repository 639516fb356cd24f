"""The identity of steps, against pipelines whose steps the test knows."""

from collections import Counter, defaultdict
from dataclasses import dataclass
from uuid import UUID

from hypothesis import given, settings
from hypothesis import strategies as st

from .history import DAY, History


@dataclass(frozen=True)
class Form:
    """A step as one version of the pipeline has it; `total` is 0 where it is not parallel."""

    label: str
    has_key: bool
    total: int
    attempts: int

    @property
    def jobs(self) -> int:
        """How many attempts there are of all shards."""
        return max(self.total, 1) * self.attempts

    @property
    def written(self) -> str:
        """The label, however shards are counted."""
        return self.label.replace("%N", "%n")

    def shown(self, shard: int) -> str:
        """What Buildkite makes of the label."""
        label = self.label.replace("%n", f"{shard}").replace("%N", f"{shard + 1}")
        return label.replace("%t", f"{self.total}")


def forms(label: str) -> st.SearchStrategy[Form]:
    totals = [2, 3, 5]
    if "1" not in label:  # which else might be the number of a single shard
        totals.append(1)
    if "%" not in label:
        totals.append(0)
    return st.builds(
        Form, st.just(label), st.booleans(), st.sampled_from(totals), st.integers(1, 2)
    )


LABELS = st.builds(
    str.format,
    st.sampled_from(["{} tests", "{} %n", "{} %N/%t", "{} %n of %t", "%N/%t {}", "{0} %N ({0})"]),
    st.sampled_from(["Python 3", "Python 2", "Phase 1", "Lint"]),
)
PIPELINES = st.lists(st.lists(LABELS, min_size=1, max_size=2), min_size=1, max_size=4).flatmap(
    # Each build has some of the steps, each by one of its labels.
    lambda steps: st.lists(
        st.fixed_dictionaries(
            {},
            optional={n: st.sampled_from(labels).flatmap(forms) for n, labels in enumerate(steps)},
        ),
        min_size=1,
        max_size=5,
    )
)


def store(
    history: History, slug: str, builds: list[dict[int, Form]], *, has_step_ids: bool
) -> None:
    """Store a pipeline's builds; a job's command gives the numbers of its build and step."""
    pipeline = history.pipeline(slug)
    for build_no, forms_of in enumerate(builds):
        build = history.build(pipeline, f"{DAY} {build_no:02}:00")
        for step, form in forms_of.items():
            for shard in range(max(form.total, 1)):
                before = None
                for _ in range(form.attempts):
                    job = history.job(
                        build,
                        step_key=f"key-{step}" if form.has_key else None,
                        step_id=UUID(int=1 + step) if has_step_ids else None,
                        name=form.shown(shard),
                        command=f"{build_no} {step}",
                        parallel_group_index=shard if form.total else None,
                        parallel_group_total=form.total or None,
                    )
                    if before:
                        history.retry(before, job)
                    before = job


def expected_steps(builds: list[dict[int, Form]]) -> dict[tuple[int, int], str]:
    """What the step of each build is called, by the build's and the step's number."""
    keys = defaultdict(set)
    is_apart = set()
    for forms_of in builds:
        here = defaultdict(set)
        for step, form in forms_of.items():
            here[form.written].add(form.has_key)
            if form.has_key:
                keys[form.written].add(f"key-{step}")
        is_apart |= {label for label, kinds in here.items() if len(kinds) > 1}
    return {
        (build, step): (
            f"key-{step}"
            if form.has_key
            else next(iter(keys[form.written]))
            if len(keys[form.written]) == 1 and form.written not in is_apart
            else form.written
        )
        for build, forms_of in enumerate(builds)
        for step, form in forms_of.items()
    }


@settings(max_examples=8, deadline=None)
@given(st.lists(st.tuples(PIPELINES, st.booleans()), min_size=1, max_size=10))
def test_a_step_is_one_whatever_key_label_and_shards_it_has(
    pipelines: list[tuple[list[dict[int, Form]], bool]],
) -> None:
    """Steps of a pipeline are never merged, but where only a label that they share tells."""
    history = History()
    for number, (builds, has_step_ids) in enumerate(pipelines):
        store(history, f"pipeline-{number}", builds, has_step_ids=has_step_ids)
    history.derive("step_daily")
    found = history.connection.execute("""
        SELECT pipelines.slug, regexp_split_to_array(jobs.command, ' ')::INTEGER[], steps.step
        FROM job_runs
        JOIN steps ON steps.pipeline_id = job_runs.pipeline_id AND steps.name = job_runs.step
        JOIN jobs USING (job_id)
        JOIN pipelines ON pipelines.pipeline_id = steps.pipeline_id
    """).fetchall()
    attempts = history.rows("step_daily", "pipeline_slug", "step", "attempts")
    for number, (builds, _) in enumerate(pipelines):
        slug = f"pipeline-{number}"
        expected = expected_steps(builds)
        assert {(*place, step) for each, place, step in found if each == slug} == {
            (*place, step) for place, step in expected.items()
        }
        counts: Counter[str] = Counter()
        for (build, step), name in expected.items():
            counts[name] += builds[build][step].jobs
        assert {step: count for each, step, count in attempts if each == slug} == counts
