"""The configurations for `ray up`: as Ray and the clouds' own API descriptions validate them, and what neither sees."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

CLUSTER = Path(__file__).parents[2] / "cluster"
PROVIDERS = ("aws", "gcp")


def config(provider: str) -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load((CLUSTER / f"{provider}.yaml").read_text())
    return found


def node_types(values: dict[str, Any], head: bool) -> dict[str, Any]:
    return {
        name: one for name, one in values["available_node_types"].items() if (name == values["head_node_type"]) == head
    }


@pytest.fixture(params=PROVIDERS)
def prepared(request: pytest.FixtureRequest) -> dict[str, Any]:
    """As `ray up` takes it: with Ray's defaults where the file says nothing."""
    util = pytest.importorskip("ray.autoscaler._private.util")
    found: dict[str, Any] = util.prepare_config(config(request.param))
    util.validate_config(found)
    return found


@pytest.mark.parametrize("provider", PROVIDERS)
def test_ray_refuses_what_it_does_not_know(provider: str) -> None:
    util = pytest.importorskip("ray.autoscaler._private.util")
    jsonschema = pytest.importorskip("jsonschema")
    with pytest.raises(jsonschema.ValidationError, match="idle_timeout_hours"):
        util.validate_config({**util.prepare_config(config(provider)), "idle_timeout_hours": 1})


def test_the_head_runs_no_trials(prepared: dict[str, Any]) -> None:
    (head,) = node_types(prepared, head=True).values()
    assert head["resources"] == {"CPU": 0, "GPU": 0}
    assert head["max_workers"] == 0
    (start,) = (one for one in prepared["head_start_ray_commands"] if "ray start" in one)
    assert "--num-cpus=0" in start
    assert "--num-gpus=0" in start
    assert "--autoscaling-config=" in start


def test_spot_comes_before_on_demand_with_the_same_machine(prepared: dict[str, Any]) -> None:
    workers = node_types(prepared, head=False)
    spot = {name for name, one in workers.items() if "spot" in json.dumps(one["node_config"]).lower()}
    assert spot == {"gpu_spot"}
    assert set(workers) == {"gpu_spot", "gpu_on_demand"}
    if prepared["provider"]["type"] == "gcp":
        assert workers["gpu_spot"]["priority"] > workers["gpu_on_demand"]["priority"]
    for one in workers.values():
        assert one["resources"]["GPU"] >= 1
        assert one["min_workers"] == 0  # an idle cluster pays for its head alone
        assert one["resources"] == workers["gpu_spot"]["resources"]
    machine = "InstanceType" if prepared["provider"]["type"] == "aws" else "machineType"
    assert len({one["node_config"][machine] for one in workers.values()}) == 1


class Refuses:
    """A provider that has no spot machines."""

    def __init__(self) -> None:
        self.started: list[str] = []

    def create_node_with_resources_and_labels(
        self, node_config: Any, tags: dict[str, str], count: int, resources: Any, labels: Any
    ) -> dict[str, Any]:
        from ray.autoscaler.node_launch_exception import NodeLaunchException

        node_type = tags["ray-user-node-type"]
        if "spot" in node_type:
            raise NodeLaunchException("InsufficientInstanceCapacity", "no capacity", None)
        self.started.append(node_type)
        return {"i-1": None}


