"""Routes on deployments and schedules.

Lives here: lists, details, asking for runs, pauses, taking away. Does not live here:
registering, which is done where the code is (``service/deploying.py``).
"""

from __future__ import annotations

from dataflow.agenda import DeploymentRow
from dataflow.exceptions import DeploymentNotFound, RunNotFound
from dataflow.server.cursors import bad_cursor, cursor_of, parts_of
from dataflow.server.routes import PREFIX, Call, Route
from dataflow.server.shapes import deployed, runs
from dataflow.server.shapes.pages import PageQuery
from dataflow.server.views.flow_runs import flow_runs_page
from dataflow.service.asking import ask

_ONE = f"{PREFIX}/deployments/{{flow}}/{{name}}"
_SCHEDULE = f"{PREFIX}/schedules/{{flow}}/{{name}}/{{slug}}"


def _name(call: Call) -> str:
    return f"{call.path['flow']}/{call.path['name']}"


def _row(call: Call) -> DeploymentRow:
    """Return the deployment of the path. Raises DeploymentNotFound."""
    row = call.store.agenda().deployment(_name(call))
    if row.name != _name(call):
        raise DeploymentNotFound(f"There is no deployment {_name(call)!r}.", name=_name(call))
    return row


def deployments(call: Call) -> deployed.Deployments:
    """List deployments."""
    asked = call.asked(PageQuery)
    after = None if asked.cursor is None else parts_of(asked.cursor, str)[0]
    rows = call.store.agenda().deployments(limit=asked.limit + 1, after=after)
    page = rows[:asked.limit]
    return deployed.Deployments(
        items=[deployed.deployment_shape(row) for row in page],
        next=cursor_of(page[-1].name) if len(rows) > len(page) else None)


def deployment(call: Call) -> deployed.DeploymentShape:
    """Show a deployment."""
    return deployed.deployment_shape(_row(call))


def versions(call: Call) -> deployed.Versions:
    """List the versions of a deployment."""
    found = call.store.agenda().versions(_row(call).name)
    return deployed.Versions(items=[deployed.version_shape(each) for each in found])


def deployment_runs(call: Call) -> runs.FlowRuns:
    """List the runs of a deployment."""
    asked = call.asked(PageQuery)
    name = _row(call).name
    before = None if asked.cursor is None else parts_of(asked.cursor, str)[0]
    try:
        rows = call.store.flow_runs(deployment=name, limit=asked.limit + 1, before=before)
    except RunNotFound:
        raise bad_cursor() from None
    return flow_runs_page(rows, asked.limit)


def run(call: Call) -> runs.FlowRunShape:
    """Queue a run of a deployment."""
    body = call.given(deployed.NewRunBody)
    flow_run_id = ask(
        call.store, _row(call).name, body.parameters, call.now_s, due=body.scheduled_time,
        run_name=body.name, tags=body.tags, idempotency_key=body.idempotency_key,
        priority=body.priority, cause="asked for over the API")
    return runs.flow_run_shape(call.store.find_flow_run(flow_run_id))


def pause(call: Call) -> deployed.DeploymentShape:
    """Let the schedules of a deployment rest."""
    return _paused(call, True)


def resume(call: Call) -> deployed.DeploymentShape:
    """Let the schedules of a deployment go on."""
    return _paused(call, False)


def _paused(call: Call, paused: bool) -> deployed.DeploymentShape:
    call.store.agenda().pause(_row(call).name, paused, call.now_s)
    return deployment(call)


def delete(call: Call) -> deployed.Deleted:
    """Take a deployment away."""
    name = _row(call).name
    return deployed.Deleted(
        name=name, cancelled=call.store.agenda().delete(name, call.now_s))


def schedules(call: Call) -> deployed.Schedules:
    """List schedules."""
    asked = call.asked(deployed.SchedulesQuery)
    after = None if asked.cursor is None else parts_of(asked.cursor, str, str)
    rows = call.store.agenda().schedules(
        asked.deployment, limit=asked.limit + 1,
        after=None if after is None else (after[0], after[1]))
    page = rows[:asked.limit]
    last = page[-1] if len(rows) > len(page) else None
    return deployed.Schedules(
        items=[deployed.schedule_shape(row) for row in page],
        next=None if last is None else cursor_of(last.deployment, last.slug))


def pause_schedule(call: Call) -> deployed.ScheduleShape:
    """Let one schedule rest."""
    return _schedule_paused(call, True)


def resume_schedule(call: Call) -> deployed.ScheduleShape:
    """Let one schedule go on."""
    return _schedule_paused(call, False)


def _schedule_paused(call: Call, paused: bool) -> deployed.ScheduleShape:
    name, slug = _row(call).name, call.path["slug"]
    agenda = call.store.agenda()
    agenda.pause_schedule(name, slug, paused, call.now_s)
    return next(deployed.schedule_shape(row) for row in agenda.schedules(name)
                if row.slug == slug)


ROUTES = (
    Route(method="GET", path=f"{PREFIX}/deployments", name="deployments", view=deployments,
          gives=deployed.Deployments, query=PageQuery, about="Deployments, by name."),
    Route(method="GET", path=_ONE, name="deployment", view=deployment,
          gives=deployed.DeploymentShape, about="One deployment."),
    Route(method="DELETE", path=_ONE, name="delete_deployment", view=delete,
          gives=deployed.Deleted,
          about="Take a deployment away; runs that wait are cancelled, others stay on record."),
    Route(method="GET", path=f"{_ONE}/versions", name="versions", view=versions,
          gives=deployed.Versions, about="Versions of a deployment, the newest first."),
    Route(method="GET", path=f"{_ONE}/runs", name="deployment_runs", view=deployment_runs,
          gives=runs.FlowRuns, query=PageQuery, about="Runs of a deployment, the newest first."),
    Route(method="POST", path=f"{_ONE}/runs", name="run_deployment", view=run,
          gives=runs.FlowRunShape, status=201, takes=deployed.NewRunBody,
          makes=f"{PREFIX}/flow-runs/{{id}}",
          about="Queue a run; its parameters are checked before."),
    Route(method="POST", path=f"{_ONE}/pause", name="pause_deployment", view=pause,
          gives=deployed.DeploymentShape,
          about="Let the schedules rest; what they would have made is not missed."),
    Route(method="POST", path=f"{_ONE}/resume", name="resume_deployment", view=resume,
          gives=deployed.DeploymentShape, about="Let the schedules go on."),
    Route(method="GET", path=f"{PREFIX}/schedules", name="schedules", view=schedules,
          gives=deployed.Schedules, query=deployed.SchedulesQuery, errors=(404,),
          about="Schedules, by deployment."),
    Route(method="POST", path=f"{_SCHEDULE}/pause", name="pause_schedule", view=pause_schedule,
          gives=deployed.ScheduleShape, about="Let one schedule rest."),
    Route(method="POST", path=f"{_SCHEDULE}/resume", name="resume_schedule",
          view=resume_schedule, gives=deployed.ScheduleShape, about="Let one schedule go on."),
)
