"""A sink that drops one file for each lead. Knows names and outcomes; what is in the file is told by its subclass."""

from __future__ import annotations

import logging
from abc import ABC, abstractmethod
from collections.abc import Collection
from typing import Any

from export.connector import Message, Never, Outcome
from export.drop_folder import DropFolder
from export.lead import file_name

log = logging.getLogger(__name__)


class FileSink(ABC):
    # One writer for one folder: the files appear in the order of the leads.
    concurrency = 1
    ending: str

    def __init__(self, name: str, drop: DropFolder) -> None:
        self._name = name
        self._drop = drop

    @abstractmethod
    def content_of(self, document: dict[str, Any]) -> bytes:
        """The whole file for this lead document."""

    async def open(self, owed: Collection[str]) -> None:
        try:
            await self._drop.sweep(owed)
        except OSError as error:
            # Not worth stopping for: the first delivery will say what is wrong with the folder.
            log.info("sink=%s old notes not swept error=%s", self._name, type(error).__name__)

    async def deliver(self, message: Message) -> Outcome:
        try:
            name = file_name(message.data, self.ending)
        except ValueError as error:
            return Never(str(error))
        # An order to deliver again is another file to write, not a repeat to recognise.
        key = f"{message.delivery_id}.{message.requeues}" if message.requeues else message.delivery_id
        return await self._drop.put(key, name, self.content_of(message.data))

    async def settled(self, delivery_id: str) -> None:
        try:
            await self._drop.forget(delivery_id)
        except OSError as error:
            # The folder went away in between. An old note does no harm, and `sweep` finds it.
            log.info("sink=%s notes not removed error=%s", self._name, type(error).__name__)

    async def close(self) -> None:
        self._drop.close()
