"""``cxrbench encoders list|info``: which encoders there are, and who one is."""

import json
from typing import Annotated

import typer

from cxrbench import api
from cxrbench.cli.console import show
from cxrbench.cli.encoders.published import published_rows
from cxrbench.cli.options import CheckOption, JsonOption
from cxrbench.files.names import visible

PublishedOption = Annotated[bool, typer.Option("--published", help="The published encoders that cxr:NAME knows.")]


def encoders_list(check: CheckOption = False, published: PublishedOption = False, as_json: JsonOption = False) -> None:
    """The encoders that are installed, and how to name them; with --published those of cxr:NAME, and which are here.

    Examples:

      cxrbench encoders list

      cxrbench encoders list --published
    """
    if published:
        show(published_rows(as_json), as_json)
        return
    rows = [
        {"name": e.name, "how to name it": e.usage, "what it is": e.problem or e.summary}
        for e in api.list_encoders(check=check)
    ]
    show(rows, as_json)


def encoders_info(
    encoder: Annotated[str, typer.Argument(help="An encoder, e.g. imagenet or spcl@runs/spcl/encoder.safetensors")],
    as_json: JsonOption = False,
) -> None:
    """Who an encoder is: weights, parameters, GFLOPs per image, preprocessing, licence, what it was pretrained on.

    Example: cxrbench encoders info timm:vit_base_patch16_224@vit.safetensors
    """
    facts = api.describe(encoder)
    if as_json:
        print(json.dumps(facts, indent=1))
        return
    for name, value in facts.items():
        print(visible(f"{name:>18}  {', '.join(value) or '-' if isinstance(value, tuple) else value}"))
