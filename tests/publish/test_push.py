"""Pushes by the real clients to the local Hub, in client processes of their own."""

import io
import json
import subprocess
import sys

import pyarrow.parquet as pq
import pytest
import yaml

from hf_datamap.datamap.index import SCHEMA
from tests.minihub.client import BOB, READ, WRITE
from tests.publish.clients import PRELUDE, card, client, titles
from tests.publish.data import TEXTS, mapped, mapped_splits


@pytest.mark.parametrize("xet", [False, True])
def test_a_new_repository_gets_everything_in_one_commit(hub, xet):
    repo, mark = f"alice/new-{xet}".lower(), hub.mark()
    client(
        hub,
        f"""
ds, data_map = mapped_splits(40)
done = push_to_hub(ds, "{repo.partition("/")[2]}", data_map=data_map, private=True)
assert done.repo_id == "{repo}" and done.pull_request is None
again, again_map = load("{repo}")
assert again_map == data_map and list(again) == ["train", "test"]
for split in ds:
    assert again[split].to_list() == ds[split].to_list() and again[split].features == ds[split].features
assert push_to_hub(ds, "{repo}", data_map=data_map).oid == done.oid
assert push_to_hub(again, "{repo}", data_map=again_map).oid == done.oid       # what was loaded is what was pushed
plain_load = load_dataset("{repo}", split="test")
assert plain_load.to_list() == ds["test"].to_list()
best = load_dataset("{repo}", "high_mean_low_variance", split="train")
of_region = lambda r: r == "high_mean_low_variance"
assert best.to_list() == ds["train"].filter(of_region, input_columns="datamap_region").to_list()
assert len(best) > 3
""",
        xet=xet,
    )
    assert titles(hub, repo) == ["Alignment Data Map of config default", "initial commit"]
    files = hub.files(repo)
    assert {"README.md", "datamap/map.png", "datamap/datamap.json", "datamap/index.parquet"} < files
    assert "data/train-00000-of-00001.parquet" in files
    assert hub.repo(repo)["private"] is True
    assert hub.file(repo, "datamap/map.png").startswith(b"\x89PNG")
    index = pq.read_table(io.BytesIO(hub.file(repo, "datamap/index.parquet")))
    assert index.schema.equals(SCHEMA)
    assert index["split"].to_pylist() == ["test"] * 20 + ["train"] * 40
    front = card(hub, repo)
    assert {config["config_name"] for config in front.data["configs"]} == {
        "default", "high_mean_low_variance", "low_mean_low_variance", "high_variance",
    }  # fmt: skip
    assert front.data["source_datasets"] == ["acme/prefs"]
    assert "license" not in front.data
    assert f'load_dataset("{repo}", "high_mean_low_variance")' in front.body
    # the token goes to the Hub alone, and nowhere else
    elsewhere = [r for r in hub.requests(mark) if r["headers"]["host"].startswith("localhost")]
    assert elsewhere
    assert not [r for r in elsewhere if "authorization" in r["headers"]]
    assert {hit["where"] for hit in hub.search(WRITE)} == {"header authorization"}


def test_annotating_ones_own_data_in_place(hub):
    client(
        hub,
        """
DatasetDict(train=plain(24, 0), test=plain(12, 1)).push_to_hub("alice/own")
from huggingface_hub import DatasetCard
text = api.hf_hub_download("alice/own", "README.md", repo_type="dataset")
body = open(text).read() + "\\n# My data\\n\\nTell me what you think.\\n"
body = body.replace("---\\n", "---\\nlicense: cc-by-4.0   # as agreed\\nextra_gated_prompt: none\\n", 1)
api.upload_file(path_or_fileobj=body.encode(), path_in_repo="README.md", repo_id="alice/own", repo_type="dataset")
ds, data_map = mapped_splits(24)
push_to_hub(ds, "alice/own", data_map=data_map)
assert load_dataset("alice/own")["test"].to_list() == ds["test"].to_list()
assert load_dataset("alice/own", split="train").features == ds["train"].features
""",
    )
    front = card(hub, "alice/own")
    names = {info["config_name"]: [f["name"] for f in info["features"]] for info in front.data["dataset_info"]}
    assert names["default"] == mapped_splits(24)[0]["train"].column_names
    text = hub.file("alice/own", "README.md").decode()
    assert "license: cc-by-4.0   # as agreed\nextra_gated_prompt: none\n" in text
    assert "\n# My data\n\nTell me what you think.\n" in text
    assert len(titles(hub, "alice/own")) == 4


