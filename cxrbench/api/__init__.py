"""The public Python face: what the command line does, as functions. One module per question.

    import cxrbench

    results = cxrbench.run(["./mine.py:Mine", "random"], "siim:classification")
    print(results.leaderboard())

They take typed arguments, return data, print nothing, and raise UserError where the user can mend it. Importing this
costs nothing: numpy comes with the first call, torch with the first encoder that has to compute.
"""

from cxrbench.api.data import (
    check_dataset,
    compare_pictures,
    labels_of,
    load_dataset,
    prepare_copy,
    vocabulary_terms,
    write_phantom,
    write_sidecar,
)
from cxrbench.api.embedding import embed, export_features
from cxrbench.api.encoders import check_encoder, describe, load_encoder, store_golden
from cxrbench.api.forms import Calibrated, Compared, Form, Grouped, Leaderboard, Tables
from cxrbench.api.installed import (
    download,
    download_commands,
    find_published,
    list_datasets,
    list_encoders,
    list_published,
    list_tasks,
    own_datasets,
    write_card,
)
from cxrbench.api.looking.classified import classified_cases
from cxrbench.api.looking.images import attend
from cxrbench.api.papers.finished import cell_key
from cxrbench.api.papers.overview import PaperOverview, list_papers, paper_overview
from cxrbench.api.papers.planned import PlannedTable, compute_table, plan_table
from cxrbench.api.papers.run import paper_table
from cxrbench.api.papers.shown import PaperShown, show_table
from cxrbench.api.pictures.embedding_maps import EmbeddingMaps, embed_map
from cxrbench.api.pictures.plots import PlotOf, list_plots, plot
from cxrbench.api.plugins import new_plugin
from cxrbench.api.pretraining import PretrainSettings, method_options, pretrain, pretraining_recipe
from cxrbench.api.protocols import compare_protocols, leaderboard_of_protocols
from cxrbench.api.runs import Outcome, RunResults, outcomes, planned, prepare, read_run_file, run
from cxrbench.api.saved import LeaderboardOptions, SavedResults, load_results
from cxrbench.api.sharing.bundles import bundle
from cxrbench.api.sharing.results import check_results, merge_results, pack_results, rename_in_results
from cxrbench.api.sharing.splits import ImportedSplits, import_splits, splits_of
from cxrbench.api.store import cached, clean_cache, find_cell, find_manifest, requests, verify
from cxrbench.api.tables import Recalibration, by_group, calibration, compare, leaderboard
from cxrbench.api.workers import cost, executor_table, requested_job, status, statuses
from cxrbench.encoder import EncoderCard, Features, Preprocess
from cxrbench.errors import UserError
from cxrbench.papers.paper import Statistic
from cxrbench.schedule.cost_plan import CostPlan
from cxrbench.schedule.manner import RETRIES, Manner, Wanted
from cxrbench.schedule.status import Status

__all__ = [
    "Calibrated", "Compared", "CostPlan", "EmbeddingMaps", "EncoderCard", "Features", "Form", "Grouped",
    "ImportedSplits", "Leaderboard", "LeaderboardOptions", "Manner", "Outcome", "PaperOverview", "PaperShown",
    "PlannedTable", "PlotOf", "Preprocess", "PretrainSettings", "RETRIES", "Recalibration", "RunResults",
    "SavedResults", "Statistic", "Status", "Tables", "UserError", "Wanted", "attend", "bundle", "by_group", "cached",
    "calibration", "cell_key", "check_dataset", "check_encoder", "check_results", "classified_cases", "clean_cache",
    "compare", "compare_pictures", "compare_protocols", "compute_table", "cost", "describe", "download",
    "download_commands", "embed", "embed_map", "executor_table", "export_features", "find_cell", "find_manifest",
    "find_published", "import_splits", "labels_of", "leaderboard", "leaderboard_of_protocols", "list_datasets",
    "list_encoders", "list_papers", "list_plots", "list_published", "list_tasks", "load_dataset", "load_encoder",
    "load_results", "merge_results", "method_options", "new_plugin", "outcomes", "own_datasets", "pack_results",
    "paper_overview", "paper_table", "plan_table", "planned", "plot", "prepare", "prepare_copy", "pretrain",
    "pretraining_recipe", "read_run_file", "rename_in_results", "requested_job", "requests", "run", "show_table",
    "splits_of", "status", "statuses", "store_golden", "verify", "vocabulary_terms", "write_card", "write_phantom",
    "write_sidecar",
]  # fmt: skip
