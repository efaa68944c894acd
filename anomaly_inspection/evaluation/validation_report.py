# SPDX-License-Identifier: Apache-2.0
"""
The page of a validation: installation (IQ), operation (OQ) and performance (PQ).

"""

from __future__ import annotations

from html import escape
import math
from typing import Any, TYPE_CHECKING

from anomaly_inspection.evaluation.report import remarks, STYLE
from anomaly_inspection.evaluation.validation import faults_of

if TYPE_CHECKING:
    from collections.abc import Iterable

_MOST_ROWS = 500
_STYLE = """
td { vertical-align: top; overflow-wrap: anywhere; }
code { font-size: 12px; overflow-wrap: anywhere; }
.good { background: #e8f4ec; border-left: 4px solid #2f6b4f; padding: 8px 12px; font-weight: 650; }
td.bad { color: #b3261e; font-weight: 650; }
.sign { display: grid; grid-template-columns: repeat(3, 1fr); gap: 28px; margin-top: 56px; }
.sign div { border-top: 1px solid #1d1f23; padding-top: 4px; font-size: 13px; color: #5c636e; }
@page { size: A4; margin: 14mm 12mm; }
@media print { body { font-size: 12px; } .card, .panel, .fault, .note, .good {
  -webkit-print-color-adjust: exact; print-color-adjust: exact; } }
"""


def validation_page(report: dict[str, Any], changes: list[str] | None, compared: str) -> str:
    """
    Give the page of a signed report.

    Parameters
    ----------
    report : dict
        As `signed_report.signed` gives it, of a content of `validation`.
    changes : list of str or None
        What is not the same as in an older report; None = it was compared with none.
    compared : str
        Name of the older one.

    """
    content = report['content']
    recipe, known = content['recipe'], content['known_parts']
    title = f'Validation of recipe {escape(recipe["name"])}, version {recipe["version"]}'
    faults = faults_of(content)
    result = remarks(faults, ()) or (
        '<p class="good">Every known part came out right, and nothing else speaks against the '
        'use of this recipe.</p>'
    )
    return f"""<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<title>{title}</title><style>{STYLE}{_STYLE}</style></head><body><main>
<h1>{title}</h1>
<p class="quiet">{escape(recipe['product'] or recipe['name'])}, made on {escape(content['made'])}
by anomaly_inspection {escape(content['installation']['packages']['anomaly_inspection'])}</p>
{result}
{_comparison(changes, compared)}
<div class="cards">{_cards(content)}</div>
<p class="quiet">The upper bounds hold with {100 * known['escapes']['confidence']:.0f} %
confidence (Clopper-Pearson), for parts like the known ones.</p>

<h2>IQ: installation</h2>
{_installation(content['installation'])}
<h2>IQ: recipe</h2>
{_recipe(recipe)}

<h2>OQ: known parts</h2>
<p class="quiet">{escape(content['known_folder'])}</p>
{_known(known)}
<h2>OQ: self-test with drawn defects</h2>
{_self_test(content['self_test'])}
<h2>OQ: time</h2>
{_time(content)}
<h2>OQ: gate</h2>
{_gate(content['gate'])}

<h2>PQ: what to expect</h2>
{_performance(content)}

<h2>Seal</h2>
{_seal(report)}
<div class="sign"><div>made by, date</div><div>checked by, date</div>
<div>released by, date</div></div>
</main></body></html>
"""


def _comparison(changes: list[str] | None, compared: str) -> str:
    if changes is None:
        return ''
    if not changes:
        return f'<p class="good">It agrees with {escape(compared)}.</p>'
    items = ''.join(f'<li>{escape(change)}</li>' for change in changes[:_MOST_ROWS])
    return f'<div class="note"><b>Not the same as in {escape(compared)}:</b><ul>{items}</ul></div>'


def _cards(content: dict[str, Any]) -> str:
    known = content['known_parts']
    cards = []
    for key, name, kind in (
        ('escapes', 'escapes', 'bad'),
        ('false_rejects', 'false rejects', 'good'),
    ):
        rate = known[key]
        bound = rate['upper_bound']
        note = f'below {_percent(bound)}' if bound is not None else 'nothing is shown'
        cards.append((name, f'{rate["count"]} of {rate["of"]} {kind}', note))
    time = content['time']
    if time['p99_ms'] is not None:
        note = f'median {time["p50_ms"]:.1f} ms'
        cards.append(('a frame, p99', f'{time["p99_ms"]:.1f} ms', note))
    gate = content['gate']
    if gate:
        cards.append(
            ('gate', f'{gate["parts"]} parts', 'as decided' if not gate['faults'] else 'FAULTS')
        )
    return ''.join(
        f'<div class="card">{escape(name)}<b>{escape(value)}</b>'
        f'<span class="quiet">{escape(note)}</span></div>'
        for name, value, note in cards
    )


def _installation(installation: dict[str, Any]) -> str:
    rows = [(name, version) for name, version in installation['packages'].items()]
    rows += [
        ('Python', installation['python']),
        ('ROS', installation['ros_distro'] or 'not sourced'),
        ('system', installation['system']),
        ('processor', f'{installation["processor"]}, {installation["cores"]} cores'),
    ]
    return _table(('what', 'version'), rows)


def _recipe(recipe: dict[str, Any]) -> str:
    facts = [
        ('taught by', recipe['taught_by'] or 'not said'),
        ('written', recipe['created']),
        ('taught on', f'{recipe["image_count"]} good parts'),
        ('scorers', ', '.join(recipe['scorers'])),
        ('rejects when', f'{recipe["combination"]} of the limits is exceeded'),
        *((f'limit {name}', f'{value:.6g}') for name, value in recipe['limits'].items()),
        ('hash', recipe['hash']),
    ]
    files = _table(('file', 'SHA-256'), list(recipe['files'].items())[:_MOST_ROWS])
    return _table(('what', 'value'), facts) + f'<h2>IQ: files of the recipe</h2>{files}'


