"""Tree search: trees worked out by hand, lineage that can be traced, and how it compares with rejection sampling."""

import json
import math
import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest
from datasets import Dataset, load_dataset
from hypothesis import example, given, settings
from hypothesis import strategies as st

import hf_datamap as dm
from hf_datamap.cli import main
from hf_datamap.curate.pairs import to_pairs
from hf_datamap.errors import EndpointError, GenerateError
from hf_datamap.generate import rejection_sampling, tree_search
from hf_datamap.generate.tree import Rollout, Tree, step_splitter
from hf_datamap.scorers.constraints import Checker, parse_constraints
from tests.servers.llm import LLMServer, Reply, completion
from tests.servers.sampling import StepModel, constraints, missing_model, small_model

ROOT = Path(__file__).parents[2]


def rows(count=2, k=4):
    ids, kwargs = constraints(k)
    prompt = [f"Request number {number}." for number in range(count)]
    return Dataset.from_dict(
        {"prompt": prompt, "instruction_id_list": [ids] * count, "kwargs": [json.dumps(kwargs)] * count}
    )


def search(server, ds=None, **options):
    options = {"base_url": server.url, "progress": False, "self_weight": 0.0, "step": "line"} | options
    return tree_search(rows() if ds is None else ds, "step", **options)


def rollout(text, reward, origin=0, sample=0):
    return Rollout(text, 10, reward, None, reward, "", origin, sample, None)


# --- the tree by itself


def test_counts_values_and_priors_by_hand():
    tree = Tree("line", 8, 1.0)
    assert tree.select().id == 0
    tree.expand(tree.nodes[0], [rollout("a\nb", 1.0), rollout("a\nc", 0.5), rollout("d\ne", 0.0), rollout("a\nb", 0.5)])
    root, a, d = tree.nodes
    assert (root.visits, root.value) == (4, 0.5)
    assert (a.step, a.visits, a.value, tree.prior(root, a)) == ("a", 3, pytest.approx(2 / 3), 0.75)
    assert (d.step, d.visits, d.value, tree.prior(root, d)) == ("d", 1, 0.0, 0.25)
    # PUCT: Q + c P sqrt(N) / (1 + n)
    assert tree.puct(root, a) == pytest.approx(2 / 3 + 0.75 * 2 / 4)
    assert tree.puct(root, d) == pytest.approx(0 + 0.25 * 2 / 2)
    assert tree.select() is a
    tree.expand(a, [rollout("a\nf", 0.0, 1), rollout("a\nf", 0.0, 1)])
    assert (root.visits, root.value) == (6, pytest.approx(2 / 6))
    assert (a.visits, a.value) == (5, pytest.approx(2 / 5))
    # What was drawn from a says nothing of how likely a is.
    assert tree.prior(root, a) == 0.75
    b, c, f = tree.nodes[3:]
    assert [(node.step, node.visits, node.value) for node in (b, c, f)] == [
        ("\nb", 2, 0.75),
        ("\nc", 1, 0.5),
        ("\nf", 2, 0.0),
    ]
    assert [tree.prior(a, node) for node in (b, c, f)] == [0.4, 0.2, 0.4]
    # b, c and f are ends of answers: nothing can be drawn there. d is all that is left.
    assert tree.select() is d


def test_when_every_branch_has_ended_the_root_is_drawn_from_again():
    tree = Tree("line", 8, 1.0)
    tree.expand(tree.nodes[0], [rollout("a", 1.0), rollout("b", 0.0)])
    assert tree.select().id == 0
    tree.expand(tree.nodes[0], [rollout("a\nc", 1.0)])
    a = tree.nodes[1]
    assert a.visits == 2
    assert tree.select() is a


def test_nodes_at_the_greatest_depth_are_not_drawn_from():
    tree = Tree("line", 1, 1.0)
    tree.expand(tree.nodes[0], [rollout("a\nb", 1.0), rollout("c\nd", 0.0)])
    assert tree.select().id == 0


