"""What a run may spend, and what it has spent."""

from __future__ import annotations

import asyncio
import math
import re
from collections import Counter
from dataclasses import dataclass, field
from typing import Any, Self

from hf_datamap.errors import BudgetError

_UNITS = {"": 1, "k": 1_000, "m": 1_000_000}
_LIMITS = {"requests": "requests", "tokens": "tokens", "usd": "cost", "$": "cost"}
_LIMITS |= {"request": "requests", "token": "tokens"}
_BARE = re.compile(r"\s*\d+(?:\.\d+)?\s*[kKmM]?\s*")
_UNKNOWN = 2.5  # times its estimate that a request is taken to be at least, while others are under way
_WAIT = 0.02  # seconds between looks whether requests under way leave something of the budget
_AMOUNT = re.compile(r"^\s*(\$?)\s*(\d+(?:\.\d+)?)\s*([kKmM]?)\s*(requests?|tokens?|usd|\$)?\s*$")


@dataclass(frozen=True, slots=True)
class Prices:
    """What an endpoint charges, in US dollars per million tokens."""

    input: float
    output: float

    def __post_init__(self) -> None:
        if not (0 <= self.input < math.inf and 0 <= self.output < math.inf):
            raise BudgetError(f"prices are dollars per million tokens and not negative: {self.input}, {self.output}")

    def cost(self, input_tokens: float, output_tokens: float) -> float:
        """Dollars for so many tokens."""
        return (input_tokens * self.input + output_tokens * self.output) / 1e6


@dataclass(frozen=True, slots=True)
class Budget:
    """The most a run may spend; what is reached first ends it, and everything paid for is kept.

    Attributes:
        requests: requests sent, retries included.
        tokens: input plus output tokens, as the endpoint counts them.
        cost: US dollars; needs `prices`.
        prices: what the endpoint charges.
        rate: requests per second, retries included; a pace rather than an end.
    """

    requests: int | None = None
    tokens: int | None = None
    cost: float | None = None
    prices: Prices | None = None
    rate: float | None = None

    def __post_init__(self) -> None:
        if self.rate is not None and not 0 < self.rate < math.inf:
            raise BudgetError(f"a rate of {self.rate} requests per second cannot be kept: it must be above 0")
        for name in ("requests", "tokens", "cost"):
            value = getattr(self, name)
            if value is not None and not value >= 0:
                raise BudgetError(f"a budget of {value} {name} cannot be kept: it must be a number, and not negative")
        if self.cost is not None and self.prices is None:
            raise BudgetError("a budget in dollars needs the prices: --price IN,OUT (dollars per million tokens)")

    @property
    def limited(self) -> bool:
        """Whether it limits anything."""
        return any(limit is not None for limit in (self.requests, self.tokens, self.cost, self.rate))

    @classmethod
    def parse(cls, text: str, prices: Prices | None = None) -> Self:
        """Read ``500 requests``, ``2M tokens`` or ``$5``, several joined by commas.

        Raises:
            BudgetError: a part is none of these.
        """
        limits: dict[str, Any] = {}
        for part in text.split(","):
            if _BARE.fullmatch(part):
                bare = part.strip()
                raise BudgetError(
                    f"the budget {bare} has no unit: write '{bare} requests', '{bare} tokens' or '${bare}', as meant"
                )
            dollar, number, unit, word = match.groups() if (match := _AMOUNT.match(part)) else ("", "0", "", "?")
            amount = round(float(number) * _UNITS[unit.lower()], 9)
            name = "cost" if dollar and not word else _LIMITS.get(word or "", "")
            whole = name == "cost" or amount == int(amount)
            if not name or (dollar and word) or not whole or name in limits:
                raise BudgetError(f"cannot read the budget {text!r}: write '500 requests', '2M tokens' or '$5'")
            limits[name] = amount if name == "cost" else int(amount)
        return cls(**limits, prices=prices)


@dataclass(slots=True)
class Reserved:
    """What requests under way are expected to take, each at its own size, and how far such estimates are off.

    Attributes:
        requests: requests under way that reserved something.
        sizes: tokens that they are estimated to send and to receive.
        estimated: tokens that answered requests were estimated to send and to receive.
        taken: tokens that those sent and received.
        greatest: greatest ratio of what a request took to what was estimated.
    """

    requests: int = 0
    sizes: tuple[int, int] = (0, 0)
    estimated: tuple[int, int] = (0, 0)
    taken: tuple[int, int] = (0, 0)
    greatest: tuple[float, float] = (0.0, 0.0)

    def add(self, estimate: tuple[int, int]) -> None:
        """Reserve what a request is estimated to take."""
        self.requests += 1
        self.sizes = self.sizes[0] + estimate[0], self.sizes[1] + estimate[1]

    def remove(self, estimate: tuple[int, int]) -> None:
        """The request is over."""
        self.requests -= 1
        self.sizes = self.sizes[0] - estimate[0], self.sizes[1] - estimate[1]

    def learn(self, estimate: tuple[int, int], taken: tuple[int, int]) -> None:
        """Compare what an answered request took with its estimate; nothing to compare where one is not known."""
        if not (any(estimate) and any(taken)):
            return
        self.estimated = self.estimated[0] + estimate[0], self.estimated[1] + estimate[1]
        self.taken = self.taken[0] + taken[0], self.taken[1] + taken[1]
        ratios = [took / max(1, guess) for took, guess in zip(taken, estimate, strict=True)]
        self.greatest = max(self.greatest[0], ratios[0]), max(self.greatest[1], ratios[1])

    def expected(self, estimate: tuple[int, int]) -> tuple[float, float]:
        """Return the tokens that a further request and all under way will send and receive.

        While others are under way each is taken to exceed its estimate as far as any did before. Alone it is taken to
        be as far off as they are on average, so that the last of a budget can still be spent.
        """
        if not any(self.taken):
            factors: tuple[float, float] = (_UNKNOWN, _UNKNOWN)
        elif self.requests:
            factors = max(_UNKNOWN, self.greatest[0]), max(_UNKNOWN, self.greatest[1])
        else:
            factors = (self.taken[0] / max(1, self.estimated[0]), self.taken[1] / max(1, self.estimated[1]))
        return (self.sizes[0] + estimate[0]) * factors[0], (self.sizes[1] + estimate[1]) * factors[1]


