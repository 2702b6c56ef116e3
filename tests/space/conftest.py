"""A real browser and running apps. Without Gradio, Playwright or Chromium the tests say what is missing."""

import importlib.util
import sys
from pathlib import Path

import pytest

SPACE = Path(__file__).parents[2] / "space"
sys.path.insert(0, str(SPACE))


def pytest_collection_modifyitems(items):
    missing = [name for name in ("gradio", "playwright") if importlib.util.find_spec(name) is None]
    if missing:
        skip = pytest.mark.skip(reason=f"not installed: {', '.join(missing)} (pip install -e '.[space,browser]')")
        for item in items:
            if Path(__file__).parent in item.path.parents:
                item.add_marker(skip)


@pytest.fixture(scope="session")
def demo(tmp_path_factory):
    """The bundled real sample (316 prompts of IFEval with six models' answers), mapped by its constraints."""
    from hf_datamap.scorers.constraints import ConstraintScorer
    from tests.space.maps import ROOT, annotated_folder

    sample = ROOT / "hf_datamap" / "data" / "demo_sample" / "ifeval_sample.parquet"
    return annotated_folder(tmp_path_factory.mktemp("demo") / "ifeval-demo", sample, ConstraintScorer())


@pytest.fixture
def open_page(chromium):
    """Return a function that opens an address in a page of its own; at the end nothing may have gone wrong there."""
    from tests.space.browser import Page

    pages = []

    def opened(address, **options):
        page = Page(chromium, address, **options)
        pages.append(page)
        return page

    yield opened
    for page in pages:
        page.close()
