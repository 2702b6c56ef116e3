"""Column layouts of real preference datasets: from a row of any of them to an `Example`, and why it was read so.

============== ========================================================================================
``example``    what every row becomes: prompt messages, responses, annotations, references, constraints
``paths``      how a value inside a row is named, on one row and on an Arrow batch alike
``values``     texts, chat turns, numbers and constraints in the odd clothes they wear
``labels``     the rules that turn what ships with a row into annotations, higher is better
``layout``     `Layout`: paths and a rule, and how they are read
``known``      the table of known datasets and of column names; adding a dataset is adding a few lines
``detect``     which of them the columns fit; ``refuse`` says why none does
``grouping``   the table of datasets with one response per row; ``group`` joins them by prompt
============== ========================================================================================

A layout of your own names its columns, in Python or on the command line:

>>> Layout(prompt="question", responses=["answer_a", "answer_b"], annotations="winner", label="choice")
>>> # --layout "prompt=question,responses=answer_a|answer_b,annotations=winner,label=choice"
"""

from hf_datamap.data.detect import detect_layout
from hf_datamap.data.example import Constraint, Example, Message
from hf_datamap.data.layout import Layout
from hf_datamap.data.parse import choose_layout, parse_layout
from hf_datamap.data.paths import EACH, format_path, parse_path, parse_paths, read_path, read_paths
from hf_datamap.data.values import number, parse_constraints

__all__ = [
    "EACH",
    "Constraint",
    "Example",
    "Layout",
    "Message",
    "choose_layout",
    "detect_layout",
    "format_path",
    "number",
    "parse_constraints",
    "parse_layout",
    "parse_path",
    "parse_paths",
    "read_path",
    "read_paths",
]