def test_files_without_a_card_stay_the_default_beside_a_mapped_config(hub):
    client(
        hub,
        """
import io, json
where = dict(repo_id="alice/files", repo_type="dataset")
api.create_repo("alice/files", repo_type="dataset")
for split, rows in (("train", plain(24, 0)), ("test", plain(12, 1))):
    rows.to_parquet(f"{split}.parquet")
    api.upload_file(path_or_fileobj=f"{split}.parquet", path_in_repo=f"{split}.parquet", **where)
before = load_dataset("alice/files")
ds, data_map = mapped(24)
refused(HubError, "test", "config_name='datamap'", ds=ds, repo_id="alice/files", data_map=data_map)
push_to_hub(ds, "alice/files", data_map=data_map, config_name="datamap")
after = load_dataset("alice/files")
assert {s: d.to_list() for s, d in after.items()} == {s: d.to_list() for s, d in before.items()}
assert load_dataset("alice/files", "datamap", split="train").to_list() == ds.to_list()
assert load("alice/files", config_name="datamap")[1] == data_map
assert "datamap-high_variance" in get_dataset_config_names("alice/files")
done = push_to_hub(ds, "alice/files", data_map=data_map, config_name="datamap")
assert done.oid == api.dataset_info("alice/files").sha
""",
    )


def test_a_format_that_datasets_cannot_mix_is_refused_or_replaced(hub):
    client(
        hub,
        """
import json
lines = "".join(json.dumps(row) + "\\n" for row in plain(24))
api.create_repo("alice/lines", repo_type="dataset")
api.upload_file(
    path_or_fileobj=lines.encode(), path_in_repo="train.jsonl", repo_id="alice/lines", repo_type="dataset"
)
ds, data_map = mapped(24)
refused(HubError, "train.jsonl", ds=ds, repo_id="alice/lines", data_map=data_map, config_name="datamap")
assert load_dataset("alice/lines", split="train").to_list() == plain(24).to_list()
push_to_hub(ds, "alice/lines", data_map=data_map)
assert load_dataset("alice/lines", split="train").to_list() == ds.to_list()
""",
    )


@pytest.mark.parametrize(
    ("name", "reads"),
    [
        ("same-folder", {"data_files": [{"split": "train", "path": "data/train-*"}]}),
        ("wide", {"data_files": "**/*.parquet"}),
        ("folder", {"data_dir": "data"}),
    ],
)
def test_other_configs_of_the_repository_lose_nothing(hub, name, reads):
    client(
        hub,
        f"""
import yaml
from huggingface_hub import CommitOperationAdd as Add
item = {{"config_name": "main", **{reads}}}
text = "---\\n" + yaml.safe_dump({{"configs": [item]}}) + "---\\n"
plain(24).to_parquet("x.parquet")
api.create_repo("alice/{name}", repo_type="dataset")
adds = [Add("README.md", text.encode()), Add("data/train-00000-of-00001.parquet", "x.parquet")]
api.create_commit("alice/{name}", adds, commit_message="mine", repo_type="dataset")
head = api.dataset_info("alice/{name}").sha
ds, data_map = mapped(24)
refused(HubError, "config 'main'", "--config main", ds=ds, repo_id="alice/{name}", data_map=data_map)
assert api.dataset_info("alice/{name}").sha == head
assert load_dataset("alice/{name}", "main", split="train").to_list() == plain(24).to_list()
push_to_hub(ds, "alice/{name}", data_map=data_map, config_name="main")     # as the message says
assert load_dataset("alice/{name}", "main", split="train").to_list() == ds.to_list()
assert load("alice/{name}", config_name="main")[1] == data_map
""",
    )


