"""Celery's part: beat starts the sender where it does not run, in each worker process in turn."""

from typing import Any

from celery import shared_task
from celery.signals import worker_shutting_down

from relay.webhooks import worker


@shared_task(name="relay.webhooks.tasks.send_webhooks")
def send_webhooks() -> None:
    worker.ensure_running()


@worker_shutting_down.connect
def finish_sender(**_: Any) -> None:
    worker.stop()
