"""A run, finished or running, read back from its logs and from its newest checkpoint.

Three places hold it. The trainer's own VisualDL log has its losses, evaluations and arguments; each part of a resumed
run begins a new file. The guard's log has everything by epoch, and what was said. The sidecar of a checkpoint has
order, schedule and data. None of them needs to be there but one log.

Parts of a run overlap where it was resumed from before its end. What a later part wrote counts from where it begins.
"""

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import msgspec

from paddle_epoch_guard.errors import ReportError, SidecarError
from paddle_epoch_guard.report.logfile import LogFile, read_log_file
from paddle_epoch_guard.report.markers import EVALUATION_TAG, LOSS_TAG
from paddle_epoch_guard.report.run_summary import (
    ChangeSummary,
    EpochSummary,
    Note,
    Part,
    Series,
    is_verdict,
    judged,
    shown_arguments,
)
from paddle_epoch_guard.report.visualdl import FILE_NAME
from paddle_epoch_guard.report.words import EXPOSURE_TAG, FRESH_TAG, NOTES_TAG, REPEAT_TAG, Words
from paddle_epoch_guard.resume import SIDECAR_NAME, Sidecar, read_sidecar

_WORDS, _TRAINER_WORDS = Words(), Words(trainer=True)
_CUT = re.compile(r"(?:(trainer_)?boundary_(\d{1,9})_to_(\d{1,9})|unified_from_step_(\d{1,15}))")
_EPOCH = re.compile(r"(trainer_)?epoch_(\d{1,9})")
_CHECKPOINT = re.compile(r"checkpoint-(\d{1,15})")


@dataclass(frozen=True, eq=False)
class RunData:
    """A run, as far as it has come."""

    logging_dir: Path
    output_dir: Path | None
    loss: Series = field(default_factory=Series)
    """Training loss at the last step of each log window, nats per token."""
    evaluation: Series = field(default_factory=Series)
    data_epoch: Series = field(default_factory=Series)
    exposure: Series = field(default_factory=Series)
    loss_fresh: Series = field(default_factory=Series)
    loss_repeat: Series = field(default_factory=Series)
    epochs: tuple[EpochSummary, ...] = ()
    cuts: tuple[ChangeSummary, ...] = ()
    notes: tuple[Note, ...] = ()
    parts: tuple[Part, ...] = ()
    """As far as the trainer's own log tells."""
    sidecar: Sidecar | None = None
    sidecar_path: Path | None = None
    folders: tuple[str, ...] = ()
    """The folders of the sidecar's datasets, in its order; none where they are not known."""
    faults: tuple[str, ...] = ()
    """What could not be read, or was left out, and why."""

    @property
    def last_step(self) -> int:
        """The last step of which anything is known."""
        ends = [int(one.steps[-1]) for one in (self.loss, self.data_epoch, self.evaluation) if len(one)]
        return max([*ends, 0 if self.sidecar is None else self.sidecar.step])

    @property
    def datasets(self) -> tuple[str, ...]:
        """The constituents of a blend, by the names of their folders; one empty name where there is one dataset."""
        found = sorted({one.dataset for one in self.epochs} | {one.dataset for one in self.cuts if one.epochs})
        return tuple(found) or ("",)

    @property
    def sides(self) -> tuple[int, ...]:
        """The first step of each side of each cut: a trend must not run across. A mixed step is a side by itself."""
        found = set()
        for cut in self.cuts:
            found.add(cut.step)
            epoch, alone = self.data_epoch.at(cut.step), self.data_epoch.at(cut.step - 1) is not None
            if cut.epochs and not cut.dataset and alone and epoch is not None and epoch < cut.epochs[1] - 0.01:
                found.add(cut.step + 1)
        return tuple(sorted(found))


def read_run(
    logging_dir: str | Path,
    output_dir: str | Path | None = None,
    *,
    state: Sidecar | None = None,
    names: Sequence[str] = (),
) -> RunData:
    """Reads a run back.

    What cannot be read is left out, and named in ``faults``.

    Args:
        logging_dir: the trainer's log folder.
        output_dir: the folder with its checkpoints.
        state: the state of the run at its end, where it is at hand; else the newest that fits the log is looked for,
            in the checkpoints, and beside the guard's log.
        names: the names of a blend's datasets, in its order, where they are at hand.

    Raises:
        ReportError: there is no such folder, or no log in it.
    """
    logs, output = Path(logging_dir), None if output_dir is None else Path(output_dir)
    for folder, what in ((logs, "logging_dir"), (output, "output_dir")):
        if folder is not None and not folder.is_dir():
            raise ReportError(f"{folder}: no such folder. Name the run's {what}")
    folders = _folders_of(logs, output)
    if not any(one.trainer or one.guard for one in folders):
        raise ReportError(
            f"{logs}: no VisualDL log in it: neither the trainer's (vdlrecords.*.log) nor the guard's "
            f"(epoch_guard/{FILE_NAME}). Name the folder that the run had as logging_dir"
        )
    run = _Logs(folders).run(logs, output)
    run = _with_state(run, state) if state is not None else _with_sidecar(run)
    return _with_totals(run, names) if run.sidecar is not None else run


