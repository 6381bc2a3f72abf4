"""Credentials stay in the environment where they were set.

Ray Tune copies a driver's AWS credentials into the runtime environment of its trials, and Ray's agents write runtime
environments into their logs, values and all. Trials have the environment of their node: on a Ray of our own that is the
driver's, and on a cluster each node has credentials of its own.

Ray 2.60 has no setting that keeps Tune from it, and the driver needs the credentials in its environment meanwhile: so
the names are taken out of a set in Tune's module, which is not private but not documented either. Where a later Ray has
no such set, nothing is done; the test of a sweep's secrets shows whether that is still enough.
"""

from __future__ import annotations


def keep_secrets() -> None:
    """Let Tune, in this process, copy no credentials into the runtime environments of trials."""
    from ray.tune.execution import class_cache

    copied: set[str] = getattr(class_cache, "ENV_VARS_TO_PROPAGATE", set())
    for name in [name for name in copied if name.startswith("AWS_")]:
        copied.discard(name)
