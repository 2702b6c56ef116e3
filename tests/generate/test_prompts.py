"""Constraint prompts: equal shares, balance, satisfiable, deterministic, in a layout that everything else reads."""

import json
import random
from collections import Counter

import numpy as np
import pytest
from datasets import Dataset
from hypothesis import given, settings
from hypothesis import strategies as st

from hf_datamap.data import detect_layout
from hf_datamap.data.example import Constraint
from hf_datamap.errors import GenerateError
from hf_datamap.generate import prompts
from hf_datamap.generate.arguments import draw_arguments
from hf_datamap.generate.base_prompts import BasePrompt, drop_near_duplicates, recombine
from hf_datamap.generate.constraint_sets import (
    KINDS,
    LONERS,
    balance_of,
    best_balance,
    conflict_free_sets,
    draw_sets,
)
from hf_datamap.generate.model_writer import Writer
from hf_datamap.generate.sampler import Sampler
from hf_datamap.generate.seed_prompts import SeedPrompt, bundled_seeds, strip_constraints
from hf_datamap.generate.templates import missing_constraints, word_constraint, write_prompt
from hf_datamap.scorers.constraints import CONFLICTS, CONSTRAINTS, Checker, ConstraintScorer, parse_constraints
from tests.servers.llm import LLMServer, completion


@pytest.fixture(scope="module")
def made():
    return prompts(900, seed=1, witness=True)


def constraints_of(row):
    return parse_constraints(row["instruction_id_list"], row["kwargs"])


def test_thirds_unique_and_as_many_constraints_as_k(made):
    assert Counter(made["k"]) == {4: 300, 5: 300, 6: 300}
    assert len(set(made["prompt"])) == 900
    assert all(len(row["instruction_id_list"]) == row["k"] for row in made)


def test_every_prompt_has_a_witness_that_passes_all_its_checks(made):
    for row in made:
        assert all(Checker(constraints_of(row)).strict(row["witness"])), row


def test_no_conflicts_and_no_excluded_kinds(made):
    for ids in made["instruction_id_list"]:
        assert set(ids) <= set(KINDS)
        assert all(other not in CONFLICTS[kind] for kind in ids for other in ids if other != kind)
        assert len(set(ids)) == len(ids)


def test_kinds_are_used_equally_often():
    ds = prompts(3000, seed=3, bases=200)
    use = Counter(kind for ids in ds["instruction_id_list"] for kind in ids)
    assert set(use) == set(KINDS)
    assert len(KINDS) == 23
    common = [use[kind] for kind in KINDS if kind not in LONERS]
    assert max(common) < 1.2 * min(common)
    balance = balance_of(ds["instruction_id_list"])
    assert (balance.least, balance.most) == (min(use.values()), max(use.values()))
    assert balance.optimum == pytest.approx(0.6)
    assert balance.ratio > 0.95 * balance.optimum
    assert f"{balance.least:,} prompts" in ds.info.description
    assert "of 0.60 that the conflicts allow" in ds.info.description


def test_no_use_of_the_conflict_table_is_more_balanced():
    """The optimum by plain reasoning: in sets of four with `LONERS` each use of one is a use of three of five others.

    `repeat_prompt` always stands with existence, title and no_comma; two of those three stand in every set of
    `two_responses` that can be had. So x uses of each loner are at least 5 x / 3 uses of the most used kind.
    """
    company = [{KINDS[kind] for kind in kinds} for kinds in conflict_free_sets(4)]
    partners = {loner: [kinds - {loner} for kinds in company if loner in kinds] for loner in LONERS}
    repeated = {"keywords:existence", "detectable_format:title", "punctuation:no_comma"}
    assert partners["combination:repeat_prompt"] == [repeated]
    assert min(len(kinds & repeated) for kinds in partners["combination:two_responses"]) == 2
    assert best_balance(((4, 1000),))[0] == pytest.approx(3 / 5)


def test_a_share_of_the_rare_kinds_can_be_named():
    use = Counter(
        kind for ids in prompts(3000, seed=3, bases=200, loner_share=0.25)["instruction_id_list"] for kind in ids
    )
    common = [use[kind] for kind in KINDS if kind not in LONERS]
    assert [use[kind] / (sum(common) / len(common)) for kind in LONERS] == pytest.approx([0.25] * 2, abs=0.03)


