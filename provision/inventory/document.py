"""The inventory as it is written: its keys, what each may hold, and the JSON Schema for editors."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from provision.inventory import values
from provision.inventory.model import HostKeyPolicy, PlaneName


def _pattern(expression: str, limit: int | None = None) -> Any:
    extra: dict[str, Any] = {"pattern": f"^{expression}$"}
    return Field(json_schema_extra=extra | ({"maxLength": limit} if limit else {}))


ClusterName = Annotated[
    str, AfterValidator(values.cluster_name), _pattern(values.CLUSTER_NAME, values.CLUSTER_LENGTH)
]
NodeName = Annotated[str, AfterValidator(values.node_name), _pattern(values.NODE_NAME, values.NAME_LENGTH)]
NetworkName = Annotated[
    str, AfterValidator(values.network_name), _pattern(values.NETWORK_NAME, values.NAME_LENGTH)
]
Address = Annotated[
    str, AfterValidator(values.address), Field(json_schema_extra={"format": "ipv4"}, examples=["192.0.2.11"])
]
Subnet = Annotated[str, AfterValidator(values.subnet), Field(examples=["10.99.0.0/24"])]
Port = Annotated[int, AfterValidator(values.port), Field(json_schema_extra={"minimum": 1, "maximum": 65535})]
User = Annotated[str, AfterValidator(values.user), _pattern(values.SSH_USER)]
Host = Annotated[str, AfterValidator(values.host), _pattern(values.SSH_HOST)]
Gateway = Annotated[str, AfterValidator(values.gateway)]
FilePath = Annotated[str, AfterValidator(values.path)]
Source = Annotated[
    str, AfterValidator(values.source), Field(examples=["artifacts/etcd-v3.5.30-linux-amd64.tar.gz"])
]
Sha256 = Annotated[str, AfterValidator(values.sha256), _pattern(values.SHA256)]
Image = Annotated[str, AfterValidator(values.image), _pattern(values.IMAGE)]


class Section(BaseModel):
    """Keys of one level. No other is taken, and no value is bent to fit."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class SSHSection(Section):
    """How nodes are reached. What is not said, ~/.ssh/config and OpenSSH's defaults decide."""

    user: User | None = Field(None, description="Who logs in. Not root: sudo is used.")
    port: Port | None = Field(None, description="Where sshd listens.")
    key: FilePath | None = Field(
        None, description="A private key. The agent and ~/.ssh/config are asked too."
    )
    known_hosts: FilePath | None = Field(None, description="Known host keys. Default: ~/.ssh/known_hosts.")
    host_keys: HostKeyPolicy | None = Field(
        None,
        description="A host key not known yet: ask (the default) shows it, accept-new takes it, strict refuses.",
    )
    gateway: Gateway | None = Field(
        None, description="user@bastion:port, several with commas, or an OpenSSH ProxyCommand with %h and %p."
    )


class NodeSSHSection(SSHSection):
    """How this node is reached, where that differs from the top-level ssh."""

    host: Host | None = Field(None, description="Where to connect to, if not to the address.")


class NodeSection(Section):
    """One host."""

    address: Address = Field(description="The IPv4 address that the other nodes reach it by.")
    member: bool | None = Field(
        None, description="Whether it holds the store. Default: the first three nodes do."
    )
    ssh: NodeSSHSection | None = None


class EtcdSection(Section):
    """The etcd release that is pushed to the nodes."""

    source: Source = Field(description="A release archive, a folder with etcd and etcdctl, or an https URL.")
    sha256: Sha256 | None = Field(None, description="The archive's checksum. A URL must have one.")


class DockerSection(Section):
    """Docker on the nodes."""

    control_plane: PlaneName = Field(
        "auto", description="What spreads the networks. auto: what the nodes' Docker can."
    )


class NetworkSection(Section):
    """One overlay network."""

    subnet: Subnet = Field(description="Its IPv4 range: used nowhere else, at least a /29.")


class OverlaySection(Section):
    """The networks that cross hosts."""

    networks: dict[NetworkName, NetworkSection] = Field(
        min_length=1, description="By name.", examples=[{"demo": {"subnet": "10.99.0.0/24"}}]
    )


class ProbeSection(Section):
    """What the proof runs on every node."""

    image: Image = Field("busybox", description="An image with sh and ping.")
    archive: FilePath | None = Field(
        None, description="Its `docker save`, pushed where the nodes have no registry."
    )


class Document(Section):
    """An inventory: the hosts of a container network, and what it should be."""

    version: Literal[1] = Field(description="The version of this format.", examples=[1])
    cluster: ClusterName = Field(description="Names the certificates and the store.", examples=["demo"])
    ssh: SSHSection | None = None
    nodes: dict[NodeName, NodeSection] = Field(
        min_length=2,
        description="The hosts by name.",
        examples=[{"node1": {"address": "192.0.2.11"}, "node2": {"address": "192.0.2.12"}}],
    )
    etcd: EtcdSection = Field(examples=[{"source": "artifacts/etcd-v3.5.30-linux-amd64.tar.gz"}])
    docker: DockerSection | None = None
    overlay: OverlaySection | None = None
    probe: ProbeSection | None = None


RESERVED = {"underlay": "for encryption between the hosts, which is not there yet"}
"""Keys of the top level that a later version will know."""


def schema() -> dict[str, Any]:
    """Return the JSON Schema of the inventory, for editors."""
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **Document.model_json_schema()}
