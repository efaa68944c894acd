# SPDX-License-Identifier: Apache-2.0
"""
The page of a shift report, as a Jinja2 template with autoescape.

"""

TEMPLATE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy"
  content="default-src 'none'; style-src 'unsafe-inline'; img-src data:">
<title>{{ title }} &ndash; {{ since }}</title>
<style>
:root { color-scheme: light; }
* { box-sizing: border-box; }
body { font: 15px/1.5 system-ui, 'Segoe UI', 'Helvetica Neue', 'DejaVu Sans', sans-serif;
  color: #1d1f23; background: #f5f6f8; margin: 0; }
main { max-width: 1040px; margin: 0 auto; padding: 36px 28px 48px; }
header { display: flex; justify-content: space-between; align-items: flex-end; gap: 24px;
  border-bottom: 3px solid #1d1f23; padding-bottom: 14px; margin-bottom: 20px; }
h1 { font-size: 29px; line-height: 1.2; margin: 0 0 4px; font-weight: 680; }
h2 { font-size: 17px; margin: 30px 0 8px; font-weight: 650; break-after: avoid; }
p { margin: 4px 0 10px; max-width: 84ch; }
.quiet { color: #5c636e; font-size: 13px; overflow-wrap: anywhere; }
header .quiet { text-align: right; white-space: nowrap; }
.tiles { display: grid; grid-template-columns: repeat(6, 1fr); gap: 10px; }
.tile, .panel { background: white; border: 1px solid #e3e6ea; border-radius: 8px; }
.tile { padding: 10px 12px; break-inside: avoid; }
.tile b { display: block; font-size: 25px; font-weight: 680; line-height: 1.25;
  font-variant-numeric: tabular-nums; white-space: nowrap; }
.tile i { font-style: normal; color: #5c636e; font-size: 13px; }
.panel { padding: 12px 16px; break-inside: avoid; }
.pair { display: grid; grid-template-columns: 1fr 1fr; gap: 14px; align-items: start; }
.chart { width: 100%; height: auto; display: block; }
.warn { background: #fff6dd; border-left: 4px solid #d9a413; padding: 8px 12px; }
table { border-collapse: collapse; width: 100%; font-size: 13.5px;
  font-variant-numeric: tabular-nums; }
th { text-align: left; font-weight: 600; color: #5c636e; font-size: 12.5px; }
th, td { padding: 5px 10px 5px 0; border-bottom: 1px solid #e3e6ea; vertical-align: top; }
tr { break-inside: avoid; }
tr:last-child td { border-bottom: none; }
td.n, th.n { text-align: right; }
td.t { white-space: nowrap; width: 1%; padding-right: 18px; }
.panel p { max-width: none; margin-bottom: 2px; }
td.w { overflow-wrap: anywhere; }
td.who { overflow-wrap: anywhere; min-width: 84px; max-width: 160px; }
.rejects { display: grid; grid-template-columns: repeat(3, 1fr); gap: 12px; }
figure { margin: 0; background: white; border: 1px solid #e3e6ea; border-radius: 8px;
  overflow: hidden; break-inside: avoid; }
figure img { width: 100%; display: block; }
img.drift { display: block; width: 100%; max-width: 646px; margin: 8px 0 4px;
  border-radius: 6px; break-inside: avoid; }
figure .none { aspect-ratio: 4 / 3; display: grid; place-items: center; background: #eceef1;
  color: #5c636e; font-size: 13px; padding: 12px; text-align: center; }
figcaption { padding: 8px 10px; font-size: 12.5px; overflow-wrap: anywhere; line-height: 1.4; }
.patches { display: grid; grid-template-columns: 1fr 1fr; gap: 6px; padding: 0 10px 8px;
  color: #5c636e; font-size: 12px; }
.patches img { height: 110px; object-fit: contain; background: #eceef1; border-radius: 4px; }
figcaption b { font-size: 13.5px; }
footer { margin-top: 32px; border-top: 1px solid #d4d8de; padding-top: 8px; }
@media screen and (max-width: 800px) { .tiles, .rejects { grid-template-columns: repeat(2, 1fr); }
  .pair { grid-template-columns: 1fr; } header { display: block; }
  header .quiet { text-align: left; } }
@page { size: A4; margin: 13mm 12mm; }
@media print {
  body { background: white; font-size: 12px; }
  main { padding: 0; max-width: none; }
  .tile b { font-size: 20px; }
  .tile, .panel, figure, .warn { -webkit-print-color-adjust: exact; print-color-adjust: exact; }
}
</style>
</head>
<body>
<main>
<header>
<div>
<h1>{{ title }}</h1>
<div>{{ since }} to {{ until }}</div>
</div>
<div class="quiet">{% if scope %}{{ scope }}<br>{% endif %}times in {{ zone }}<br>written
{{ written }}</div>
</header>

<section class="tiles">
{% for tile in tiles %}
<div class="tile"><i>{{ tile.name }}</i><b>{{ tile.value }}</b><i>{{ tile.note }}</i></div>
{% endfor %}
</section>

{% if data.gaps %}
<p class="warn">{{ data.gaps|length }} gap{{ '' if data.gaps|length == 1 else 's' }} in the
records: {% for row in data.gaps[:3] %}{{ row.what }}{{ '; ' if not loop.last }}{% endfor %}{{
' …' if data.gaps|length > 3 }}</p>
{% endif %}

{% if charts['yield'] %}
<h2>Parts and yield</h2>
<div class="panel">{{ charts['yield']|safe }}</div>

<h2>Share of rejects (p-chart)</h2>
<div class="panel">{{ charts.p|safe }}
<p class="quiet">{% if data.p_chart.out_count %}{{ data.p_chart.out_count }} of
{{ data.p_chart.points|length }} points lie outside the control limits: something changed there.
{% else %}Every point lies within the control limits: the share of
rejects varies no more than chance allows.{% endif %} The limits are the mean
± 3 √(p (1 &minus; p) / n), for the n parts of each point.</p></div>
{% else %}
<p class="warn">No production part was decided in this time.</p>
{% endif %}

<div class="pair">
<div>
<h2>Rejects by reason</h2>
<div class="panel">{% if charts.reasons %}{{ charts.reasons|safe }}{% else %}
<p class="quiet">No part was rejected.</p>{% endif %}</div>
</div>
<div>
<h2>Parts by recipe, and other counts</h2>
<div class="panel"><table>
{% for name, n in recipes %}
<tr><td class="w">{{ name or 'no recipe' }}</td><td class="n">{{ '{:,}'.format(n) }}</td></tr>
{% endfor %}
<tr><td>challenge parts that came out right</td><td class="n">{{ counts.known_right }}</td></tr>
<tr><td>challenge parts that came out wrong</td><td class="n">{{ counts.known_wrong }}</td></tr>
<tr><td>parts that the gate did not sort as decided</td><td class="n">{{ counts.unsorted }}</td>
</tr>
</table></div>
</div>
</div>

{% if figures %}
<h2>The worst rejects</h2>
<section class="rejects">
{% for figure in figures %}
<figure>
{% if figure.picture %}<img alt="Part {{ figure.part }}"
src="data:image/jpeg;base64,{{ figure.picture }}">{% else %}
<div class="none">{{ figure.problem }}</div>{% endif %}
<figcaption><b>Part {{ figure.part }}</b>, {{ figure.when }}{% if figure.lot %}, lot
{{ figure.lot }}{% endif %}{% if figure.serial %}, no. {{ figure.serial }}{% endif %}<br>
{{ figure.reason }}{% if figure.score is not none %}, score {{ '%.2f'|format(figure.score) }}{%
endif %}<br><span class="quiet">{{ figure.text }}</span></figcaption>
{% if figure.good %}<div class="patches">
<div><img alt="" src="data:image/jpeg;base64,{{ figure.found }}">this part</div>
<div><img alt="" src="data:image/jpeg;base64,{{ figure.good }}">the nearest good part</div>
</div>{% endif %}
</figure>
{% endfor %}
</section>
{% endif %}

<h2>Line stops</h2>
<div class="panel">{% if counts.stops %}<table>
<tr><th>from</th><th>for</th><th>cell</th><th>reason</th></tr>
{% for stop in counts.stops %}
<tr><td class="t">{{ 'before ' if stop.began_before }}{{ when(stop.since_us) }}</td>
<td class="t">{{ duration(stop.length_s) }}{{ ' and on' if stop.lasts }}</td>
<td>{{ stop.cell }}</td><td class="w">{{ stop.reason }}</td></tr>
{% endfor %}
</table>{% else %}<p class="quiet">The line was never stopped.</p>{% endif %}</div>

{% if drifts %}
<h2>Drift: what no longer was as at teaching</h2>
<div class="panel"><table>
<tr><th>when</th><th>what</th></tr>
{% for row in drifts %}
<tr><td class="t">{{ row.when }}</td><td class="w">{{ row.what }}{% if row.picture %}
<img class="drift" alt="the taught part beside the mean of the last good ones"
src="data:image/jpeg;base64,{{ row.picture }}">{% endif %}</td></tr>
{% endfor %}
</table></div>
{% endif %}

<h2>Changes, and who made them</h2>
<div class="panel">{% if data.changes %}
{% if data.n_more_changes %}<p class="quiet">The last {{ data.changes|length }};
{{ data.n_more_changes }} earlier ones are in the records.</p>{% endif %}
<table>
<tr><th>when</th><th>who</th><th>what</th></tr>
{% for row in data.changes %}
<tr><td class="t">{{ when(row.time_us) }}</td><td class="who">{{ row.who or '-' }}</td>
<td class="w">{{ row.what }}</td></tr>
{% endfor %}
</table>{% else %}<p class="quiet">Nobody changed a limit or a recipe.</p>{% endif %}</div>

{% if data.challenges %}
<h2>Challenges</h2>
<div class="panel"><table>
{% for row in data.challenges %}
<tr><td class="t">{{ when(row.time_us) }}</td><td class="w">{{ row.what }}</td></tr>
{% endfor %}
</table></div>
{% endif %}

<footer class="quiet">anomaly_inspection {{ version }}. Availability = time without line stops /
time. Performance = parts / (ideal rate &times; time without line stops). Quality = good parts /
parts. OEE = availability &times; performance &times; quality. Challenge parts are not counted as
production.</footer>
</main>
</body>
</html>
"""
