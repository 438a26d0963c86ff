"""Facts of a node: the question, the script that asks it, and the answer as a value."""

from provision.facts.answer import docker_answers, parse, with_clock, with_marked, with_policies
from provision.facts.model import INPUTS, Clock, Container, Facts, Listener, PathFact, Space, Unit
from provision.facts.question import Question, docker_script, join, marked_script, script
from provision.facts.run_labels import RUN_FOLDER, RUN_IMAGE, RUN_LABEL, RUN_VOLUME, Marked

__all__ = [
    "INPUTS",
    "RUN_FOLDER",
    "RUN_IMAGE",
    "RUN_LABEL",
    "RUN_VOLUME",
    "Clock",
    "Container",
    "Facts",
    "Listener",
    "Marked",
    "PathFact",
    "Question",
    "Space",
    "Unit",
    "docker_answers",
    "docker_script",
    "join",
    "marked_script",
    "parse",
    "script",
    "with_clock",
    "with_marked",
    "with_policies",
]
