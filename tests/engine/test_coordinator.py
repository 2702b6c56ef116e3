"""What workers on several machines share, without the machines."""

from __future__ import annotations

import asyncio
from itertools import pairwise

import pytest

import hf_datamap as dm
from hf_datamap.engine import config
from hf_datamap.engine.budget import Budget, Prices, Usage
from hf_datamap.engine.coordinator import LeasedUsage, Office, Report, SharedStore
from hf_datamap.engine.task import Answer


class Line:
    """Reaches an office in this process, and counts how often."""

    def __init__(self, office: Office) -> None:
        self.office, self.now, self.asked = office, 0.0, []

    def look_up(self, keys):
        self.asked.append(len(keys))
        return self.office.look_up(keys)

    def keep(self, key, answer):
        self.office.keep(key, answer)

    def settle(self):
        self.asked.append("settle")

    async def lease(self, wanted, report, guess):
        return self.office.lease(wanted, report, guess, self.now)


@pytest.fixture
def office(tmp_path):
    return lambda **limits: Office(Budget(**limits), str(tmp_path))


def test_requests_are_granted_until_the_budget_is_spent(office):
    desk = office(requests=40)
    leases = [desk.lease(16, Report(), (0, 0), 0.0) for _ in range(4)]
    assert [lease.granted for lease in leases] == [16, 16, 8, 0]
    assert "40 requests reached" in leases[3].reason
    assert desk.lease(16, Report(unused=3), (0, 0), 0.0).granted == 3


def test_tokens_of_all_workers_count(office):
    desk = office(tokens=1000)
    first = desk.lease(4, Report(), (90, 10), 0.0)
    assert first.granted == 4
    told = Report(finished=4, answered=4, input_tokens=360, output_tokens=40)
    assert desk.lease(16, told, (0, 0), 0.0).granted == 6  # a hundred each, as seen
    assert desk.lease(16, Report(), (0, 0), 0.0).granted == 0


def test_money_too(office):
    desk = office(cost=1.0, prices=Prices(1.0, 1.0))
    assert desk.lease(16, Report(), (100_000, 0), 0.0).granted == 9  # the tenth would reach it


def test_a_rate_is_one_for_all(office):
    desk = office(rate=10.0)
    turns = []
    for now in (0.0, 0.0, 0.3, 9.0):
        lease = desk.lease(5, Report(), (0, 0), now)
        turns += [now + lease.delay + place * lease.spacing for place in range(lease.granted)]
    assert turns == pytest.approx([*(0.1 * i for i in range(15)), *(9.0 + 0.1 * i for i in range(5))])


async def spend(usage: Usage, budget: Budget, requests: int) -> int:
    sent = 0
    for _ in range(requests):
        if await usage.admit(budget):
            break
        usage.requests += 1
        usage.paid(10, 1)
        sent += 1
    return sent


def test_workers_keep_to_one_budget_and_give_back_what_they_do_not_use(office):
    budget = Budget(requests=30)
    line = Line(office(requests=30))
    first, second = LeasedUsage(office=line), LeasedUsage(office=line)
    assert asyncio.run(spend(first, budget, 5)) == 5
    line.office.lease(0, first.report(last=True), (0, 0), 0.0)  # eleven of sixteen go back
    assert asyncio.run(spend(second, budget, 100)) == 25
    assert asyncio.run(spend(first, budget, 1)) == 0
    assert (line.office._usage.input_tokens, line.office._usage.requests) == (50 + 250, 30)


def test_one_worker_paces_itself():
    async def main() -> list[float]:
        usage, clock, turns = Usage(), asyncio.get_running_loop().time, []

        async def one() -> None:
            assert await usage.admit(Budget(rate=50.0)) == ""
            turns.append(clock())

        await asyncio.gather(*(one() for _ in range(6)))
        return turns

    turns = asyncio.run(main())
    assert all(later - earlier > 0.01 for earlier, later in pairwise(turns))
    assert turns[-1] - turns[0] > 0.09


def test_keys_are_looked_up_once(office):
    line = Line(office())
    store = SharedStore(line)
    keys = [bytes([i]) * 20 for i in range(5)]
    line.office.keep(keys[4], Answer({"score": 1.0}, 7, 2))
    assert store.get(keys) == {keys[4]: Answer({"score": 1.0}, 7, 2)}
    assert store.get([keys[0]]) == {}
    assert line.asked == [5]
    store.put(keys[0], Answer(5))
    assert store.get([keys[0]]) == {keys[0]: Answer(5)}  # asked again: somebody may have bought it
    assert line.asked == [5, 1]
    store.settle()
    assert store.get([keys[1]]) == {}
    assert line.asked == [5, 1, "settle", 1]


def test_secrets_travel_in_memory_only(monkeypatch, office):
    monkeypatch.setenv("OPENAI_API_KEY", "sk-one")
    monkeypatch.delenv("HF_TOKEN", raising=False)
    monkeypatch.setattr("huggingface_hub.get_token", lambda: "hf_two")
    judge = dm.LLMJudge("m", base_url="http://127.0.0.1:1/v1", api_key="sk-three")
    given = config.secrets()
    assert {"sk-one", "hf_two", "sk-three"} <= set(given.values())
    desk = office()
    desk.give_secrets(given)
    config._KEYS.clear()
    monkeypatch.setenv("OPENAI_API_KEY", "sk-own")
    for name in given:
        if name != "OPENAI_API_KEY":
            monkeypatch.delenv(name, raising=False)
    config.take_secrets(desk.secrets())
    assert judge.endpoint.key() == "sk-three"
    assert config.api_key() == "sk-own"  # what is set there stays
    for name in given:
        monkeypatch.delenv(name, raising=False)
