"""The inventory as it is written: its keys, what each may hold, and the JSON Schema for editors."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, PlainValidator, WithJsonSchema
from pydantic.json_schema import GenerateJsonSchema

from provision.inventory import addresses, releases, values
from provision.inventory.model import HostKeyPolicy, PlaneName
from provision.layout import VXLAN_PORT

ETCD_VERSION = "3.5.30"
NETWORKS = {"demo": {"subnet": "10.99.0.0/24"}}
NODES = {"node1": {"address": "192.0.2.11"}, "node2": {"address": "192.0.2.12"}}


NAMED: dict[str, Any] = {"propertyNames": {"pattern": f"^{values.NAME}$", "maxLength": values.NAME_LENGTH}}


def _like(example: object, pattern: str | None = None, **schema: int | str) -> Any:
    """Return an example and limits for editors and messages; the check itself has better messages."""
    extra = schema | ({"pattern": f"^{pattern}$"} if pattern else {})
    return Field(examples=[example], json_schema_extra=dict(extra))


ClusterName = Annotated[
    str,
    AfterValidator(values.cluster_name),
    _like("demo", values.CLUSTER_NAME, maxLength=values.CLUSTER_LENGTH),
]
NodeName = Annotated[str, AfterValidator(values.name)]
NetworkName = Annotated[str, AfterValidator(values.network_name)]
Address = Annotated[str, AfterValidator(addresses.address), _like("192.0.2.11", format="ipv4")]
Subnet = Annotated[str, AfterValidator(addresses.subnet), _like("10.99.0.0/24")]
Mtu = Annotated[
    int | Literal["auto"],
    PlainValidator(values.mtu),
    WithJsonSchema(
        {"anyOf": [{"type": "integer", "minimum": values.MTUS[0], "maximum": values.MTUS[1]}, {"const": "auto"}]}
    ),
    _like(addresses.AUTO),
]
Port = Annotated[int, AfterValidator(values.port), _like(22, minimum=1, maximum=65535)]
VxlanPort = Annotated[
    int,
    AfterValidator(values.vxlan_port),
    _like(VXLAN_PORT, minimum=values.VXLAN_PORTS[0], maximum=values.VXLAN_PORTS[1]),
]
CertificateDays = Annotated[
    int,
    AfterValidator(values.certificate_days),
    _like(90, minimum=values.CERTIFICATE_DAYS[0], maximum=values.CERTIFICATE_DAYS[1]),
]
User = Annotated[str, AfterValidator(values.user), _like("ops", values.SSH_USER)]
Host = Annotated[str, AfterValidator(values.host), _like("node1.example", values.SSH_HOST)]
Gateway = Annotated[str, AfterValidator(values.gateway), _like("ops@bastion.example:22")]
Key = Annotated[str, AfterValidator(values.path), _like("~/.ssh/id_ed25519")]
KnownHosts = Annotated[str, AfterValidator(values.path), _like("~/.ssh/known_hosts")]
EtcdVersion = Annotated[str, AfterValidator(values.etcd_version), _like(ETCD_VERSION, values.VERSION)]
Mirror = Annotated[str, AfterValidator(values.mirror), _like("https://mirror.example/etcd")]
Source = Annotated[str, AfterValidator(values.source), _like(f"artifacts/{releases.archive(ETCD_VERSION, 'amd64')}")]
_DIGITS = {"type": "string", "pattern": f"^{values.SHA256}$"}
Checksums = Annotated[
    str | dict[str, str],
    PlainValidator(values.checksums),
    WithJsonSchema(
        {
            "anyOf": [
                _DIGITS | {"examples": ["0123…, 64 digits"]},
                {
                    "type": "object",
                    "properties": dict.fromkeys(releases.ARCHITECTURES.values(), _DIGITS),
                    "additionalProperties": False,
                },
            ]
        }
    ),
]
Digits = Annotated[str, AfterValidator(values.sha256), _like("64 digits", values.SHA256)]
Package = Annotated[str, AfterValidator(values.package), _like("docker.io", values.PACKAGE)]
DockerVersion = Annotated[str, AfterValidator(values.docker_version), _like('"28.5"', values.VERSION_BEGINNING)]
DockerArchive = Annotated[str, AfterValidator(values.docker_archive), _like("docker-28.5.2.tgz")]
Image = Annotated[str, AfterValidator(values.image), _like("busybox", values.IMAGE)]
Archive = Annotated[str, AfterValidator(values.path), _like("artifacts/busybox.tar")]


class Section(BaseModel):
    """The keys of one level. Other keys are refused, and no value is converted."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class SSHSection(Section):
    """How nodes are reached. ~/.ssh/config, then OpenSSH's defaults, fill in missing keys."""

    user: User | None = Field(None, description="The user who logs in; sudo is used unless this is root.")
    port: Port | None = Field(None, description="The port of sshd.")
    key: Key | None = Field(None, description="A private key; keys of ~/.ssh/config and the agent are tried too.")
    known_hosts: KnownHosts | None = Field(None, description="The file of host keys. Default: ~/.ssh/known_hosts.")
    host_keys: HostKeyPolicy | None = Field(
        None,
        description="A host key seen for the first time: ask (the default), accept-new or strict.",
        examples=["ask"],
    )
    gateway: Gateway | None = Field(
        None, description="user@bastion:port, several separated by commas, or an OpenSSH ProxyCommand with %h and %p."
    )


