"""Keys, tokens and passwords: in no file that is written and in nothing that is printed, in none of their forms."""

from __future__ import annotations

import base64
import io
from urllib.parse import quote

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hf_datamap.cli.terminal import GuardedStream
from hf_datamap.publish.folder import write_folder
from hf_datamap.publish.hub_errors import explain
from tests.publish.test_folder import mapped

secrets = st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=8, max_size=40)
FORMS = {
    "as it is": lambda secret: secret,
    "percent-encoded": lambda secret: quote(secret, safe=""),
    "base64": lambda secret: base64.b64encode(secret.encode()).decode(),
    "basic": lambda secret: f"Basic {base64.b64encode(f'user:{secret}'.encode()).decode()}",
    "bearer": lambda secret: f"Bearer {secret}",
    "in a url": lambda secret: f"http://user:{quote(secret, safe='')}@proxy:3128/x",
}
ROOM = settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@pytest.fixture(scope="module")
def plain_map():
    return mapped()


@ROOM
@given(secret=secrets, form=st.sampled_from(sorted(FORMS)))
def test_nothing_that_is_printed_or_written_holds_a_secret(secret, form, monkeypatch, tmp_path_factory, plain_map):
    monkeypatch.setenv("OPENAI_API_KEY", secret)
    shown = FORMS[form](secret)
    sink = io.StringIO()
    print(f"Error: the server said {shown} and went away", file=GuardedStream(sink))
    error = explain(OSError(f"proxy said: {shown} is wrong"), "push to", "me/x")
    ds, data_map = plain_map
    source = {"id": f"https://host/{shown}", "note": shown}
    out = tmp_path_factory.mktemp("map") / "m"
    write_folder(ds, data_map.model_copy(update={"provenance": {"source": source}}), out, title=f"map of {shown}")
    written = [path.read_bytes().decode("utf-8", "replace") for path in (out / "README.md", out / "datamap.json")]
    for text in (sink.getvalue(), str(error), *written):
        assert secret not in text
        assert shown.removeprefix("Basic ").removeprefix("Bearer ") not in text


def test_a_token_given_in_code_is_known_from_then_on(monkeypatch):
    from hf_datamap.publish.hub_errors import check_token

    check_token("abc-a-token-of-no-known-form")
    assert "of-no-known-form" not in str(explain(OSError("bad abc-a-token-of-no-known-form"), "load", "me/x"))
