"""From one control plane to the next: what is recorded before anything stops, and how the containers come back.

record      the record of a migration: networks and containers, and the file that says that it is under way
networks    the networks of the cluster, from whatever still knows them
nodes       how far each node is, by its facts, and the situation in which the former control plane leaves it
phases      the phases in which nodes leave the former control plane, and in which containers come back
proof       each container runs, with its ID and address, and is found by name and alias from another node
"""
