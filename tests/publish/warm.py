"""Everything a client process imports, so that forked ones start at once; nothing here talks to anybody.

As a program it forks: each line of its input is a job (JSON: code, argv, env, cwd, out), each line of its output the
exit status of one. The clients read their environment at import, so a program serves one Hub in one mode.
"""

import json
import os
import sys
import traceback

import datasets
import huggingface_hub.hf_api
import matplotlib.backends.backend_agg
import matplotlib.figure
import pyarrow.parquet

import hf_datamap.data
import hf_datamap.datamap.plot
import hf_datamap.publish
import hf_datamap.publish.card
import tests.publish.data

__all__ = ["datasets", "hf_datamap", "huggingface_hub", "matplotlib", "pyarrow", "tests"]


def child(job: dict) -> None:
    out = os.open(job["out"], os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    err = os.open(job["out"] + ".err", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(out, 1)
    os.dup2(err, 2)
    os.chdir(job["cwd"])
    os.environ.clear()
    os.environ.update(job["env"])
    sys.argv = ["-c", *job["argv"]]
    status = 1
    try:
        exec(compile(job["code"], "<client>", "exec"), {"__name__": "__main__"})
        status = 0
    except SystemExit as end:
        status = end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)


def main() -> None:
    for line in sys.stdin:
        pid = os.fork()
        if not pid:
            child(json.loads(line))
        _, status = os.waitpid(pid, 0)
        print(os.waitstatus_to_exitcode(status), flush=True)


if __name__ == "__main__":
    main()