class NodeSSHSection(SSHSection):
    """How this node is reached, where that differs from the top-level ssh."""

    host: Host | None = Field(None, description="The host to connect to, if not the address.")


class NodeSection(Section):
    """One host."""

    address: Address = Field(description="The IPv4 address by which the other nodes reach this one.")
    member: bool | None = Field(
        None,
        description="Whether the node is a member of the store. Default: both of two nodes, the first three of more.",
        examples=["true"],
    )
    ssh: NodeSSHSection | None = None
    state: Literal["present", "absent"] = Field(
        "present",
        description="absent: the node leaves the cluster, its host becomes as it was before; then delete its entry.",
        examples=["absent"],
    )


class EtcdSection(Section):
    """The etcd release for the nodes, by version or source; required where etcd is the control plane."""

    model_config = ConfigDict(json_schema_extra={"oneOf": [{"required": ["version"]}, {"required": ["source"]}]})

    version: EtcdVersion | None = Field(
        None,
        description="A published release. The archive for each node's CPU is downloaded once, into a cache.",
    )
    mirror: Mirror | None = Field(
        None,
        description=f"A URL in place of {releases.PUBLISHED}; below it are vVERSION/etcd-vVERSION-linux-CPU.tar.gz.",
    )
    source: Source | None = Field(
        None,
        description="In place of a version: a release archive, a folder with etcd and etcdctl, or an https URL.",
    )
    sha256: Checksums | None = Field(
        None,
        description="The source's checksum, required for a URL; or, for a version that this tool does not know, "
        "one for each CPU.",
    )


class HardeningSection(Section):
    """Settings of dockerd, unless your own daemon.json has them. A change of one restarts dockerd."""

    no_new_privileges: bool = Field(True, description="Setuid programs gain no privileges in new containers.")
    rotate_logs: bool = Field(True, description="The log of a new container is limited to three files of 10 MB.")
    limit_open_files: bool = Field(
        False, description="65536 per process, which may raise it to 1048576; dockerd needs CAP_SYS_RESOURCE."
    )
    isolate_default_bridge: bool = Field(
        False, description="Containers on Docker's default bridge do not reach each other, unless linked."
    )
    without_userland_proxy: bool = Field(False, description="Ports are published by packet rules alone; not over IPv6.")


class DockerArchiveSection(Section):
    """A static release of Docker for one CPU."""

    archive: DockerArchive = Field(description="The release's archive, docker-VERSION.tgz.")
    sha256: Digits = Field(description="What `sha256sum` prints for the archive.")


class DockerSourceSection(Section):
    """Static releases of Docker, by CPU."""

    amd64: DockerArchiveSection | None = None
    arm64: DockerArchiveSection | None = None