def test_exploring_is_weighed_by_its_constant():
    def chosen(c_puct):
        tree = Tree("line", 8, c_puct)
        many = [rollout("a\nb", 0.6)] * 8 + [rollout("c\nd", 0.5)]
        tree.expand(tree.nodes[0], many)
        return tree.select().step

    # a: .6 + c * (8/9) * 3/9, c: .5 + c * (1/9) * 3/2; a always leads on prior, less so per visit.
    assert chosen(0.0) == "a"
    lead = 0.6 - 0.5 + 1.0 * (8 / 9 * 3 / 9 - 1 / 9 * 3 / 2)
    assert lead > 0
    assert chosen(1.0) == "a"
    tree = Tree("line", 8, 100.0)
    tree.expand(tree.nodes[0], [rollout("a\nb", 0.9)] * 2 + [rollout("c\nd", 0.0)])
    for _ in range(3):
        tree.expand(tree.nodes[1], [rollout("a\ne", 0.9, 1)] * 4)
    assert tree.select().step == "c"


def test_resolving_parts_answers_that_no_draw_has_parted():
    tree = Tree("line", 8, 1.0)
    tree.expand(tree.nodes[0], [rollout("a\nb\nc", 1.0), rollout("a\nb\nd", 0.0)])
    tree.resolve()
    paths = [[tree.nodes[node].step for node in tree.path(r.node)] for r in tree.rollouts]
    assert paths == [["", "a", "\nb", "\nc"], ["", "a", "\nb", "\nd"]]


@settings(max_examples=150, deadline=None)
@given(st.text(max_size=200), st.sampled_from(["sentence", "line", 1, 3]))
@example("0 \n0", "sentence")
@example("a \t\nb", "line")
def test_steps_make_up_the_text_and_beginnings_end_in_no_space(text, step):
    end, at, steps = step_splitter(step), 0, []
    while at < len(text):
        after = end(text, at)
        assert after > at
        steps.append(text[at:after])
        at = after
    assert "".join(steps) == text
    assert all(part == part.rstrip() for part in steps[:-1])


def test_sentences_end_at_their_marks_or_with_the_line():
    text = 'One two. "Three!" said I.\n\n- four\nFive? Six'
    end, at, steps = step_splitter("sentence"), 0, []
    while at < len(text):
        steps.append(text[at : end(text, at)])
        at = end(text, at)
    assert steps == ["One two.", ' "Three!"', " said I.", "\n\n- four", "\nFive?", " Six"]


# --- the search


def hand_made(request, _):
    """Root samples 0 to 2, then what is drawn after "x" and after "y"."""
    messages = list(request["messages"])
    prefix = messages.pop()["content"] if messages[-1]["role"] == "assistant" else ""
    if "days of the week" in messages[-1]["content"]:
        return completion(request, "nesday.")
    said = {
        "": ["x\namber birch", "x\namber", "y\nnothing"],
        "x": ["\namber birch cedar", "\nnothing", "\namber"],
        "y": ["\namber birch cedar daisy", "\namber", "\nnothing"],
    }
    return completion(request, said[prefix][request["seed"]])


def test_search_visits_what_the_scores_say():
    with LLMServer(hand_made) as server:
        done = search(server, rows(1), iterations=2, branching=3)
        sent = [request["messages"][-1] for request in server.requests[1:]]
    # x is worth (2/4 + 1/4) / 2 with two of three samples, y nothing: x is drawn from next.
    assert [message["content"] for message in sent] == ["Request number 0."] * 3 + ["x"] * 3
    assert done.dataset["datamap_scores"] == [[0.5, 0.25, 0.0, 0.75, 0.0, 0.25]]
    told = {node["step"]: (node["visits"], round(node["value"], 4), node["asked"]) for node in done.nodes}
    assert told[""] == (6, round((0.5 + 0.25 + 0 + 0.75 + 0 + 0.25) / 6, 4), 3)
    assert told["x"] == (5, round(1.75 / 5, 4), 3)
    assert told["y"] == (1, 0.0, 0)
    assert told["\namber"] == (2, 0.25, 0)
    assert done.dataset["response_origins"] == [[0, 0, 0, 1, 1, 1]]
    assert done.dataset["response_samples"] == [[0, 1, 2, 0, 1, 2]]


