"""The support of tests that let an organization live: what it syncs is what is served."""

from pathlib import Path

from .served_history import served_history


def test_a_build_is_followed_from_its_start_to_its_end(tmp_path: Path) -> None:
    with served_history(tmp_path) as history:
        build = history.acme.create_build("web", state="running")
        history.sync(minutes=1)
        assert history.rows("SELECT state FROM build_runs") == ["running"]
        history.clock.move(minutes=1)
        history.acme.finish_job(build.jobs[0])
        history.acme.finish_build(build)
        history.sync(minutes=1)
        assert history.rows("SELECT outcome FROM build_runs") == ["passed"]
        assert history.rows("SELECT wall_seconds FROM build_runs") == [120]
