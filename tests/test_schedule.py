"""What beat runs."""

from plugsend.celery import app


def test_every_scheduled_task_exists() -> None:
    app.loader.import_default_modules()
    scheduled = {entry["task"] for entry in app.conf.beat_schedule.values()}
    assert len(scheduled) > 10
    assert scheduled <= app.tasks.keys()