def test_pairs_part_after_a_shared_beginning_and_can_be_traced():
    with LLMServer(StepModel(steps=6, chance=0.5)) as server:
        done = search(server, rows(6, 6), iterations=6)
    pairs = done.pairs(per_prompt=None)
    assert len(pairs) > 20
    nodes = {(node["source_row"], node["node"]): node for node in done.nodes}
    for pair in pairs:
        row = pair["source_row"]
        parent = nodes[row, pair["parent_node"]]
        shared = pair["chosen"][: pair["prefix_chars"]]
        assert pair["depth"] == parent["depth"] >= 1
        assert pair["prefix_chars"] == parent["end"] > 0
        assert pair["rejected"].startswith(shared)
        for side in ("chosen", "rejected"):
            child = nodes[row, pair[f"{side}_node"]]
            assert child["parent"] == parent["node"]
            assert pair[side].startswith(shared + child["step"])
        assert pair["chosen_node"] != pair["rejected_node"]


def test_pairs_are_what_the_verifier_says_again():
    with LLMServer(StepModel(steps=4, chance=0.5)) as server:
        done = search(server, rows(4), iterations=6, self_weight=0.5)
    ids, kwargs = constraints(4)
    checker = Checker(parse_constraints(ids, kwargs))
    for contrast, fits in (("low", lambda c, r: c - r == 1), ((3, 1), lambda c, r: (c, r) == (3, 1))):
        for pair in done.pairs(contrast, per_prompt=None):
            c, r = sum(checker.strict(pair["chosen"])), sum(checker.strict(pair["rejected"]))
            assert fits(c, r)
            assert pair["margin"] == pytest.approx((c - r) / 4)


def test_counts_of_the_tree_add_up():
    with LLMServer(StepModel(steps=5, chance=0.4)) as server:
        done = search(server, rows(3, 5), iterations=7, branching=3)
    for row in range(3):
        nodes = [node for node in done.nodes if node["source_row"] == row]
        assert nodes[0]["visits"] == len(done.dataset["responses"][row]) == 21
        for node in nodes:
            children = [child["visits"] for child in nodes if child["parent"] == node["node"]]
            assert sum(children) <= node["visits"]
        assert sum(node["asked"] for node in nodes) == 21


def test_the_models_own_opinion_is_mixed_in():
    def script(request, count):
        asked = request["messages"][-1]["content"]
        if "Yes or No" not in asked:
            return StepModel()(request, count)
        reply = completion(request, "Yes")
        likely = [("Yes", 0.6), ("No", 0.2), (" yes", 0.1), ("Maybe", 0.1)]
        top = [{"token": token, "logprob": math.log(share)} for token, share in likely]
        reply.json["choices"][0]["logprobs"] = {"content": [{"token": "Yes", "logprob": 0.0, "top_logprobs": top}]}
        return reply

    with LLMServer(script) as server:
        done = search(server, rows(1), iterations=1, self_weight=0.25)
    opinion = 0.7 / 0.9
    assert done.dataset["response_self_evals"][0] == pytest.approx([opinion] * 4)
    mixed = [0.75 * score + 0.25 * opinion for score in done.dataset["datamap_scores"][0]]
    assert done.dataset["response_rewards"][0] == pytest.approx(mixed)


def test_answers_that_do_not_end_are_worth_nothing_and_are_no_responses():
    def script(request, count):
        reply = StepModel(chance=1.0)(request, count)
        if request["messages"][-1]["role"] == "user" and request["seed"] == 1:
            reply.json["choices"][0]["finish_reason"] = "length"
        return reply

    with LLMServer(script) as server:
        done = search(server, rows(1), iterations=1)
    assert [text is None for text in done.dataset["responses"][0]] == [False, True, False, False]
    assert done.dataset["response_errors"][0][1].startswith("truncated")
    assert done.dataset["response_rewards"][0] == [1.0, 0.0, 1.0, 1.0]


def test_tokens_of_a_prompt_are_bounded():
    with LLMServer(StepModel(steps=4)) as server:
        done = search(server, rows(2), iterations=50, tokens_per_prompt=100)
    # Four answers of 20 tokens, less than 100; the next round goes beyond it and is the last.
    assert [len(row) for row in done.dataset["responses"]] == [8, 8]