@dataclass(slots=True)
class Usage:
    """What a run has done so far. Written by the engine's thread, read by any.

    Attributes:
        rows: rows finished.
        requests: requests sent, retries included.
        from_store: answers found in the store.
        retried: requests sent again.
        in_flight: requests under way.
        input_tokens: tokens sent, as the endpoint counts them.
        output_tokens: tokens received.
        failed: reasons for responses without a score, with counts.
        stopped: why the run ended early, empty otherwise.
        answered: replies paid for.
        next_turn: when the next request may be sent under a rate, on the clock of the loop that sends.
        reserved: what requests under way are expected to take.
    """

    rows: int = 0
    requests: int = 0
    from_store: int = 0
    retried: int = 0
    in_flight: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    failed: Counter[str] = field(default_factory=Counter)
    stopped: str = ""
    answered: int = 0
    next_turn: float = 0.0
    reserved: Reserved = field(default_factory=Reserved)

    def count_answer(self, input_tokens: int, output_tokens: int) -> None:
        """Count an answer."""
        self.answered += 1
        self.input_tokens += input_tokens
        self.output_tokens += output_tokens

    def add(self, more: Usage) -> None:
        """Count what was done elsewhere."""
        for name in ("rows", "requests", "from_store", "retried", "input_tokens", "output_tokens", "answered"):
            setattr(self, name, getattr(self, name) + getattr(more, name))
        self.failed.update(more.failed)
        self.stopped = self.stopped or more.stopped

    async def admit(self, budget: Budget, estimate: tuple[int, int] = (0, 0)) -> str:
        """Wait for the turn of a request; say why it may not be sent, nothing when it may.

        Args:
            budget: the limits.
            estimate: see `exceeds`.
        """
        if budget.rate is not None:
            now = asyncio.get_running_loop().time()
            turn = max(now, self.next_turn)
            self.next_turn = turn + 1 / budget.rate
            if turn > now:
                await asyncio.sleep(turn - now)
        while (reason := self.exceeds(budget, estimate)) and self.reserved.requests:
            if budget.requests is not None and self.requests >= budget.requests:
                return reason
            # Requests under way may take less than is reserved for them: only when all are over is the budget spent.
            await asyncio.sleep(_WAIT)
        return reason

    def exceeds(self, budget: Budget, estimate: tuple[int, int] = (0, 0)) -> str:
        """Return why the next request may not be sent; empty when it may.

        Requests under way are counted at their own estimated sizes where they reserved them, otherwise at the average
        size of those answered, so that many in flight do not overshoot.

        Args:
            budget: the limits.
            estimate: tokens sent and received for a request; zeros where they are not known.
        """
        if budget.requests is not None and self.requests >= budget.requests:
            return f"budget of {budget.requests:,} requests reached"
        if self.reserved.requests or any(self.reserved.estimated):
            ahead = self.reserved.expected(estimate)
        else:
            average = self.input_tokens / max(1, self.answered), self.output_tokens / max(1, self.answered)
            size = average if self.answered else estimate
            ahead = (self.in_flight + 1) * size[0], (self.in_flight + 1) * size[1]
        sent, received = self.input_tokens + ahead[0], self.output_tokens + ahead[1]
        if budget.tokens is not None and (budget.tokens == 0 or sent + received > budget.tokens):
            return f"budget of {budget.tokens:,} tokens reached"
        if budget.cost is not None and budget.prices and budget.prices.cost(sent, received) > budget.cost - 1e-12:
            return f"budget of ${budget.cost:g} reached"
        return ""

    def summary(self, prices: Prices | None = None) -> dict[str, Any]:
        """The numbers worth keeping, as JSON."""
        cost = prices.cost(self.input_tokens, self.output_tokens) if prices else None
        return {
            "requests": self.requests,
            "from_store": self.from_store,
            "retried": self.retried,
            "input_tokens": self.input_tokens,
            "output_tokens": self.output_tokens,
            "cost": cost,
            "failed": dict(sorted(self.failed.items())),
            "stopped": self.stopped,
        }
