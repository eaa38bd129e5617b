"""Arguments and options that several commands share."""

from pathlib import Path
from typing import Annotated

import typer

CacheArgument = Annotated[
    Path, typer.Argument(metavar="CACHE", help="Folder of the index: index-cache, data_cache_path, path_to_cache.")
]
HashOption = Annotated[
    str | None,
    typer.Option(
        "--hash", metavar="MD5", help="md5 in the index's file names, or its beginning; needed if CACHE holds several."
    ),
]
PrefixOption = Annotated[
    list[str] | None,
    typer.Option(
        "--prefix",
        metavar="PREFIX",
        help="Path of the corpus without .idx or .bin, if it has moved; for a blend once per dataset, in its order.",
    ),
]
