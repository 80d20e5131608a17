"""kill -9 of everything at random moments under load: nothing accepted is lost, what came twice is marked in doubt.

A failure tells its seed; PLUGSEND_CRASH_SEED repeats it (moments differ, the order does not). PLUGSEND_CRASH_MESSAGES: more.
"""

from __future__ import annotations

import os
import random
import time
from collections import Counter

import pytest

from relay.delivery.groups import MOST_BUFFER
from tests.arrivals import Arrivals
from tests.crash import CONNECTIONS, Ends, Load, add_second_organization, crashing, wait_all_ended
from tests.platform import Platform, wait_for

pytestmark = [pytest.mark.xdist_group("crash under load"), pytest.mark.timeout(600)]

MESSAGES = int(os.environ.get("PLUGSEND_CRASH_MESSAGES", "5000"))
ROUNDS = max(2, MESSAGES // 2500)  # in each, everything is killed once
SEED = int(os.environ.get("PLUGSEND_CRASH_SEED", "0")) or random.SystemRandom().randrange(1, 10**6)
VICTIMS = ("smtp", "worker", "beat", "sandbox", "web", "valkey", "postgres", "forker")
MESSAGES_PER_S = 150  # at most; they come until the killing has ended, too
SINK_DELAY_S = 0.5


def kill_in_turn(platform: Platform, arrivals: Arrivals, chance: random.Random, rounds: int) -> Counter[str]:
    """Each kind so often, in an order drawn anew each round, at moments that nobody chose, now and then two at once; a worker
    while it has mail in its hands."""
    killed = Counter[str]()
    for _ in range(rounds):
        order = chance.sample(VICTIMS, len(VICTIMS))
        while order:
            time.sleep(chance.random())
            victims = [order.pop() for _ in range(min(len(order), chance.choice((1, 1, 2))))]
            wait_for(lambda names=victims: platform.children.keys() >= set(names), f"{victims} run")  # type: ignore[misc]
            wait_for(lambda names=victims: "worker" not in names or arrivals.in_hand > 5, "mail is in hand", 60)  # type: ignore[misc]
            pids = {name: platform.kill(name) for name in victims}
            for name, pid in pids.items():
                platform.wait_restarted(name, pid)
            killed.update(victims)
    return killed


def test_nothing_accepted_is_lost_whatever_is_killed() -> None:
    chance = random.Random(SEED)
    arrivals = Arrivals(SINK_DELAY_S, random.Random(SEED))
    with crashing(arrivals) as platform:
        credentials = [(platform.demo["SMTP_USER"], platform.demo["SMTP_PASSWORD"]), add_second_organization(platform)]
        load = Load(platform, credentials, MESSAGES, MESSAGES / MESSAGES_PER_S, random.Random(SEED))
        with load.running():
            killed = kill_in_turn(platform, arrivals, chance, ROUNDS)
        wait_all_ended(platform, 120)
        ends = Ends.of(platform)
        summary = (
            f"seed {SEED}: {load.messages_accepted} messages to {len(load.accepted)} recipients accepted, "
            f"{len(load.unanswered)} unanswered, {len(load.refused)} refused ({dict(load.replies)}); {ends.doubts} doubts, "
            f"{sum(count > 1 for count in arrivals.of.values())} came again; killed {dict(killed)}"
        )
        print(summary)

    accepted, stored, arrived = set(load.accepted), ends.states.keys(), arrivals.of.keys()
    again = {address for address, count in arrivals.of.items() if count > 1}
    assert load.messages_accepted >= MESSAGES, summary
    assert accepted - stored == set(), f"lost; {summary}"
    assert stored - accepted - load.unanswered - load.refused == set(), f"never submitted; {summary}"
    assert {address: state for address, state in ends.states.items() if state != "delivered"} == {}, summary
    assert stored - arrived == set(), f"delivered, and never arrived; {summary}"
    assert arrived - stored == set(), f"arrived, and never stored; {summary}"
    assert again - ends.doubtful == set(), f"came twice, and nobody doubted; {summary}"
    assert ends.disagreements == [], summary
    # A worker's death makes doubts, and the database's may: of what was claimed at that moment. Only what was in a
    # conversation then can come twice.
    deaths = killed["worker"] + killed["postgres"]
    assert 0 < ends.doubts <= deaths * (MOST_BUFFER + CONNECTIONS), summary
    assert len(again) <= deaths * CONNECTIONS * 2, summary
