"""The process of a flow run: Prefect's own engine, which takes a run that failed for an end of its own.

Where a flow failed, ``prefect.engine`` raises that once more, and the page of the run shows the traceback of Prefect's
own code for it. Here the state says why; a flow that breaks still has its traceback, once, from within the flow.
"""

import os
from uuid import UUID

from prefect._internal.control_listener import configure_from_env
from prefect.engine import handle_engine_signals
from prefect.flow_engine import load_flow, load_flow_run, run_flow
from prefect.logging.loggers import flow_run_logger


def main() -> None:
    """Run the flow run that the environment names."""
    flow_run_id = UUID(os.environ["PREFECT__FLOW_RUN_ID"])
    # A person who cancels the run is heard from here on; before any code of the flow's, as Prefect's engine does it.
    configure_from_env()
    with handle_engine_signals(flow_run_id):
        flow_run = load_flow_run(flow_run_id)
        logger = flow_run_logger(flow_run)
        try:
            flow = load_flow(flow_run)
        except Exception:
            logger.exception("the flow cannot be loaded; where its job is gone from the schedule, restart the worker")
            raise
        run_flow(flow, flow_run=flow_run, return_type="state", error_logger=logger)  # type: ignore[arg-type]


if __name__ == "__main__":
    main()
