"""The tasks of the command line: one short function for each verb, in the order of `fab --list`."""

from __future__ import annotations

from invoke.collection import Collection

from provision.tasks import cluster, hosts, lab, life

namespace = Collection(
    *(cluster.preflight, cluster.plan, cluster.provision, cluster.verify, cluster.status),
    *(life.certs, life.migrate, life.recover, life.backup, life.restore, life.reset),
    *(hosts.run_on_nodes, hosts.init, hosts.trust),
)
namespace.add_collection(Collection("lab", lab.up, lab.down, lab.lab_status))
