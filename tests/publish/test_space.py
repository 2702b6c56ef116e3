"""The Space on the local Hub: one commit, secrets as secrets, and the way out without Gradio."""

import json

import pytest

from hf_datamap.engine.config import __version__
from hf_datamap.publish.card.frontmatter import FrontMatter
from hf_datamap.publish.space_app import space_files
from tests.minihub.cards import validate_card
from tests.minihub.client import BOB, WRITE

PRELUDE = """
from huggingface_hub import HfApi
from hf_datamap.publish import deploy_space, push_to_hub
from hf_datamap.errors import *
from tests.publish.data import *
api = HfApi()
"""


@pytest.fixture(scope="module")
def published(hub):
    hub.run(PRELUDE + 'ds, m = mapped(24)\npush_to_hub(ds, "alice/map", data_map=m)')
    return hub


def titles(hub, space):
    return [commit["title"] for commit in hub.history(space, kind="spaces")]


def test_the_app_is_deployed_pinned_and_pointing_at_the_dataset(published):
    hub = published
    code = """
done = deploy_space("map-space", dataset="alice/map", secrets={"HF_TOKEN": "hf_secretofthespace0001"})
assert done.repo_id == "alice/map-space"
assert deploy_space("map-space", dataset="alice/map").oid == done.oid       # nothing new: no commit
assert api.get_space_runtime("alice/map-space").stage == "RUNNING"
"""
    hub.run(PRELUDE + code)
    assert len(titles(hub, "alice/map-space")) == 2
    files = hub.files("alice/map-space", kind="spaces")
    assert {path for path in space_files() if path != "README.md"} | {"start.py", "requirements.txt"} <= files
    assert not [path for path in files if "__pycache__" in path]
    requirements = hub.file("alice/map-space", "requirements.txt", kind="spaces").decode().splitlines()
    assert f"hf_datamap=={__version__}" in requirements
    start = hub.file("alice/map-space", "start.py", kind="spaces").decode()
    assert 'setdefault("HF_DATAMAP_DATASET", "alice/map")' in start
    compile(start, "start.py", "exec")
    card = hub.file("alice/map-space", "README.md", kind="spaces").decode()
    assert validate_card(card, "space") == ([], [])
    data = FrontMatter(card).data
    assert (data["sdk"], data["app_file"], data["datasets"]) == ("gradio", "start.py", ["alice/map"])
    assert "datasets/alice/map" in FrontMatter(card).body
    # the secret is a Space secret and nothing else; the token is in no file
    assert hub.search("hf_secretofthespace0001") == []
    assert {hit["where"] for hit in hub.search(WRITE)} == {"header authorization"}
    stored = hub.repo("alice/map-space", "spaces")
    assert list(stored["secrets"]) == ["HF_TOKEN"]
    assert stored["variables"] == {}


def test_a_card_of_ones_own_and_strange_files_stay(published):
    hub = published
    code = """
deploy_space("mine", dataset="alice/map")
readme = open(api.hf_hub_download("alice/mine", "README.md", repo_type="space")).read()
readme = readme.replace("emoji: ", "emoji: 🐙 #").replace("# Alignment", "# Our map: Alignment") + "\\nMy words.\\n"
for path, text in (("README.md", readme), ("notes.txt", "mine"), ("mapspace/old_module.py", "x = 1")):
    api.upload_file(path_or_fileobj=text.encode(), path_in_repo=path, repo_id="alice/mine", repo_type="space")
deploy_space("mine", dataset="alice/other")
"""
    hub.run(PRELUDE + code)
    text = hub.file("alice/mine", "README.md", kind="spaces").decode()
    assert "\nMy words.\n" in text
    assert "# Our map" in text
    assert FrontMatter(text).data["emoji"] == "🐙"
    assert FrontMatter(text).data["datasets"] == ["alice/other"]
    files = hub.files("alice/mine", kind="spaces")
    assert "notes.txt" in files
    assert "mapspace/old_module.py" not in files


@pytest.mark.parametrize("status", [402, 403])
def test_an_account_without_gradio_spaces_hears_of_the_static_page(published, status):
    hub = published
    code = """
try:
    deploy_space(PAID, dataset="alice/map")
    raise AssertionError
except HubError as error:
    assert f"space deploy alice/{PAID} --dataset alice/map --static" in str(error) and "PRO" in str(error), error
ds, m = mapped(24)
try:
    push_to_hub(ds, "alice/with-paid", data_map=m, space=PAID)
    raise AssertionError
except HubError as error:
    assert "Nothing was published" in str(error) and "--dataset alice/with-paid --static" in str(error), error
assert not api.repo_exists("alice/with-paid", repo_type="dataset")
deploy_space(PAID, dataset="alice/map", static=True)
"""
    with hub.fault(path="/api/repos/create", status=status, error="Payment required", times=2):
        hub.run(f'{PRELUDE}PAID = "paid{status}"\n{code}')
    page = hub.file(f"alice/paid{status}", "index.html", kind="spaces").decode()
    assert "https://huggingface.co/datasets/alice/map/viewer/default/" in page
    card = hub.file(f"alice/paid{status}", "README.md", kind="spaces").decode()
    assert FrontMatter(card).data["sdk"] == "static"
    assert validate_card(card, "space") == ([], [])
    assert hub.files(f"alice/paid{status}", kind="spaces") == {".gitattributes", "README.md", "index.html"}


