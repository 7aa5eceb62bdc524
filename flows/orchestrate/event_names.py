"""What events of Prefect's are called, and what they are about: flows emit them, automations wait for them."""

LANDED = "tidemark.landed"
JOB_SUCCEEDED = "tidemark.job.succeeded"


def dataset_resource(dataset: str) -> str:
    """The resource id of a dataset in events."""
    return f"tidemark.dataset.{dataset}"


def job_resource(job: str) -> str:
    """The resource id of a job in events."""
    return f"tidemark.job.{job}"
