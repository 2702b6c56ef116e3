"""Reward models: tiny real ones on disk, loaded by the real code; and served ones."""

import asyncio
import importlib.util
import pickle
import shutil
import textwrap

import pytest
from datasets import Dataset

import hf_datamap as dm
from hf_datamap.engine.batcher import Batcher
from hf_datamap.errors import ScorerError
from tests.servers.llm import LLMServer, Reply, error

needs_transformers = pytest.mark.skipif(
    any(importlib.util.find_spec(name) is None for name in ("torch", "transformers")),
    reason="needs the extra 'reward' (torch, transformers)",
)

ROWS = [
    {
        "prompt": [{"role": "system", "content": "Be kind."}, {"role": "user", "content": f"Question {i}?"}],
        "responses": [f"An answer to question {i}. " * (1 + 5 * i), "No.", None, "  "],
    }
    for i in range(5)
]


def annotated(scorer, rows=ROWS, **options):
    return dm.annotate(Dataset.from_list(rows), scorer, progress=False, **options)


TEMPLATE = "{{ bos_token }}{% for m in messages %}<{{ m['role'] }}>{{ m['content'] }}</s>{% endfor %}"


def tokenizer(chat=True):
    """A byte-level tokenizer, made here."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {token: place for place, token in enumerate(["<s>", "</s>", "<unk>", *alphabet])}
    inner = Tokenizer(models.BPE(vocabulary, [], unk_token="<unk>"))
    inner.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    inner.decoder = decoders.ByteLevel()
    made = PreTrainedTokenizerFast(tokenizer_object=inner, bos_token="<s>", eos_token="</s>", unk_token="<unk>")
    made.chat_template = TEMPLATE if chat else None
    return made


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    import torch
    from transformers import BertConfig, BertForSequenceClassification, LlamaConfig, LlamaForSequenceClassification

    root = tmp_path_factory.mktemp("models")
    torch.manual_seed(0)
    sizes = {
        "vocab_size": 300,
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "max_position_embeddings": 256,
    }
    llama = LlamaForSequenceClassification(LlamaConfig(**sizes, num_labels=1, initializer_range=0.5))
    llama.save_pretrained(root / "llama")
    tokenizer().save_pretrained(root / "llama")
    labels = {0: "helpful", 1: "harmless", 2: "honest"}
    bert = BertForSequenceClassification(BertConfig(**sizes, num_labels=3, id2label=labels, initializer_range=0.5))
    bert.save_pretrained(root / "bert")
    tokenizer(chat=False).save_pretrained(root / "bert")
    _custom(root / "custom", sizes)
    return root


def _custom(folder, sizes):
    """A model with code and outputs of its own, shaped like ArmoRM."""
    from transformers import LlamaConfig, LlamaForSequenceClassification

    config = LlamaConfig(**sizes, num_labels=3, initializer_range=0.5)
    LlamaForSequenceClassification(config).save_pretrained(folder)
    tokenizer().save_pretrained(folder)
    (folder / "modeling_gated.py").write_text(
        textwrap.dedent(
            """
            from dataclasses import dataclass
            import torch
            from transformers import LlamaForSequenceClassification
            from transformers.utils import ModelOutput

            @dataclass
            class Gated(ModelOutput):
                rewards: torch.Tensor | None = None
                score: torch.Tensor | None = None
                logits: torch.Tensor | None = None

            class GatedReward(LlamaForSequenceClassification):
                def forward(self, **inputs):
                    rewards = super().forward(**inputs).logits
                    return Gated(rewards=rewards, score=rewards.mean(dim=1), logits=rewards)
            """
        )
    )
    import json

    path = folder / "config.json"
    data = json.loads(path.read_text())
    data["auto_map"] = {"AutoModelForSequenceClassification": "modeling_gated.GatedReward"}
    data["model_type"] = "llama"
    path.write_text(json.dumps(data))


def bare(folder, row, response):
    """The reward of one response by itself, straight from transformers."""
    import torch
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    tokens = AutoTokenizer.from_pretrained(folder)
    model = AutoModelForSequenceClassification.from_pretrained(folder).eval()
    text = tokens.apply_chat_template([*row["prompt"], {"role": "assistant", "content": response}], tokenize=False)
    ids = tokens(text, add_special_tokens=False, return_tensors="pt")["input_ids"][:, -256:]
    with torch.inference_mode():
        return float(model(ids).logits[0, 0])


@needs_transformers
def test_rewards_are_the_models_own(folders):
    scorer = dm.RewardModel(str(folders / "llama"), batch_size=4)
    table, data_map = annotated(scorer)
    for row, scores in zip(ROWS, table["datamap_scores"], strict=True):
        assert scores[0] == pytest.approx(bare(folders / "llama", row, row["responses"][0]), abs=1e-3)
        assert scores[1] == pytest.approx(bare(folders / "llama", row, "No."), abs=1e-3)
        assert scores[2:] == [None, None]
    assert len({round(score, 3) for scores in table["datamap_scores"] for score in scores[:2]}) > 6
    assert data_map.provenance["usage"]["requests"] == 10
    assert len(pickle.dumps(scorer)) < 2000
    again, second = annotated(pickle.loads(pickle.dumps(scorer)))
    assert again["datamap_scores"] == table["datamap_scores"]
    assert second.provenance["usage"]["requests"] == 0


@needs_transformers
def test_long_conversations_are_cut_at_the_beginning_or_refused(folders):
    end = "the very same end " * 20
    rows = [{"prompt": "x" * 300, "responses": ["A" * 50 + end, "B" * 50 + end]}]
    cut, _ = annotated(dm.RewardModel(str(folders / "llama")), rows)
    first, second = cut["datamap_scores"][0]
    assert first == pytest.approx(second, abs=1e-5)
    refused, _ = annotated(
        dm.RewardModel(str(folders / "llama"), long_texts="refuse"),
        [*rows, {"prompt": "Q", "responses": ["short", "x"]}],
    )
    assert refused["datamap_scores"][0] == [None, None]
    assert "too long for the reward model" in refused["datamap_error"][0]
    assert refused["datamap_scores"][1][0] is not None


@needs_transformers
def test_a_model_with_several_labels_needs_one_named(folders):
    rows = [{"prompt": "Q", "responses": ["yes", "no, " * 200]}]
    with pytest.raises(dm.DataMapError, match=r"several numbers.*helpful, harmless, honest"):
        annotated(dm.RewardModel(str(folders / "bert")), rows)
    with pytest.raises(dm.DataMapError, match="no single number 'nice'"):
        annotated(dm.RewardModel(str(folders / "bert"), output="nice"), rows)
    by_label, by_place = (
        annotated(dm.RewardModel(str(folders / "bert"), output=output), rows)[0]["datamap_scores"][0]
        for output in ("honest", "logits[2]")
    )
    assert by_label == by_place
    assert None not in by_label


@needs_transformers
def test_a_model_with_code_of_its_own_must_be_trusted(folders):
    with pytest.raises(dm.DataMapError, match="trust_remote_code=True"):
        annotated(dm.RewardModel(str(folders / "custom"), output="score"), ROWS[:1])
    score, *rewards = (
        annotated(dm.RewardModel(str(folders / "custom"), output=output, trust_remote_code=True), ROWS[:1])[0][
            "datamap_scores"
        ][0][0]
        for output in ("score", "rewards[0]", "rewards[1]", "rewards[2]")
    )
    assert score == pytest.approx(sum(rewards) / 3, abs=1e-5)


@needs_transformers
@needs_transformers
@pytest.mark.parametrize("output", [None, "logits[0]", "LABEL_0"])
def test_a_checkpoint_without_its_head_is_refused(folders, tmp_path, output):
    """Transformers makes up what is missing: other scores in each process, all of them noise."""
    from safetensors.torch import load_file, save_file
    from transformers import LlamaConfig, LlamaForCausalLM

    base = tmp_path / "base"
    config = LlamaConfig.from_pretrained(folders / "llama")
    LlamaForCausalLM(config).save_pretrained(base)
    renamed = tmp_path / "renamed"
    shutil.copytree(folders / "llama", renamed)
    weights = load_file(renamed / "model.safetensors")
    weights["value_head.weight"] = weights.pop("score.weight")
    save_file(weights, renamed / "model.safetensors", metadata={"format": "pt"})
    reshaped = tmp_path / "reshaped"
    shutil.copytree(folders / "llama", reshaped)
    weights["score.weight"] = weights.pop("value_head.weight").repeat(3, 1)
    save_file(weights, reshaped / "model.safetensors", metadata={"format": "pt"})
    for folder, words in ((base, "score.weight"), (renamed, "value_head.weight"), (reshaped, "")):
        tokenizer().save_pretrained(folder)
        with pytest.raises(ScorerError, match=rf"(?s){folder.name}.*{words}"):
            annotated(dm.RewardModel(str(folder), output=output, device="cpu"))


@needs_transformers
def test_a_decoder_without_a_chat_template_is_refused_or_given_one(folders, tmp_path):
    plain = tmp_path / "plain"
    shutil.copytree(folders / "llama", plain)
    tokenizer(chat=False).save_pretrained(plain)
    (plain / "chat_template.jinja").unlink(missing_ok=True)
    with pytest.raises(ScorerError, match="no chat template"):
        annotated(dm.RewardModel(str(plain), device="cpu"))
    given = dm.RewardModel(str(plain), device="cpu", chat_template=TEMPLATE)
    assert given.identity != dm.RewardModel(str(plain), device="cpu").identity
    scores = annotated(given)[0]["datamap_scores"][:]
    assert scores == annotated(dm.RewardModel(str(folders / "llama"), device="cpu"))[0]["datamap_scores"][:]


def test_a_missing_model_is_told(tmp_path):
    """In an environment without torch the extra is what is missing."""
    with pytest.raises(dm.DataMapError, match=r"cannot load the reward model|needs? .*torch and transformers"):
        annotated(dm.RewardModel(str(tmp_path / "none")))


def test_what_cannot_work_is_tried_once_for_all_that_wait():
    """Looking for a model on an unreachable Hub takes a minute."""
    tried = []

    def work(items):
        tried.append(items)
        raise ScorerError("no such model")

    async def submit_many():
        batcher = Batcher(work, 2)
        return await asyncio.gather(*(batcher.submit(i, i) for i in range(20)), return_exceptions=True)

    assert {str(result) for result in asyncio.run(submit_many())} == {"no such model"}
    assert len(tried) == 1


@needs_transformers
def test_a_text_that_breaks_the_model_costs_no_other_its_score(folders):
    picky = tokenizer()
    picky.chat_template = TEMPLATE.replace(
        "<{{", "{% if 'boom' in m['content'] %}{{ raise_exception('no') }}{% endif %}<{{"
    )
    import shutil

    folder = folders / "picky"
    shutil.copytree(folders / "llama", folder, dirs_exist_ok=True)
    picky.save_pretrained(folder)
    rows = [{"prompt": "Q", "responses": [f"answer {i}", "boom" if i == 3 else "fine"]} for i in range(6)]
    table, _ = annotated(dm.RewardModel(str(folder)), rows)
    assert list(table["datamap_status"]) == ["ok", "ok", "ok", "partial", "ok", "ok"]
    assert "TemplateError" in table["datamap_error"][3]


@pytest.mark.parametrize("server", ["vllm", "tei"])
def test_served_reward_models(server):
    with LLMServer() as there:
        scorer = dm.RewardModel("rm", base_url=there.url.removesuffix("/v1"), server=server, api_key="sk-hidden-1")
        table, _ = annotated(scorer)
        for row, scores in zip(ROWS, table["datamap_scores"], strict=True):
            assert scores == [pytest.approx(len(row["responses"][0]) / 10), pytest.approx(0.3), None, None]
        assert len(there.requests) == 10
        if server == "vllm":
            assert there.requests[0]["messages"][0] == {"role": "system", "content": "Be kind."}
            assert there.requests[0]["messages"][-1]["role"] == "assistant"
            assert there.requests[0]["use_activation"] is False
        assert b"sk-hidden-1" not in pickle.dumps(scorer)


def test_a_server_that_gives_no_number():
    with LLMServer() as there:
        there.others["/classify"] = lambda request: Reply(json={"data": [{"probs": [float(1), None]}]})
        with pytest.raises(dm.DataMapError, match="2 numbers per response"):
            annotated(dm.RewardModel("rm", base_url=there.url))
        scorer = dm.RewardModel("rm", base_url=there.url, output="probs[1]")
        assert set(annotated(scorer)[0]["datamap_status"]) == {"failed"}
        there.others["/classify"] = lambda request: error(413, "Input is too long")
        assert "Input is too long" in annotated(scorer)[0]["datamap_error"][0]
        del there.others["/classify"]
        with pytest.raises(dm.DataMapError, match="404"):
            annotated(scorer)


def test_options_are_checked():
    for wrong in ({"dtype": "int4"}, {"long_texts": "drop"}, {"server": "other"}, {"batch_size": 0}, {"max_length": 0}):
        with pytest.raises(dm.DataMapError):
            dm.RewardModel("m", **wrong)
