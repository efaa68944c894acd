# SPDX-License-Identifier: Apache-2.0
"""
Every node in a process of its own, as on the line: same verdicts, and what happens when one of
them dies or hangs.

"""

import os
import signal
import subprocess
import threading

import pytest

pytest.importorskip('anomaly_inspection.msg', reason='needs ROS 2 and the built messages')

from anomaly_inspection.capture.open_source import open_source
from anomaly_inspection.msg import Decision, SortEvent
from anomaly_inspection.nodes.cell_run import run_cell
from anomaly_inspection.nodes.run_observer import HeardPart
from support.held_up import has_gone_as_decided
from support.processes import answer, executable, PARAMETER_FILE, RATE_HZ, wait_for
from support.small_recipe import SMALL_LINE

pytestmark = pytest.mark.ros

PARTS = 24
SOURCE = f'{SMALL_LINE},seed=1,parts={PARTS},defect_rate=0.5'


def test_separate_processes_give_the_verdicts_of_one_process(
    taught_recipe, processes, watcher, domain_id
):
    processes.start_all(watcher, SOURCE, deadline_s=0.75)
    watcher.wait(lambda: names_sorted(watcher)[-1:] == [f'line_1/{PARTS - 1:06d}'])
    apart, gone_as_decided = {}, 0
    for key in keys_since_all_have_met(watcher):
        decision = watcher.decisions[key]
        apart[watcher.parts[key].frame_names[0]] = (decision.verdict, decision.comparison)
        gone_as_decided += has_gone_as_decided(record_of(watcher, key))
    assert min(len(apart), gone_as_decided) > PARTS / 2
    processes.close()
    processes.running.clear()
    result = run_cell(
        taught_recipe,
        open_source(SOURCE),
        SOURCE,
        rate_hz=RATE_HZ,
        parameter_file=PARAMETER_FILE,
        interrupted=threading.Event(),
        part_done=lambda record: None,
    )
    verdicts = {'PASS': Decision.VERDICT_PASS, 'REJECT': Decision.VERDICT_REJECT}
    together = {r.name: (verdicts[r.verdict], r.comparison) for r in result.records}
    assert len(together) == PARTS
    assert {verdict for verdict, _ in apart.values()} == set(verdicts.values())
    assert apart == {name: together[name] for name in apart}


def keys_since_all_have_met(watcher):
    """
    Give the parts since the first that went all the way: before, the processes seek each other.

    """
    keys = sorted(watcher.sort_events)
    met = [
        key in watcher.parts
        and key in watcher.decisions
        and watcher.sort_events[key].cause == SortEvent.CAUSE_DECISION
        for key in keys
    ]
    return keys[met.index(True) :]


def record_of(watcher, key):
    heard = HeardPart(watcher.parts[key], watcher.decisions[key], watcher.sort_events[key])
    return heard.record(lambda name: None)


def names_sorted(watcher):
    return [watcher.parts[key].frame_names[0] for key in watcher.sort_events]


def reasons(watcher, *, since=0):
    return [decision.reason for decision in list(watcher.decisions.values())[since:]]


@pytest.mark.parametrize('trouble', ['killed', 'hung'])
def test_parts_are_rejected_on_time_while_the_scorer_is_gone_and_pass_when_it_is_back(
    processes, watcher, trouble
):
    source = f'{SMALL_LINE},seed=1,defect_rate=0'
    # Three timeouts in a row would stop the line; here it shall go on.
    processes.start_all(watcher, source, deadline_s=0.4, timeouts_to_fault=1000)
    watcher.wait(lambda: reasons(watcher).count(Decision.REASON_WITHIN_LIMITS) >= 10)
    processes.signal('scorer', signal.SIGKILL if trouble == 'killed' else signal.SIGSTOP)
    gone_since = len(watcher.decisions)
    watcher.wait(lambda: len(watcher.decisions) >= gone_since + int(5 * RATE_HZ))
    gone = reasons(watcher, since=gone_since)
    if trouble == 'killed':
        processes.running['scorer'].wait()
        processes.start('scorer')
    else:
        processes.signal('scorer', signal.SIGCONT)
    back_since = len(watcher.decisions)
    watcher.wait(lambda: reasons(watcher, since=back_since)[-3:] == [1, 1, 1])
    # One may have been scored, and one decided, when the scorer went.
    assert set(gone[2:]) == {Decision.REASON_TIMEOUT}
    seen = list(watcher.decisions)
    watcher.wait(lambda: seen[-1] in watcher.sort_events)
    gone_as_decided = 0
    for key in keys_since_all_have_met(watcher):
        record = record_of(watcher, key)
        # The start of the scorer may hold up the camera and the sorter.
        if has_gone_as_decided(record):
            assert record.sort_cause == '', 'decided in time for the gate'
            gone_as_decided += 1
    assert gone_as_decided > len(gone)