def find_logging_dir(output_dir: str | Path) -> Path:
    """The newest log folder below an output folder, where the trainer puts it unless told otherwise.

    Raises:
        ReportError: there is none.
    """
    output = Path(output_dir)
    if not output.is_dir():
        raise ReportError(f"{output}: no such folder. Name the run's output_dir")
    found = {path.parent: path for path in sorted(output.rglob("vdlrecords*.log"))}
    folders = {(folder.parent if folder.name == "epoch_guard" else folder): path for folder, path in found.items()}
    newest = {
        folder: path.stat().st_mtime
        for folder, path in folders.items()
        if "epoch_guard" not in folder.relative_to(output).parts
    }
    if not newest:
        raise ReportError(f"{output}: no VisualDL log below it. Name the folder that the run had as logging_dir")
    return max(newest, key=lambda folder: newest[folder])


@dataclass
class _Folder:
    """The log files of one logging_dir, oldest first."""

    trainer: list[LogFile]
    guard: dict[str, list[LogFile]]
    """By folder below ``epoch_guard``."""

    @classmethod
    def read(cls, path: Path) -> "_Folder":
        tags = (LOSS_TAG, EVALUATION_TAG, "args")
        trainer = [read_log_file(one, tags) for one in sorted(path.glob("vdlrecords*.log"))]
        root, guard = path / "epoch_guard", {}
        for one in sorted(root.rglob(FILE_NAME)):
            guard[one.parent.relative_to(root).as_posix()] = [read_log_file(one)]
        return cls(sorted(trainer, key=lambda one: one.began), guard)

    @property
    def files(self) -> list[LogFile]:
        return [*self.trainer, *(one for some in self.guard.values() for one in some)]

    @property
    def began(self) -> int:
        return min((one.began for one in self.files), default=0)

    @property
    def first_logged(self) -> int | None:
        """The first step of which anything is known."""
        found = [_part_of(one).first_logged for one in self.trainer]
        epochs = [one.scalars.get(_WORDS.epoch_tag, ()) for one in self.guard.get(".", ())]
        return min([*(one for one in found if one), *(step for some in epochs for step, _ in some)], default=None)


def _folders_of(logs: Path, output: Path | None) -> list[_Folder]:
    """The log folders of a run, oldest first.

    The host's default is a new one for each part, ``<output_dir>/runs/<time>_<host>``: there, those of earlier parts
    belong to it.
    """
    named = _Folder.read(logs)
    if output is None or logs.parent.resolve() != (output / "runs").resolve():
        return [named]
    others = [_Folder.read(one) for one in logs.parent.iterdir() if one.is_dir() and one.resolve() != logs.resolve()]
    earlier = sorted((one for one in others if one.files and one.began < named.began), key=lambda one: one.began)
    found = [*earlier, named]
    return [one for one, counts in zip(found, _counting([one.first_logged for one in found]), strict=True) if counts]


def _counting(firsts: Sequence[int | None]) -> list[bool]:
    """Which parts count at all, by their first steps: not those from whose beginning a later one began anew."""
    found, least = [], math.inf
    for first in reversed(firsts):
        found.append(first is None or first < least)
        least = least if first is None else min(least, first)
    return found[::-1]