def test_a_second_mapped_config_keeps_to_its_own_folder(hub):
    client(
        hub,
        """
one, one_map = mapped(24, 0)
two, two_map = mapped(30, 9)
push_to_hub(one, "alice/two", data_map=one_map, config_name="helpful", subsets=())
push_to_hub(two, "alice/two", data_map=two_map, config_name="harmless", subsets=())
push_to_hub(one, "alice/two", data_map=one_map, config_name="helpful", subsets=())
for name, ds, data_map in (("helpful", one, one_map), ("harmless", two, two_map)):
    again, again_map = load("alice/two", config_name=name, split="train")
    assert again.to_list() == ds.to_list() and again_map == data_map
assert load_dataset("alice/two", split="train").num_rows == 24             # the first one is the default
""",
    )
    assert {"datamap/datamap.json", "datamap/harmless/datamap.json"} <= hub.files("alice/two")
    body = card(hub, "alice/two").body
    assert body.count("<!-- hf_datamap:begin") == body.count("<!-- hf_datamap:end -->") == 2
    assert len(titles(hub, "alice/two")) == 3  # the third push changed nothing


def test_somebody_elses_dataset_gets_one_pull_request(hub):
    code = """
plain(24).push_to_hub("acme/theirs")
"""
    client(hub, code)
    head = hub.repo("acme/theirs")["refs"]["refs/heads/main"]
    code = """
ds, data_map = mapped(24)
refused(HubError, "create_pr=True", ds=ds, repo_id="acme/theirs", data_map=data_map)
done = push_to_hub(ds, "acme/theirs", data_map=data_map, create_pr=True)
assert done.pull_request and done.pull_request.endswith("/discussions/1"), done
again = push_to_hub(ds, "acme/theirs", data_map=data_map, create_pr=True)
assert again.pull_request == done.pull_request
assert again.oid == api.dataset_info("acme/theirs", revision="refs/pr/1").sha
assert load("acme/theirs", revision="refs/pr/1", split="train")[0].to_list() == ds.to_list()
"""
    with hub.fault(path="/commit/main", action="reset", when="after", skip=1):  # opened, and the answer lost
        client(hub, code, token=BOB)
    repo = hub.repo("acme/theirs")
    assert repo["refs"]["refs/heads/main"] == head
    assert len(repo["discussions"]) == 1
    assert len(titles(hub, "acme/theirs", "refs/pr/1")) == len(titles(hub, "acme/theirs")) + 1
    client(
        hub,
        """
api.merge_pull_request("acme/theirs", 1, repo_type="dataset")
assert load("acme/theirs", split="train")[0].to_list() == mapped(24)[0].to_list()
""",
    )


def test_a_commit_by_somebody_else_in_between_is_kept(hub):
    code = """
ds, data_map = mapped(24)
push_to_hub(ds, "alice/busy", data_map=data_map)
"""
    client(hub, code)
    # the push below is held at its commit while somebody edits the card; its parent is then no longer the head
    push = PRELUDE + 'ds, data_map = mapped(30, 3)\npush_to_hub(ds, "alice/busy", data_map=data_map)\n'
    mark = hub.mark()
    with hub.fault(path="/alice/busy/commit/", action="none", delay=120):
        waiting = subprocess.Popen([sys.executable, "-c", push], env=hub.env(), cwd=hub.root, stderr=subprocess.PIPE)
        while not hub.calls(mark, "/commit/"):
            assert waiting.poll() is None, waiting.stderr.read().decode()
        client(
            hub,
            """
path = api.hf_hub_download("alice/busy", "README.md", repo_type="dataset")
text = open(path, newline="").read() + "\\nAn important remark.\\n"
api.upload_file(path_or_fileobj=text.encode(), path_in_repo="README.md", repo_id="alice/busy", repo_type="dataset")
""",
            home="other-home",
        )
    _, errors = waiting.communicate(timeout=120)
    assert waiting.returncode == 0, errors.decode()
    assert "trying again" in errors.decode()
    assert "\nAn important remark.\n" in card(hub, "alice/busy").body
    titles_now = titles(hub, "alice/busy")
    assert titles_now.count("Alignment Data Map of config default") == 2
    assert len(titles_now) == 4