def _known(known: dict[str, Any]) -> str:
    kinds = [
        (kind, str(rate['of']), str(rate['count']), _percent(rate['upper_bound']))
        for kind, rate in known['escapes_by_kind'].items()
    ]
    wrong = [part for part in known['parts'] if (part['kind'] == 'good') != _passed(part)]
    shown = wrong[:_MOST_ROWS]
    text = _table(('kind of defect', 'parts', 'passed', 'escapes below'), kinds) if kinds else ''
    if not shown:
        return text + '<p>Every known part came out right.</p>'
    rows = [
        (part['name'], part['kind'], part['verdict'], _score(part), part['comparison'])
        for part in shown
    ]
    more = f', the first {len(shown)} of them' if len(wrong) > len(shown) else ''
    head = ('came out wrong', 'is', 'verdict', 'score', 'why')
    return f'{text}<p>{len(wrong)} known parts came out wrong{more}:</p>{_table(head, rows)}'


def _passed(part: dict[str, Any]) -> bool:
    return bool(part['verdict'] == 'PASS')


def _score(part: dict[str, Any]) -> str:
    return '-' if part['anomaly_score'] is None else f'{part["anomaly_score"]:.3f}'


def _self_test(test: dict[str, Any] | None) -> str:
    if test is None:
        return '<p>It was not made.</p>'
    rate = test['defects']
    words = ''.join(f'<li>{escape(sentence)}</li>' for sentence in test['in_words'])
    seen = rate['of'] - rate['count']
    return (
        f'<p>{seen} of {rate["of"]} drawn defects were seen, on {len(test["images"])} known good '
        f'parts (seed {test["seed"]}).</p><ul>{words}</ul>'
        f'<p class="quiet">By kind: {escape(test["kinds_in_words"])}</p>'
        f'{remarks((), test["notes"])}'
    )


def _time(content: dict[str, Any]) -> str:
    time = content['time']
    if time['p50_ms'] is None:
        return '<p>No known part could be scored.</p>'
    return (
        f'<p>{time["frames"]} frames, one after the other, from the image to the judgement: '
        f'median {time["p50_ms"]:.1f} ms, p99 {time["p99_ms"]:.1f} ms, longest '
        f'{time["longest_ms"]:.1f} ms, on the machine above and under its load at that time.</p>'
    )


def _gate(gate: dict[str, Any] | None) -> str:
    if gate is None:
        return (
            '<p>It was not tried. <code>--gate simulated</code> runs the known parts over a '
            'simulated belt with a simulated gate. A real gate is shown by a challenge with known '
            'parts on the line.</p>'
        )
    decided, fired = gate['exposure_to_decision_ms'], gate['firing_error_ms']
    return (
        f'<p>{gate["parts"]} known parts on a simulated belt with a simulated gate: '
        f'{gate["lost"]} lost, {gate["gate_not_followed"]} not sorted as decided, '
        f'{gate["gate_not_confirmed"]} not confirmed. Exposure to decision: median '
        f'{_ms(decided["p50"])}, p99 {_ms(decided["p99"])}. Firing error: median '
        f'{_ms(fired["p50"])}, p99 {_ms(fired["p99"])}.</p>{remarks(gate["faults"], ())}'
    )


def _performance(content: dict[str, Any]) -> str:
    known, recipe = content['known_parts'], content['recipe']
    rows = [
        ('bad parts that pass (escapes)', *_rate_words(known['escapes'])),
        ('good parts that are rejected', *_rate_words(known['false_rejects'])),
    ]
    if recipe['promised_false_reject_rate'] < 1:
        promised = _percent(recipe['promised_false_reject_rate'])
        rows.append(('the same, as promised at teaching', '-', '-', promised))
    text = _table(('what', 'seen', 'share', 'upper bound'), rows)
    return text + (
        '<p class="quiet">A bound can only be as low as the number of parts allows: 0 of 59 shows '
        'less than 5 %, 0 of 299 less than 1 %.</p>'
    )


def _rate_words(rate: dict[str, Any]) -> tuple[str, str, str]:
    if not rate['of']:
        return 'none known', '-', '-'
    return (
        f'{rate["count"]} of {rate["of"]}',
        _percent(rate['share']),
        _percent(rate['upper_bound']),
    )


def _seal(report: dict[str, Any]) -> str:
    signature = report['signature']
    rows = [('SHA-256 of the content', report['sha256'])]
    if signature is None:
        words = 'This report is not signed: whoever can write the files can change them.'
    else:
        words = f'Signed with the key {signature["key"]} ({signature["kind"]}).'
        rows.append(('signature', signature['value']))
    return (
        f'<p>{escape(words)} The JSON file holds the same, with a row for each known part; '
        '<code>anomaly-inspection validate --check FILE.json</code> checks it.</p>'
        f'{_table(("what", "value"), rows)}'
    )


def _table(head: Iterable[str], rows: Iterable[tuple[str, ...]]) -> str:
    heads = ''.join(f'<th>{escape(name)}</th>' for name in head)
    lines = ''.join(
        f'<tr>{"".join(f"<td>{escape(str(cell))}</td>" for cell in row)}</tr>' for row in rows
    )
    return f'<table><tr>{heads}</tr>{lines}</table>'


def _percent(share: float | None) -> str:
    if share is None or not math.isfinite(share):
        return '-'
    return f'{100 * share:.3g} %'


def _ms(value: float | None) -> str:
    return '-' if value is None else f'{value:.1f} ms'
