"""Names of columns: the words under which prompts, responses, labels and context go, and how a name is taken apart."""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import lru_cache
from typing import Final

_WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+|[^\W\d_]+")

#: Names under which a prompt column goes when no known layout fits, in order of preference.
PROMPTS: Final = ("prompt", "instruction", "question", "query", "input")
#: Further names of prompts, looked at when none of `PROMPTS` is there.
OTHER_PROMPTS: Final = (
    "user_prompt", "problem", "user_input", "user_query", "user_question", "user_message", "user_instruction",
    "request", "user_request", "original_prompt", "prompt_text", "input_text", "question_text", "instruction_text",
    "task_prompt", "problem_statement", "task_description", "human", "user", "src", "full_prompt", "input_prompt",
    "prompts", "task", "questions", "orig_instruction", "orig_prompt", "orig_question", "body", "selftext",
    "post_text", "query_text",
)  # fmt: skip
#: Prompt columns that hold turns, looked at when none of the above is there.
HISTORIES: Final = (
    "messages",
    "conversations",
    "conversation",
    "contents",
    "context",
    "history",
    "post",
    "dialogue",
    "dialog",
)
#: Turns before the prompt, beside a column that holds the prompt.
EARLIER_TURNS: Final = (
    "history", "chat_history", "conversation_history", "dialogue_history", "dialog_history", "previous_turns",
    "past_messages", "prior_turns", "previous_messages", "context_messages",
)  # fmt: skip
#: Texts that a prompt is about, beside a column that holds the prompt; they come before it.
CONTEXTS: Final = (
    "title", "subject", "context", "passage", "document", "article", "background", "paragraph", "source_text",
    "reference_text", "scenario", "history", "dialogue", "dialog", "knowledge", "evidence", "retrieved_context",
    "contexts", "passages", "documents", "source_document", "story", "transcript", "schema", "code_context",
)  # fmt: skip
#: Names of texts that may belong to the prompt although no rule reads them: they are pointed out, not guessed at.
SUSPECTS: Final = frozenset(
    {
        *PROMPTS, *OTHER_PROMPTS, *HISTORIES, *EARLIER_TURNS, *CONTEXTS, "prefix", "persona", "profile", "few_shot",
        "examples", "demonstrations", "hint", "hints", "table", "options", "choices", "test", "tests",
        "starter_code",
    }
)  # fmt: skip
SYSTEMS: Final = (
    "system", "system_prompt", "system_message", "system_instruction", "system_instructions", "sys_prompt",
    "sysprompt",
)  # fmt: skip
PREFIXES: Final = ("prefix", "response_prefix", "partial_response", "initial_steps")
TOOLS: Final = ("tools", "functions", "available_tools", "tool_definitions", "function_definitions")
IMAGES: Final = frozenset(
    {
        "image", "images", "img", "imgs", "image_path", "image_paths", "image_url", "image_urls", "image_file",
        "image_files", "image_bytes", "image_base64", "picture", "pictures", "photo", "photos", "screenshot",
        "screenshots", "img_path", "image_list", "image_0", "image_1", "image_2",
    }
)  # fmt: skip
MEDIA: Final = frozenset(("video", "videos", "audio", "audios", "video_path", "audio_path", "speech"))

