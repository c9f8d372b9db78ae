"""What can be done with items, while the process lives."""

from datetime import UTC, datetime
from typing import Any
from uuid import UUID, uuid4

from app.core.errors import ItemNotFoundError
from app.schemas.item import ItemCreate, ItemPage, ItemQuery, ItemRead


class ItemService:
    """Items in the memory of this process: gone when it ends, unknown to other processes."""

    def __init__(self) -> None:
        self._items: dict[UUID, ItemRead] = {}

    async def page(self, query: ItemQuery) -> ItemPage:
        """Return some of the items that match, and how many match in all."""
        key = query.sort.removeprefix("-")
        found = sorted(
            (item for item in self._items.values() if _matches(item, query)),
            key=lambda item: (getattr(item, key), item.id),
            reverse=query.sort.startswith("-"),
        )
        return ItemPage.of(found[query.skip : query.skip + query.limit], len(found), query)

    async def get(self, item_id: UUID) -> ItemRead:
        """Return the item.

        Raises:
            ItemNotFoundError: there is none with this id.
        """
        if item_id not in self._items:
            raise ItemNotFoundError(item_id)
        return self._items[item_id]

    async def create(self, data: ItemCreate) -> ItemRead:
        """Add an item."""
        now = datetime.now(UTC)
        item = ItemRead(id=uuid4(), **data.model_dump(), created_at=now, updated_at=now)
        self._items[item.id] = item
        return item

    async def update(self, item_id: UUID, changes: dict[str, Any]) -> ItemRead:
        """Set the fields given; leave the rest.

        Raises:
            ItemNotFoundError: there is none with this id.
        """
        item = await self.get(item_id)
        changed = item.model_copy(update=changes)
        if changed != item:
            changed = changed.model_copy(update={"updated_at": datetime.now(UTC)})
        self._items[item_id] = changed
        return changed

    async def delete(self, item_id: UUID) -> None:
        """Remove the item.

        Raises:
            ItemNotFoundError: there is none with this id.
        """
        await self.get(item_id)
        del self._items[item_id]


def _matches(item: ItemRead, query: ItemQuery) -> bool:
    if query.created_after is not None and item.created_at <= query.created_after:
        return False
    if query.created_before is not None and item.created_at >= query.created_before:
        return False
    texts = (item.title, item.description or "")
    return query.q is None or any(query.q.casefold() in text.casefold() for text in texts)
