"""Responses that answer another row's prompt: found by the rare words they share with it (ours).

A response is a candidate when it shares almost nothing with its own prompt and its siblings, weighted by how rare the
words are. It is reported only when another prompt of the data set fits it better than nineteen in twenty responses fit
a prompt that is not their own.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np

from hf_datamap.curate.audit.texts import BUCKETS, Texts
from hf_datamap.curate.audit.tokens import segment

_LEAST_WORDS: Final = 8
_OWN: Final = 0.06  # a candidate's greatest similarity to its own prompt ...
_USUAL: Final = 1 / 3  # ... also as a fraction of the usual one
_SIBLINGS: Final = 0.35  # greatest share of its words in other responses of the row
_OTHER: Final = 0.12  # least similarity to the other prompt ...
_CHANCE: Final = 0.95  # ... also above this quantile of best similarities to any other prompt
_FACTOR: Final = 3.0  # and above this multiple of the similarity to its own
_SAMPLE: Final = 1000
_COMMON: Final = 500  # words of more prompts than this are not looked up
_RAREST: Final = 40  # words looked up per response
_STEP: Final = 200_000


@dataclass(frozen=True)
class Swaps:
    """Responses that answer another prompt.

    Attributes:
        response: index of each into the responses of `Texts`.
        answers: the row whose prompt it fits.
        own: similarity to its own prompt, 0 to 1.
        other: similarity to the prompt it fits.
    """

    response: np.ndarray
    answers: np.ndarray
    own: np.ndarray
    other: np.ndarray


def find(texts: Texts) -> Swaps:
    """Find responses that fit another row's prompt better than their own."""
    search = _Search(texts)
    own, siblings = search.own(), search.siblings()
    wordy = np.flatnonzero((texts.words >= _LEAST_WORDS) & (texts.prompt_words[texts.row] >= 3))
    usual = float(np.median(own[wordy])) if wordy.size else 0.0
    odd = (own[wordy] < min(_OWN, _USUAL * usual)) & (siblings[wordy] < _SIBLINGS)
    candidates = wordy[odd]
    if not candidates.size:
        return Swaps(*(np.empty(0, kind) for kind in (np.int64, np.int64, float, float)))
    answers, other = search.best(np.concatenate([candidates, wordy[:: max(1, len(wordy) // _SAMPLE)]]))
    chance = float(np.quantile(other[len(candidates) :], _CHANCE))
    answers, other, own = answers[: len(candidates)], other[: len(candidates)], own[candidates]
    fits = (other >= max(_OTHER, chance)) & (other >= _FACTOR * own)
    return Swaps(candidates[fits], answers[fits], own[fits], other[fits])


class _Search:
    """Prompts and responses as sets of words, weighted by squared inverse document frequency."""

    def __init__(self, texts: Texts) -> None:
        self.texts, self.bags = texts, texts.bags
        bags = texts.bags
        count = np.bincount(bags.prompts, minlength=BUCKETS) + np.bincount(bags.responses, minlength=BUCKETS)
        total = len(bags.prompt_starts) + len(bags.response_starts) - 2
        self.weight = np.log((total + 1) / (count + 0.5)).clip(0.0) ** 2
        self.asked = np.sqrt(segment(np.add, self.weight[bags.prompts], bags.prompt_starts))
        self.given = np.sqrt(segment(np.add, self.weight[bags.responses], bags.response_starts))

    def _chunks(self) -> Iterator[tuple[slice, np.ndarray, np.ndarray]]:
        """Responses some at a time, whole rows together: which, ``row << 20 | word`` of each word, their starts."""
        row = self.texts.row
        ends = np.flatnonzero(np.diff(row, append=-1)) + 1
        start = 0
        while start < len(row):
            end = int(ends[min(int(np.searchsorted(ends, start + _STEP)), len(ends) - 1)])
            starts = self.bags.response_starts[start : end + 1]
            words = self.bags.responses[starts[0] : starts[-1]]
            yield slice(start, end), (np.repeat(row[start:end], np.diff(starts)) << 20) | words, starts - starts[0]
            start = end

    def own(self) -> np.ndarray:
        """Cosine of each response with its own prompt."""
        shared, bags = np.zeros(len(self.texts.row)), self.bags
        for part, keys, starts in self._chunks():
            first, last = self.texts.row[part][0], self.texts.row[part][-1] + 1
            begin = bags.prompt_starts[first : last + 1]
            known = (np.repeat(np.arange(first, last), np.diff(begin)) << 20) | bags.prompts[begin[0] : begin[-1]]
            if len(known):
                hit = known[np.minimum(np.searchsorted(known, keys), len(known) - 1)] == keys
                shared[part] = segment(np.add, np.where(hit, self.weight[keys & (BUCKETS - 1)], 0.0), starts)
        return np.asarray(shared / np.maximum(self.given * self.asked[self.texts.row], 1e-9))

    def siblings(self) -> np.ndarray:
        """Share of each response's weighted words that another response of the row has too."""
        shared = np.zeros(len(self.texts.row))
        for part, keys, starts in self._chunks():
            found, counts = np.unique(keys, return_counts=True)
            twice = counts[np.searchsorted(found, keys)] > 1
            shared[part] = segment(np.add, np.where(twice, self.weight[keys & (BUCKETS - 1)], 0.0), starts)
        return np.asarray(shared / np.maximum(self.given**2, 1e-9))

    def best(self, responses: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """For each of these responses the prompt, not its own, with the greatest cosine, and that cosine.

        Only the rarest words are looked up, so that the work per response does not grow with the data set.
        """
        bags, prints = self.bags, self.texts.prompt_hash
        order = np.argsort(bags.prompts, kind="stable")
        rows = np.repeat(np.arange(len(self.asked)), np.diff(bags.prompt_starts))[order]
        begin = np.searchsorted(bags.prompts[order], np.arange(BUCKETS + 1))
        answers, cosines = np.zeros(len(responses), np.int64), np.zeros(len(responses))
        for place, response in enumerate(responses):
            words = bags.responses[bags.response_starts[response] : bags.response_starts[response + 1]]
            sizes = begin[words + 1] - begin[words]
            rare = np.flatnonzero((sizes > 0) & (sizes <= _COMMON))
            rare = rare[np.argsort(sizes[rare], kind="stable")[:_RAREST]]
            if not rare.size:
                continue
            words, sizes = words[rare], sizes[rare]
            found = np.concatenate([rows[begin[word] : begin[word + 1]] for word in words])
            found, where = np.unique(found, return_inverse=True)
            fit = np.bincount(where, weights=np.repeat(self.weight[words], sizes))
            fit = fit / np.maximum(self.asked[found] * self.given[response], 1e-9)
            row = self.texts.row[response]
            fit[(found == row) | (prints[found] == prints[row])] = 0.0
            answers[place], cosines[place] = found[fit.argmax()], fit.max()
        return answers, cosines