def test_two_pushes_at_once_both_arrive_whole(hub):
    processes = []
    for name, seed in (("one", 1), ("two", 2)):
        code = (
            f'ds, m = mapped(24, {seed})\npush_to_hub(ds, "alice/race", data_map=m, config_name="{name}", subsets=())'
        )
        command = [sys.executable, "-c", PRELUDE + code]
        processes.append(subprocess.Popen(command, env=hub.env(), cwd=hub.root, stderr=subprocess.PIPE))
    for process in processes:
        _, errors = process.communicate(timeout=120)
        assert process.returncode == 0, errors.decode()
    configs = {config["config_name"] for config in card(hub, "alice/race").data["configs"]}
    assert configs == {"one", "two"}
    client(hub, 'for n, s in (("one", 1), ("two", 2)): assert load("alice/race", config_name=n)[1] == mapped(24, s)[1]')


@pytest.mark.parametrize("xet", [False, True])
def test_more_than_fifty_shards_are_one_commit(hub, xet):
    repo = f"alice/many-{xet}".lower()
    code = f"""
ds, data_map = mapped(70)
arguments = dict(ds=ds, repo_id="{repo}", data_map=data_map, max_shard_size=1, subsets=())
"""
    with hub.fault(path="/commit/", status=403, times=0, error="Forbidden"):
        client(hub, code + 'refused(HubError, "no write access", **arguments)', xet=xet)
    assert hub.files(repo) == {".gitattributes"}
    client(
        hub,
        code + f'push_to_hub(**arguments)\nassert load("{repo}", split="train")[0].to_list() == ds.to_list()',
        xet=xet,
    )
    assert sum(path.startswith("data/train-") for path in hub.files(repo)) == 70
    assert len(titles(hub, repo)) == 2


def test_a_smaller_release_leaves_nothing_of_the_larger_one(hub):
    client(
        hub,
        """
ds, data_map = mapped(60)
push_to_hub(ds, "alice/shrink", data_map=data_map, max_shard_size="2KB")
for path in ("data/notes.txt", "data/train-notes.txt"):
    api.upload_file(path_or_fileobj=b"mine", path_in_repo=path, repo_id="alice/shrink", repo_type="dataset")
small, small_map = mapped(12, 4)
push_to_hub(small, "alice/shrink", data_map=small_map, subsets=["high_variance"])
assert load_dataset("alice/shrink", split="train").to_list() == small.to_list()
assert get_dataset_config_names("alice/shrink") == ["default", "high_variance"]
""",
    )
    assert {path for path in hub.files("alice/shrink") if "/" in path} == {
        "data/notes.txt", "data/train-notes.txt", "data/train-00000-of-00001.parquet",
        "high_variance/train-00000-of-00001.parquet",
        "datamap/datamap.json", "datamap/index.parquet", "datamap/map.png",
    }  # fmt: skip


def test_curated_data_of_any_kind(hub):
    client(
        hub,
        """
ds, data_map = mapped(24)
pairs = ds.select_columns(["prompt", "chosen", "rejected"])
push_to_hub(ds, "alice/curated", data_map=data_map, subsets={"pairs_high": pairs})
assert load_dataset("alice/curated", "pairs_high", split="train").to_list() == pairs.to_list()
best = ds.filter(lambda r: r == "high_mean_low_variance", input_columns="datamap_region")
push_to_hub(best, "alice/best-only", data_map=data_map)                       # a repository of its own
assert get_dataset_config_names("alice/best-only") == ["default"]
refused(HubError, "'data'", ds=ds, repo_id="alice/curated", data_map=data_map, subsets={"data": pairs})
refused(HubError, "no region 'best'", ds=ds, repo_id="alice/curated", data_map=data_map, subsets=["best"])
""",
    )


