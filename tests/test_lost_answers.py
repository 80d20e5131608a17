"""PostgreSQL has committed, and its answer does not come: the client is told to try later, and its repeat is recognised
where there is something to recognise it by."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Sequence
from dataclasses import replace
from typing import Any

import pytest
from psycopg import waiting

from accounts.catalogue import Refused
from accounts.models import Organization
from events.models import Event
from relay.database import database_url
from relay.models import Content, IdempotencyKey, Message, Recipient
from relay.submission import intake as intake_module
from relay.submission.accept import Accepted, Parcel
from relay.submission.intake import Intake
from relay.submission.once import Once, by_batch_key, by_key
from relay.submission.repeats import Receipt
from relay.submission.storing import COPIED_OCTETS
from tests.lossy_proxy import lossy_proxy
from tests.test_intake import NobodyAwake, make_accepted

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("timelines_agree")]

KEY, RESEND = by_key("order-42", b"f" * 32), Once("resend", "5e" * 32, b"5" * 32)
COMMIT, STATEMENT = b"COMMIT", b"INSERT INTO relay_"


@pytest.fixture
def organization() -> Organization:
    return Organization.objects.create(name="Acme")


def send_twice(
    messages: Sequence[Accepted | Parcel], repeats: Sequence[Accepted | Parcel], word: bytes, *, cuts: bool
) -> tuple[list[object], list[object]]:
    """The answers when the first commit's answer is lost, and those when all is sent again."""

    async def main() -> tuple[list[object], list[object]]:
        async with lossy_proxy(database_url()) as (proxy, url):
            intake = Intake(url, NobodyAwake())
            intake.start()
            proxy.lose(word, cuts=cuts)

            def commit(one: Accepted | Parcel) -> Coroutine[Any, Any, Receipt]:
                return intake.commit_together(one) if isinstance(one, Parcel) else intake.commit(one)

            first = await asyncio.gather(*map(commit, messages), return_exceptions=True)
            await asyncio.wait_for(proxy.is_done.wait(), 10)
            second = await asyncio.gather(*map(commit, repeats), return_exceptions=True)
            await intake.stop()
            return list(first), list(second)

    return asyncio.run(main())


def assert_whole(count: int) -> None:
    ids = set(Message.objects.values_list("id", flat=True))
    assert len(ids) == count
    assert set(Content.objects.values_list("id", flat=True)) == ids
    assert set(Recipient.objects.values_list("message_id", flat=True)) == ids
    assert set(Event.objects.values_list("message_id", flat=True)) == ids


def again(message: Accepted, organization: Organization) -> Accepted:
    """The same submission, taken anew: other ids."""
    return replace(make_accepted(organization, once=message.once), content=message.content)


@pytest.fixture(params=[True, False], ids=["cut", "silent"])
def cuts(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> bool:
    if not request.param:
        monkeypatch.setattr(intake_module, "COMMIT_TIMEOUT_S", 0.5)
        wait_async = waiting.wait_async  # psycopg waits 5 s more for the end of what was cancelled, then gives up
        monkeypatch.setattr(
            waiting,
            "wait_async",
            lambda *given, **named: wait_async(*given, **(named | {"timeout": 0.2} if "timeout" in named else named)),
        )
    return bool(request.param)


@pytest.mark.parametrize("once", [KEY, RESEND], ids=["key", "safe resend"])
def test_the_repeat_of_a_message_whose_commit_was_not_answered_is_recognised(
    organization: Organization, once: Once, cuts: bool
) -> None:
    message = make_accepted(organization, once=once)
    [first], [second] = send_twice([message], [again(message, organization)], COMMIT, cuts=cuts)
    assert isinstance(first, Refused)
    assert first.smtp_reply().startswith("451 4.3.0 temporarily_unavailable: ")
    assert first.refusal.http == 503
    assert second == Receipt(message.id, is_repeat=True)
    assert_whole(1)
    assert IdempotencyKey.objects.get().message_id == message.id


@pytest.mark.parametrize("octets", [100, COPIED_OCTETS], ids=["small", "large"])
def test_the_repeat_of_a_batch_whose_commit_was_not_answered_gets_its_answer(
    organization: Organization, octets: int, cuts: bool
) -> None:
    def parcel(answer: str) -> Parcel:
        messages = (replace(make_accepted(organization), content=b"x" * octets) for _ in range(3))
        return Parcel(tuple(messages), by_batch_key("order-42", b"f" * 32), {"data": answer})

    sent = parcel("first")
    [first], [second] = send_twice([sent], [parcel("second")], COMMIT, cuts=cuts)
    assert isinstance(first, Refused)
    assert first.code == "temporarily_unavailable"
    assert second == Receipt(sent.id, is_repeat=True, answer={"data": "first"})
    assert_whole(3)


@pytest.mark.parametrize(
    ("count", "octets", "word"),
    [(1, 100, STATEMENT), (5, 100, STATEMENT), (1, COPIED_OCTETS, COMMIT), (3, COPIED_OCTETS, COMMIT)],
    ids=["alone", "a batch", "alone and large", "a large batch"],
)
def test_a_message_without_a_key_may_come_twice_but_never_by_half(
    organization: Organization, count: int, octets: int, word: bytes, cuts: bool
) -> None:
    messages = [replace(make_accepted(organization), content=b"x" * octets) for _ in range(count)]
    first, second = send_twice(messages, [again(m, organization) for m in messages], word, cuts=cuts)
    refused = [answer for answer in first if isinstance(answer, Refused)]
    assert {answer.code for answer in refused} == {"temporarily_unavailable"}
    assert all(isinstance(answer, Receipt) and not answer.is_repeat for answer in second)
    assert_whole(2 * count)
