"""Everything that depends on the host libraries: the only room that imports paddle or paddlenlp.

Written against paddlenlp 3.0.0b4 and paddlepaddle 3.0 to 3.3.
"""

from paddlenlp.trainer import TrainerCallback
from paddlenlp.utils.log import logger

from paddle_epoch_guard.host.dataset import (
    build_index,
    constituents,
    index_folders,
    install_order,
    is_first_on_its_machine,
    is_plain,
    pick_datasets,
    read_dataset,
    restore_dataset,
)
from paddle_epoch_guard.host.loader import Loader, first_piece, follow_loader, start_sampler
from paddle_epoch_guard.host.losses import TokenLosses
from paddle_epoch_guard.host.ranks import add_up, gather_numbers, process, told_by
from paddle_epoch_guard.host.state import Stamp, checkpoint_folder, read_stamp, stamp_step, trainer_record, write_stamp

__all__ = [
    "Loader",
    "Stamp",
    "TokenLosses",
    "TrainerCallback",
    "add_up",
    "build_index",
    "checkpoint_folder",
    "constituents",
    "first_piece",
    "follow_loader",
    "gather_numbers",
    "index_folders",
    "install_order",
    "is_first_on_its_machine",
    "is_plain",
    "logger",
    "pick_datasets",
    "process",
    "read_dataset",
    "read_stamp",
    "restore_dataset",
    "stamp_step",
    "start_sampler",
    "told_by",
    "trainer_record",
    "write_stamp",
]
