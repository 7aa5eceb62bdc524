"""Make the server's deployments, automations and limit equal to the schedule: make what is new, remove what is gone.

A job has a deployment, ``<job>/tidemark``. Its clock is the deployment's schedule; an arrival and the success of other
jobs are automations, on the events that landing and jobs emit. Each of them only wakes a run with ``only_if_due``; what
is due the run asks :mod:`flows.orchestrate.due`. Started by hand, a run does its steps whether due or not.
"""

import asyncio
import os
import shlex
from pathlib import Path
from typing import Any
from uuid import UUID

from prefect.client.orchestration import PrefectClient, get_client
from prefect.client.schemas.actions import (
    DeploymentScheduleCreate,
    GlobalConcurrencyLimitCreate,
    GlobalConcurrencyLimitUpdate,
    WorkPoolCreate,
)
from prefect.client.schemas.filters import DeploymentFilter, DeploymentFilterTags
from prefect.client.schemas.schedules import CronSchedule
from prefect.client.schemas.sorting import AutomationSort, DeploymentSort
from prefect.events.actions import RunDeployment
from prefect.events.schemas.automations import AutomationCore, EventTrigger
from prefect.exceptions import ObjectNotFound
from prefect.flows import Flow
from prefect.workers.process import ProcessWorker

from flows.orchestrate.event_names import JOB_SUCCEEDED, LANDED, dataset_resource, job_resource
from flows.orchestrate.job import Arrival, Cron, Job, Success
from flows.orchestrate.prefect_flows import DEPLOYMENT, FLOWS, entrypoint
from flows.orchestrate.service.prefork.host import client_command
from flows.orchestrate.service.worker import POOL
from flows.orchestrate.writer import WAREHOUSE
from flows.release.releases import active_path
from flows.schedule import JOBS
from flows.settings import Settings

TAG = "tidemark"


async def deploy(settings: Settings) -> None:
    """Bring the server in line with :data:`flows.schedule.JOBS`. Safe to repeat."""
    async with get_client() as client:
        await _make_limit(client)
        await _make_pool(client, settings)
        jobs = {job.name: job for job in JOBS}
        project = active_path(settings)
        deployments = {
            name: await _make_deployment(client, flow, jobs.get(name), project) for name, flow in FLOWS.items()
        }
        await _remove_deployments(client, set(deployments.values()))
        await _make_automations(client, [a for job in JOBS for a in automations_of(job, deployments[job.name])])


def automations_of(job: Job, deployment_id: UUID) -> list[AutomationCore]:
    """The automation that wakes a job, when something it is for landed or jobs it follows succeeded; none for a clock.

    What a job requires wakes nothing: the watcher sees when it is there.
    """
    match job.when:
        case Arrival(datasets=datasets):
            resources = {"prefect.resource.id": [dataset_resource(name) for name in datasets]}
            return [_automation(job, EventTrigger(expect={LANDED}, match_related=resources), deployment_id)]
        case Success(jobs=jobs):
            resources = {"prefect.resource.id": [job_resource(name) for name in jobs]}
            return [_automation(job, EventTrigger(expect={JOB_SUCCEEDED}, match=resources), deployment_id)]
        case _:
            return []


def _automation(job: Job, trigger: EventTrigger, deployment_id: UUID) -> AutomationCore:
    return AutomationCore(
        name=f"{TAG}: {job.name}",
        description=job.description,
        trigger=trigger,
        actions=[RunDeployment(deployment_id=deployment_id, parameters={"only_if_due": True})],
        tags=[TAG],
    )


async def _make_limit(client: PrefectClient) -> None:
    """The global limit of one writer."""
    try:
        await client.read_global_concurrency_limit_by_name(WAREHOUSE)
    except ObjectNotFound:
        await client.create_global_concurrency_limit(GlobalConcurrencyLimitCreate(name=WAREHOUSE, limit=1, active=True))
    else:
        await client.update_global_concurrency_limit(WAREHOUSE, GlobalConcurrencyLimitUpdate(limit=1, active=True))


async def _make_pool(client: PrefectClient, settings: Settings) -> None:
    """The pool of the worker: plain processes of Prefect's, started through the warm one."""
    template = ProcessWorker.get_default_base_job_template()
    properties = template["variables"]["properties"]
    command = [*client_command(settings), "flows.orchestrate.service.engine"]
    properties["command"]["default"] = shlex.join(command)
    properties["working_dir"]["default"] = str(active_path(settings))
    await client.create_work_pool(
        WorkPoolCreate(name=POOL, type=ProcessWorker.type, base_job_template=template), overwrite=True
    )


async def _make_deployment(client: PrefectClient, flow: Flow[Any, Any], job: Job | None, project: Path) -> UUID:
    schedules = []
    if job and isinstance(job.when, Cron):
        schedules = [
            DeploymentScheduleCreate(
                schedule=CronSchedule(cron=job.when.cron, timezone=job.when.timezone),
                parameters={"only_if_due": True},
                slug=job.name.replace("_", "-"),
            )
        ]
    flow_id = await client.create_flow(flow)
    return await client.create_deployment(
        flow_id=flow_id,
        name=DEPLOYMENT,
        description=flow.description,
        entrypoint=entrypoint(flow.name),
        path=os.fspath(project),
        pull_steps=[],
        work_pool_name=POOL,
        schedules=schedules,
        paused=False,
        tags=[TAG, *([f"owner:{job.owner}"] if job else [])],
        parameter_openapi_schema=_schema(flow),
        enforce_parameter_schema=True,
    )


def _schema(flow: Flow[Any, Any]) -> dict[str, Any]:
    return flow.parameters.model_dump_for_openapi()


async def _remove_deployments(client: PrefectClient, kept: set[UUID]) -> None:
    """Deployments of jobs that the schedule no longer has would go on firing."""
    found = await client.read_deployments(
        deployment_filter=DeploymentFilter(tags=DeploymentFilterTags(all_=[TAG])),
        limit=200,
        sort=DeploymentSort.NAME_ASC,
    )
    for deployment in found:
        if deployment.id not in kept:
            await client.delete_deployment(deployment.id)


async def _make_automations(client: PrefectClient, wanted: list[AutomationCore]) -> None:
    """Recreate them all: the server's update of an automation refuses what its client sends."""
    for there in await client.read_automations(limit=200, sort=AutomationSort.NAME_ASC):
        if there.name.startswith(f"{TAG}: "):
            await client.delete_automation(there.id)
    for automation in wanted:
        await client.create_automation(automation)


if __name__ == "__main__":
    asyncio.run(deploy(Settings()))