class _Logs:
    """All log files of a run."""

    def __init__(self, folders: Sequence[_Folder]) -> None:
        files = [one for folder in folders for one in folder.files]
        self.faults = [f"{one.path}: {one.fault}" for one in files if one.fault]
        read = [one for folder in folders for one in folder.trainer]
        counting = _counting([_part_of(one).first_logged for one in read])
        self.trainer = [one for one, counts in zip(read, counting, strict=True) if counts]
        self.guard: dict[str, list[LogFile]] = {}
        for folder in folders:
            for name, some in folder.guard.items():
                self.guard.setdefault(name, []).extend(some)

    def run(self, logging_dir: Path, output_dir: Path | None) -> RunData:
        parts = [_part_of(one) for one in self.trainer]
        # The guard keeps these curves where the trainer does not write to VisualDL.
        loss, evaluation = (
            self._of_trainer(tag, parts).completed_by(self._of_guard(".", tag)) for tag in (LOSS_TAG, EVALUATION_TAG)
        )
        notes = [Note(step, text) for one in self.guard.get(".", ()) for step, text in one.texts.get(NOTES_TAG, ())]
        run = RunData(
            logging_dir,
            output_dir,
            loss=loss,
            evaluation=evaluation,
            data_epoch=self._of_guard(".", _WORDS.epoch_tag, _TRAINER_WORDS.epoch_tag),
            exposure=self._of_guard(".", EXPOSURE_TAG),
            loss_fresh=self._of_guard(".", FRESH_TAG),
            loss_repeat=self._of_guard(".", REPEAT_TAG),
            notes=tuple(sorted(dict.fromkeys(notes), key=lambda note: note.step)),
            parts=tuple(parts),
        )
        if not self.guard:
            self.faults.append(f"{logging_dir / 'epoch_guard'}: the guard has written nothing here")
        if not len(loss):
            self.faults.append(
                "The training loss is in no VisualDL log. The last log windows that a checkpoint "
                "remembers stand for it"
            )
        cuts = [cut for cut in map(self._cut, self.guard) if cut is not None]
        # Those that only a part of the run met that does not count: it was resumed from before.
        stale = [cut for cut in cuts if cut.epochs and cut.step > run.last_step]
        kept = sorted((cut for cut in cuts if cut not in stale), key=lambda cut: (cut.step, cut.name))
        beyond = {cut.dataset: cut.epochs[0] for cut in stale if cut.epochs}
        epochs = [one for one in self._epochs() if one.epoch <= beyond.get(one.dataset, one.epoch)]
        return replace(run, cuts=tuple(kept), epochs=tuple(epochs), faults=tuple(self.faults))

    def _of_trainer(self, tag: str, parts: Sequence[Part]) -> Series:
        points: list[tuple[int, float]] = []
        for one, part in zip(self.trainer, parts, strict=True):
            if part.first_logged is not None:
                points = [point for point in points if point[0] < part.first_logged]
            points += one.scalars.get(tag, ())
        return Series.of(points)

    def _of_guard(self, folder: str, *tags: str) -> Series:
        """The first of some tags that there is."""
        for tag in tags:
            points = [point for one in self.guard.get(folder, ()) for point in one.scalars.get(tag, ())]
            if points:
                return Series.of(points)
        return Series()

    def _epochs(self) -> list[EpochSummary]:
        found: dict[tuple[bool, str, int], EpochSummary] = {}
        for folder in self.guard:
            dataset, _, last = folder.rpartition("/")
            if (match := _EPOCH.fullmatch(last)) and "/" not in dataset:
                words = _TRAINER_WORDS if match[1] else _WORDS
                curve = self._of_guard(folder, words.loss_by_epoch_tag)
                epoch = int(match[2])
                found[words.trainer, dataset, epoch] = EpochSummary(dataset, epoch, words.trainer, curve)
        for folder in self.guard:
            for words in (_WORDS, _TRAINER_WORDS):
                dataset = "" if folder == "." else folder
                means = self._of_guard(folder, words.epoch_loss_tag)
                for epoch, mean in zip(means.steps.tolist(), means.values.tolist(), strict=True):
                    key = words.trainer, dataset, epoch
                    one = found.get(key, EpochSummary(dataset, epoch, words.trainer))
                    found[key] = replace(one, mean_loss=mean)
        return [found[key] for key in sorted(found)]

    def _cut(self, folder: str) -> ChangeSummary | None:
        dataset, _, last = folder.rpartition("/")
        match = _CUT.fullmatch(last)
        if match is None or "/" in dataset:
            return None
        said = [point for one in self.guard[folder] for point in one.texts.get(f"epoch_guard/{last}", ())]
        steps = [step for step, _ in said] or [
            step for one in self.guard[folder] for step, _ in one.scalars.get(LOSS_TAG, ())
        ]
        step = steps[-1] if steps else int(match[4] or 0)
        if not step:
            return None
        epochs = None if match[4] else (int(match[2]), int(match[3]))
        sentences = dict.fromkeys(text for at, text in said if at == step)
        verdicts = [text for text in sentences if is_verdict(text)]
        told = tuple(text for text in sentences if text not in verdicts)
        cut = ChangeSummary(folder, step, dataset, epochs, match[1] is not None, told)
        return judged(cut, verdicts[-1]) if verdicts else cut


def _part_of(log: LogFile) -> Part:
    steps = [step for tag in (LOSS_TAG, EVALUATION_TAG) for step, _ in log.scalars.get(tag, ())]
    return Part(
        log.began,
        min(steps, default=None),
        max(steps, default=None),
        shown_arguments(log.texts["args"][-1][1]) if log.texts.get("args") else {},
    )