def test_branches_and_what_is_refused(hub):
    client(
        hub,
        """
ds, data_map = mapped(24)
push_to_hub(ds, "alice/branchy", data_map=data_map)
main = api.dataset_info("alice/branchy").sha
new, new_map = mapped(24, 6)
push_to_hub(new, "alice/branchy", data_map=new_map, revision="next")
assert api.dataset_info("alice/branchy").sha == main
assert load("alice/branchy", revision="next")[1] == new_map and load("alice/branchy")[1] == data_map
arguments = dict(repo_id="alice/branchy", data_map=data_map)
refused(MapError, "another region", ds=new, **arguments)
refused(MapError, "no datamap_region", ds=scored(24), **arguments)
refused(HubError, "'data'", ds=ds, config_name="data", **arguments)
refused(HubError, "not the name of a repository", ds=ds, data_map=data_map, repo_id="not a name")
refused(HubError, "create_pr", "revision", ds=ds, create_pr=True, revision="next", **arguments)
for size in ("many", 0, "-1MB"):
    refused(HubError, "max_shard_size", "200MB", ds=ds, max_shard_size=size, **arguments)
refused(HubError, "no write access", ds=ds, data_map=data_map, repo_id="bob/mine")
secret = data_map.model_copy(update={"provenance": {"scorer": {"endpoint": "https://u:pa55word@host/v1"}}})
error = refused(MapError, "secret", ds=ds, data_map=secret, repo_id="alice/branchy")
assert "pa55word" not in str(error)
for name in ("alice/nowhere", "alice/plain", "not a name"):
    if name == "alice/plain":
        plain(5).push_to_hub(name)
    try:
        load(name)
        raise AssertionError(name)
    except DataMapError as error:
        print(name, type(error).__name__, error)
""",
    )
    client(
        hub,
        """
ds, data_map = mapped(24)
refused(HubError, "no write access", ds=ds, data_map=data_map, repo_id="alice/branchy")
""",
        token=READ,
    )
    client(
        hub,
        """
ds, data_map = mapped(24)
refused(HubError, "hf auth login", ds=ds, data_map=data_map, repo_id="alice/branchy")
arguments = dict(ds=ds, data_map=data_map, repo_id="alice/branchy")
error = refused(HubError, "hf auth login", token="hf_nonsense0123456789", **arguments)
assert "nonsense" not in str(error)
import traceback
for token in ("hf_nonsense0123456789\\n", "hf_nonsense 0123456789", "hf_nonsensé"):
    for attempt in (push_to_hub, load):
        try:
            attempt(**(arguments if attempt is push_to_hub else {"source": "alice/branchy"}), token=token)
            raise AssertionError(token)
        except HubError as error:
            assert "nonsens" not in "".join(traceback.format_exception(error)), error
""",
        token=None,
    )


def test_terms_come_from_the_source_and_a_broken_card_is_refused_before_anything_is_sent(hub):
    client(
        hub,
        """
text = "---\\nlanguage: [ko]\\nlicense: other\\nlicense_name: my-terms\\nlicense_link: https://example.invalid/x\\n---\\n"
api.create_repo("acme/source", repo_type="dataset")
api.upload_file(path_or_fileobj=text.encode(), path_in_repo="README.md", repo_id="acme/source", repo_type="dataset")
ds, data_map = mapped(24)
sha = api.dataset_info("acme/source").sha
data_map = data_map.model_copy(update={"provenance": {"source": {"id": "acme/source", "revision": sha}}})
push_to_hub(ds, "alice/terms", data_map=data_map)
""",
    )
    data = card(hub, "alice/terms").data
    assert (data["language"], data["license"], data["license_name"]) == (["ko"], "other", "my-terms")
    assert data["source_datasets"] == ["acme/source"]
    code = """
ds, data_map = mapped(24)
broken = "---\\nlicense: Apache 2.0!\\n---\\n"
refused(CardError, "license", ds=ds, repo_id="alice/broken", data_map=data_map, card=broken)
import hf_datamap.publish.commit
hf_datamap.publish.commit.RepoSnapshot.read = lambda *_: "Größe".encode("latin-1")  # git allows it
refused(CardError, "not UTF-8", ds=ds, repo_id="alice/broken", data_map=data_map)
"""
    mark = hub.mark()
    client(hub, code)
    assert not hub.calls(mark, "preupload|commit|_lfs")


