"""A judge that sees: images as content parts, bounded, never fetched; and scorers that do without."""

from __future__ import annotations

import base64
import io
import logging
import struct
import zlib

import pytest
from datasets import Dataset, Features, Image, Value

import hf_datamap as dm
from hf_datamap.data.example import Image as ImageRef
from hf_datamap.errors import Unanswered
from hf_datamap.scorers.images import image_parts
from tests.servers.llm import LLMServer, completion


def png(side=2, colour=0):
    """A grey PNG, made by hand."""

    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    rows = b"".join(b"\0" + bytes([colour]) * side for _ in range(side))
    header = struct.pack(">IIBBBBB", side, side, 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


def dataset(count=3):
    rows = [
        {
            "image": {"bytes": png(colour=40 * i), "path": None},
            "prompt": f"What is in picture {i}?",
            "chosen": f"A square {i}",
            "rejected": f"A dog {i}",
        }
        for i in range(count)
    ]
    texts = {name: Value("string") for name in ("prompt", "chosen", "rejected")}
    return Dataset.from_list(rows, features=Features({"image": Image(), **texts}))


def images_in(request):
    content = request["messages"][1]["content"]
    return [part["image_url"]["url"] for part in content if part["type"] == "image_url"]


def judged(server, **options):
    return dm.LLMJudge("m", base_url=server.url, logprobs=False, **options)


def test_a_judge_that_sees_is_shown_the_images():
    with LLMServer(lambda request, _: completion(request, '{"score": 7}')) as server:
        table, data_map = dm.annotate(dataset(), judged(server, vision=True), progress=False)
        assert set(table["datamap_status"]) == {"ok"}
        assert len(server.requests) == 6
        for request in server.requests:
            (url,) = images_in(request)
            head, _, data = url.partition(",")
            assert head == "data:image/png;base64"
            assert base64.b64decode(data).startswith(b"\x89PNG")
            assert "[[" in request["messages"][1]["content"][-1]["text"]
        # Another picture under the same words is another question.
        sent = len(server.requests)
        dm.annotate(dataset(), judged(server, vision=True), progress=False)
        assert len(server.requests) == sent
        dm.annotate(
            dataset()
            .select([1, 0, 2])
            .map(
                lambda row, i: {
                    "prompt": f"What is in picture {i}?",
                    "chosen": f"A square {i}",
                    "rejected": f"A dog {i}",
                },
                with_indices=True,
            ),
            judged(server, vision=True),
            progress=False,
        )
        assert len(server.requests) == sent + 4
    assert data_map.provenance["scorer"]["vision"] is True


def test_a_scorer_of_texts_must_be_told_to_do_without():
    with LLMServer() as server:
        with pytest.raises(dm.LayoutError, match="text_only=True"):
            dm.annotate(dataset(), judged(server), progress=False)
        table, _ = dm.annotate(dataset(), judged(server, text_only=True), progress=False)
        assert set(table["datamap_status"]) == {"ok"}
        assert all(isinstance(request["messages"][1]["content"], str) for request in server.requests)


def test_a_layout_that_reads_images_for_a_scorer_that_does_not_is_said_once(caplog):
    class Length(dm.Scorer):
        identity = {"kind": "length-without-images"}

        def score(self, example):
            return [len(text) for text in example.responses]

    layout = dm.detect_layout(dataset(), images=True)
    with caplog.at_level(logging.WARNING):
        dm.annotate(dataset(), Length(), layout=layout, progress=False)
        dm.annotate(dataset(), Length(), layout=layout, progress=False)
    assert caplog.text.count("judges without the images") == 1


def test_urls_are_not_fetched_unless_asked_for():
    image = ImageRef(path="http://127.0.0.1:9/picture.png")
    with pytest.raises(Unanswered, match="image_urls=True"):
        image_parts([image], urls=False)
    assert image_parts([image], urls=True)[1]["image_url"]["url"] == image.path


def test_large_and_odd_files_are_converted_and_hostile_ones_refused():
    pillow = pytest.importorskip("PIL.Image")
    out = io.BytesIO()
    pillow.frombytes("RGB", (2000, 1500), bytes(range(256)) * 35157, "raw").save(out, "BMP")
    (_, part) = image_parts([ImageRef(data=out.getvalue())], urls=False)
    head, _, data = part["image_url"]["url"].partition(",")
    assert head == "data:image/jpeg;base64"
    picture = pillow.open(io.BytesIO(base64.b64decode(data)))
    assert max(picture.size) <= 1568
    with pytest.raises(Unanswered, match="cannot be read"):
        image_parts([ImageRef(data=b"no image at all")], urls=False)
    with pytest.raises(Unanswered, match=r"too many to be read|cannot be read"):
        image_parts([ImageRef(data=b"BM" + png(side=30_000)[2:])], urls=False)
    with pytest.raises(Unanswered, match="at most"):
        image_parts([ImageRef(data=png())] * 17, urls=False)


def test_scores_that_ship_and_constraints_need_no_images():
    ds = dataset().add_column("score_chosen", [3.0, 2.0, 1.0]).add_column("score_rejected", [1.0, 1.0, 1.0])
    table, _ = dm.annotate(ds, dm.ColumnScorer("score_chosen,score_rejected"), progress=False)
    assert table["datamap_scores"][0] == [3.0, 1.0]
    assert dm.ConstraintScorer().takes_images
    assert not dm.Panel([dm.ColumnScorer("a"), dm.RewardModel("m")]).takes_images
    assert dm.Panel([dm.ColumnScorer("a"), dm.RewardModel("m", text_only=True)]).takes_images
