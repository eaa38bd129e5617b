"""Arguments and options that several commands have."""

from pathlib import Path
from typing import Annotated

import typer

CacheArgument = Annotated[
    Path, typer.Argument(metavar="CACHE", help="Folder of the index: index-cache, data_cache_path, path_to_cache.")
]
HashOption = Annotated[
    str | None,
    typer.Option("--hash", help="The md5 that names the index's files, or its beginning; where there are several."),
]
PrefixOption = Annotated[
    list[str] | None,
    typer.Option(
        "--prefix",
        help="Where the corpus lies, without .idx or .bin, if not where the index says; for a blend once per dataset.",
    ),
]