def test_a_refusal_that_stays_is_not_told_to_be_tried_again(hub):
    code = """
ds, data_map = mapped(24)
error = refused(HubError, "no room", "Nothing half-made", ds=ds, repo_id="alice/refused", data_map=data_map)
assert "again" not in str(error) and ".." not in str(error), error
"""
    mark = hub.mark()
    with hub.fault(path="/commit/", status=400, times=0, error="There is no room for this."):
        client(hub, code)
    assert len(hub.calls(mark, "/commit/")) == 1


def test_release_and_card_are_the_same_every_time(hub):
    """Same input, same bytes: two repositories differ by their names alone."""
    client(hub, 'ds, m = mapped(24)\nfor n in ("same-a", "same-b"): push_to_hub(ds, f"alice/{n}", data_map=m)')
    trees = [hub.history(f"alice/same-{n}")[0]["tree"] for n in "ab"]
    assert {p: e["oid"] for p, e in trees[0].items() if p != "README.md"} == {
        p: e["oid"] for p, e in trees[1].items() if p != "README.md"
    }
    cards = [hub.file(f"alice/same-{n}", "README.md").decode() for n in "ab"]
    assert cards[0] == cards[1].replace("same-b", "same-a")
    yaml.safe_load(cards[0].split("---")[1])


def folder_of(ds, data_map, folder):
    """A folder as `hf-datamap map` writes it, with a card of one's own."""
    (folder / "data").mkdir()
    ds.to_parquet(folder / "data/train-00000-of-00001.parquet")
    data_map.save(folder / "datamap.json")
    (folder / "README.md").write_text("---\npretty_name: Mine\nconfigs: []\n---\n\n# Mine\n")


@pytest.mark.parametrize("config", ["default", "scored"])
def test_the_card_command_shows_what_a_push_makes(hub, tmp_path, config):
    code = "from hf_datamap.cli import main\nmain()"
    repo = f"alice/seen-{config}"
    for rows in (24, 30):
        folder = tmp_path / str(rows)
        folder.mkdir()
        folder_of(*mapped(rows), folder)
        merge = []
        if rows == 30:
            (tmp_path / "README.md").write_bytes(hub.file(repo, "README.md"))
            merge = ["--merge", str(tmp_path / "README.md")]
        mark = hub.mark()
        preview = hub.run(code, "card", str(folder), "--repo", repo, "--config", config, *merge, token=None)
        assert hub.requests(mark) == []
        hub.run(code, "push", str(folder), repo, "--config", config)
        assert preview.stdout == hub.file(repo, "README.md").decode()
    failed = hub.run(code, "card", str(folder), "--repo", "seen", check=False)
    assert failed.returncode == 2
    assert "OWNER/seen" in failed.stderr


def test_the_command_publishes_a_folder(hub, tmp_path):
    folder_of(*mapped(24), tmp_path)
    code = "from hf_datamap.cli.push import command\ncommand()"
    done = hub.run(code, str(tmp_path), "cli", "--json", "--subset", "high_variance", "--private")
    result = json.loads(done.stdout)
    assert result["repo_id"] == "alice/cli"
    assert WRITE not in done.stdout + done.stderr
    assert "24 rows" in done.stderr
    front = card(hub, "alice/cli")
    assert front.data["pretty_name"] == "Mine"
    assert front.body.startswith("\n# Mine\n")
    assert {config["config_name"] for config in front.data["configs"]} == {"default", "high_variance"}
    assert [f["name"] for f in front.data["dataset_info"][0]["features"]][:4] == list(TEXTS)