def test_a_second_run_asks_nothing_and_gives_the_same_tree():
    with LLMServer(StepModel(steps=5)) as server:
        first = search(server, iterations=4)
        second = search(server, iterations=4)
        more = search(server, iterations=6)
    assert second.usage.requests == 0
    assert second.nodes.to_list() == first.nodes.to_list()
    assert more.usage.requests == 2 * 2 * 4
    assert more.dataset["responses"][0][:16] == first.dataset["responses"][0]


def test_kill_and_go_on():
    """After kill -9 the same call grows the same trees and asks only for what is missing."""
    code = textwrap.dedent("""
        import sys
        from tests.generate.test_tree import rows
        from hf_datamap.generate import tree_search
        options = {"step": "line", "iterations": 6, "self_weight": 0.0, "max_in_flight": 2, "progress": False}
        tree_search(rows(4), "step", base_url=sys.argv[1], **options)
    """)
    with LLMServer(StepModel(steps=5), latency=0.05) as server:
        child = subprocess.Popen([sys.executable, "-c", code, server.url], env=dict(os.environ), cwd=ROOT)
        while len(server.requests) < 30 and child.poll() is None:
            time.sleep(0.01)
        child.send_signal(signal.SIGKILL)
        child.wait()
        kept = sum(server.answered.values())
        server.latency = 0.0
        done = search(server, rows(4), iterations=6)
    assert 97 - kept <= done.usage.requests <= 97 - kept + 3
    with LLMServer(StepModel(steps=5)) as server:
        assert search(server, rows(4), iterations=6).nodes.to_list() == done.nodes.to_list()


def test_a_budget_leaves_trees_as_far_as_they_got():
    with LLMServer(StepModel(steps=5)) as server:
        part = search(server, rows(1), iterations=6, budget=dm.Budget(requests=9), max_in_flight=1)
        whole = search(server, rows(1), iterations=6)
    assert part.usage.stopped == "budget of 9 requests reached"
    assert len(part.dataset["responses"][0]) == 8  # one request found out how to go on
    assert whole.dataset["responses"][0][:8] == part.dataset["responses"][0]
    assert whole.usage.requests == 1 + 24 - 9


def test_servers_that_repeat_the_beginning_give_the_same():
    with LLMServer(StepModel(echoes=True)) as echoing, LLMServer(StepModel()) as plain:
        assert search(echoing).dataset["responses"][:] == search(plain).dataset["responses"][:]


def test_an_endpoint_that_begins_anew_is_told_of():
    with LLMServer(StepModel(deaf=True)) as server, pytest.raises(EndpointError, match="does not go on with a given"):
        search(server)


@pytest.mark.parametrize("template", [None, "<user>{prompt}<model>"])
def test_completions_go_on_where_chat_does_not(template):
    model = StepModel(deaf=True)
    with LLMServer(model) as server:
        server.others["/v1/completions"] = model.completions
        server.others["/apply-template"] = lambda body: Reply(
            json={"prompt": f"<user>{body['messages'][0]['content']}<model>"}
        )
        done = search(server, rows(1), template=template, iterations=4)
        asked = [request["prompt"] for request in server.requests if "prompt" in request]
    assert all(prompt.startswith("<user>") and "<model>" in prompt for prompt in asked)
    assert any("grows" in prompt for prompt in asked)
    with LLMServer(StepModel()) as server:
        assert search(server, rows(1), iterations=4).dataset["responses"][:] == done.dataset["responses"][:]


def test_a_template_is_needed_where_the_server_has_none():
    model = StepModel(deaf=True)
    with LLMServer(model) as server:
        server.others["/v1/completions"] = model.completions
        with pytest.raises(EndpointError, match="pass template="):
            search(server, rows(1))


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"iterations": 0}, "iterations"),
        ({"self_weight": 1.5}, "self_weight"),
        ({"step": "word"}, "step"),
        ({"c_puct": -1}, "c_puct"),
        ({"template": "no slot"}, "template"),
        ({"tokens_per_prompt": 0}, "tokens_per_prompt"),
    ],
)
def test_bad_options_name_the_value(options, words):
    with LLMServer(StepModel()) as server, pytest.raises(GenerateError, match=words):
        search(server, **options)