@settings(max_examples=15, deadline=None)
@given(st.dictionaries(st.integers(1, 6), st.integers(1, 400), min_size=1, max_size=3))
def test_sets_of_any_sizes_are_drawn_near_their_optimum(counts):
    sets = draw_sets(counts, np.random.default_rng(0))
    assert Counter(map(len, sets)) == counts
    assert all(other not in CONFLICTS[kind] for kinds in sets for kind in kinds for other in kinds if other != kind)
    balance = balance_of(sets)
    # Which sets are drawn is chance: the uses scatter about their expectation.
    assert balance.least >= 0.9 * balance.optimum * balance.most - 5 * balance.most**0.5


def test_prompts_say_what_their_constraints_demand(made):
    for row in made:
        assert missing_constraints(row["prompt"], constraints_of(row)) == [], row["prompt"]


def test_a_dropped_or_altered_constraint_is_noticed(made):
    """Of each prompt one constraint's sentence is left out; a kind whose words another sentence repeats may hide."""
    chance, noticed = random.Random(0), 0
    for row in made.select(range(200)):
        constraints = list(constraints_of(row))
        gone = constraints.pop(chance.randrange(len(constraints)))
        noticed += gone.id in missing_constraints(write_prompt("Tell a tale.", constraints, chance), [gone])
    assert noticed > 185
    fewer = Constraint("length_constraints:number_words", {"num_words": 200, "relation": "less than"})
    more = Constraint("length_constraints:number_words", {"num_words": 200, "relation": "at least"})
    assert missing_constraints("Use fewer than 200 words.", [fewer]) == []
    assert missing_constraints("Use at most 199 words.", [fewer]) == []
    assert missing_constraints("Use at least 200 words.", [fewer]) == [fewer.id]
    assert missing_constraints("Use fewer than 200 words.", [more]) == [more.id]
    assert missing_constraints("Use fewer than 2000 words.", [fewer]) == [fewer.id]
    words = Constraint("keywords:existence", {"keywords": ["river", "boat"]})
    assert missing_constraints("Include the words river and boats.", [words]) == []
    assert missing_constraints("Include the word river.", [words]) == [words.id]


@pytest.mark.parametrize("kind", KINDS)
def test_each_wording_of_each_kind_is_understood(kind):
    chance = random.Random(kind)
    for _ in range(60):
        (constraint,) = draw_arguments([kind], "Write a poem about rain.", chance)
        assert missing_constraints(word_constraint(constraint, chance), [constraint]) == []


def test_same_seed_same_rows_another_seed_others():
    assert prompts(30, seed=5).to_list() == prompts(30, seed=5).to_list()
    assert set(prompts(30, seed=5)["prompt"]).isdisjoint(prompts(30, seed=6)["prompt"])


def test_the_layout_is_read_and_scored_like_ifeval(made):
    answered = made.map(lambda row: {"responses": [row["witness"], "No.", None]})
    layout = detect_layout(answered.features, sample=answered.select(range(3)).to_list())
    example = layout.read(answered[0])
    assert len(example.constraints) == answered[0]["k"]
    best, worst, missing = ConstraintScorer().score(example)
    assert best.value == 1.0
    assert worst.value < 1.0
    assert missing.value is None


def test_conflict_free_sets_are_as_many_as_the_table_allows():
    assert [len(conflict_free_sets(k)) for k in (4, 5, 6)] == [4102, 11022, 22064]


def test_the_two_kinds_left_out_stand_in_no_conflict_free_set_of_four():
    others = {kind for kind in CONSTRAINTS if kind not in KINDS}
    assert others == {"detectable_format:constrained_response", "detectable_format:json_format"}
    for kind in others:
        company = [other for other in CONSTRAINTS if other not in CONFLICTS[kind]]
        trios = [
            (a, b, c)
            for a in company
            for b in company
            for c in company
            if a < b < c and b not in CONFLICTS[a] and c not in CONFLICTS[a] and c not in CONFLICTS[b]
        ]
        assert not trios