def test_dataset_and_space_link_to_each_other(published):
    hub = published
    code = """
ds, m = mapped(24)
push_to_hub(ds, "alice/linked", data_map=m, space="alice/linked-space", subsets=())
"""
    hub.run(PRELUDE + code)
    assert "huggingface.co/spaces/alice/linked-space" in hub.file("alice/linked", "README.md").decode()
    assert "datasets/alice/linked" in hub.file("alice/linked-space", "README.md", kind="spaces").decode()


def test_a_space_that_comes_later_is_linked_and_stays_linked(published):
    hub = published
    code = """
ds, m = mapped(24)
push_to_hub(ds, "alice/later", data_map=m, subsets=())
before = open(api.hf_hub_download("alice/later", "README.md", repo_type="dataset")).read()
deploy_space("alice/later-space", dataset="alice/later")
deploy_space("alice/later-space", dataset="alice/later")
push_to_hub(ds, "alice/later", data_map=m, subsets=())
after = open(api.hf_hub_download("alice/later", "README.md", repo_type="dataset")).read()
added = [line for line in after.splitlines() if line not in before.splitlines()]
assert len(added) == 1 and "huggingface.co/spaces/alice/later-space" in added[0], added
new, new_map = mapped(30, 4)
push_to_hub(new, "alice/later", data_map=new_map, subsets=())
deploy_space("alice/moved", dataset="alice/later")
text = open(api.hf_hub_download("alice/later", "README.md", repo_type="dataset")).read()
assert text.count("Open the map") == 1 and "spaces/alice/moved" in text
"""
    hub.run(PRELUDE + code)
    assert len(hub.history("alice/later")) == 5
    # somebody else's dataset: the Space is there, its card stays theirs
    done = hub.run(PRELUDE + 'deploy_space("bob/look", dataset="alice/later")', token=BOB)
    assert "does not link" in done.stderr
    assert len(hub.history("alice/later")) == 5


def test_every_fault_of_a_deployment_leaves_the_old_space_or_the_new(published):
    hub = published
    mark = hub.mark()
    hub.run(PRELUDE + 'deploy_space("count", dataset="alice/map")')
    requests = len(hub.requests(mark))
    for place in range(requests):
        with hub.fault(path=".", skip=place, action="reset", when="after"):
            hub.run(PRELUDE + f'deploy_space("s{place}", dataset="alice/map")')
        assert len(titles(hub, f"alice/s{place}")) == 2, place
        trees = [hub.history(f"alice/{name}", kind="spaces")[0]["tree"] for name in ("count", f"s{place}")]
        assert trees[0] == trees[1]


def test_no_map_and_no_dataset_are_told_apart_from_faults(published):
    code = """
plain(4).push_to_hub("alice/unmapped")
for dataset, word in (("alice/unmapped", "holds no map"), ("alice/nothing", "no such repository")):
    try:
        deploy_space("never", dataset=dataset, static=True)
        raise AssertionError
    except DataMapError as error:
        assert word in str(error), error
assert not api.repo_exists("alice/never", repo_type="space")
"""
    published.run(PRELUDE + code)


def test_the_map_of_a_private_dataset_is_not_shown_to_everybody(published):
    code = """
ds, m = mapped(24)
push_to_hub(ds, "alice/hidden", data_map=m, private=True, subsets=())
for name, static in (("hidden-page", True), ("hidden-app", False)):
    deploy_space(name, dataset="alice/hidden", static=static)
    assert api.repo_info(f"alice/{name}", repo_type="space").private
deploy_space("shown", dataset="alice/hidden", static=True, private=False)
assert not api.repo_info("alice/shown", repo_type="space").private
deploy_space("open", dataset="alice/map")
assert not api.repo_info("alice/open", repo_type="space").private
"""
    published.run(PRELUDE + code)


def test_the_command_deploys_and_takes_secrets_from_the_environment(published):
    hub = published
    code = """
import os, sys
os.environ["READER"] = "hf_readerofthespace0001"
from hf_datamap.cli.space import command
command(["deploy", "by-hand", "--dataset", "alice/map", "--secret", "READER", "--private", "--json"])
"""
    done = hub.run(code)
    assert json.loads(done.stdout)["repo_id"] == "alice/by-hand"
    stored = hub.repo("alice/by-hand", "spaces")
    assert stored["private"] is True
    assert list(stored["secrets"]) == ["READER"]
    assert hub.search("hf_readerofthespace0001") == []
    failed = hub.run(code.replace('"--secret", "READER"', '"--secret", "NOWHERE"'), check=False)
    assert failed.returncode == 2
    assert "NOWHERE" in failed.stderr