#: Words for the preferred and the other one of two responses.
PAIRS: Final = (
    ("chosen", "rejected"), ("chosen", "reject"), ("choose", "reject"), ("accepted", "rejected"), ("accept", "reject"),
    ("preferred", "dispreferred"), ("preferred", "rejected"), ("preferred", "unpreferred"), ("preferred", "other"),
    ("preferred", "nonpreferred"), ("preferred", "non_preferred"), ("preferred", "not_preferred"),
    ("selected", "rejected"), ("selected", "unselected"), ("better", "worse"), ("best", "worst"), ("good", "bad"),
    ("positive", "negative"), ("pos", "neg"), ("win", "lose"), ("win", "loss"), ("winner", "loser"),
    ("winning", "losing"), ("correct", "incorrect"), ("right", "wrong"), ("safe", "unsafe"),
    ("desirable", "undesirable"), ("desired", "undesired"), ("liked", "disliked"), ("upvoted", "downvoted"),
    ("helpful", "unhelpful"), ("favored", "unfavored"), ("favored", "disfavored"), ("superior", "inferior"),
    ("strong", "weak"), ("high_quality", "low_quality"), ("truthful", "untruthful"), ("aligned", "unaligned"),
    ("thumbs_up", "thumbs_down"), ("acceptable", "unacceptable"), ("ideal", "flawed"),
    ("harmless", "harmful"), ("yw", "yl"), ("w", "l"), ("j", "k"),
)  # fmt: skip
#: Words that may stand beside those of `PAIRS` in the name of a response.
PAIR_STEMS: Final = frozenset(
    {
        "response", "responses", "answer", "answers", "output", "outputs", "completion", "completions", "text",
        "texts", "message", "messages", "conversation", "conversations", "conv", "reply", "summary", "generation",
        "generations", "sample", "dialogue", "dialog", "content", "code", "solution", "trajectory", "assistant", "y",
        "turn", "option", "edited", "example", "examples", "sentence", "translation", "chat", "resp", "ans",
    }
)  # fmt: skip
#: Pairs that say too little without one of `PAIR_STEMS`.
WEAK_PAIRS: Final = frozenset(
    (("w", "l"), ("j", "k"), ("correct", "incorrect"), ("right", "wrong"), ("win", "lose"), ("win", "loss"),
     ("preferred", "other"), ("best", "worst"), ("winner", "loser"))
)  # fmt: skip

