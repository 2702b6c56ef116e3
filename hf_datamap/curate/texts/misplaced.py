"""Responses that answer another row's prompt: found by the rare words they share with it (ours).

A response is a candidate when it shares almost nothing with its own prompt and its siblings, weighted by how rare the
words are. It is reported only when another prompt of the dataset fits it better than nineteen in twenty responses fit
a prompt that is not their own.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np

from hf_datamap.curate.texts.facts import BUCKETS, TextFacts
from hf_datamap.curate.texts.words import reduce_by_text

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
class MisplacedResponses:
    """Responses that answer another prompt.

    Attributes:
        response: index of each into `TextFacts.responses`.
        fits_row: the row whose prompt it fits.
        own_similarity: to its own prompt, 0 to 1.
        other_similarity: to the prompt it fits.
    """

    response: np.ndarray
    fits_row: np.ndarray
    own_similarity: np.ndarray
    other_similarity: np.ndarray


def find_misplaced(texts: TextFacts) -> MisplacedResponses:
    """Find responses that fit another row's prompt better than their own."""
    prompts, responses = texts.prompts, texts.responses
    index = _WordIndex(texts)
    own, shared = index.own_similarity(), index.shared_with_siblings()
    wordy = np.flatnonzero((responses.words >= _LEAST_WORDS) & (prompts.words[responses.row] >= 3))
    usual = float(np.median(own[wordy])) if wordy.size else 0.0
    odd = (own[wordy] < min(_OWN, _USUAL * usual)) & (shared[wordy] < _SIBLINGS)
    candidates = wordy[odd]
    if not candidates.size:
        return MisplacedResponses(*(np.empty(0, kind) for kind in (np.int64, np.int64, float, float)))
    # What a response reaches with some other prompt by chance is learnt from a regular sample of all responses.
    fits, other = index.best_other(np.concatenate([candidates, wordy[:: max(1, len(wordy) // _SAMPLE)]]))
    chance = float(np.quantile(other[len(candidates) :], _CHANCE))
    fits, other, own = fits[: len(candidates)], other[: len(candidates)], own[candidates]
    better = (other >= max(_OTHER, chance)) & (other >= _FACTOR * own)
    return MisplacedResponses(candidates[better], fits[better], own[better], other[better])


class _WordIndex:
    """Prompts and responses as sets of words, weighted by squared inverse document frequency."""

    def __init__(self, texts: TextFacts) -> None:
        self.texts = texts
        self.prompt_sets, self.response_sets = texts.prompts.word_sets, texts.responses.word_sets
        count = np.bincount(self.prompt_sets.buckets, minlength=BUCKETS)
        count += np.bincount(self.response_sets.buckets, minlength=BUCKETS)
        total = len(self.prompt_sets.starts) + len(self.response_sets.starts) - 2
        self.weight = np.log((total + 1) / (count + 0.5)).clip(0.0) ** 2
        self.prompt_norm, self.response_norm = (
            np.sqrt(reduce_by_text(np.add, self.weight[sets.buckets], sets.starts))
            for sets in (self.prompt_sets, self.response_sets)
        )

    def _chunks(self) -> Iterator[tuple[slice, np.ndarray, np.ndarray]]:
        """Responses some at a time, whole rows together: which, ``row << 20 | word`` of each word, their starts."""
        row = self.texts.responses.row
        ends = np.flatnonzero(np.diff(row, append=-1)) + 1
        start = 0
        while start < len(row):
            end = int(ends[min(int(np.searchsorted(ends, start + _STEP)), len(ends) - 1)])
            starts = self.response_sets.starts[start : end + 1]
            words = self.response_sets.buckets[starts[0] : starts[-1]]
            yield slice(start, end), (np.repeat(row[start:end], np.diff(starts)) << 20) | words, starts - starts[0]
            start = end

    def own_similarity(self) -> np.ndarray:
        """Cosine of each response with its own prompt, shape (responses,)."""
        row, prompts = self.texts.responses.row, self.prompt_sets
        shared = np.zeros(len(row))
        for part, keys, starts in self._chunks():
            first, last = row[part][0], row[part][-1] + 1
            begin = prompts.starts[first : last + 1]
            of_prompts = (np.repeat(np.arange(first, last), np.diff(begin)) << 20) | prompts.buckets[
                begin[0] : begin[-1]
            ]
            if len(of_prompts):
                hit = of_prompts[np.minimum(np.searchsorted(of_prompts, keys), len(of_prompts) - 1)] == keys
                weights = np.where(hit, self.weight[keys & (BUCKETS - 1)], 0.0)
                shared[part] = reduce_by_text(np.add, weights, starts)
        return np.asarray(shared / np.maximum(self.response_norm * self.prompt_norm[row], 1e-9))

    def shared_with_siblings(self) -> np.ndarray:
        """Share of each response's weighted words that another response of the row has too, shape (responses,)."""
        shared = np.zeros(len(self.texts.responses.row))
        for part, keys, starts in self._chunks():
            distinct, counts = np.unique(keys, return_counts=True)
            twice = counts[np.searchsorted(distinct, keys)] > 1
            weights = np.where(twice, self.weight[keys & (BUCKETS - 1)], 0.0)
            shared[part] = reduce_by_text(np.add, weights, starts)
        return np.asarray(shared / np.maximum(self.response_norm**2, 1e-9))

    def best_other(self, responses: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """For each of these responses the prompt, not its own, with the greatest cosine, and that cosine.

        Only the rarest words are looked up, so that the work per response does not grow with the dataset.
        """
        prompts, given = self.prompt_sets, self.response_sets
        hashes, row_of = self.texts.prompts.folded, self.texts.responses.row
        order = np.argsort(prompts.buckets, kind="stable")
        rows = np.repeat(np.arange(len(self.prompt_norm)), np.diff(prompts.starts))[order]
        begin = np.searchsorted(prompts.buckets[order], np.arange(BUCKETS + 1))
        best, cosines = np.zeros(len(responses), np.int64), np.zeros(len(responses))
        for place, response in enumerate(responses):
            words = given.buckets[given.starts[response] : given.starts[response + 1]]
            sizes = begin[words + 1] - begin[words]
            rare = np.flatnonzero((sizes > 0) & (sizes <= _COMMON))
            rare = rare[np.argsort(sizes[rare], kind="stable")[:_RAREST]]
            if not rare.size:
                continue
            words, sizes = words[rare], sizes[rare]
            # The inverted index: all rows whose prompt has one of the words, each as often as it has some.
            candidates = np.concatenate([rows[begin[word] : begin[word + 1]] for word in words])
            candidates, where = np.unique(candidates, return_inverse=True)
            fit = np.bincount(where, weights=np.repeat(self.weight[words], sizes))
            fit = fit / np.maximum(self.prompt_norm[candidates] * self.response_norm[response], 1e-9)
            row = row_of[response]
            # Its own prompt does not count, nor the same prompt in another row.
            fit[(candidates == row) | (hashes[candidates] == hashes[row])] = 0.0
            best[place], cosines[place] = candidates[fit.argmax()], fit.max()
        return best, cosines
