"""From what was reconciled and opened to the plan of a run. Pure."""

from dataclasses import replace

from paddle_epoch_guard import host
from paddle_epoch_guard.index import BlendIndex
from paddle_epoch_guard.ledger import IndexEpochs, TrainerEpochs, boundary_steps_of
from paddle_epoch_guard.order import PositionMap, Schedule
from paddle_epoch_guard.reading import PositionedReading
from paddle_epoch_guard.record.naming import Naming
from paddle_epoch_guard.resume import Decision, Finding, boundary_findings, decide_order
from paddle_epoch_guard.session.observe import Observed, Request, written_orders
from paddle_epoch_guard.session.open_indices import DrawnData
from paddle_epoch_guard.session.reconcile import Resolution, names_of
from paddle_epoch_guard.session.run_plan import Identity, Past, RunPlan, Steps, steps_of


def plan_of(request: Request, observed: Observed, resolution: Resolution | None, drawn: DrawnData) -> RunPlan:
    """The plan of a run.

    Args:
        request: what the user asks for.
        observed: the data as the host has set it up.
        resolution: how the run goes on; None if positions are unknown.
        drawn: what it draws from.

    Raises:
        ArgumentsError: the order that is asked for cannot begin here.
    """
    loader, reading = observed.loader, observed.loader.reading
    if resolution is None or drawn.index is None or not isinstance(reading, PositionedReading):
        naming = Naming(trainer=not host.is_plain(loader.dataset))
        source = TrainerEpochs(reading.global_batch, request.skipped)
        closing = frozenset({request.max_steps})
        identity = Identity(step=request.step, max_steps=request.max_steps)
        return RunPlan(loader, naming, source, drawn, Decision(()), identity=identity, closing=closing)
    ahead, schedule, sidecar = resolution.ahead, resolution.schedule, resolution.sidecar
    if not drawn.is_live:
        # The sampler goes to the end, in whole rounds of all ranks, and the loader reads ahead of the training. But a
        # blend may have positions for which its datasets, extended to what the run needs, have no sample.
        end = resolution.needed if isinstance(drawn.index, BlendIndex) else len(drawn.index)
        ahead = replace(ahead, stop=end // ahead.world_size * ahead.world_size)
        schedule = schedule.then(ahead)
    planned = resolution.planned
    if reading.sampling is None:  # what a loader that runs dry does not reach is not planned
        planned = min(planned, ahead.start + ahead.steps * ahead.global_batch, max(ahead.stop, ahead.start))
    index = reading.index_up_to(drawn.index, schedule.segments[-1].stop)
    written = written_orders(drawn.index)
    decision = decide_order(
        request.unify,
        index,
        ahead.start,
        planned,
        () if sidecar is None else sidecar.reorders,
        None if sidecar is None else max(sidecar.planned, sidecar.reordered_to),
        written,
    )
    steps_source = IndexEpochs(index, schedule, PositionMap(decision.reorders))
    steps = steps_of(steps_source, request.step, request.max_steps)
    added = _boundaries_added(request, observed, resolution, drawn, steps)
    starts_elsewhere = ahead.start != reading.ahead.start
    plan = RunPlan(
        loader,
        Naming(names_of(sidecar, drawn.index)),
        steps_source,
        drawn,
        decision,
        steps,
        ahead,
        planned,
        Past(
            sidecar,
            resolution.earlier,
            (*resolution.findings, *drawn.findings, *added),
            resolution.mismatches,
            resolution.knows_weights,
            resolution.why_unknown,
        ),
        Identity(step=request.step, max_steps=request.max_steps),
        repaired=decision.reorders != written or not drawn.is_live or starts_elsewhere,
        closing=frozenset(steps.closing),
    )
    return plan.evaluate_at_changes() if request.evaluates else plan


def _boundaries_added(
    request: Request, observed: Observed, resolution: Resolution, drawn: DrawnData, steps: Steps
) -> tuple[Finding, ...]:
    """What an extension without --epoch_guard unified adds; nothing where the live index is drawn from as it is."""
    sidecar, ahead = resolution.sidecar, resolution.ahead
    if sidecar is None or request.unify.unified or drawn.is_live or observed.listing or observed.index is None:
        return ()
    # The host has built the live index for the present number of steps: a new run would draw from it.
    begun = replace(ahead, first_step=1, start=0, stop=len(observed.index))
    new_run = boundary_steps_of(IndexEpochs(observed.index, Schedule((begun,)), PositionMap(observed.written)))
    length = request.max_steps * ahead.global_batch
    within = [boundary for boundary in new_run if boundary.position is not None and boundary.position < length]
    reached = [boundary for boundary in steps.boundaries if boundary.step <= request.max_steps]
    return boundary_findings(reached, within, sidecar.planned, ahead.global_batch)