@pytest.mark.parametrize(
    ("prompt", "request_alone"),
    [
        (
            "Write a short blog post about a trip to Japan using less than 300 words.",
            "Write a short blog post about a trip to Japan.",
        ),
        (
            "Do you think Kareena Kapoor is a good actor? Wrap your response with double quotation marks.",
            "Do you think Kareena Kapoor is a good actor?",
        ),
        (
            "What is a lattice? Rewrite the answer so that it is entirely in Russian, no other language is allowed.",
            "What is a lattice?",
        ),
        ("Answer in all lowercase letters.", ""),
        ("", ""),
    ],
)
def test_stripping_leaves_the_request(prompt, request_alone):
    assert strip_constraints(prompt) == request_alone


def test_bundled_seeds_are_free_of_the_words_of_constraints():
    seeds = bundled_seeds()
    assert len(seeds) > 150
    text = "\n".join(seed.text.lower() for seed in seeds)
    for word in ("commas", "lowercase", "quotation", "bullet", "json", "at least", "highlight", "postscript"):
        assert word not in text


def test_recombining_joins_forms_and_topics_of_different_seeds():
    seeds = [
        SeedPrompt("1", "Write a funny poem about rain in spring."),
        SeedPrompt("2", "Write an essay about old trains."),
    ]
    bases = list(recombine(seeds, np.random.default_rng(0)))
    assert {base.text for base in bases[:2]} == {seed.text for seed in seeds}
    assert BasePrompt("Write a funny poem about old trains.", "1+2") in bases
    assert len({base.text for base in bases[2:]}) == len(bases) - 2


def test_near_duplicates_are_dropped():
    texts = [
        "Write a long poem about the history of the old river in our town.",
        "Write a long poem about the history of the old river in our town!",
        "Explain how bees find their way home.",
        "write a long poem about the history of the old river in our towns.",
    ]
    assert [base.text for base in drop_near_duplicates([BasePrompt(text, "") for text in texts], 10)] == [
        texts[0],
        texts[2],
    ]


def test_meaning_can_be_compared_too():
    pytest.importorskip("semhash", reason="semhash is not installed (pip install 'hf_datamap[generate]')")
    vectors = {"The cat sleeps.": [1, 0.01], "A feline is napping.": [1, 0.02], "Stocks fell.": [0, 1]}
    bases = [BasePrompt(text, "") for text in vectors]
    kept = drop_near_duplicates(bases, 3, embed=lambda texts: np.array([vectors[text] for text in texts], np.float32))
    assert [base.text for base in kept] == ["The cat sleeps.", "Stocks fell."]


def test_meaning_by_an_endpoint():
    pytest.importorskip("semhash", reason="semhash is not installed (pip install 'hf_datamap[generate]')")
    import hf_datamap as dm

    texts = [
        "Describe the old harbor of the town.",
        "Of the old harbor describe the town the.",
        "Explain how bees dance.",
    ]
    with LLMServer() as server:  # its embeddings count words, whatever their order
        embedder = dm.ServedEmbedder("e", base_url=server.url)
        kept = drop_near_duplicates([BasePrompt(text, "") for text in texts], 3, similarity=1.0, embed=embedder)
    assert [base.text for base in kept] == [texts[0], texts[2]]


def test_a_folder_that_is_no_embedding_model_is_told_of(tmp_path):
    pytest.importorskip("semhash", reason="semhash is not installed (pip install 'hf_datamap[generate]')")
    with pytest.raises(GenerateError, match="no model2vec model"):
        prompts(3, bases=2, embed=str(tmp_path))


def test_own_seeds_are_used():
    seeds = Dataset.from_dict(
        {"instruction": ["Write a memo about the new office plants.", "Compose a long speech about bridges."]}
    )
    ds = prompts(60, seed=1, seeds=seeds)
    assert all("office plants" in base or "bridges" in base for base in ds["base"])
    assert {part for ids in ds["seed_id"] for part in ids.split("+")} == {"0", "1"}


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"n": 0}, "at least 1"),
        ({"k": (4, 4)}, "different whole numbers"),
        ({"k": ()}, "one or more"),
        ({"k": (30,)}, "no 30 kinds"),
        ({"similarity": 0.0}, "similarity"),
        ({"bases": 0}, "bases"),
        ({"loner_share": 2}, "loner_share"),
    ],
)
def test_bad_input_names_the_value_and_the_way_out(options, words):
    with pytest.raises(GenerateError, match=words):
        prompts(**{"n": 6, "seed": 1} | options)


@settings(max_examples=40, deadline=None)
@given(st.text(max_size=400))
def test_any_text_can_be_stripped(text):
    stripped = strip_constraints(text)
    assert stripped == "" or stripped.isascii()


