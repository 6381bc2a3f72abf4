"""Credentials stay in the environment where they were set.

Ray Tune copies a driver's AWS credentials into the runtime environment of its trials, and Ray's agents write runtime
environments into their logs, values and all. Trials have the environment of their node: on a Ray of our own that is the
driver's, and on a cluster each node has credentials of its own.
"""

from __future__ import annotations


def keep_secrets() -> None:
    """Let Tune, in this process, copy no credentials into the runtime environments of trials."""
    from ray.tune.execution import class_cache

    copied: set[str] = getattr(class_cache, "ENV_VARS_TO_PROPAGATE", set())
    for name in [name for name in copied if name.startswith("AWS_")]:
        copied.discard(name)