class DockerSection(Section):
    """Docker on the nodes."""

    control_plane: PlaneName = Field(
        "auto",
        description="How nodes share the networks: etcd, swarm, or auto for what their Docker supports.",
        examples=["auto"],
    )
    install: bool = Field(False, description="Whether Docker is installed where a host has none; reset removes it.")
    package: Package | None = Field(None, description="The package that apt installs. Default: docker.io.")
    source: DockerSourceSection | None = Field(
        None, description="In place of a package: a static release for each CPU."
    )
    version: DockerVersion | None = Field(None, description="A version, or its beginning; an older Docker is upgraded.")
    hold: bool = Field(True, description="Whether the package is held where a later Docker could not work (etcd).")
    hardening: HardeningSection | None = None
    certificate_days: CertificateDays | None = Field(
        None,
        description="In swarm mode, how many days the hosts' certificates last; Docker renews them, and chooses 90.",
        examples=[90],
    )


class NetworkSection(Section):
    """One overlay network."""

    subnet: Subnet = Field(description="Its IPv4 range, which nothing else uses: a /29 or larger; or auto.")
    encrypted: bool = Field(
        False,
        description="Whether packets between hosts are encrypted (IPsec); in swarm mode only. It costs throughput.",
    )


class OverlaySection(Section):
    """The networks that cross hosts."""

    networks: dict[NetworkName, NetworkSection] = Field(
        min_length=1, description="The networks by name.", examples=[NETWORKS], json_schema_extra=NAMED
    )
    mtu: Mtu = Field(
        "auto",
        description="The largest packet between the nodes in bytes; containers get 50 less. auto: the links' MTU.",
    )
    vxlan_port: VxlanPort = Field(
        VXLAN_PORT,
        description="The UDP port of packets between containers on different hosts. Another one only in swarm mode, "
        "from the beginning.",
    )
    ingress: bool = Field(
        True,
        description="false: in swarm mode, the network ingress is removed. Only services with published ports use it.",
    )


class ProbeSection(Section):
    """The container that verification runs on every node."""

    image: Image = Field("busybox", description="An image with sh and ping.")
    archive: Archive | None = Field(
        None, description="The image, as `docker save` writes it; pushed to nodes without a registry."
    )


class AppImageSection(Section):
    """One image of the counter."""

    image: Image = Field(description="Its name on the nodes.")
    archive: Archive | None = Field(
        None, description="The image, as `docker save` writes it; loaded where it is missing."
    )


class AppSection(Section):
    """The counter of examples/flask-redis: a page on one node that counts in a Redis on another."""

    redis: AppImageSection = Field(description="Redis.", examples=[{"image": "redis:8"}])
    web: AppImageSection = Field(description="The web page.", examples=[{"image": "flask-redis"}])


class Document(Section):
    """An inventory: the hosts of a container network, and its settings."""

    version: Literal[1] = Field(description="The version of this format.", examples=[1])
    cluster: ClusterName = Field(description="The cluster's name, for the certificates and the store.")
    ssh: SSHSection | None = None
    nodes: dict[NodeName, NodeSection] = Field(
        min_length=2, description="Two or more hosts, by name.", examples=[NODES], json_schema_extra=NAMED
    )
    etcd: EtcdSection | None = None
    docker: DockerSection | None = None
    overlay: OverlaySection | None = None
    probe: ProbeSection | None = None
    app: AppSection | None = None
    firewall: bool = Field(
        False, description="Whether only the nodes may reach the ports that are opened on them (nftables)."
    )


RESERVED = {"underlay": "for encryption between the hosts in a later version"}
"""Top-level keys that a later version may have."""


class _WithoutTitles(GenerateJsonSchema):
    """Leaves out titles that only repeat the keys."""

    def field_title_should_be_set(self, schema: Any) -> bool:
        return False


def schema() -> dict[str, Any]:
    """Return the JSON Schema of the inventory."""
    generated = Document.model_json_schema(schema_generator=_WithoutTitles)
    return {"$schema": "https://json-schema.org/draft/2020-12/schema"} | generated