def writing_model(request, _):
    """New requests in turn; a final wording that is the template's own rules, but every third drops the last one."""
    asked = request["messages"][-1]["content"]
    if "Write one new request" in asked:
        number = request["seed"]
        said = (
            f'Request: "Write a detailed report about the invention of machine number {number} and its maker {number}."'
        )
        return completion(request, said if number % 4 else "Write it in less than 100 words.")
    base, _, rules = asked.partition("asks for this:\n\n")[2].partition("\n\nand demands all of the following:\n\n")
    parts = rules.partition("\n\nWord it naturally")[0].split("\n")
    kept = parts[:-1] if request["seed"] == 0 and len(asked) % 3 == 0 else parts
    return completion(request, "Please do this. " + base + " Mind that " + " ".join(kept))


def test_a_model_writes_bases_and_wording_and_loses_no_constraint():
    with LLMServer(writing_model) as server:
        writer = Writer(Sampler("writer", base_url=server.url), progress=False)
        ds = prompts(60, seed=1, bases=12, writer=writer)
        again = Writer(Sampler("writer", base_url=server.url), progress=False)
        same = prompts(60, seed=1, bases=12, writer=again)
    assert set(ds["writer"]) == {"writer"}
    assert len(set(ds["prompt"])) == 60
    assert all("invention of machine" in base for base in ds["base"])
    assert all(prompt.startswith("Please do this.") for prompt in ds["prompt"])
    for row in ds:
        assert missing_constraints(row["prompt"], constraints_of(row)) == []
    assert writer.usage.requests > 60 + 18  # some wordings were asked for again
    assert again.usage.requests == 0
    assert same.to_list() == ds.to_list()


def test_what_a_model_cannot_word_is_worded_by_template():
    def forgetful(request, count):
        reply = writing_model(request, count)
        return (
            reply if "Write one new" in request["messages"][-1]["content"] else completion(request, "Write something.")
        )

    with LLMServer(forgetful) as server:
        writer = Writer(Sampler("writer", base_url=server.url), tries=2, progress=False)
        ds = prompts(6, seed=1, bases=6, writer=writer)
    assert set(ds["writer"]) == {"template"}
    assert writer.usage.requests == 10 + 6 * 2


def test_command_with_a_model(tmp_path, capsys):
    from hf_datamap.cli import main

    out = tmp_path / "a.jsonl"
    with LLMServer(writing_model) as server:
        main(
            [
                "prompts",
                "--n",
                "6",
                "--bases",
                "3",
                "--model",
                "w",
                "--base-url",
                server.url,
                "--out",
                str(out),
                "--json",
            ]
        )
    assert json.loads(capsys.readouterr().out)["writers"] == {"w": 6}
    with pytest.raises(SystemExit) as ended:
        main(["prompts", "--n", "6", "--model", "w", "--offline", "--out", str(out)])
    assert ended.value.code == 2


def test_command_writes_the_same_bytes_twice(tmp_path, capsys):
    from hf_datamap.cli import main

    for name in ("a.parquet", "b.parquet"):
        out = str(tmp_path / name)
        main(["prompts", "--n", "30", "--k", "4,5,6", "--seed", "1", "--offline", "--out", out, "--json"])
    assert (tmp_path / "a.parquet").read_bytes() == (tmp_path / "b.parquet").read_bytes()
    out = capsys.readouterr().out
    summary = json.loads(out.partition("\n}")[0] + "}")
    assert summary["k"] == {"4": 10, "5": 10, "6": 10}
    assert summary["balance"]["optimum"] == pytest.approx(0.6)
    assert summary["balance"]["ratio"] == summary["balance"]["least"] / summary["balance"]["most"]
    assert {"prompt", "instruction_id_list", "kwargs", "k"} <= set(
        Dataset.from_parquet(str(tmp_path / "a.parquet")).column_names
    )


def test_command_refuses_a_folder_that_is_not_there(tmp_path, capsys):
    from hf_datamap.cli import main

    with pytest.raises(SystemExit) as ended:
        main(["prompts", "--n", "3", "--offline", "--out", str(tmp_path / "no" / "a.parquet")])
    assert ended.value.code == 2
    assert "no folder" in capsys.readouterr().err
