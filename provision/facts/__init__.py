"""What is so on a node: the script that asks, and the answer as a value."""

from provision.facts.answer import docker_answers, parse, with_policies
from provision.facts.model import INPUTS, Container, Facts, Listener, Path, Unit
from provision.facts.question import Question, docker_script, join, script

__all__ = [
    "INPUTS",
    "Container",
    "Facts",
    "Listener",
    "Path",
    "Question",
    "Unit",
    "docker_answers",
    "docker_script",
    "join",
    "parse",
    "script",
    "with_policies",
]