def test_a_verifier_that_needs_requests_is_refused():
    with LLMServer(StepModel()) as server, pytest.raises(GenerateError, match="LLMJudge cannot steer"):
        search(server, scorer=dm.LLMJudge("j", base_url=server.url))


def test_search_beats_sampling_at_equal_tokens():
    """Share of pairs with a shared beginning, and how often an answer with the full score is found."""
    model, count = StepModel(steps=6, chance=0.4, fillers=20), 60
    with LLMServer(model) as server:
        found = search(server, rows(count, 6), iterations=8)
        each = -(-found.usage.output_tokens // (count * 30))  # answers of 30 tokens; sampling gets no fewer tokens
        sampled = rejection_sampling(rows(count, 6), "step", n=each, base_url=server.url, progress=False)
    assert sampled.usage.output_tokens >= found.usage.output_tokens - 12  # the probe
    full = [sum(max(row) == 1.0 for row in run.dataset["datamap_scores"]) for run in (found, sampled)]
    # Sampling: 1 - (1 - .4 ** 6) ** n per prompt, 8 % at n = 20; search draws again after what already went well.
    assert sampled.usage.failed == {}
    assert full[0] > 2 * full[1]
    shares: list[float] = []
    for run in (found, sampled):
        pairs = to_pairs(run.dataset, "low", labels="scores", per_prompt=20)
        shares.append(sum(ratio >= 0.3 for ratio in pairs["shared_prefix_ratio"]) / len(pairs))
    assert shares[0] > 3 * shares[1]


def test_command_writes_nodes_and_sibling_pairs(tmp_path, capsys):
    rows(4).to_parquet(tmp_path / "prompts.parquet")
    out = tmp_path / "out"
    with LLMServer(StepModel()) as server:
        arguments = ["sample", str(tmp_path / "prompts.parquet"), "--method", "mcts", "--model", "step"]
        arguments += ["--base-url", server.url, "--out", str(out), "--step", "line", "--iterations", "5"]
        main([*arguments, "--self-weight", "0", "--contrast", "low", "--json"])
        told = json.loads(capsys.readouterr().out)
    assert told["settings"]["method"] == "mcts"
    assert told["pairs"]["low"] >= 1
    pairs = Dataset.from_parquet(str(out / "pairs-low.parquet"))
    assert {"parent_node", "chosen_node", "rejected_node", "prefix_chars"} <= set(pairs.column_names)
    assert {"visits", "value", "parent", "end"} <= set(Dataset.from_parquet(str(out / "nodes.parquet")).column_names)
    assert len(load_dataset(str(out / "data"), split="train")) == 4


@pytest.mark.skipif(bool(missing_model()), reason=missing_model() or "present")
def test_a_real_small_model():
    ids = ["punctuation:no_comma", "length_constraints:number_words"]
    kwargs = json.dumps([{}, {"num_words": 40, "relation": "less than"}])
    asked = Dataset.from_dict(
        {"prompt": ["Name three colors and say why you like each."], "instruction_id_list": [ids], "kwargs": [kwargs]}
    )
    options = {"iterations": 3, "branching": 2, "max_tokens": 120, "max_in_flight": 2, "progress": False}
    with small_model() as url:
        done = tree_search(asked, "smol", base_url=url, **options)
        again = tree_search(asked, "smol", base_url=url, **options)
    (texts,), (origins,) = done.dataset["responses"], done.dataset["response_origins"]
    assert len(origins) == 6
    assert again.usage.requests == 0
    assert again.nodes.to_list() == done.nodes.to_list()
    nodes = done.nodes.to_list()
    for text, origin in zip(texts, origins, strict=True):
        begin, node = "", origin
        while node > 0:
            begin, node = nodes[node]["step"] + begin, nodes[node]["parent"]
        assert text is None or text.startswith(begin)
    assert any(origin > 0 for origin in origins)
    opinions = [opinion for opinion in done.dataset["response_self_evals"][0] if opinion is not None]
    assert all(0 <= opinion <= 1 for opinion in opinions)
