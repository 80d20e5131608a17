"""What beat runs."""

from plugsend.celery import app


def test_every_scheduled_task_exists() -> None:
    app.loader.import_default_modules()
    scheduled = {entry["task"] for entry in app.conf.beat_schedule.values()}
    assert scheduled == {
        "relay.tasks.wake_due",
        "relay.tasks.expire_overdue",
        "relay.tasks.forget_exchangers",
        "relay.tasks.tidy_schedule",
        "relay.tasks.make_partitions",
        "relay.tasks.forget_idempotency_keys",
        "relay.tasks.forget_timeline_links",
        "relay.tasks.forget_usage",
        "relay.tasks.forget_mail",
        "relay.tasks.hold_mail_of_deleted",
        "plugsend.tasks.erase_organizations",
        "relay.tasks.warn_of_quotas",
        "accounts.tasks.send_notices",
        "accounts.tasks.forget_sessions",
        "accounts.tasks.forget_notices",
        "accounts.tasks.remind_of_deletions",
        "accounts.tasks.tend_api_keys",
        "domains.tasks.retire_dkim_keys",
        "domains.tasks.check_due_domains",
    }
    assert scheduled <= app.tasks.keys()
