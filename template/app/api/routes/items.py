"""Items: create, list, read, replace, change, delete."""

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Query, Response, status

from app.api.dependencies.items import ReadItems, WriteItems
from app.api.problems import problem_responses
from app.schemas.item import ItemCreate, ItemPage, ItemQuery, ItemRead, ItemUpdate

router = APIRouter(prefix="/api/v1/items", tags=["items"])
_NOT_FOUND = problem_responses(status.HTTP_404_NOT_FOUND)


@router.post("", status_code=status.HTTP_201_CREATED)
async def create_item(data: ItemCreate, items: WriteItems, response: Response) -> ItemRead:
    """Add an item; `Location` names it."""
    item = await items.create(data)
    response.headers["Location"] = f"{router.prefix}/{item.id}"
    return item


@router.get("")
async def list_items(query: Annotated[ItemQuery, Query()], items: ReadItems) -> ItemPage:
    """List items, a page at a time."""
    return await items.page(query)


@router.get("/{item_id}", responses=_NOT_FOUND)
async def read_item(item_id: UUID, items: ReadItems) -> ItemRead:
    """Read one item."""
    return await items.get(item_id)


@router.put("/{item_id}", responses=_NOT_FOUND)
async def replace_item(item_id: UUID, data: ItemCreate, items: WriteItems) -> ItemRead:
    """Replace what the author wrote; a description left out is removed."""
    return await items.update(item_id, data.model_dump())


@router.patch("/{item_id}", responses=_NOT_FOUND)
async def update_item(item_id: UUID, change: ItemUpdate, items: WriteItems) -> ItemRead:
    """Change the fields given; leave the rest."""
    return await items.update(item_id, change.model_dump(exclude_unset=True))


@router.delete("/{item_id}", status_code=status.HTTP_204_NO_CONTENT, responses=_NOT_FOUND)
async def delete_item(item_id: UUID, items: WriteItems) -> None:
    """Delete one item."""
    await items.delete(item_id)
