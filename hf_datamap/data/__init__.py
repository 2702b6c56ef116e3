"""Column layouts of real preference datasets: from a row of any of them to an `Example`, and why it was read so.

==================== ======================================================================================
``example``          what every row becomes: prompt messages, responses, annotations, references, constraints
``paths``            how a value inside a row is named, on one row and on an Arrow batch alike
``decode``           every physical form of a value (JSON, reprs, structs of lists) becomes one logical form
``messages``         chat messages, tool calls, images and reasoning; ``transcripts`` reads dialogues in one text
``labels``           the rules that turn what ships with a row into annotations, higher is better
``layout``           `Layout`: paths and a rule; ``reading`` applies it to a row
``known_layouts``    the table of known datasets; adding one is adding a few lines
``families``         guesses by ``names`` of columns; ``label_columns`` finds the label
``detect``           which layout sample rows read under; ``sanity`` checks the reading, ``refuse`` says why none
``known_groupings``  datasets with one response per row; ``group_rows`` joins them by prompt
``load``             opens Hub ids, folders and files; ``inspect`` shows how they read, ``evidence`` by which rows
==================== ======================================================================================

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
