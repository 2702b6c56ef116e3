"""What the Hub would say about a card's metadata, without asking it (`huggingface.co/docs/hub/datasets-cards`)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from hf_datamap.data.card_yaml import WordOfYaml11
from hf_datamap.errors import CardError
from hf_datamap.publish.card.frontmatter import FrontMatter

LICENSES: Final = frozenset(
    """
    apache-2.0 mit openrail bigscience-openrail-m creativeml-openrail-m bigscience-bloom-rail-1.0 bigcode-openrail-m
    afl-3.0 artistic-2.0 bsl-1.0 bsd bsd-2-clause bsd-3-clause bsd-3-clause-clear c-uda cc cc0-1.0 cc-by-2.0 cc-by-2.5
    cc-by-3.0 cc-by-4.0 cc-by-sa-3.0 cc-by-sa-4.0 cc-by-nc-2.0 cc-by-nc-3.0 cc-by-nc-4.0 cc-by-nd-4.0 cc-by-nc-nd-3.0
    cc-by-nc-nd-4.0 cc-by-nc-sa-2.0 cc-by-nc-sa-3.0 cc-by-nc-sa-4.0 cdla-sharing-1.0 cdla-permissive-1.0
    cdla-permissive-2.0 wtfpl ecl-2.0 epl-1.0 epl-2.0 etalab-2.0 eupl-1.1 eupl-1.2 agpl-3.0 gfdl gpl gpl-2.0 gpl-3.0
    lgpl lgpl-2.1 lgpl-3.0 isc h-research intel-research lppl-1.3c ms-pl apple-ascl mpl-2.0 odc-by odbl openmdw-1.0
    openrail++ osl-3.0 postgresql ofl-1.1 ncsa unlicense zlib pddl lgpl-lr deepfloyd-if-license llama2 llama3 llama3.1
    llama3.2 llama3.3 llama4 gemma apple-amlr fair-noncommercial-research-license unknown other
    """.split()  # noqa: SIM905 - a hundred quoted lines would be no clearer
)
SIZES: Final = (
    "n<1K",
    "1K<n<10K",
    "10K<n<100K",
    "100K<n<1M",
    "1M<n<10M",
    "10M<n<100M",
    "100M<n<1B",
    "1B<n<10B",
    "10B<n<100B",
    "100B<n<1T",
    "n>1T",
)
CREATORS: Final = frozenset(
    ["refused", "crowdsourced", "expert-generated", "machine-generated", "no-annotation", "other"]
)


def size_category(rows: int) -> str:
    """Return the Hub's size class of a number of rows."""
    return SIZES[min(max(len(str(max(rows, 1))) - 3, 0), len(SIZES) - 1)]


def card_problems(card: str) -> list[str]:
    """Return what makes the Hub refuse a dataset card, or a reader of it fail; empty when nothing does."""
    try:
        data = FrontMatter(card).data
    except CardError as error:
        return [str(error)]
    return refusals(data)


def refusals(data: Mapping[str, Any]) -> list[str]:
    """Return what makes the Hub refuse the YAML of a dataset card; empty when nothing does."""
    return [*_texts(data), *_terms(data), *config_refusals(data)]


def _list(data: Mapping[str, Any], key: str) -> list[Any]:
    value = data.get(key)
    return value if isinstance(value, list) else [] if value is None else [value]


def _texts(data: Mapping[str, Any]) -> list[str]:
    keys = ("license", "language", "tags", "size_categories", "task_categories", "annotations_creators")
    return [
        f"{key}[{number}] must be a text, not {value!r}: put it in quotes"
        for key in keys
        for number, value in enumerate(_list(data, key))
        if not isinstance(value, str) or (key == "language" and isinstance(value, WordOfYaml11))
    ]


def _terms(data: Mapping[str, Any]) -> list[str]:
    def strings(key: str) -> list[str]:
        return [value for value in _list(data, key) if isinstance(value, str)]

    refused = [
        f"license {value!r} is not one the Hub knows: use its identifier (for example mit, cc-by-4.0), or other with "
        "license_name"
        for value in strings("license")
        if value not in LICENSES
    ]
    refused += [f"language {value!r} must be in lower case" for value in strings("language") if value != value.lower()]
    refused += [
        f"a tag is longer than 100 characters: {value[:40]!r}…" for value in strings("tags") if len(value) > 100
    ]
    refused += [f"size_categories has no {value!r}" for value in strings("size_categories") if value not in SIZES]
    refused += [f"annotations_creators has no {v!r}" for v in strings("annotations_creators") if v not in CREATORS]
    return refused


def config_refusals(data: Mapping[str, Any]) -> list[str]:
    """Return what is wrong with the configurations that the YAML of a card lists; empty when nothing is."""
    refused: list[str] = []
    if "dataset_info" in data and not isinstance(data["dataset_info"], dict | list):
        refused.append("dataset_info must be a mapping or a list of mappings")
    configs = data.get("configs")
    if configs is None:
        return refused
    if not isinstance(configs, list) or not all(isinstance(item, dict) for item in configs):
        return [*refused, "configs must be a list of mappings"]
    names = [item.get("config_name") for item in configs]
    if not all(isinstance(name, str) for name in names):
        refused.append("every item of configs needs a config_name in text")
    elif len(set(names)) < len(names):
        refused.append(f"config names repeat: {', '.join(sorted({n for n in names if names.count(n) > 1}))}")
    if sum(bool(item.get("default")) for item in configs) > 1:
        refused.append("only one of configs can be the default")
    return refused
