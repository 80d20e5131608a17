"""The Celery application. Tasks live in each app's `tasks.py`; the schedule stands here, where all floors meet."""

import os
import warnings
from typing import Any

from celery import Celery
from celery.signals import beat_init, task_prerun
from django.db import close_old_connections

# Celery warns of root for the sake of those who let it unpickle; our tasks are JSON.
warnings.filterwarnings("ignore", "You're running the worker with superuser privileges")
os.environ.setdefault("DJANGO_SETTINGS_MODULE", "plugsend.settings")

app = Celery("plugsend")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks()
app.steps["worker"].add("plugsend.worker_memory:MemoryLimit")
app.conf.beat_schedule = {
    # `expires` keeps a worker that was away from working off a heap of stale wake-ups.
    "wake-due-lanes": {"task": "relay.tasks.wake_due", "schedule": 2.0, "options": {"expires": 4}},
    "expire-overdue": {"task": "relay.tasks.expire_overdue", "schedule": 15.0, "options": {"expires": 30}},
    "tidy-schedule": {"task": "relay.tasks.tidy_schedule", "schedule": 60.0, "options": {"expires": 60}},
    "make-partitions": {"task": "relay.tasks.make_partitions", "schedule": 6 * 3600.0},
    "forget-timeline-links": {"task": "relay.tasks.forget_timeline_links", "schedule": 3600.0},
    "forget-idempotency-keys": {"task": "relay.tasks.forget_idempotency_keys", "schedule": 3600.0},
    "forget-usage": {"task": "relay.tasks.forget_usage", "schedule": 3600.0},
    "forget-mail": {"task": "relay.tasks.forget_mail", "schedule": 60.0, "options": {"expires": 60}},
    "count-events": {"task": "relay.statistics.tasks.count_events", "schedule": 10.0, "options": {"expires": 10}},
    "watch-rates": {"task": "relay.statistics.tasks.watch_rates", "schedule": 60.0, "options": {"expires": 60}},
    "hold-by-rates": {"task": "relay.statistics.tasks.hold_by_rates", "schedule": 60.0, "options": {"expires": 60}},
    "forget-counts": {"task": "relay.statistics.tasks.forget_counts", "schedule": 3600.0},
    "send-webhooks": {"task": "relay.webhooks.tasks.send_webhooks", "schedule": 2.0, "options": {"expires": 4}},
    "export-messages": {"task": "relay.tasks.export_messages", "schedule": 5.0, "options": {"expires": 5}},
    "forget-exports": {"task": "relay.tasks.forget_exports", "schedule": 300.0, "options": {"expires": 300}},
    "heed-soft-bounces": {"task": "relay.tasks.heed_soft_bounces", "schedule": 30.0, "options": {"expires": 30}},
    "import-suppressions": {"task": "relay.tasks.import_suppressions", "schedule": 5.0, "options": {"expires": 5}},
    "tidy-suppressions": {"task": "relay.tasks.tidy_suppressions", "schedule": 3600.0},
    "forget-returns": {"task": "relay.tasks.forget_returns", "schedule": 3600.0},
    "warn-of-quotas": {"task": "relay.tasks.warn_of_quotas", "schedule": 60.0, "options": {"expires": 60}},
    "forget-exchangers": {"task": "relay.tasks.forget_exchangers", "schedule": 3600.0},
    "send-notices": {"task": "accounts.tasks.send_notices", "schedule": 30.0, "options": {"expires": 60}},
    "forget-notices": {"task": "accounts.tasks.forget_notices", "schedule": 3600.0},
    "forget-sessions": {"task": "accounts.tasks.forget_sessions", "schedule": 3600.0},
    "tend-api-keys": {"task": "accounts.tasks.tend_api_keys", "schedule": 60.0, "options": {"expires": 60}},
    "remind-of-deletions": {"task": "accounts.tasks.remind_of_deletions", "schedule": 60.0, "options": {"expires": 60}},
    "settle-mail-holds": {"task": "relay.tasks.settle_mail_holds", "schedule": 15.0, "options": {"expires": 30}},
    "erase-organizations": {"task": "plugsend.tasks.erase_organizations", "schedule": 15.0, "options": {"expires": 15}},
    "retire-dkim-keys": {"task": "domains.tasks.retire_dkim_keys", "schedule": 3600.0},
    "check-domains": {"task": "domains.tasks.check_due_domains", "schedule": 5.0, "options": {"expires": 10}},
}


# Connections are kept between tasks as the web process keeps its own between requests (CONN_MAX_AGE, CELERY_DB_REUSE_MAX): a
# new one for each of some two tasks a second took 3 % of a core.
@task_prerun.connect
def renew_connections(**_: Any) -> None:
    close_old_connections()


@beat_init.connect
def watch_components(**_: Any) -> None:
    from plugsend.status import watch  # once Django is set up

    watch.start()
