# SPDX-License-Identifier: Apache-2.0
"""
The commands of the teacher as one visitor may give them: only engineers teach.

"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

from anomaly_inspection.errors import InspectionError
from anomaly_inspection.panel.cell.commands import Answer
from anomaly_inspection.panel.people.roles import Role, Visitor

if TYPE_CHECKING:
    from anomaly_inspection.panel.people.people import People
    from anomaly_inspection.panel.teach.commands import TeachCommands, TeachSettings


class GuardedTeaching:
    """
    Checks the role for each command, gives it to the teacher, and records it.

    Parameters
    ----------
    teaching : TeachCommands
        The teacher.
    people : People
        Who may do what, and the record.
    visitor : Visitor or None
        Who gives the commands; None = nobody, who may do nothing.

    """

    def __init__(self, teaching: TeachCommands, people: People, visitor: Visitor | None) -> None:
        self._teaching = teaching
        self._people = people
        self._visitor = visitor or Visitor('', Role.VIEWER)

    def record(self, product: str, session: str, parts: int) -> Answer:
        """
        Record parts.

        """
        subject = product or session
        return self._do(
            'record parts', subject, lambda: self._teaching.record(product, session, parts)
        )

    def teach(self, session: str, settings: TeachSettings) -> Answer:
        """
        Teach a draft; the recipe says who taught it.

        """
        signed = replace(settings, taught_by=settings.taught_by or self._visitor.name)
        return self._do('teach', session, lambda: self._teaching.teach(session, signed))

    def accept(self, session: str) -> Answer:
        """
        Put the draft into force.

        """
        return self._do('accept draft', session, lambda: self._teaching.accept(session))

    def stop(self) -> Answer:
        """
        Cancel what is being done.

        """
        return self._do('stop the teacher', '', self._teaching.stop)

    def add_image(self, product: str, session: str, file_name: str, content: bytes) -> Answer:
        """
        Add an image file.

        """
        return self._do(
            *('add image', f'{product or session}: {file_name}'),
            lambda: self._teaching.add_image(product, session, file_name, content),
        )

    def delete_images(self, session: str, images: list[str]) -> Answer:
        """
        Delete images.

        """
        subject = f'{session}: {", ".join(images)}'
        return self._do(
            'delete images', subject, lambda: self._teaching.delete_images(session, images)
        )

    def delete_session(self, session: str) -> Answer:
        """
        Delete a session with all that is in it.

        """
        return self._do('delete session', session, lambda: self._teaching.delete_session(session))

    def start_trial(self, session: str) -> Answer:
        """
        Let the draft judge parts beside the recipe in force.

        """
        return self._do('start trial', session, lambda: self._teaching.start_trial(session))

    def stop_trial(self) -> Answer:
        """
        End the trial run.

        """
        return self._do('stop trial', '', self._teaching.stop_trial)

    def discard(self, session: str) -> Answer:
        """
        Throw the draft away.

        """
        return self._do('discard draft', session, lambda: self._teaching.discard(session))

    def _do(self, what: str, subject: str, command: Callable[[], Answer]) -> Answer:
        try:
            visitor = self._people.check_role(self._visitor, Role.ENGINEER, what)
        except InspectionError as error:
            return Answer.of_error(error)
        answer = command()
        self._people.audit.record(
            *(visitor, what),
            subject=subject,
            why='' if answer.success else answer.message,
            is_refused=not answer.success,
        )
        return answer
