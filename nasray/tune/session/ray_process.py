"""The process that holds a Ray of our own: it starts Ray, says where it is, and ends it when its standard input closes.

Run as a program of its own (see own_ray.py), in a process session of its own. Standard input closes with the driver,
whatever ends that one. Imports nothing of nasray, so that it is up as soon as Ray is.
"""

from __future__ import annotations

import json
import logging
import os
import shutil
import sys
from typing import Any


def main(run: str, cpus: int, gpus: int, remove: bool) -> None:
    """Start Ray in the environment's RAY_TMPDIR, and hold it until standard input closes.

    Args:
        run: name of the run that it is for.
        cpus: CPU cores that Ray takes this machine to have.
        gpus: GPUs that Ray takes this machine to have.
        remove: whether the folder goes when Ray has ended.
    """
    import ray
    from ray.job_config import JobConfig

    try:
        try:
            context: Any = ray.init(
                address="local",
                num_cpus=cpus,
                num_gpus=gpus,
                # A sweep's objects are small: the store takes what its smallest size is, not a third of the memory.
                object_store_memory=100 * 2**20,
                include_dashboard=True,
                log_to_driver=False,
                logging_level=logging.ERROR,
                job_config=JobConfig(metadata={"job_name": f"Ray itself, for nasray run {run}"}),
            )
            _tell({"address": context.address_info["address"]})
        except Exception as error:  # Ray raises plain ones where a process of its own does not come up
            _tell({"error": str(error).strip() or type(error).__name__})
            raise
        sys.stdin.buffer.read()
    finally:
        ray.shutdown(wait_for_processes=True)
        if remove:
            shutil.rmtree(os.environ["RAY_TMPDIR"], ignore_errors=True)


def _tell(values: dict[str, Any]) -> None:
    print(json.dumps(values), flush=True)


if __name__ == "__main__":
    # By standard input and not as arguments: Ray's dashboard shows the command line of whoever starts it, which then
    # holds no path of this machine.
    given = json.loads(sys.stdin.buffer.readline())
    os.chdir(given.pop("folder"))
    main(**given)