def test_a_process_that_stood_still_starts_anew_and_is_heard_again(processes, watcher):
    processes.start('sorter')
    watcher.wait(lambda: watcher.line_stops)
    pid = processes.running['sorter'].pid
    processes.signal('sorter', signal.SIGSTOP)
    # As long as a process may stand still, and more.
    threading.Event().wait(3.5)
    heard = len(watcher.line_stops)
    processes.signal('sorter', signal.SIGCONT)
    # It is latched, and comes from every sorter that starts.
    watcher.wait(lambda: len(watcher.line_stops) > heard)
    assert 'it starts anew' in processes.log('sorter')
    assert processes.running['sorter'].pid == pid
    assert processes.running['sorter'].poll() is None


def test_a_process_that_stood_still_ends_when_it_is_told_to(processes, watcher):
    processes.start('sorter')
    watcher.wait(lambda: watcher.line_stops)
    processes.signal('sorter', signal.SIGSTOP)
    threading.Event().wait(3.5)
    processes.signal('sorter', signal.SIGCONT)
    wait_for(lambda: 'it starts anew' in processes.log('sorter'), processes)
    # Either the old program ends on it, or the new one.
    processes.signal('sorter', signal.SIGTERM)
    assert processes.running['sorter'].wait(20) in (0, -signal.SIGTERM)
    del processes.running['sorter']


def test_timeouts_in_a_row_stop_the_line_until_it_is_reset(processes, watcher):
    from std_srvs.srv import Trigger

    source = f'{SMALL_LINE},seed=1,defect_rate=0'
    processes.start_all(watcher, source, deadline_s=0.3, timeouts_to_fault=3)
    watcher.wait(lambda: reasons(watcher).count(Decision.REASON_WITHIN_LIMITS) >= 3)
    assert not watcher.line_stops[-1].active
    processes.signal('scorer', signal.SIGSTOP)
    watcher.wait(lambda: watcher.line_stops[-1].active)
    assert 'in a row' in watcher.line_stops[-1].reason
    client = watcher.create_client(Trigger, 'sorter/reset')
    processes.until_known(watcher, 'sorter')

    refused = answer(client, Trigger.Request())
    assert not refused.success
    assert 'the cause lasts' in refused.message
    processes.signal('scorer', signal.SIGCONT)
    wait_for(lambda: answer(client, Trigger.Request()).success, processes)
    watcher.wait(lambda: not watcher.line_stops[-1].active)
    events = len(watcher.sort_events)
    watcher.wait(
        lambda: any(
            event.action == SortEvent.ACTION_PASSED
            for event in list(watcher.sort_events.values())[events:]
        )
    )
    stopped = [e for e in watcher.sort_events.values() if e.cause == SortEvent.CAUSE_LINE_STOPPED]
    assert stopped
    assert all(event.action == SortEvent.ACTION_REJECTED for event in stopped)


