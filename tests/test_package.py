"""What importing the package costs, that its public names are there and speak plainly, and how long functions are."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from pathlib import Path

import hf_datamap

PACKAGE = Path(hf_datamap.__file__).parent


def test_import_pulls_in_nothing_heavy():
    heavy = ("torch", "gradio", "transformers", "openai", "matplotlib", "aiohttp", "datasets", "ray", "pandas")
    code = f"import sys, hf_datamap; print([name for name in {heavy!r} if name in sys.modules])"
    loaded = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout
    assert loaded.strip() == "[]"


def test_help_pulls_in_nothing_heavy():
    code = (
        "import sys\nfrom hf_datamap.cli import main\n"
        "try:\n    main(['--help'])\nexcept SystemExit:\n    pass\n"
        "heavy = ('torch', 'datasets', 'openai', 'matplotlib', 'numpy')\n"
        "print([name for name in heavy if name in sys.modules], file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert done.stderr.strip() == "[]"


# Public names


def test_every_public_name_is_there():
    for name in hf_datamap.__all__:
        assert getattr(hf_datamap, name) is not None, name
        assert name in dir(hf_datamap)


def test_dir_shows_public_names_only():
    assert set(dir(hf_datamap)) == set(hf_datamap.__all__)


def test_the_two_lists_of_public_names_are_equal():
    """One is for type checkers, the other imports lazily."""
    tree = ast.parse((PACKAGE / "__init__.py").read_text())
    checked = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("hf_datamap"):
            for alias in node.names:
                assert alias.asname == alias.name, f"{alias.name}: write `import {alias.name} as {alias.name}`"
                checked[alias.name] = node.module
    attach = next(
        node for node in ast.walk(tree) if isinstance(node, ast.Call) and ast.unparse(node.func).endswith("attach")
    )
    lazy: dict[str, str] = {}
    for keyword in attach.keywords:
        if keyword.arg == "submod_attrs":
            for module, names in ast.literal_eval(keyword.value).items():
                lazy |= dict.fromkeys(names, f"hf_datamap.{module}")
        elif keyword.arg == "submodules":
            lazy |= dict.fromkeys(ast.literal_eval(keyword.value), "hf_datamap")
    assert checked == lazy


def test_no_module_hides_a_public_name():
    """``import hf_datamap.x`` would put the module in the place of the function ``hf_datamap.x``."""
    modules = {path.stem for path in PACKAGE.glob("*.py")} | {path.name for path in PACKAGE.iterdir() if path.is_dir()}
    assert modules & (set(hf_datamap.__all__) - {"generate"}) == set()


def test_the_contract_is_exported():
    contract = {
        "LLMJudge", "ColumnScorer", "ConstraintScorer", "DataMap", "annotate", "score_fn", "detect_layout", "Layout",
        "auto_scorer", "DataMapError",
    }  # fmt: skip
    assert contract <= set(hf_datamap.__all__)
    assert issubclass(hf_datamap.DataMapError, Exception)


# Long functions

LONGEST = 60  # lines, the docstring included
#: Long ones of before this rule. None may be added: split a function, or say in a comment why it is one piece.
LONG_BEFORE = {
    "cli/_batch.py:run_batch",
    "cli/map.py:command",
    "publish/push.py:push_to_hub",
    "scoring/annotate.py:annotate",
    "scoring/files.py:annotate_files",
    "scoring/ray/__init__.py:annotate",
}


def long_functions() -> dict[str, int]:
    """Functions over `LONGEST` lines without a comment line that says ``# Long: why``."""
    lengths = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        text = path.read_text()
        lines = text.splitlines()
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.end_lineno is not None:
                body = lines[node.lineno - 1 : node.end_lineno]
                reason = any(re.match(r"\s*# Long: \w", line) for line in body)
                if len(body) > LONGEST and not reason:
                    lengths[f"{path.relative_to(PACKAGE)}:{node.name}"] = len(body)
    return lengths


def test_a_long_function_says_why_it_is_one_piece():
    """Split it, or write ``# Long: `` and the reason as a comment line inside it."""
    assert long_functions().keys() - LONG_BEFORE == set()
