# SPDX-License-Identifier: Apache-2.0
"""
A recipe as the tables that `teach` and `train` end with.

"""

from __future__ import annotations

from typing import Any

from rich.table import Table

from anomaly_inspection.cli.output import console, escaped

# Of a bank; more would scroll the limits away.
_MOST_CLASSES = 20


def print_recipe(recipe: Any) -> None:
    table = Table(box=None, pad_edge=False)
    for heading in ('scorer', 'measure'):
        table.add_column(heading)
    for heading in ('typical good part', 'limit'):
        table.add_column(heading, justify='right')
    table.add_column('unit')
    for scorer_name, scorer in recipe.scorers.items():
        units = {spec.name: spec.unit for spec in recipe.measures(scorer_name)}
        for measure, limit in scorer.limits.items():
            table.add_row(
                scorer_name,
                measure,
                f'{limit.typical:.4g}',
                'not judged' if measure in scorer.not_judged else f'{limit.limit:.4g}',
                units[measure],
            )
    console.print(table)
    if 'template' in recipe.scorers:
        _print_classes(recipe.scorers['template'])
    for each in recipe.preprocessing.filters:
        if each.kind == 'colour_highlight':
            console.print(
                f'Good parts have {len(each.colours)} colours; recipe.yaml lists them. Any colour '
                f'more than {each.tolerance_levels:g} levels (CIE Lab, a and b) away from them '
                f'turns {each.toward}.',
                soft_wrap=True,
            )
    console.print(
        f'recipe [bold]{recipe.name}[/] version {recipe.version} written to '
        f'{escaped(str(recipe.path))} '
        f'(alignment {recipe.preprocessing.alignment.kind}, hash {recipe.hash[:12]})',
        soft_wrap=True,
    )


def _print_classes(scorer: Any) -> None:
    """
    Print the limit of every class, in deviations of its good parts.

    """
    from anomaly_inspection.scoring.template import taught_classes

    classes = taught_classes(scorer.arrays)
    table = Table(box=None, pad_edge=False)
    table.add_column('class')
    for heading in ('templates', 'good parts', 'limit of z'):
        table.add_column(heading, justify='right')
    for each in classes[:_MOST_CLASSES]:
        table.add_row(
            escaped(each.name),
            str(each.templates),
            str(each.parts),
            f'{scorer.limits["peak_difference"].limit * each.typical:.4g}',
        )
    console.print(table)
    if len(classes) > _MOST_CLASSES:
        console.print(f'and {len(classes) - _MOST_CLASSES} more classes')
