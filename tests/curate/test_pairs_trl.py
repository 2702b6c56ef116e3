"""Pairs as TRL sees them: its own format functions, and two steps of DPO on a tiny random model."""

from __future__ import annotations

import pytest
from datasets import Dataset

from hf_datamap.curate.pairs import to_pairs

pytest.importorskip("trl", reason="trl is not installed: pip install 'hf_datamap[trl]'")
pytest.importorskip("torch", reason="torch is not installed: pip install 'hf_datamap[trl]'")

VOCABULARY = 128


def source(*, conversation: bool) -> Dataset:
    prompts = [f"What is {k} plus {k}?" for k in range(12)]
    return Dataset.from_dict(
        {
            "prompt": [[{"role": "user", "content": p}] for p in prompts] if conversation else prompts,
            "responses": [[f"It is {2 * k}.", f"It is {2 * k + 1}.", "I do not know.", "Four."] for k in range(12)],
            "datamap_scores": [[1.0 - k / 100, 0.4, 0.2, 0.1] for k in range(12)],
        }
    )


@pytest.fixture(scope="module")
def model_and_tokenizer(tmp_path_factory):
    """A two-layer random model and a character tokenizer, built and loaded from disk: nothing is downloaded."""
    import torch
    from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers
    from transformers import AutoModelForCausalLM, AutoTokenizer, GPT2Config, GPT2LMHeadModel, PreTrainedTokenizerFast

    folder = tmp_path_factory.mktemp("tiny")
    characters = ["<unk>", "<pad>", "<eos>", *(chr(code) for code in range(32, 127)), "\n"]
    bare = Tokenizer(models.WordLevel({c: k for k, c in enumerate(characters)}, unk_token="<unk>"))
    bare.pre_tokenizer = pre_tokenizers.Split(Regex("[\\s\\S]"), "isolated")
    bare.decoder = decoders.Fuse()
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=bare, unk_token="<unk>", pad_token="<pad>", eos_token="<eos>")
    tokenizer.chat_template = (
        "{% for m in messages %}{{ m['role'] + ': ' + m['content'] + '\n' }}{% endfor %}"
        "{% if add_generation_prompt %}{{ 'assistant: ' }}{% endif %}"
    )
    tokenizer.save_pretrained(folder)
    torch.manual_seed(0)
    config = GPT2Config(
        vocab_size=VOCABULARY, n_positions=256, n_embd=16, n_layer=2, n_head=2, eos_token_id=2, bos_token_id=2
    )
    GPT2LMHeadModel(config).save_pretrained(folder)
    return AutoModelForCausalLM.from_pretrained(folder), AutoTokenizer.from_pretrained(folder)


@pytest.mark.parametrize("conversation", [False, True])
def test_trl_recognises_the_format(conversation, model_and_tokenizer):
    from trl import apply_chat_template, extract_prompt, is_conversational

    pair = to_pairs(source(conversation=conversation))[0]
    assert is_conversational(pair) is conversation
    if conversation:
        told = apply_chat_template({k: pair[k] for k in ("prompt", "chosen", "rejected")}, model_and_tokenizer[1])
        assert told["prompt"] == "user: What is 0 plus 0?\nassistant: "
        assert told["chosen"] == "It is 0.\n"
        assert told["rejected"] == "Four.\n"
        implicit = {side: pair["prompt"] + pair[side] for side in ("chosen", "rejected")}
        assert extract_prompt(implicit) == {k: pair[k] for k in ("prompt", "chosen", "rejected")}
    else:
        assert (pair["prompt"], pair["chosen"], pair["rejected"]) == ("What is 0 plus 0?", "It is 0.", "Four.")


@pytest.mark.parametrize("conversation", [False, True])
def test_two_steps_of_dpo(conversation, model_and_tokenizer, tmp_path):
    import copy
    import math

    import torch
    from trl import DPOConfig, DPOTrainer

    model, tokenizer = model_and_tokenizer
    trained = copy.deepcopy(model)
    before = trained.transformer.h[0].mlp.c_fc.weight.detach().clone()
    settings = DPOConfig(
        output_dir=str(tmp_path),
        max_steps=2,
        per_device_train_batch_size=4,
        learning_rate=1e-2,
        report_to=[],
        use_cpu=True,
        bf16=False,
        save_strategy="no",
        logging_steps=1,
        disable_tqdm=True,
    )
    pairs = to_pairs(source(conversation=conversation))
    trainer = DPOTrainer(model=trained, args=settings, train_dataset=pairs, processing_class=tokenizer)
    trainer.train()
    losses = [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]
    assert len(losses) == 2
    assert losses[0] == pytest.approx(math.log(2), abs=0.01)  # policy and reference are equal at first
    assert not torch.equal(before, trainer.model.transformer.h[0].mlp.c_fc.weight)
