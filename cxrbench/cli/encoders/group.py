"""The commands of ``cxrbench encoders`` in the order of its help."""

from typing import Any

import typer

from cxrbench.cli.encoders.check import encoders_check
from cxrbench.cli.encoders.inspect import encoders_info, encoders_list
from cxrbench.cli.encoders.published import encoders_card, encoders_download

options: dict[str, Any] = {"no_args_is_help": True, "rich_markup_mode": None}
encoders_app = typer.Typer(help="Encoders: list, info, download, card, check, new.", **options)
encoders_app.command("list")(encoders_list)
encoders_app.command("info")(encoders_info)
encoders_app.command("download")(encoders_download)
encoders_app.command("card")(encoders_card)
encoders_app.command("check")(encoders_check)