@pytest.mark.parametrize("xet", [False, True])
def test_uploads_show_their_progress(hub, tmp_path, xet):
    folder_of(*mapped(24, 90 + xet), tmp_path)  # nothing that is there already
    command = [sys.executable, "-c", "from hf_datamap.cli import main\nmain()", "push", str(tmp_path), "alice/bars"]
    environment = hub.env(xet=xet) | {"HF_HUB_DISABLE_PROGRESS_BARS": "0"}
    done = subprocess.run(
        [*command, f"--config=c{int(xet)}"], env=environment, capture_output=True, text=True, check=True
    )
    assert "100%" in done.stderr
    assert done.stdout.count("\n") == 1  # the address, and nothing beside it


PUT_BEFORE = """
import sys
repo, paths = sys.argv[1], sys.argv[2:]
ds, data_map = mapped(12)
plain_rows = ds.remove_columns([name for name in ds.column_names if name.startswith("datamap_")])
api.create_repo(repo, repo_type="dataset")
for path in paths:
    kind = path.rpartition(".")[2]
    write = {"parquet": plain_rows.to_parquet, "csv": plain_rows.to_csv, "jsonl": plain_rows.to_json}.get(kind)
    write("old.file") if write else open("old.file", "w").write("mine")
    api.upload_file(path_or_fileobj="old.file", path_in_repo=path, repo_id=repo, repo_type="dataset")
before = len(api.list_repo_commits(repo, repo_type="dataset"))
push_to_hub(ds, repo, data_map=data_map, subsets=())
assert len(api.list_repo_commits(repo, repo_type="dataset")) == before + 1
assert load_dataset(repo, split="train").to_list() == ds.to_list()
"""


@pytest.mark.parametrize(
    ("name", "data", "others"),
    [
        ("hashed", "data/train-00000-of-00001-0123456789abcdef.parquet", "data/train.md"),
        ("json-lines", "train.jsonl", "notes.jsonl.md"),
        ("nested", "raw/train/part-1.csv", "raw/readme.txt"),
    ],
)
def test_what_a_map_in_place_has_replaced_goes_in_the_same_commit(hub, name, data, others):
    """A repository in the form in which its owner left it: other names of files, another format."""
    hub.run(PRELUDE + PUT_BEFORE, f"alice/{name}", data, others)
    assert data not in hub.files(f"alice/{name}")
    assert others in hub.files(f"alice/{name}")


STUCK = """
import os, sys, time
import hf_datamap.publish.commit
hf_datamap.publish.commit._WAITS = (0.01,)
os.environ["HF_DATAMAP_HUB_TIMEOUT"] = sys.argv[1]
ds, data_map = mapped(24)
began = time.monotonic()
refused(HubError, "again", ds=ds, repo_id="alice/stuck", data_map=data_map, timeout=float(sys.argv[2]))
took = time.monotonic() - began
assert took < float(sys.argv[2]) + 15, took
"""


def test_a_hub_that_never_answers_does_not_hang_a_push(hub):
    """Not one request of a push, and not the sum of them."""
    client(hub, 'ds, data_map = mapped(12)\npush_to_hub(ds, "alice/stuck", data_map=data_map)')
    for path in ("/api/datasets/alice/stuck", "preupload", "/commit/", "/resolve/"):
        for silence, total in (("0.3", "15"), ("120", "1.5")):
            with hub.fault(path=path, action="none", delay=600, times=0):
                hub.run(PRELUDE + STUCK, silence, total)
    client(
        hub,
        """
ds, data_map = mapped(24)
push_to_hub(ds, "alice/stuck", data_map=data_map)
assert load_dataset("alice/stuck", split="train").to_list() == ds.to_list()
""",
    )
