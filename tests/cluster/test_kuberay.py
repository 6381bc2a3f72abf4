"""KubeRay's resources: against KubeRay's own definitions, strictly as Kubernetes does, and what these do not see.

The definitions are looked for in the folder KUBERAY_SCHEMAS, or in shared/schemas beside the checkout.
"""

from __future__ import annotations

import copy
import functools
import os
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[2]
KUBERAY = ROOT / "cluster" / "kuberay"
SCHEMAS = Path(os.environ.get("KUBERAY_SCHEMAS", ROOT.parent / "shared" / "schemas"))
KINDS = {"raycluster": "ray.io_rayclusters.yaml", "rayjob": "ray.io_rayjobs.yaml"}

jsonschema = pytest.importorskip("jsonschema", reason="jsonschema missing: pip install nasray[test]")


def resource(name: str) -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load((KUBERAY / f"{name}.yaml").read_text())
    return found


def strict(schema: dict[str, Any]) -> dict[str, Any]:
    """JSON schema of an OpenAPI one, in which, as for Kubernetes, what is not named is refused."""
    made = {key: value for key, value in schema.items() if not key.startswith("x-kubernetes")}
    if schema.get("x-kubernetes-int-or-string"):
        return {"anyOf": [{"type": "integer"}, {"type": "string", **{k: v for k, v in made.items() if k == "pattern"}}]}
    for key in ("items", "additionalProperties"):
        if isinstance(made.get(key), dict):
            made[key] = strict(made[key])
    if "properties" in made:
        made["properties"] = {name: strict(one) for name, one in made["properties"].items()}
        if not schema.get("x-kubernetes-preserve-unknown-fields"):
            made.setdefault("additionalProperties", False)
    return made


@functools.cache
def definition(kind: str) -> dict[str, Any]:
    path = SCHEMAS / KINDS[kind]
    if not path.exists():
        pytest.skip(f"no {path}: KUBERAY_SCHEMAS is to name a folder with KubeRay's custom resource definitions")
    # Of two megabytes; the loader in C takes seconds, that in Python minutes.
    values = yaml.load(path.read_text(), getattr(yaml, "CSafeLoader", yaml.SafeLoader))
    (version,) = (one for one in values["spec"]["versions"] if one["name"] == "v1" and one["served"])
    schema = strict(version["schema"]["openAPIV3Schema"])
    schema["properties"]["metadata"] = {"type": "object"}  # Kubernetes' own
    return schema


@pytest.mark.parametrize("kind", KINDS)
def test_kuberay_takes_it(kind: str) -> None:
    jsonschema.Draft202012Validator(definition(kind)).validate(resource(kind))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.slow
def test_a_misspelt_field_anywhere_is_refused(kind: str) -> None:
    """Of a validator that refuses nothing, the test above would say nothing."""
    validator = jsonschema.Draft202012Validator(definition(kind))
    tried = 0
    for path in [*paths(resource(kind))]:
        broken = copy.deepcopy(resource(kind))
        at = broken
        for key in path[:-1]:
            at = at[key]
        if path[0] == "metadata" or is_map(path):
            continue
        at[f"{path[-1]}X"] = at.pop(path[-1])
        assert not validator.is_valid(broken), path
        tried += 1
    assert tried > 60