#: Words for a response in the name of a numbered or lettered column: ``answer_a``, ``response1``, ``prediction 3``.
STEMS: Final = frozenset(
    {
        "response", "answer", "output", "completion", "prediction", "generation", "candidate", "reply", "summary",
        "sample", "continuation", "rollout", "solution", "translation", "hypothesis", "assistant", "resp", "result",
    }
)  # fmt: skip
#: Words that may stand beside those of `STEMS`.
STEM_COMPANY: Final = frozenset(
    {
        "model", "llm", "ai", "bot", "assistant", "orig", "original", "generated", "candidate", "system", "text",
        "final", "raw", "human", "ref", "from", "chat", "agent", "the", "full",
    }
)  # fmt: skip
#: Label columns beside several responses, the first that can be read is taken.
CHOICES: Final = (
    "winner", "label", "preference", "choice", "better", "preferred", "verdict", "chosen", "comparison", "best",
    "preferred_response", "better_response", "chosen_response", "human_preference", "human_label", "selected",
    "labels", "judgment", "judgement", "decision", "selection", "overall_preference", "winning_model",
    "winner_model", "preferred_model", "better_model", "best_response", "chosen_model", "answer_preference",
    "orig_preference", "rating", "human_choice", "annotation", "human_annotation", "majority_vote", "majority",
    "gold_label", "ground_truth_label", "preferred_answer", "better_answer", "preferred_output", "better_output",
    "human_judgment", "human_verdict", "vote", "votes", "preferred_completion", "gpt4_preference",
    "expert_preference", "result", "outcome",
)  # fmt: skip
#: Columns that name a response by its place: numbers, counted from 0 or from 1.
INDICES: Final = (
    "best", "best_index", "best_idx", "chosen_index", "chosen_idx", "preferred_index", "preferred_idx",
    "winner_index", "winner_idx", "better_index", "best_id", "chosen_id", "better_response_id",
    "preferred_response_id", "best_response", "best_of_n_index", "label_index", "selected_index", "winner_id",
    "preferred_id", "chosen", "better_id", "safer_response_id",
)  # fmt: skip
#: List columns of responses, and the field names of a response within a list of structs.
LISTS: Final = (
    "responses", "completions", "answers", "outputs", "generations", "candidates", "samples", "output", "rollouts",
    "response", "all_responses", "all_generated_responses", "model_responses", "model_outputs", "predictions",
    "continuations", "sampled_responses", "replies", "solutions", "candidate_responses", "generated_responses",
    "generated_text", "generated_texts", "choices_text", "response_list", "completion", "summaries", "translations",
    "hypotheses", "comments", "new_generations", "trajectories", "conversations_list", "ranked_responses",
    "llm_responses",
)  # fmt: skip
LIST_TEXTS: Final = (
    "response", "text", "answer", "completion", "output", "content", "generation", "response_text", "answer_text",
    "message", "body", "reply", "generated_text", "value", "summary", "messages", "conversation", "candidate",
    "translation", "solution", "prediction", "model_output",
)  # fmt: skip
#: Score columns parallel to `LISTS`, or score fields within their structs; those of ranks are lower for better.
LIST_SCORES: Final = (
    "annotations", "scores", "ratings", "rating", "rewards", "preferences", "preference", "score", "reward",
    "all_rm_scores", "rm_scores", "reward_scores", "human_scores", "human_ratings", "labels", "label", "grades",
    "votes", "upvotes", "overall_scores", "quality", "quality_scores", "returns", "accuracies", "correctness",
    "is_correct", "annotation", "sort", "points", "response_scores", "completion_scores", "values", "acc",
    "overall_ratings",
)  # fmt: skip
LIST_RANKS: Final = ("ranks", "rank", "response_ranks", "human_ranks", "rankings")
STRUCT_SCORES: Final = (
    "overall_score", "score", "rating", "reward", "overall_rating", "overall", "human_score", "pm_score", "rm_score",
    "total_score", "quality", "average_rating", "avg_rating", "mean_score", "avg_score", "preference_score", "grade",
    "upvotes", "votes", "points", "label", "chosen", "selected", "is_chosen", "preferred", "is_preferred", "is_best",
    "is_correct", "correct", "fine-grained_score", "scores", "ratings", "annotations", "metrics", "likes",
)  # fmt: skip
STRUCT_RANKS: Final = ("rank", "ranking", "position")
#: Words that make the name of a numeric column a score, those of most weight first.
SCORE_WORDS: Final = (
    "score", "rating", "reward", "overall", "grade", "points", "upvotes", "votes", "logprob_reward", "quality",
)  # fmt: skip
RANK_WORDS: Final = ("rank", "ranking", "position")
#: Fields that sum up a struct of scores.
TOTALS: Final = (
    "overall",
    "overall_score",
    "total",
    "total_score",
    "score",
    "average",
    "mean",
    "avg",
    "final_score",
    "rating",
)
MODELS: Final = ("model", "generator", "model_name", "assistant", "system", "source")
MODEL_LISTS: Final = ("models", "model_names", "generators", "model")

REFERENCES: Final = (
    "references", "reference", "reference_answer", "gold", "gold_answer", "orig_reference_answer", "gold_response",
)  # fmt: skip
SOURCE_IDS: Final = (
    "prompt_id", "source_id", "pair_id", "question_id", "example_id", "id", "key", "idx", "source_index",
)  # fmt: skip


@lru_cache(maxsize=8192)
def words(name: str) -> tuple[str, ...]:
    """Return the words of a name in lower case: ``responseA``, ``Response-A`` and ``response_a`` are the same."""
    return tuple(word.lower() for word in _WORD.findall(name))


def plain_name(name: str) -> str:
    """Return a name in lower case with underscores."""
    return "_".join(words(name))


def named(columns: Iterable[str], names: Iterable[str]) -> list[str]:
    """Return those columns that go by one of some names, in the order of the names; an exact match comes first."""
    by_name: dict[str, list[str]] = {}
    for column in columns:
        by_name.setdefault(plain_name(column), []).append(column)
    ordered: list[str] = []
    for name in names:
        same = by_name.get(plain_name(name), [])
        ordered += sorted(same, key=lambda column: column != name)
    return list(dict.fromkeys(ordered))
