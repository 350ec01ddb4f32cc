"""The public Python face: what the command line does, as functions. One module per question.

    import cxrbench

    print(cxrbench.evaluate("./mine.py:Mine,random", "siim:classification"))
    print(cxrbench.board("results"))

They take typed arguments, return data, print nothing, and raise UserError where the user can mend it. Importing this
costs nothing: numpy comes with the first call, torch with the first encoder that has to compute.
"""

from cxrbench.api.data import check, load_dataset, prepare_copy, write_phantom
from cxrbench.api.encoders import check_encoder, describe, load_encoder, store_golden
from cxrbench.api.features import export_features
from cxrbench.api.installed import list_datasets, list_encoders, list_tasks, own_datasets
from cxrbench.api.plugins import new_plugin
from cxrbench.api.pretraining import PretrainSettings, method_options, pretrain, pretraining_recipe
from cxrbench.api.protocols import board_of_protocols, compare_protocols
from cxrbench.api.runs import Evaluated, Outcome, evaluate, outcomes, planned, prepare
from cxrbench.api.store import find_cell, find_manifest, verify
from cxrbench.api.tables import Calibrated, Form, Recalibration, board, by_group, calibration, compare

__all__ = [
    "Calibrated", "Evaluated", "Form", "Outcome", "PretrainSettings", "Recalibration", "board",
    "board_of_protocols", "by_group", "calibration", "check", "check_encoder", "compare", "compare_protocols",
    "describe", "evaluate", "export_features", "find_cell", "find_manifest", "list_datasets", "list_encoders",
    "list_tasks", "load_dataset", "load_encoder", "method_options", "new_plugin", "outcomes", "own_datasets",
    "planned", "prepare", "prepare_copy", "pretrain", "pretraining_recipe", "store_golden", "verify", "write_phantom",
]  # fmt: skip