def paths(value: Any, at: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Of all fields."""
    if isinstance(value, dict):
        for key, one in value.items():
            yield (*at, key)
            yield from paths(one, (*at, key))
    elif isinstance(value, list):
        for i, one in enumerate(value):
            yield from paths(one, (*at, i))


def is_map(path: tuple[Any, ...]) -> bool:
    """Whether a field's name is the user's own choice; what is in a pod's metadata Kubernetes checks elsewhere."""
    free = {"rayStartParams", "labels", "requests", "limits", "nodeSelector", "matchLabels"}
    return any(key in free for key in path[:-1]) or "metadata" in path[:-1]


def cluster(kind: str) -> dict[str, Any]:
    spec: dict[str, Any] = resource(kind)["spec"]
    return spec if kind == "raycluster" else spec["rayClusterSpec"]


def pods(kind: str) -> list[tuple[str, dict[str, Any]]]:
    one = cluster(kind)
    found = [("head", one["headGroupSpec"]["template"]["spec"])]
    found += [(group["groupName"], group["template"]["spec"]) for group in one["workerGroupSpecs"]]
    if kind == "rayjob":
        found.append(("submitter", resource(kind)["spec"]["submitterPodTemplate"]["spec"]))
    return found


@pytest.mark.parametrize("kind", KINDS)
def test_pods_are_what_the_restricted_standard_takes(kind: str) -> None:
    """Kubernetes' pod security standard "restricted", and a file system that is read-only but for what is mounted."""
    containers = [(name, one) for name, pod in pods(kind) for one in pod["containers"]]
    containers.append(("autoscaler", cluster(kind)["autoscalerOptions"]))
    for name, one in containers:
        security = one["securityContext"]
        assert security["allowPrivilegeEscalation"] is False, name
        assert security["runAsNonRoot"] is True, name
        assert security["readOnlyRootFilesystem"] is True, name
        assert security["capabilities"] == {"drop": ["ALL"]}, name
        assert security["seccompProfile"] == {"type": "RuntimeDefault"}, name
        assert not security.get("privileged")
        for kind_of_resource in ("requests", "limits"):
            assert {"cpu", "memory"} <= set(one["resources"][kind_of_resource]), name
    for name, pod in pods(kind):
        assert pod["securityContext"]["runAsUser"] == 1000, name
        assert not any(pod.get(field) for field in ("hostNetwork", "hostPID", "hostIPC")), name
        for volume in pod["volumes"]:
            assert set(volume) - {"name"} <= {"emptyDir", "persistentVolumeClaim"}, name
        mounted = {one["mountPath"] for container in pod["containers"] for one in container["volumeMounts"]}
        assert {"/tmp", "/home/ray"} <= mounted, name


@pytest.mark.parametrize("kind", KINDS)
def test_only_workers_have_gpus_and_all_nodes_the_shared_volume(kind: str) -> None:
    one = cluster(kind)
    start = one["headGroupSpec"]["rayStartParams"]
    assert (start["num-cpus"], start["num-gpus"]) == ("0", "0")
    (group,) = one["workerGroupSpecs"]
    assert (group["minReplicas"], group["replicas"]) == (0, 0)
    assert group["maxReplicas"] > 1
    (worker,) = group["template"]["spec"]["containers"]
    assert worker["resources"]["limits"]["nvidia.com/gpu"] == worker["resources"]["requests"]["nvidia.com/gpu"] == "1"
    (head,) = one["headGroupSpec"]["template"]["spec"]["containers"]
    assert "nvidia.com/gpu" not in head["resources"]["limits"]
    assert one["enableInTreeAutoscaling"] is True
    for name, pod in pods(kind)[:2]:
        assert {"name": "shared", "persistentVolumeClaim": {"claimName": "nasray-shared"}} in pod["volumes"], name


@pytest.mark.parametrize("kind", KINDS)
def test_the_token_is_on_and_the_version_is_ours(kind: str) -> None:
    ray = pytest.importorskip("ray")
    assert cluster(kind)["authOptions"] == {"mode": "token"}
    assert cluster(kind)["rayVersion"] == ray.__version__
    pins = (ROOT / "cluster" / "constraints.txt").read_text().split()
    assert f"ray=={ray.__version__}" in pins


def test_the_jobs_command_is_one_that_nasray_takes() -> None:
    from nasray import registry
    from nasray.sweeps import Sweep

    program, verb, name, *rest = shlex.split(resource("rayjob")["spec"]["entrypoint"])
    assert (program, verb) == ("nasray", "sweep")
    registry.find("sweep", name, Sweep)
    given = dict(zip(rest[::2], rest[1::2], strict=True))
    assert set(given) == {"--name", "--storage", "--address", "--gpus-per-trial"}
    mounts = cluster("rayjob")["headGroupSpec"]["template"]["spec"]["containers"][0]["volumeMounts"]
    assert any(given["--storage"].startswith(f"{one['mountPath']}/") for one in mounts)


def test_a_failed_try_is_followed_by_the_same_command() -> None:
    spec = resource("rayjob")["spec"]
    assert spec["backoffLimit"] >= 1
    assert spec["shutdownAfterJobFinishes"] is True
    assert spec["activeDeadlineSeconds"] > 0


def test_kubernetes_takes_the_prerequisites() -> None:
    validate = pytest.importorskip(
        "kubernetes_validate", reason="kubernetes-validate missing: pip install nasray[test]"
    )
    documents = list(yaml.safe_load_all((KUBERAY / "prerequisites.yaml").read_text()))
    assert [one["kind"] for one in documents] == ["Namespace", "PersistentVolumeClaim", "NetworkPolicy"]
    for one in documents:
        validate.validate(one, validate.latest_version(), strict=True)
    assert documents[0]["metadata"]["labels"]["pod-security.kubernetes.io/enforce"] == "restricted"
    assert documents[1]["spec"]["accessModes"] == ["ReadWriteMany"]


@pytest.mark.parametrize("kind", KINDS)
def test_kubernetes_takes_the_pods(kind: str) -> None:
    validate = pytest.importorskip(
        "kubernetes_validate", reason="kubernetes-validate missing: pip install nasray[test]"
    )
    for name, pod in pods(kind):
        one = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": pod}
        validate.validate(one, validate.latest_version(), strict=True)
