"""What is used of VisualDL, which is an extra: the commands on corpora and caches do without it."""

from paddle_epoch_guard.errors import MissingPackageError
from paddle_epoch_guard.language import tr

try:
    from google.protobuf.message import DecodeError
    from visualdl.component import base_component as components
    from visualdl.proto.record_pb2 import Record
    from visualdl.utils.figure_util import figure_to_image
except ModuleNotFoundError as cause:
    raise MissingPackageError(
        tr(
            "VisualDL is not installed: no module {module}. The callback, report, compare and view need it: pip "
            "install 'paddle-epoch-guard[visualdl]' (from a checkout: pip install '.[visualdl]')",
            module=cause.name,
        )
    ) from cause

__all__ = ["DecodeError", "Record", "components", "figure_to_image"]
