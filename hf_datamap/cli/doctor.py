"""``hf-datamap doctor``: what is installed, reachable and set."""

from __future__ import annotations

import json
import os
import platform
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec

import click

_CORE = ("datasets", "huggingface_hub", "openai", "numpy", "pyarrow")
#: Extra, what must be importable for it.
_EXTRAS = {
    "space": ("gradio",),
    "reward": ("torch", "transformers"),
    "reference": ("sentence_transformers",),
    "local": ("xllamacpp",),
    "ray": ("ray", "datasketches"),
    "scale": ("datasketches",),
}


@click.command()
@click.option("--base-url", help="Endpoint to look at (default: OPENAI_BASE_URL).")
@click.option("--json", "as_json", is_flag=True, help="Print JSON on stdout.")
def command(base_url: str | None, *, as_json: bool) -> None:
    """Show which extras, endpoint, store and token are there. No secret is printed."""
    checks = {**_versions(), **_extras(), **_endpoint(base_url), **_store(), **_hub()}
    if as_json:
        click.echo(json.dumps(checks, indent=2))
        return
    width = max(map(len, checks))
    for name, value in checks.items():
        click.echo(f"{name:<{width}}  {value}")


def _versions() -> dict[str, str]:
    from hf_datamap.engine.config import __version__

    versions = {"hf_datamap": __version__, "python": platform.python_version()}
    for package in _CORE:
        try:
            versions[package] = version(package)
        except PackageNotFoundError:
            versions[package] = "MISSING: pip install hf_datamap"
    return versions


def _extras() -> dict[str, str]:
    lines = {}
    for extra, modules in _EXTRAS.items():
        missing = [module for module in modules if find_spec(module) is None]
        lines[f"extra {extra}"] = (
            f"not installed ({', '.join(missing)} missing): pip install 'hf_datamap[{extra}]'" if missing else "ready"
        )
    return lines


def _endpoint(base_url: str | None) -> dict[str, str]:
    from hf_datamap.engine import config, served_models

    url = base_url or config.base_url()
    key = "set" if config.api_key() else "not set (OPENAI_API_KEY)"
    if url is None:
        return {"endpoint": "none named (OPENAI_BASE_URL or --base-url)", "endpoint key": key}
    try:
        status, reply = served_models.ask_models(url)
        state = f"answers {status}" if status != 200 else f"up, models: {_models(served_models.listed(reply))}"
    except (OSError, ValueError) as error:
        state = f"NOT reachable ({type(error).__name__})"
    return {"endpoint": f"{url} - {state}", "endpoint key": key}


def _models(names: list[str]) -> str:
    return ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "") if names else "not listed"


def _store() -> dict[str, str]:
    from hf_datamap.engine import config
    from hf_datamap.engine.store import Store
    from hf_datamap.errors import DataMapError

    folder = config.cache_dir()
    try:
        store = Store()
    except DataMapError as error:
        return {"score store": str(error)}
    size = store.path.stat().st_size / 1e6
    line = f"{folder} - {len(store):,} answers, {size:,.1f} MB"
    store.close()
    return {"score store": line}


def _hub() -> dict[str, str]:
    from huggingface_hub import constants, get_token

    token = "set" if get_token() else "not set: hf auth login (only needed to push, or to read private data)"
    offline = " (offline: HF_HUB_OFFLINE is set)" if os.environ.get("HF_HUB_OFFLINE") else ""
    return {"hub": constants.ENDPOINT + offline, "hub token": token}