def test_a_line_stop_outlives_a_sorter_that_is_killed(processes, watcher):
    from std_srvs.srv import Trigger

    source = f'{SMALL_LINE},seed=1,defect_rate=0'
    processes.start_all(watcher, source, deadline_s=0.3, timeouts_to_fault=3)
    watcher.wait(lambda: reasons(watcher).count(Decision.REASON_WITHIN_LIMITS) >= 3)
    processes.signal('scorer', signal.SIGSTOP)
    watcher.wait(lambda: watcher.line_stops[-1].active)
    reason = watcher.line_stops[-1].reason
    processes.signal('scorer', signal.SIGCONT)
    # The decider is well again when it has decided in time: only the sorter knows of the stop.
    decided = len(watcher.decisions)
    watcher.wait(lambda: 1 in reasons(watcher, since=decided))
    processes.signal('sorter', signal.SIGKILL)
    processes.running['sorter'].wait()
    stops, events = len(watcher.line_stops), len(watcher.sort_events)
    processes.start('sorter')
    watcher.wait(lambda: len(watcher.line_stops) > stops)
    watcher.wait(lambda: len(watcher.sort_events) > events + 10)
    assert all(stop.active for stop in watcher.line_stops[stops:])
    assert watcher.line_stops[-1].reason == reason
    actions = [event.action for event in list(watcher.sort_events.values())[events:]]
    assert set(actions) == {SortEvent.ACTION_REJECTED}
    assert 'the line stays stopped until ~/reset' in processes.log('sorter')

    client = watcher.create_client(Trigger, 'sorter/reset')
    processes.until_known(watcher, 'sorter')
    wait_for(lambda: answer(client, Trigger.Request()).success, processes)
    watcher.wait(
        lambda: any(
            event.action == SortEvent.ACTION_PASSED
            for event in list(watcher.sort_events.values())[events:]
        )
    )


@pytest.mark.parametrize('trouble', ['killed', 'hung'])
def test_a_decider_that_is_gone_stops_the_line(processes, watcher, trouble):
    processes.start_all(watcher, f'{SMALL_LINE},seed=1,defect_rate=0', deadline_s=0.5)
    watcher.wait(lambda: reasons(watcher).count(Decision.REASON_WITHIN_LIMITS) >= 3)
    assert not watcher.line_stops[-1].active
    processes.signal('decider', signal.SIGKILL if trouble == 'killed' else signal.SIGSTOP)
    watcher.wait(lambda: watcher.line_stops[-1].active)
    assert watcher.line_stops[-1].reason == (
        'no decision came for 3 parts in a row: is the decider running?'
    )


BAD_VIEW = "views: view 'Top' is refused; allowed: a small letter"


@pytest.mark.parametrize(
    ('node', 'parameters', 'sentence'),
    [
        (
            *('decider', {'deadline_s': -1}),
            'deadline_s = -1.0 is out of range: allowed is a number from 0.005 to 60 s',
        ),
        ('sorter', {'leading_view': '"top view"'}, "leading_view: view 'top view' is refused"),
        *((node, {'views': '[left, Top]'}, BAD_VIEW) for node in ('panel', 'mqtt_bridge')),
    ],
)
def test_a_refused_parameter_ends_the_process_with_one_sentence(
    processes, domain_id, node, parameters, sentence
):
    processes.start(node, **parameters)
    assert processes.running.pop(node).wait(30) == 2
    assert sentence in processes.log(node)
    assert 'Traceback' not in processes.log(node)


def test_the_cell_executable_runs_everything_in_one_process(taught_recipe, watcher, tmp_path):
    log = tmp_path / 'cell.log'
    # Its own namespace would be `inspection`; the watcher listens at the root.
    arguments = ['--ros-args', '-r', '__ns:=/', '--params-file', str(PARAMETER_FILE)]
    for name in ('scorer', 'decider'):
        arguments += ['-p', f'{name}:recipe:={taught_recipe}']
    arguments += ['-p', f'camera:source:={SMALL_LINE}']
    with log.open('w') as out:
        process = subprocess.Popen(
            [executable('cell'), *arguments], stdout=out, stderr=out, env=os.environ
        )
    try:
        watcher.wait(
            lambda: any(
                event.action == SortEvent.ACTION_PASSED for event in watcher.sort_events.values()
            )
        )
    finally:
        process.send_signal(signal.SIGINT)
        assert process.wait(15) == 0, log.read_text()
