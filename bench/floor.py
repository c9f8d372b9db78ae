"""The floor: list and create items, written by hand for speed and nothing else.

FastAPI and the driver, one statement a request, no ORM, no middleware, no logs, no errors of its
own. It runs in the environment of the generated project, on the very same libraries.
"""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Annotated
from uuid import UUID, uuid4

import asyncpg
from fastapi import FastAPI, Query, status
from pydantic import BaseModel, Field

POOL_SIZE = 10

PAGE = """
    SELECT id, title, description, created_at, updated_at,
           (SELECT count(*) FROM items WHERE is_active) AS total
    FROM items WHERE is_active ORDER BY created_at DESC, id DESC LIMIT $1 OFFSET $2
"""
COUNT = "SELECT count(*) FROM items WHERE is_active"
CREATE = """
    INSERT INTO items (id, title, description) VALUES ($1, $2, $3)
    RETURNING id, title, description, created_at, updated_at
"""

Skip = Annotated[int, Query(ge=0, le=2**31 - 1)]
Limit = Annotated[int, Query(ge=1, le=100)]


class ItemCreate(BaseModel):
    title: Annotated[str, Field(min_length=1, max_length=255)]
    description: Annotated[str, Field(max_length=2000)] | None = None


class ItemRead(BaseModel):
    id: UUID
    title: str
    description: str | None
    created_at: datetime
    updated_at: datetime


class ItemPage(BaseModel):
    items: list[ItemRead]
    total: int
    skip: int
    limit: int
    has_more: bool


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    pool = asyncpg.create_pool(os.environ["DATABASE_URL"], min_size=POOL_SIZE, max_size=POOL_SIZE)
    async with pool:
        app.state.pool = pool
        yield


app = FastAPI(lifespan=lifespan)


@app.get("/api/v1/items")
async def list_items(skip: Skip = 0, limit: Limit = 50) -> ItemPage:
    rows = await app.state.pool.fetch(PAGE, limit, skip)
    total = rows[0]["total"] if rows else await app.state.pool.fetchval(COUNT)
    items = [ItemRead(**row) for row in rows]
    has_more = skip + len(items) < total
    return ItemPage(items=items, total=total, skip=skip, limit=limit, has_more=has_more)


@app.post("/api/v1/items", status_code=status.HTTP_201_CREATED)
async def create_item(data: ItemCreate) -> ItemRead:
    row = await app.state.pool.fetchrow(CREATE, uuid4(), data.title, data.description)
    return ItemRead(**row)
