"""The layouts of known datasets. Adding one is adding a few lines here.

An entry fits a dataset that has every path it names; a path with ``?`` at its end is used when it is there. ``also``
names columns that must be there although they are not read (they tell the dataset apart). When several entries fit, the
one whose columns include those of the others wins; when none does, the choice is the user's.
The sources of the shapes are the dataset cards and the loading code of the repositories named.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from hf_datamap.data.paths import parse_paths


@dataclass(frozen=True)
class Known:
    """One known layout.

    Attributes:
        name: what ``--layout`` takes.
        what: the dataset or family it was made for.
        spec: arguments of `Layout`, paths with ``?`` optional.
        also: columns that must be there too.
        unless: a path that must not be there (another entry reads it).
        choose: for data with several labels, what this entry's label means.
    """

    name: str
    what: str
    spec: dict[str, Any]
    also: tuple[str, ...] = ()
    unless: str = ""
    choose: str = ""

    @property
    def needed(self) -> frozenset[str]:
        """The paths that a dataset must have to be read so."""
        parts = ("prompt", "responses", "annotations", "system", "references", "history", "prefix")
        paths = [path for part in parts for path in parse_paths(self.spec.get(part)) if not path.endswith("?")]
        return frozenset((*paths, *self.also))


def _known(name: str, what: str, *, also: Sequence[str] = (), unless: str = "", choose: str = "", **spec: Any) -> Known:
    return Known(name, what, spec, tuple(also), unless, choose)


KNOWN: Final[tuple[Known, ...]] = (
    # --- pairs with a prompt column -------------------------------------------------------------------------------
    _known(
        "ultrafeedback-binarized", "HuggingFaceH4/ultrafeedback_binarized",
        prompt="prompt", responses="chosen,rejected", annotations="score_chosen,score_rejected",
        label="scores_or_order", also=("messages",),
    ),
    _known(
        "ultrafeedback-binarized-metadata", "trl-lib/ultrafeedback_binarized copies with scores in metadata",
        prompt="prompt", responses="chosen,rejected", annotations="metadata.score_chosen,metadata.score_rejected",
        label="scores_or_order",
    ),
    _known(
        "argilla-ultrafeedback", "argilla/ultrafeedback-binarized-preferences",
        prompt="instruction", responses="chosen_response,rejected_response",
        annotations="chosen_avg_rating,rejected_avg_rating", label="scores_or_order",
    ),
    _known(
        "argilla-ultrafeedback-cleaned", "argilla/ultrafeedback-binarized-preferences-cleaned",
        prompt="prompt", responses="chosen,rejected", annotations="chosen-rating,rejected-rating",
        label="scores_or_order",
    ),
    _known(
        "tulu-preference", "allenai/llama-3.1-tulu-3-8b-preference-mixture",
        prompt="prompt", responses="chosen,rejected", label="order", also=("source",), unless="score_chosen",
    ),
    _known(
        "orca-dpo", "Intel/orca_dpo_pairs",
        system="system", prompt="question", responses="chosen,rejected", label="order",
    ),
    _known(
        "distilabel-orca", "argilla/distilabel-intel-orca-dpo-pairs",
        system="system", prompt="input", responses="generations[]", annotations="rating[]",
        also=("chosen", "rejected", "order", "status"),
    ),
    _known(
        "reward-bench", "allenai/reward-bench",
        prompt="prompt", responses="chosen,rejected", label="order",
        also=("chosen_model", "rejected_model", "subset"),
    ),
    _known(
        "reward-bench-2", "allenai/reward-bench-2 (lists of chosen and of rejected)",
        prompt="prompt", responses="chosen[],rejected[]", label="order",
        also=("num_correct", "num_incorrect"),
    ),
    _known(
        "ultra-interact", "openbmb/UltraInteract_pair",
        prompt="trajectory", responses="chosen,rejected", label="order",
    ),
    _known(
        "sharegpt-pairs", "LLaMA-Factory, axolotl: conversations and one message (or text) per side",
        prompt="conversations", responses="chosen,rejected", label="order",
    ),
    _known(
        "openai-preference", "OpenAI, Azure and Together preference files (input.messages, preferred_output)",
        prompt="input.messages", responses="preferred_output,non_preferred_output", label="order", tools="input.tools?",
    ),
    _known(
        "swift-rejected-response", "ms-swift: messages end with the chosen answer, the rejected one beside",
        prompt="messages", responses="messages[-1],rejected_response", label="order",
    ),
    _known(
        "swift-rejected-messages", "ms-swift: two whole conversations",
        responses="messages,rejected_messages", label="order",
    ),
    _known(
        "swift-query", "ms-swift: query, response and rejected_response",
        prompt="query", responses="response,rejected_response", label="order", history="history?",
    ),
    # --- two responses and a label column -------------------------------------------------------------------------
    _known(
        "helpsteer3", "nvidia/HelpSteer3 preference",
        prompt="context", responses="response1,response2", annotations="overall_preference", label="strength",
    ),
    _known(
        "helpsteer2-preference", "nvidia/HelpSteer2 preference",
        prompt="prompt", responses="response_1,response_2", annotations="preference_strength", label="strength",
    ),
    _known(
        "pku-saferlhf-helpful", "PKU-Alignment/PKU-SafeRLHF, judged by helpfulness",
        prompt="prompt", responses="response_0,response_1", annotations="better_response_id", label="choice",
        choices={0: 0, 1: 1, -1: "tie"}, also=("safer_response_id",), choose="which response is more helpful",
    ),
    _known(
        "pku-saferlhf-safe", "PKU-Alignment/PKU-SafeRLHF, judged by safety",
        prompt="prompt", responses="response_0,response_1", annotations="safer_response_id", label="choice",
        choices={0: 0, 1: 1, -1: "tie"}, also=("better_response_id",), choose="which response is safer",
    ),
    _known(
        "shp", "stanfordnlp/SHP, SHP-2 (one pair per row; group_rows joins the pairs of a post)",
        prompt="history", responses="human_ref_A,human_ref_B", annotations="labels", label="choice",
        choices={1: 0, 0: 1}, scores="score_A?,score_B?", source_id="post_id?",
    ),
    _known(
        "webgpt", "openai/webgpt_comparisons",
        prompt="question.full_text", responses="answer_0,answer_1", annotations="score_0,score_1", scores="",
        source_id="question.id?",
    ),
    _known(
        "summarize-from-feedback", "openai/summarize_from_feedback comparisons (TL;DR posts and CNN/DM articles)",
        prompt="info.title?,info.post?,info.article?", preamble="Summarize the following text.",
        responses="summaries[].text", annotations="choice", label="choice", choices={0: 0, 1: 1}, source_id="info.id?",
        also=("info",),
    ),
    _known(
        "arena-conversations",
        "lmarena-ai/arena-human-preference, lmsys/chatbot_arena_conversations, lmsys/mt_bench_human_judgments",
        responses="conversation_a,conversation_b", annotations="winner", label="choice", turn="turn?",
    ),
    _known(
        "arena-55k", "lmsys/lmsys-arena-human-preference-55k (turns as JSON lists)",
        prompt="prompt", responses="response_a,response_b", turns=True, label="one_hot",
        annotations="winner_model_a,winner_model_b,winner_tie",
    ),
    _known(
        "judgebench", "ScalerLab/JudgeBench",
        prompt="question", responses="response_A,response_B", annotations="label", label="choice",
        choices={"A>B": 0, "B>A": 1, "A=B": "tie"},
    ),
    _known(
        "llmbar", "princeton-nlp/LLMBar",
        prompt="input", responses="output_1,output_2", annotations="label", label="choice", choices={1: 0, 2: 1},
    ),
    _known(
        "offsetbias", "NCSOFT/offsetbias, LLMBar with instruction and input",
        prompt="instruction,input", responses="output_1,output_2", annotations="label", label="choice",
        choices={1: 0, 2: 1},
    ),
    _known(
        "alpaca-farm", "tatsu-lab/alpaca_farm preferences",
        prompt="instruction,input", responses="output_1,output_2", annotations="preference", label="between",
    ),
    _known(
        "preference-collection", "prometheus-eval/Preference-Collection (instruction holds the judge's prompt)",
        prompt="orig_instruction", responses="orig_response_A,orig_response_B", annotations="orig_preference",
        label="choice", scores="orig_score_A?,orig_score_B?", references="orig_reference_answer?",
    ),
    _known(
        "label-studio-pairwise", "Label Studio export of pairwise comparisons",
        prompt="data.prompt", responses="data.answer1,data.answer2",
        annotations="annotations[].result[].value.selected", label="choice",
    ),
    _known(
        "pandalm", "WeOpenML/PandaLM test set (three annotators)",
        prompt="instruction,input", responses="response1,response2", annotations="annotator1,annotator2,annotator3",
        label="choice", choices={1: 0, 2: 1, 0: "tie"},
    ),
    _known(
        "vicuna-pairwise", "pairwise judgements in both orders (FastChat llm_judge, ja-vicuna-qa)",
        prompt="question", responses="answer_1,answer_2", annotations="g1_winner,g2_winner", label="choice",
        choices={"model_1": 0, "model_2": 1, "tie": "tie"},
    ),
    _known(
        "alpaca-eval", "tatsu-lab/alpaca_eval annotations (one pair per row; group_rows joins the models)",
        prompt="instruction", responses="output_1,output_2", annotations="preference", label="between",
        also=("generator_1", "generator_2"),
    ),
    # --- more than two responses in a row ------------------------------------------------------------------------
    _known(
        "ultrafeedback", "openbmb/UltraFeedback",
        prompt="instruction", responses="completions[].response", annotations="completions[].overall_score",
        also=("completions[].model",),
    ),
    _known(
        "ultrafeedback-fine-grained", "openbmb/UltraFeedback copies without overall_score",
        prompt="instruction", responses="completions[].response", annotations="completions[].fine-grained_score",
        also=("completions[].model",), unless="completions[].overall_score",
    ),
    _known(
        "vertex-preference", "Vertex AI preference tuning (contents, completions with scores)",
        prompt="contents", responses="completions[].completion", annotations="completions[].score",
    ),
    _known(
        "nemo-rl", "NVIDIA NeMo-RL preference data (rank 0 is best)",
        prompt="context", responses="completions[].completion", annotations="completions[].rank", label="ranks",
    ),
    _known(
        "paddle-preference", "PaddleNLP: src and tgt interleave, sort 1 is the chosen response",
        prompt="src[-1]", history="src,tgt", responses="response[]", annotations="sort[]", scores="",
    ),
    _known(
        "oasst-tree", "OpenAssistant message trees, the replies to the first prompt (rank 0 is best)",
        prompt="prompt.text", responses="prompt.replies[].text", annotations="prompt.replies[].rank", label="ranks",
    ),
    _known(
        "oasst-tree-meta", "OpenAssistant message trees with ranks in meta",
        prompt="prompt.text", responses="prompt.replies[].text", annotations="prompt.replies[].meta.rank",
        label="ranks",
    ),
    _known(
        "code-ultrafeedback", "coseal/CodeUltraFeedback (ratings in the order of their own)",
        prompt="instruction", responses="responses[].response",
        annotations="responses[].model,annotations[].model,annotations[].rating", label="keyed",
    ),
    _known(
        "simpo-ultrafeedback", "princeton-nlp/llama3-ultrafeedback: five samples, scored by a reward model",
        prompt="prompt", responses="all_generated_responses[]", annotations="all_rm_scores[]",
    ),
    _known(
        "nectar", "berkeley-nest/Nectar",
        prompt="prompt", responses="answers[].answer", annotations="answers[].rank", label="ranks",
    ),
    _known(
        "best-of-n", "best-of-N samples with one score each (reward-bench bon_eval)",
        prompt="instruction", responses="output[]", annotations="preference[]",
        also=("generator",),
    ),
    _known(
        "qa-feedback", "allenai/FineGrainedRLHF qa_feedback",
        prompt="question", responses="prediction 1,prediction 2,prediction 3,prediction 4", annotations="preference",
        label="pairwise",
    ),
)  # fmt: skip