def test_on_demand_steps_in_where_aws_refuses_spot(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Ray's own launcher, tracker and choice of node types, with the function that the head is started with."""
    from ray.autoscaler._private.event_summarizer import EventSummarizer
    from ray.autoscaler._private.loader import load_function_or_class
    from ray.autoscaler._private.node_launcher import BaseNodeLauncher
    from ray.autoscaler._private.node_provider_availability_tracker import NodeProviderAvailabilityTracker
    from ray.autoscaler._private.resource_demand_scheduler import get_nodes_for
    from ray.autoscaler._private.util import ConcurrentCounter, prepare_config

    values = prepare_config(config("aws"))
    (tmp_path / "KEY.pem").touch()
    values["auth"]["ssh_private_key"] = str(tmp_path / "KEY.pem")
    (start,) = (one for one in values["head_start_ray_commands"] if "ray start" in one)
    assert "RAY_enable_autoscaler_v2=0" in start
    (scorer,) = re.findall(r"RAY_AUTOSCALER_UTILIZATION_SCORER=(\S+?);", start)
    assert values["file_mounts"]["/home/ubuntu/nasray/spot_first.py"] == "cluster/spot_first.py"
    monkeypatch.syspath_prepend(CLUSTER)
    score = load_function_or_class(scorer)

    minutes = [0.0]
    tracker = NodeProviderAvailabilityTracker(timer=lambda: time.time() + 60 * minutes[0])

    def asked(gpus: int) -> dict[str, int]:
        nodes, unfulfilled = get_nodes_for(
            values["available_node_types"],
            {"head": 1},
            "head",
            values["max_workers"],
            [{"CPU": 1, "GPU": 1}] * gpus,
            lambda *given: score(*given, node_availability_summary=tracker.summary()),
        )
        assert not unfulfilled
        return nodes

    assert asked(2) == {"gpu_spot": 2}
    provider, pending = Refuses(), ConcurrentCounter()
    launcher = BaseNodeLauncher(
        provider, pending, EventSummarizer(), tracker, node_types=values["available_node_types"]
    )
    for node_type in ("gpu_spot", "gpu_on_demand"):
        assert list(asked(1)) == [node_type]
        pending.inc(node_type, 1)
        launcher.launch_node(values, 1, node_type)
    assert provider.started == ["gpu_on_demand"]
    minutes[0] = 31
    assert asked(1) == {"gpu_spot": 1}


def test_rays_second_autoscaler_does_not_hear_of_refused_launches() -> None:
    """Why the first one is used: once this fails, priorities alone will do."""
    from ray.autoscaler.v2.instance_manager.subscribers.cloud_resource_monitor import CloudResourceMonitor
    from ray.core.generated.instance_manager_pb2 import Instance, InstanceUpdateEvent

    monitor = CloudResourceMonitor()
    for status in (Instance.REQUESTED, Instance.ALLOCATION_FAILED):
        monitor.notify([InstanceUpdateEvent(instance_type="gpu_spot", new_instance_status=status)])
    assert monitor.get_recoverable_resource_availabilities() == {}


def test_idle_workers_go(prepared: dict[str, Any]) -> None:
    assert 0 < prepared["idle_timeout_minutes"] <= 30


def test_every_node_has_the_token_and_asks_for_it(prepared: dict[str, Any]) -> None:
    assert prepared["file_mounts"]["/home/ubuntu/.ray/auth_token"] == "~/.ray/auth_token"
    assert any("chmod 600 ~/.ray/auth_token" in one for one in prepared["setup_commands"])
    for commands in ("head_start_ray_commands", "worker_start_ray_commands"):
        for one in prepared[commands]:
            if "ray start" in one:
                assert "RAY_AUTH_MODE=token" in one.partition("ray start")[0]


def test_nothing_listens_to_the_world(prepared: dict[str, Any]) -> None:
    text = json.dumps(prepared)
    assert "0.0.0.0" not in text
    assert "--dashboard-host=127.0.0.1" in text
    assert prepared["auth"]["ssh_proxy_use_node_id"] is True
    if prepared["provider"]["type"] == "aws":
        # With groups of our own Ray makes none; the one that it makes opens port 22 to 0.0.0.0/0.
        assert all(one["node_config"]["SecurityGroupIds"] for one in prepared["available_node_types"].values())
    else:
        assert prepared["provider"]["use_internal_ips"] is True
        for one in prepared["available_node_types"].values():
            assert all("accessConfigs" not in interface for interface in one["node_config"]["networkInterfaces"])


def test_nothing_of_rays_defaults_is_installed(prepared: dict[str, Any]) -> None:
    """Where a file leaves a list of commands out, Ray's default installs a nightly build of its own."""
    own = config(prepared["provider"]["type"])
    commands = ("initialization", "setup", "head_setup", "worker_setup", "head_start_ray", "worker_start_ray")
    assert all(f"{name}_commands" in own for name in commands)
    assert "ray-wheels" not in json.dumps(prepared)
    for one in own["setup_commands"] + own["head_setup_commands"]:
        if "pip install" in one:
            assert "--constraint" in one or all("==" in name for name in one.partition("--no-cache-dir ")[2].split())


def test_the_mounted_files_exist_or_are_made_as_the_readme_says(prepared: dict[str, Any]) -> None:
    readme = (CLUSTER / "README.md").read_text()
    made = {"~/.ray/auth_token": "ray get-auth-token --generate", "dist": "pip wheel --no-deps --wheel-dir dist ."}
    for local in prepared["file_mounts"].values():
        if local in made:
            assert made[local] in readme
        else:
            assert (CLUSTER.parent / local).exists()


# AWS, as a stand-in of its API takes it (moto): parameters are checked by botocore's description of the service.


@pytest.fixture
def aws(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Any]:
    moto = pytest.importorskip("moto", reason="moto missing: pip install nasray[test]")
    boto3 = pytest.importorskip("boto3")
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"):
        monkeypatch.setenv(name, "testing")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-west-2")
    monkeypatch.setenv("HOME", str(tmp_path))
    with moto.mock_aws():
        yield boto3


def made_stack(boto3: Any) -> dict[str, str]:
    vpc = boto3.client("ec2").describe_vpcs()["Vpcs"][0]["VpcId"]
    formation = boto3.client("cloudformation")
    formation.create_stack(
        StackName="nasray",
        TemplateBody=(CLUSTER / "aws-access.yaml").read_text(),
        Parameters=[{"ParameterKey": "Vpc", "ParameterValue": vpc}],
        Capabilities=["CAPABILITY_NAMED_IAM"],
    )
    (stack,) = formation.describe_stacks(StackName="nasray")["Stacks"]
    assert stack["StackStatus"] == "CREATE_COMPLETE"
    return {one["OutputKey"]: one["OutputValue"] for one in stack["Outputs"]}


@pytest.mark.slow
def test_ray_starts_every_node_type_on_aws(aws: Any) -> None:
    from ray.autoscaler._private.aws.node_provider import AWSNodeProvider
    from ray.autoscaler._private.aws.utils import resource_cache
    from ray.autoscaler._private.util import prepare_config

    resource_cache.cache_clear()  # of clients that were made outside the stand-in
    outputs = made_stack(aws)
    ec2 = aws.client("ec2")
    ec2.create_key_pair(KeyName="KEY")
    values = prepare_config(config("aws"))
    image = ec2.describe_images(Owners=["amazon"])["Images"][0]["ImageId"]
    for one in values["available_node_types"].values():
        assert one["node_config"]["ImageId"].startswith("resolve:ssm:/aws/service/deeplearning/ami/")
        one["node_config"] |= {"SecurityGroupIds": [outputs["SecurityGroup"]], "ImageId": image}
    values = AWSNodeProvider.bootstrap_config(values)
    provider = AWSNodeProvider(values["provider"], values["cluster_name"])
    for name, one in values["available_node_types"].items():
        tags = {
            "ray-node-type": "head" if name == "head" else "worker",
            "ray-user-node-type": name,
            "ray-node-name": name,
        }
        assert len(provider.create_node(one["node_config"], tags, 1)) == 1

    instances = [i for r in ec2.describe_instances()["Reservations"] for i in r["Instances"]]
    lifecycles = {
        {tag["Key"]: tag["Value"] for tag in one["Tags"]}["ray-user-node-type"]: one.get("InstanceLifecycle")
        for one in instances
    }
    assert lifecycles == {"head": None, "gpu_spot": "spot", "gpu_on_demand": None}
    assert {group["GroupId"] for one in instances for group in one["SecurityGroups"]} == {outputs["SecurityGroup"]}
    assert len(ec2.describe_security_groups()["SecurityGroups"]) == 2  # the default one, and ours: Ray made none


@pytest.mark.slow
def test_the_security_group_lets_only_its_own_in(aws: Any) -> None:
    outputs = made_stack(aws)
    (group,) = aws.client("ec2").describe_security_groups(GroupIds=[outputs["SecurityGroup"]])["SecurityGroups"]
    for rule in group["IpPermissions"]:
        assert rule["IpRanges"] == []
        assert rule["Ipv6Ranges"] == []
        assert [pair["GroupId"] for pair in rule["UserIdGroupPairs"]] == [outputs["SecurityGroup"]]
    assert group["IpPermissions"]


def test_the_bucket_is_private_and_encrypted() -> None:
    """As the template says it: the stand-in leaves both out of what it makes."""

    class Loader(yaml.SafeLoader):
        """Takes CloudFormation's tags for what stands behind them."""

    Loader.add_multi_constructor("!", lambda loader, tag, node: getattr(node, "value", None))
    template = yaml.load((CLUSTER / "aws-access.yaml").read_text(), Loader)
    bucket = template["Resources"]["Runs"]
    assert all(bucket["Properties"]["PublicAccessBlockConfiguration"].values())
    assert bucket["Properties"]["BucketEncryption"]["ServerSideEncryptionConfiguration"]
    assert bucket["DeletionPolicy"] == "Retain"


def test_cfn_lint_finds_nothing() -> None:
    api = pytest.importorskip("cfnlint.api", reason="cfn-lint missing: pip install nasray[test]")
    assert api.lint_file(CLUSTER / "aws-access.yaml") == []


# Google Cloud: nodes against the description of its API that google-api-python-client carries.


def unknown_fields(value: Any, schema: dict[str, Any], schemas: dict[str, Any], at: str) -> list[str]:
    """What the API's description does not have, or has in another type."""
    if "$ref" in schema:
        schema = schemas[schema["$ref"]]
    kind = {"object": dict, "array": list, "string": str, "boolean": bool, "integer": int}.get(schema["type"], object)
    if not isinstance(value, kind) and not (schema.get("format") == "int64" and isinstance(value, int)):
        return [f"{at}: {value!r} is no {schema['type']}"]
    if "enum" in schema and value not in schema["enum"]:
        return [f"{at}: {value!r} is none of {schema['enum']}"]
    if isinstance(value, list):
        return [e for i, one in enumerate(value) for e in unknown_fields(one, schema["items"], schemas, f"{at}[{i}]")]
    if isinstance(value, dict) and "properties" in schema:
        fields = schema["properties"]
        return [
            error
            for name, one in value.items()
            for error in (
                unknown_fields(one, fields[name], schemas, f"{at}.{name}")
                if name in fields
                else [f"{at}.{name}: unknown"]
            )
        ]
    return []


def test_googles_api_knows_every_field_of_the_nodes() -> None:
    client = pytest.importorskip("googleapiclient", reason="google-api-python-client missing: pip install nasray[test]")
    described = Path(client.__path__[0]) / "discovery_cache" / "documents" / "compute.v1.json"
    schemas = json.loads(described.read_text())["schemas"]
    for name, one in config("gcp")["available_node_types"].items():
        assert unknown_fields(one["node_config"], {"$ref": "Instance"}, schemas, name) == []
    broken = {"scheduling": [{"preemptible": True}], "machineTyp": "e2"}
    assert len(unknown_fields(broken, {"$ref": "Instance"}, schemas, "broken")) == 2


def test_gpus_of_google_cannot_be_moved() -> None:
    for name, one in node_types(config("gcp"), head=False).items():
        assert one["node_config"]["scheduling"]["onHostMaintenance"] == "TERMINATE", name


@pytest.mark.parametrize("provider", PROVIDERS)
def test_no_secret_lies_in_the_file(provider: str) -> None:
    text = (CLUSTER / f"{provider}.yaml").read_text()
    assert not re.search(r"AKIA|BEGIN [A-Z ]*PRIVATE KEY|[0-9a-f]{40,}", text)
