"""Hand-made rows of the documented shape of every known dataset (``reference/layouts.md``), with what must be read.

Texts are ours; column names and value shapes are the datasets'. Real rows are read in ``test_real_data.py``.
"""

# ruff: noqa: E501 - a table of rows

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Case:
    """A row, and what it must read as. ``prompt`` is (role, content) pairs; ``layout`` settles an ambiguity."""

    name: str
    row: dict[str, Any]
    prompt: list[tuple[str, str]]
    responses: list[str | None]
    annotations: list[float | None] | None
    scores: str | None = None
    found: str = ""
    layout: str | None = None
    references: tuple[str, ...] = ()
    source_id: str | None = None
    more: list[tuple[dict[str, Any], list[float | None] | None]] = field(default_factory=list)


def user(text: str) -> dict[str, str]:
    return {"role": "user", "content": text}


def bot(text: str) -> dict[str, str]:
    return {"role": "assistant", "content": text}


Q, GOOD, BAD = "Why is the sky blue?", "Rayleigh scattering.", "Because of the sea."
ASKED = [("user", Q)]
PAIR = [GOOD, BAD]

CASES = [
    # --- TRL formats
    Case("trl explicit standard", {"prompt": Q, "chosen": GOOD, "rejected": BAD}, ASKED, PAIR, [1.0, 0.0], found="pairs"),
    Case(
        "trl explicit conversational",
        {"prompt": [user(Q)], "chosen": [bot(GOOD)], "rejected": [bot(BAD)]},
        ASKED, PAIR, [1.0, 0.0], found="pairs",
    ),
    Case(
        "trl implicit conversational (Skywork, RLHFlow)",
        {"chosen": [user(Q), bot(GOOD)], "rejected": [user(Q), bot(BAD)], "source": "s"},
        ASKED, PAIR, [1.0, 0.0], found="pairs-implicit",
    ),
    Case(
        "implicit conversations that differ before the last turn (RLHFlow)",
        {"chosen": [user(Q), bot("A1"), user("Go on"), bot("A2")], "rejected": [user(Q), bot("B1"), user("More"), bot("B2")]},
        ASKED, ["A1\n\nUser: Go on\n\nAssistant: A2", "B1\n\nUser: More\n\nAssistant: B2"], [1.0, 0.0],
        found="pairs-implicit",
    ),
    Case(
        "identical conversations",
        {"chosen": [user(Q), bot("same")], "rejected": [user(Q), bot("same")]},
        ASKED, ["same", "same"], [1.0, 0.0], found="pairs-implicit",
    ),
    Case(
        "trl implicit standard (transcripts)",
        {"chosen": f"\n\nHuman: {Q}\n\nAssistant: {GOOD}", "rejected": f"\n\nHuman: {Q}\n\nAssistant: {BAD}"},
        ASKED, PAIR, [1.0, 0.0], found="transcripts",
    ),
    Case(
        "legacy from/value conversations (trl maybe_convert_to_chatml)",
        {
            "chosen": [{"from": "human", "value": Q}, {"from": "gpt", "value": GOOD}],
            "rejected": [{"from": "human", "value": Q}, {"from": "gpt", "value": BAD}],
        },
        ASKED, PAIR, [1.0, 0.0], found="pairs-implicit",
    ),
    Case(
        "HuggingFaceH4/orca_dpo_pairs (the answer has the role system)",
        {
            "prompt": Q,
            "chosen": [{"role": "system", "content": "Be brief."}, user(Q), {"role": "system", "content": GOOD}],
            "rejected": [{"role": "system", "content": "Be brief."}, user(Q), {"role": "system", "content": BAD}],
        },
        [("system", "Be brief."), *ASKED], PAIR, [1.0, 0.0], found="pairs",
    ),
    Case(
        "conversations as a struct of lists (legacy Sequence)",
        {
            "chosen": {"role": ["user", "assistant"], "content": [Q, GOOD]},
            "rejected": {"role": ["user", "assistant"], "content": [Q, BAD]},
            "score_chosen": "9", "score_rejected": "N/A",
        },
        ASKED, PAIR, [1.0, 0.0], "score_chosen,score_rejected", "pairs-implicit",
    ),
    # --- pairs, explicit or redundant prompt
    Case(
        "HuggingFaceH4/ultrafeedback_binarized",
        {
            "prompt": Q, "prompt_id": "p1", "chosen": [user(Q), bot(GOOD)], "rejected": [user(Q), bot(BAD)],
            "messages": [user(Q), bot(GOOD)], "score_chosen": 8.5, "score_rejected": 3.0,
        },
        ASKED, PAIR, [8.5, 3.0], "score_chosen,score_rejected", "ultrafeedback-binarized", source_id="p1",
    ),
    Case(
        "argilla/ultrafeedback-binarized-preferences",
        {
            "instruction": Q, "chosen_response": GOOD, "rejected_response": BAD,
            "chosen_avg_rating": 4.75, "rejected_avg_rating": 2.0, "chosen_model": "a", "rejected_model": "b",
        },
        ASKED, PAIR, [4.75, 2.0], "chosen_avg_rating,rejected_avg_rating", "argilla-ultrafeedback",
    ),
    Case(
        "argilla/ultrafeedback-binarized-preferences-cleaned (hyphens)",
        {
            "prompt": Q, "chosen": [user(Q), bot(GOOD)], "rejected": [user(Q), bot(BAD)],
            "chosen-rating": 5.0, "rejected-rating": 1.5, "chosen-model": "a", "rejected-model": "b",
        },
        ASKED, PAIR, [5.0, 1.5], "chosen-rating,rejected-rating", "argilla-ultrafeedback-cleaned",
    ),
    Case(
        "allenai/llama-3.1-tulu-3-8b-preference-mixture (prompt string is part of the context)",
        {
            "id": "t1", "source": "mix", "prompt": Q,
            "chosen": [user(Q), bot("Let me think."), user("And?"), bot(GOOD)],
            "rejected": [user(Q), bot("Let me think."), user("And?"), bot(BAD)],
        },
        [*ASKED, ("assistant", "Let me think."), ("user", "And?")], PAIR, [1.0, 0.0],
        found="tulu-preference", source_id="t1",
    ),
    Case(
        "Intel/orca_dpo_pairs",
        {"system": "Be brief.", "question": Q, "chosen": GOOD, "rejected": BAD},
        [("system", "Be brief."), *ASKED], PAIR, [1.0, 0.0], found="orca-dpo",
        more=[({"system": "", "question": Q, "chosen": GOOD, "rejected": BAD}, [1.0, 0.0])],
    ),
    Case(
        "argilla/distilabel-intel-orca-dpo-pairs",
        {
            "system": "Be brief.", "input": Q, "chosen": BAD, "rejected": GOOD, "generations": [GOOD, BAD],
            "order": ["rejected", "chosen"], "rating": [9.0, 7.0], "status": "swapped", "original_chosen": GOOD,
            "original_rejected": BAD, "chosen_score": 9.0, "in_gsm8k_train": False,
        },
        [("system", "Be brief."), *ASKED], PAIR, [9.0, 7.0], "rating[]", "distilabel-orca",
    ),
    Case(
        "allenai/reward-bench",
        {
            "prompt": Q, "chosen": GOOD, "chosen_model": "a", "rejected": BAD, "rejected_model": "b",
            "subset": "alpacaeval-easy", "id": 7,
        },
        ASKED, PAIR, [1.0, 0.0], found="reward-bench", source_id="7",
    ),
    Case(
        "allenai/reward-bench-2 (lists)",
        {
            "id": "0", "prompt": Q, "chosen": [GOOD, "Scattering."], "rejected": [BAD, "Magic.", "Paint."],
            "num_correct": 2, "num_incorrect": 3, "total_completions": 5, "models": ["m"] * 5, "subset": "Ties",
        },
        ASKED, [GOOD, "Scattering.", BAD, "Magic.", "Paint."], [1.0, 1.0, 0.0, 0.0, 0.0],
        found="reward-bench-2", source_id="0",
    ),
    Case(
        "openbmb/UltraInteract_pair",
        {
            "task": "math", "trajectory": [{"from": "user", "value": Q}], "chosen": GOOD, "rejected": BAD, "id": "u",
            "parent_id": "v",
        },
        ASKED, PAIR, [1.0, 0.0], found="ultra-interact", source_id="u",
    ),
    Case(
        "LLaMA-Factory (single message dicts)",
        {
            "conversations": [{"from": "system", "value": "Be kind."}, {"from": "human", "value": Q}],
            "chosen": {"from": "gpt", "value": GOOD}, "rejected": {"from": "gpt", "value": BAD},
        },
        [("system", "Be kind."), *ASKED], PAIR, [1.0, 0.0], found="sharegpt-pairs",
    ),
    Case(
        "axolotl chat_template.default (messages, single message dicts)",
        {"messages": [user(Q)], "chosen": bot(GOOD), "rejected": bot(BAD)},
        ASKED, PAIR, [1.0, 0.0], found="pairs",
    ),
    Case(
        "reward model scores under the model's name (AI2 dumps)",
        {
            "chosen": [user(Q), bot(GOOD)], "rejected": [user(Q), bot(BAD)],
            "chosen_score": {"org/rm-v1.5": 2.5}, "rejected_score": {"org/rm-v1.5": -1.0}, "reference_completion": "x",
        },
        ASKED, PAIR, [1.0, 0.0], 'chosen_score."org/rm-v1.5",rejected_score."org/rm-v1.5"', "pairs-implicit",
    ),
    # --- transcripts
    Case(
        "Anthropic/hh-rlhf",
        {
            "chosen": f"\n\nHuman: Hi\n\nAssistant: Hello.\n\nHuman: {Q}\n\nAssistant: {GOOD}",
            "rejected": f"\n\nHuman: Hi\n\nAssistant: Hello.\n\nHuman: {Q}\n\nAssistant: {BAD}",
        },
        [("user", "Hi"), ("assistant", "Hello."), *ASKED], PAIR, [1.0, 0.0], found="transcripts",
    ),
    # --- A/B with a label column
    Case(
        "nvidia/HelpSteer3 preference (negative = response1 better)",
        {
            "domain": "general", "language": "english", "context": [user(Q)], "response1": GOOD, "response2": BAD,
            "overall_preference": -2, "individual_preference": [{"score": -2, "reasoning": "r", "feedback1": "f", "feedback2": "g"}],
        },
        ASKED, PAIR, [2.0, 0.0], found="helpsteer3",
        more=[({"overall_preference": 3}, [0.0, 3.0]), ({"overall_preference": 0}, [0.0, 0.0])],
    ),
    Case(
        "nvidia/HelpSteer2 preference (positive = response_2 better)",
        {
            "split": "train", "prompt": Q, "response_1": GOOD, "response_2": BAD, "preference_strength": 1,
            "preference_statement": "s", "preference_elaboration": "e",
        },
        ASKED, PAIR, [0.0, 1.0], found="helpsteer2-preference",
        more=[({"preference_strength": -3}, [3.0, 0.0]), ({"preference_strength": None}, None)],
    ),
    Case(
        "PKU-Alignment/PKU-SafeRLHF, helpfulness chosen by the user",
        {
            "prompt": Q, "response_0": GOOD, "response_1": BAD, "is_response_0_safe": True, "is_response_1_safe": False,
            "better_response_id": 1, "safer_response_id": 0,
        },
        ASKED, PAIR, [0.0, 1.0], layout="pku-saferlhf-helpful",
    ),
    Case(
        "PKU-Alignment/PKU-SafeRLHF, safety chosen by the user",
        {
            "prompt": Q, "response_0": GOOD, "response_1": BAD, "is_response_0_safe": True, "is_response_1_safe": False,
            "better_response_id": 1, "safer_response_id": 0,
        },
        ASKED, PAIR, [1.0, 0.0], layout="pku-saferlhf-safe",
    ),
    Case(
        "stanfordnlp/SHP (1 = A)",
        {
            "history": Q, "human_ref_A": GOOD, "human_ref_B": BAD, "labels": 1, "score_A": 12, "score_B": 4,
            "score_ratio": 3.0, "domain": "askscience", "post_id": "abc",
        },
        ASKED, PAIR, [1.0, 0.0], "score_A,score_B", "shp", source_id="abc",
        more=[({"labels": 0}, [0.0, 1.0])],
    ),
    Case(
        "openai/webgpt_comparisons",
        {
            "question": {"dataset": "eli5", "id": "q9", "full_text": Q}, "quotes_0": {"title": ["t"], "extract": ["e"]},
            "answer_0": GOOD, "tokens_0": {"prefix": [1], "completion": [2]}, "score_0": 0.5,
            "quotes_1": {"title": ["t"], "extract": ["e"]}, "answer_1": BAD, "tokens_1": {"prefix": [1], "completion": [2]},
            "score_1": -0.5,
        },
        ASKED, PAIR, [0.5, -0.5], found="webgpt", source_id="q9", more=[({"score_0": 0.0, "score_1": 0.0}, [0.0, 0.0])],
    ),
    Case(
        "openai/summarize_from_feedback comparisons, Reddit",
        {
            "info": {"id": "t3", "post": "I went to the sea.", "title": "Sea", "subreddit": "travel", "site": None, "article": None},
            "summaries": [{"text": GOOD, "policy": "sup", "note": None}, {"text": BAD, "policy": "ref", "note": None}],
            "choice": 1, "worker": "w", "batch": "batch3", "split": "train", "extra": {"confidence": 5},
        },
        [("user", "Summarize the following text.\n\nSea\n\nI went to the sea.")], PAIR, [0.0, 1.0],
        found="summarize-from-feedback", source_id="t3", more=[({"choice": 0}, [1.0, 0.0])],
    ),
    Case(
        "openai/summarize_from_feedback comparisons, CNN/DM",
        {
            "info": {"id": "c", "post": None, "title": None, "subreddit": None, "site": "cnn", "article": "News of the day."},
            "summaries": [{"text": GOOD, "policy": "sup", "note": None}, {"text": BAD, "policy": "ref", "note": None}],
            "choice": 0, "worker": "w", "batch": "cnndm0", "split": "train", "extra": {"confidence": None},
        },
        [("user", "Summarize the following text.\n\nNews of the day.")], PAIR, [1.0, 0.0], found="summarize-from-feedback",
        source_id="c",
    ),
    Case(
        "lmarena-ai/arena-human-preference-140k (content blocks, sides differ)",
        {
            "id": "a1", "model_a": "x", "model_b": "y", "winner": "model_b",
            "conversation_a": [
                {"role": "user", "content": [{"type": "text", "text": Q, "image": None, "mimeType": None}]},
                {"role": "assistant", "content": [{"type": "text", "text": GOOD, "image": None, "mimeType": None}]},
            ],
            "conversation_b": [
                {"role": "user", "content": [{"type": "text", "text": Q, "image": None, "mimeType": None}]},
                {"role": "assistant", "content": [{"type": "text", "text": BAD, "image": None, "mimeType": None}]},
            ],
            "language": "en", "is_code": False,
        },
        ASKED, PAIR, [0.0, 1.0], found="arena-conversations", source_id="a1",
        more=[({"winner": "tie"}, [0.5, 0.5]), ({"winner": "both_bad"}, [0.0, 0.0]), ({"winner": "model_a"}, [1.0, 0.0])],
    ),
    Case(
        "lmsys/lmsys-arena-human-preference-55k (JSON strings, one-hot)",
        {
            "id": 3, "model_a": "x", "model_b": "y", "prompt": f'["{Q}"]', "response_a": f'["{GOOD}"]',
            "response_b": f'["{BAD}"]', "winner_model_a": 1, "winner_model_b": 0, "winner_tie": 0,
        },
        ASKED, PAIR, [1.0, 0.0], found="arena-55k", source_id="3",
        more=[
            ({"winner_model_a": 0, "winner_tie": 1}, [0.5, 0.5]),
            ({"winner_model_a": 0, "winner_model_b": 1}, [0.0, 1.0]),
        ],
    ),
    Case(
        "lmsys-arena-human-preference-55k, two turns",
        {
            "id": 4, "model_a": "x", "model_b": "y", "prompt": '["Hi", "Why?"]', "response_a": '["A1", "A2"]',
            "response_b": '["B1", null]', "winner_model_a": 0, "winner_model_b": 1, "winner_tie": 0,
        },
        [("user", "Hi")], ["A1\n\nUser: Why?\n\nAssistant: A2", "B1\n\nUser: Why?\n\nAssistant: "], [0.0, 1.0],
        found="arena-55k", source_id="4",
    ),
    Case(
        "lmsys-arena-human-preference-55k, null inside",
        {
            "id": 5, "model_a": "x", "model_b": "y", "prompt": f'["{Q}"]', "response_a": "[null]",
            "response_b": f'["{BAD}"]', "winner_model_a": 0, "winner_model_b": 1, "winner_tie": 0,
        },
        ASKED, [None, BAD], [0.0, 1.0], found="arena-55k", source_id="5",
    ),
    Case(
        "lmsys/chatbot_arena_conversations",
        {
            "question_id": "q", "model_a": "x", "model_b": "y", "winner": "tie (bothbad)", "judge": "arena_user_1",
            "conversation_a": [user(Q), bot(GOOD)], "conversation_b": [user(Q), bot(BAD)], "turn": 1, "language": "English",
        },
        ASKED, PAIR, [0.0, 0.0], found="arena-conversations", source_id="q",
        more=[({"winner": "model_a"}, [1.0, 0.0]), ({"winner": "tie"}, [0.5, 0.5])],
    ),
    # --- K > 2 in one row
    Case(
        "openbmb/UltraFeedback",
        {
            "source": "evol", "instruction": Q, "models": ["a", "b", "c"],
            "completions": [
                {
                    "model": m, "response": r, "critique": "c", "overall_score": s, "fine-grained_score": f,
                    "annotations": {"honesty": {"Rating": "N/A", "Rationale": "r"}},
                }
                for m, r, s, f in [("a", BAD, 2.0, 1.5), ("b", GOOD, 9.0, float("nan")), ("c", None, None, 3.0)]
            ],
            "correct_answers": ["None"], "incorrect_answers": ["None"],
        },
        ASKED, [BAD, GOOD, None], [2.0, 9.0, None], "completions[].overall_score", "ultrafeedback",
    ),
    Case(
        "openbmb/UltraFeedback copy without overall_score (hyphen in the field)",
        {
            "instruction": Q,
            "completions": [{"model": "a", "response": GOOD, "fine-grained_score": 4.5}, {"model": "b", "response": BAD, "fine-grained_score": float("nan")}],
        },
        ASKED, PAIR, [4.5, None], "completions[].fine-grained_score", "ultrafeedback-fine-grained",
    ),
    Case(
        "princeton-nlp/llama3-ultrafeedback",
        {
            "prompt_id": "p", "prompt": Q, "all_generated_responses": [BAD, GOOD], "all_rm_scores": [0.1, 0.2],
            "chosen": [user(Q), bot(GOOD)], "rejected": [user(Q), bot(BAD)],
        },
        ASKED, [BAD, GOOD], [0.1, 0.2], "all_rm_scores[]", "simpo-ultrafeedback", source_id="p",
    ),
    Case(
        "lvwerra/stack-exchange-paired (j is preferred)",
        {"qid": 1, "question": Q, "date": "d", "metadata": ["m"], "response_j": GOOD, "response_k": BAD},
        ASKED, PAIR, [1.0, 0.0], found="pairs",
    ),
    Case(
        "one chosen text, a list of rejected ones",
        {"prompt": Q, "chosen": GOOD, "rejected": [BAD, "Magic."]},
        ASKED, [GOOD, BAD, "Magic."], [1.0, 0.0, 0.0], found="pairs",
    ),
    Case(
        "berkeley-nest/Nectar (1 = best)",
        {
            "prompt": f"\n\nHuman: {Q}\n\nAssistant: ", "turns": 1, "num_responses": 3, "source": ["s"], "good_natured": True,
            "answers": [{"answer": GOOD, "model": "a", "rank": 1.0}, {"answer": "Light.", "model": "b", "rank": 2.0}, {"answer": BAD, "model": "c", "rank": 3.0}],
        },
        ASKED, [GOOD, "Light.", BAD], [-1.0, -2.0, -3.0], found="nectar",
    ),
    # --- lists of responses and numbered columns
    Case(
        "a list of responses with a parallel list of scores",
        {"prompt": Q, "responses": [BAD, GOOD, None], "scores": ["1", "7.5", "N/A"]},
        ASKED, [BAD, GOOD, None], [1.0, 7.5, None], "scores[]", "response-list",
    ),
    Case(
        "a list of responses as JSON",
        {"prompt": Q, "responses": f'["{BAD}", "{GOOD}"]'},
        ASKED, [BAD, GOOD], None, found="response-list",
    ),
    Case(
        "lettered responses with a winner in words",
        {"question": Q, "answer_a": GOOD, "answer_b": BAD, "winner": "A"},
        ASKED, PAIR, [1.0, 0.0], found="numbered-answers", more=[({"winner": "tie"}, [0.5, 0.5])],
    ),
    Case(
        "numbered responses with scores",
        {"instruction": Q, "input": "Briefly.", "response_0": GOOD, "response_1": BAD, "score_0": 3, "score_1": 1},
        [("user", f"{Q}\n\nBriefly.")], PAIR, [3.0, 1.0], "score_0,score_1", "numbered-responses",
    ),
    Case(
        "numbered responses whose label is a bare number",
        {"question": Q, "response_1": GOOD, "response_2": BAD, "choice": 1},
        ASKED, PAIR, None, found="numbered-responses",
    ),
]  # fmt: skip