def _with_state(run: RunData, state: Sidecar, path: Path | None = None) -> RunData:
    """The run with what a sidecar knows of it."""
    verdicts = {one.name: one for one in state.verdicts}
    cuts = tuple(
        judged(cut, verdicts[cut.name].sentence) if not cut.verdict and cut.name in verdicts else cut
        for cut in run.cuts
    )
    loss = run.loss if len(run.loss) else Series.of((one.last_step, one.loss) for one in state.windows)
    evaluation = run.evaluation if len(run.evaluation) else Series.of(state.evaluations)
    return replace(run, cuts=cuts, loss=loss, evaluation=evaluation, sidecar=state, sidecar_path=path)


def _with_sidecar(run: RunData) -> RunData:
    """The run with its newest sidecar: that of a checkpoint, or the one kept at the end of the run."""
    faults = list(run.faults)
    for step, folder in _sidecar_folders(run, faults):
        if run.last_step and step > run.last_step:
            faults.append(f"{folder}: left out: it lies beyond the last step that was logged, {run.last_step}")
            continue
        try:
            sidecar = read_sidecar(folder, step)
        except SidecarError as cause:
            faults.append(f"Left out: {cause}")
            continue
        if sidecar is None:
            continue
        if not _agrees(run.loss, sidecar):
            faults.append(f"{folder / SIDECAR_NAME}: left out: its losses are not those of the log")
            continue
        return replace(_with_state(run, sidecar, folder / SIDECAR_NAME), faults=tuple(faults))
    return replace(run, faults=tuple(faults))


class _Step(msgspec.Struct):
    step: int


def _sidecar_folders(run: RunData, faults: list[str]) -> list[tuple[int, Path]]:
    """Where a sidecar may be, the newest first."""
    found = []
    kept = run.logging_dir / "epoch_guard"
    try:
        found.append((msgspec.json.decode((kept / SIDECAR_NAME).read_bytes(), type=_Step).step, kept))
    except FileNotFoundError:
        pass
    except (OSError, msgspec.MsgspecError, ValueError, RecursionError) as cause:
        faults.append(f"{kept / SIDECAR_NAME}: left out: {cause}")
    for folder in run.output_dir.glob("checkpoint-*") if run.output_dir is not None else ():
        if (match := _CHECKPOINT.fullmatch(folder.name)) and (folder / SIDECAR_NAME).exists():
            found.append((int(match[1]), folder))
    return sorted(found, key=lambda one: (-one[0], one[1] != kept))


def _agrees(loss: Series, sidecar: Sidecar) -> bool:
    """Whether the losses that a sidecar remembers are those of the log: another run's may lie in the same folder."""
    logged = [(one.loss, loss.at(one.last_step)) for one in sidecar.windows]
    return all(math.isclose(one, other, rel_tol=1e-4, abs_tol=1e-6) for one, other in logged if other is not None)


def _with_totals(run: RunData, names: Sequence[str]) -> RunData:
    """The run with what the sidecar has added up for each epoch."""
    assert run.sidecar is not None
    folders = _folders_of_datasets(run, names)
    found = {(one.dataset, one.epoch): one for one in run.epochs if not one.trainer}
    for total in run.sidecar.epoch_losses if folders else ():
        if total.dataset >= len(folders):
            continue
        key = folders[total.dataset], total.epoch
        one = found.get(key, EpochSummary(*key))
        mean = one.mean_loss
        if mean is None and total.loss.weight > 0:
            mean = total.loss.mean
        found[key] = replace(one, total=total, mean_loss=mean)
    others = [one for one in run.epochs if one.trainer]
    return replace(run, epochs=(*(found[key] for key in sorted(found)), *others), folders=folders)


def _folders_of_datasets(run: RunData, names: Sequence[str]) -> tuple[str, ...]:
    """The folder of each dataset. A sidecar counts datasets, a log names them: the means of their epochs tell."""
    assert run.sidecar is not None
    count = len(run.sidecar.datasets)
    if count < 2:
        return ("",)
    if len(names) == count:
        words = Words(tuple(names))
        return tuple(words.dataset_directory(at) for at in range(count))
    logged = {(one.dataset, one.epoch): one.mean_loss for one in run.epochs if one.mean_loss is not None}
    found: list[str] = []
    for at in range(count):
        means = {one.epoch: one.loss.mean for one in run.sidecar.epoch_losses if one.dataset == at}
        fitting = [
            folder
            for folder in run.datasets
            if (both := [(logged[folder, epoch], means[epoch]) for epoch in means if (folder, epoch) in logged])
            and all(math.isclose(*pair, rel_tol=1e-6) for pair in both)
        ]
        found += fitting if len(fitting) == 1 else []
    return tuple(found) if len(set(found)) == count else ()
