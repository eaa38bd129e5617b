"""The host libraries: the only package that imports paddle, paddlenlp or paddleformers.

Written for paddlenlp 3.0.0b4 and paddleformers 1.2.0 with paddlepaddle 3.0 to 3.3; paddlenlp 2.8.1 with
paddlepaddle 2.6.2 works, too.
"""

from paddle_epoch_guard.host import library
from paddle_epoch_guard.host.dataset import (
    build_index,
    constituents,
    folder_to_build_in,
    index_folders,
    install_order,
    is_first_on_its_machine,
    is_plain,
    list_datasets,
    pick_datasets,
    read_dataset,
    restore_dataset,
)
from paddle_epoch_guard.host.evaluation import (
    EvaluatedData,
    ExtraEvaluation,
    cannot_evaluate,
    documents_of,
    evaluated_data,
    evaluates,
    evaluates_after,
    evaluation_set,
    size_of_evaluation,
)
from paddle_epoch_guard.host.loader import Loader, describe_loader, skipped_steps
from paddle_epoch_guard.host.log import logger, say, told_if_it_fails, try_to_warn, warn
from paddle_epoch_guard.host.logs import has_log_folder, loggers, saves_by
from paddle_epoch_guard.host.losses import TokenLosses
from paddle_epoch_guard.host.protocols import Dataloader, TrainerControl, TrainerState, TrainingArguments
from paddle_epoch_guard.host.ranks import all_gather_ints, all_reduce_sum, broadcast_from, process
from paddle_epoch_guard.host.samplers import order_of_rule, rewind_sampler, start_sampler
from paddle_epoch_guard.host.saved_arguments import saved_arguments
from paddle_epoch_guard.host.state import (
    IN_DOUBT,
    UNGUARDED,
    Stamp,
    checkpoint_folder,
    checkpoints_beside,
    find_checkpoint,
    has_stamp,
    late_checkpoint_folders,
    newest_checkpoint,
    read_stamp,
    stamp_in,
    stamp_step,
    trainer_record,
    write_stamp,
)
from paddle_epoch_guard.host.training import Training, current_training, owner_of, release, take_over, watch_trainings

TrainerCallback = library.import_host("trainer").TrainerCallback

__all__ = [
    "IN_DOUBT",
    "UNGUARDED",
    "Dataloader",
    "EvaluatedData",
    "ExtraEvaluation",
    "Loader",
    "Stamp",
    "TokenLosses",
    "TrainerCallback",
    "TrainerControl",
    "TrainerState",
    "Training",
    "TrainingArguments",
    "all_gather_ints",
    "all_reduce_sum",
    "broadcast_from",
    "build_index",
    "cannot_evaluate",
    "checkpoint_folder",
    "checkpoints_beside",
    "constituents",
    "current_training",
    "describe_loader",
    "documents_of",
    "evaluated_data",
    "evaluates",
    "evaluates_after",
    "evaluation_set",
    "find_checkpoint",
    "folder_to_build_in",
    "has_log_folder",
    "has_stamp",
    "index_folders",
    "install_order",
    "is_first_on_its_machine",
    "is_plain",
    "late_checkpoint_folders",
    "list_datasets",
    "logger",
    "loggers",
    "newest_checkpoint",
    "order_of_rule",
    "owner_of",
    "pick_datasets",
    "process",
    "read_dataset",
    "read_stamp",
    "release",
    "restore_dataset",
    "rewind_sampler",
    "saved_arguments",
    "saves_by",
    "say",
    "size_of_evaluation",
    "skipped_steps",
    "stamp_in",
    "stamp_step",
    "start_sampler",
    "take_over",
    "told_if_it_fails",
    "trainer_record",
    "try_to_warn",
    "warn",
    "watch_trainings",
    "write_stamp",
]
