"""cxrbench: which pretrained chest X-ray encoder is better, on which task, and is the difference real?"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from cxrbench.api import (
        EncoderCard,
        Features,
        Preprocess,
        RunResults,
        UserError,
        calibration,
        check_dataset,
        check_encoder,
        compare,
        embed,
        embed_map,
        list_datasets,
        list_encoders,
        list_tasks,
        load_dataset,
        load_encoder,
        load_results,
        plot,
        pretrain,
        read_run_file,
        run,
        status,
    )

__version__ = "0.1.0"
__all__ = [
    "EncoderCard", "Features", "Preprocess", "RunResults", "UserError", "calibration", "check_dataset",
    "check_encoder", "compare", "embed", "embed_map", "list_datasets", "list_encoders", "list_tasks",
    "load_dataset", "load_encoder", "load_results", "plot", "pretrain", "read_run_file", "run", "status",
]  # fmt: skip


def __getattr__(name: str) -> Any:
    """The public functions, imported when first asked for: ``import cxrbench`` alone costs nothing."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from cxrbench import api

    return getattr(api, name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
