"""Swarm mode's program that stays on a node: it ends connections in which messages of the managers wait."""

from __future__ import annotations

from pathlib import Path

import pytest
from node_shell import SHELLS
from swarm_mend_program import OWN, SECOND, THIRD, Program


@pytest.fixture(params=SHELLS)
def mend(request: pytest.FixtureRequest, tmp_path: Path) -> Program:
    return Program(request.param, tmp_path)


#: ss, as it prints connections, and whose it is asked to end. Every node listens but those in `off`.
ENDS = """
off='' unable=''
listens() {{ case " $off " in *" $1 "*) return 1 ;; esac; }}
ss() {{
    case $1 in
    -K) [ "$unable" ] || echo "0 0 $6 $8"; echo "end $6 $8" >&3 ;;
    *) cat <<'.'
{connections}
.
    ;;
    esac
}}
exec 3>&1
"""
MANAGERS = """end_overdue "Docker's managers" "$managers_port" """


def ends(mend: Program, *timers: str, then: str = MANAGERS) -> list[str]:
    """Return what is done about connections with these timers, from this node to the second."""
    connections = "\n".join(f"0 312 {OWN}:4000{n} {SECOND}:2377 {timer}" for n, timer in enumerate(timers))
    return mend.run(ENDS.format(connections=connections) + then)


END = f"end {OWN}:40000 {SECOND}:2377"
SAID = f"ended: the connection of {OWN}:40000 with {SECOND}:2377, in which messages of Docker's managers waited"


@pytest.mark.parametrize("wait", ["25sec", "6.400ms", "400ms", "1min5sec", "1min"])
def test_a_connection_in_which_something_was_sent_again_and_again_is_ended(mend: Program, wait: str) -> None:
    assert ends(mend, f"timer:(on,{wait},8)") == [END, SAID]


def test_it_is_ended_from_the_fifth_time_on(mend: Program) -> None:
    timers = ("timer:(on,6sec,5)", "timer:(on,3sec,4)", "timer:(on,204ms,0)", "timer:(on,51sec,10)")
    assert [line.split(":")[1][:5] for line in ends(mend, *timers) if line.startswith("end ")] == ["40000", "40003"]


@pytest.mark.parametrize(
    "timer", ["", "timer:(keepalive,14sec,0)", "timer:(persist,1min,9)", "timer:(timewait,9sec,7)"]
)
def test_a_connection_in_which_nothing_waits_for_an_acknowledgement_stays(mend: Program, timer: str) -> None:
    assert ends(mend, timer) == []


def test_a_connection_whose_other_end_does_not_answer_stays(mend: Program) -> None:
    assert ends(mend, "timer:(on,25sec,8)", then=f"off={SECOND}; {MANAGERS}") == []
    assert ends(mend, "timer:(on,25sec,8)", then=f"off={THIRD}; {MANAGERS}") == [END, SAID]


def test_a_host_that_does_not_answer_is_asked_once(mend: Program) -> None:
    script = f"listens() {{ echo asked; return 1; }}; {MANAGERS}"
    assert ends(mend, *["timer:(on,25sec,8)"] * 3, then=script) == ["asked"]


def test_nothing_is_said_where_the_kernel_cannot_end_connections(mend: Program) -> None:
    assert ends(mend, "timer:(on,25sec,8)", then=f"unable=yes; {MANAGERS}") == [END]


def test_connections_are_looked_at_every_ten_seconds(mend: Program) -> None:
    loop = """
seconds=1000 turns=60 looks=0
end_overdue() { looks=$((looks + 1)); }
tell_time() { now=$seconds; }
sleep() { seconds=$((seconds + $1)) turns=$((turns - 1)); [ "$turns" -gt 0 ] || { echo "$looks"; exit 0; }; }
watch
"""
    assert mend.run(loop) == ["12"]  # sixty turns of two seconds
