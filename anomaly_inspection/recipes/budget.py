# SPDX-License-Identifier: Apache-2.0
"""
How much memory a recipe may take.

"""

from __future__ import annotations

from anomaly_inspection.errors import RecipeError

# Twenty references of a 5 megapixel colour camera with ssim and variation take 1.9 GB, judging
# included; and it is half of what the smallest computers of a cell have.
DEFAULT_BUDGET_MB = 2_150
DEFAULT_BUDGET_BYTES = DEFAULT_BUDGET_MB * 10**6


class Budget:
    """
    Counts what a recipe takes before it is taken.

    Parameters
    ----------
    size_bytes : int
        What it may take in all.
    name : str
        What to raise to allow more, e.g. a parameter; the refusal names it. '' = nothing.

    """

    def __init__(self, size_bytes: int, name: str = '') -> None:
        self.size_bytes = size_bytes
        self.name = name
        self.left_bytes = size_bytes

    def take(self, what: str, size_bytes: int) -> None:
        """
        Count something; `what` begins the sentence of the refusal.

        Raises
        ------
        RecipeError
            When it is more than what is left.

        """
        if size_bytes > self.left_bytes:
            remedy = f'; raise {self.name} to allow more' if self.name else ''
            raise RecipeError(
                f'{what} takes {size_text(size_bytes)} of memory; {size_text(self.left_bytes)} '
                f'are left of the {size_text(self.size_bytes)} that a recipe may take{remedy}'
            )
        self.left_bytes -= size_bytes

    def give_back(self, size_bytes: int) -> None:
        """
        Count what is no longer held.

        """
        self.left_bytes += size_bytes


def size_text(size_bytes: int) -> str:
    """
    Give a size for people: '2.1 GB'.

    """
    for unit, size in (('GB', 10**9), ('MB', 10**6), ('kB', 10**3)):
        if size_bytes >= size:
            return f'{size_bytes / size:.3g} {unit}'
    return f'{size_bytes} bytes'
