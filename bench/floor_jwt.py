"""The floor with the checks of `auth=jwt`: signature and claims, session and user in one query."""

import os
from pathlib import Path
from typing import Annotated
from uuid import UUID, uuid4

import asyncpg
import floor
from fastapi import Depends, FastAPI, Header, HTTPException, status
from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import RSAKey

KEY = RSAKey.import_key(Path(os.environ["RSA_PUBLIC_KEY_PATH"]).read_bytes())
CLAIMS = jwt.JWTClaimsRegistry(
    iss={"essential": True, "value": os.environ["JWT_ISSUER"]},
    aud={"essential": True, "value": os.environ["JWT_AUDIENCE"]},
    type={"essential": True, "value": "access"},
    exp={"essential": True},
)

CALLER = """
    SELECT users.id FROM login_sessions JOIN users ON users.id = login_sessions.user_id
    WHERE login_sessions.id = $1 AND users.id = $2 AND users.is_active
      AND login_sessions.expires_at > clock_timestamp()
"""
PAGE = """
    SELECT id, title, description, owner_id, created_at, updated_at,
           (SELECT count(*) FROM items WHERE is_active AND owner_id = $1) AS total
    FROM items WHERE is_active AND owner_id = $1
    ORDER BY created_at DESC, id DESC LIMIT $2 OFFSET $3
"""
COUNT = "SELECT count(*) FROM items WHERE is_active AND owner_id = $1"
CREATE = """
    INSERT INTO items (id, title, description, owner_id) VALUES ($1, $2, $3, $4)
    RETURNING id, title, description, owner_id, created_at, updated_at
"""


class ItemRead(floor.ItemRead):
    owner_id: UUID


class ItemPage(floor.ItemPage):
    items: list[ItemRead]


app = FastAPI(lifespan=floor.lifespan)


async def read_token(authorization: Annotated[str, Header()]) -> tuple[UUID, UUID]:
    """The session and the user of the access token."""
    try:
        token = jwt.decode(authorization.removeprefix("Bearer "), KEY, algorithms=["RS256"])
        CLAIMS.validate(token.claims)
        return UUID(token.claims["sid"]), UUID(token.claims["sub"])
    except (JoseError, ValueError):
        raise HTTPException(status.HTTP_401_UNAUTHORIZED) from None


Token = Annotated[tuple[UUID, UUID], Depends(read_token)]


async def caller(connection: asyncpg.Connection, token: tuple[UUID, UUID]) -> UUID:
    user_id = await connection.fetchval(CALLER, *token)
    if user_id is None:
        raise HTTPException(status.HTTP_401_UNAUTHORIZED)
    return user_id


@app.get("/api/v1/items")
async def list_items(token: Token, skip: floor.Skip = 0, limit: floor.Limit = 50) -> ItemPage:
    async with app.state.pool.acquire() as connection:
        owner = await caller(connection, token)
        rows = await connection.fetch(PAGE, owner, limit, skip)
        total = rows[0]["total"] if rows else await connection.fetchval(COUNT, owner)
    items = [ItemRead(**row) for row in rows]
    has_more = skip + len(items) < total
    return ItemPage(items=items, total=total, skip=skip, limit=limit, has_more=has_more)


@app.post("/api/v1/items", status_code=status.HTTP_201_CREATED)
async def create_item(token: Token, data: floor.ItemCreate) -> ItemRead:
    async with app.state.pool.acquire() as connection:
        owner = await caller(connection, token)
        row = await connection.fetchrow(CREATE, uuid4(), data.title, data.description, owner)
    return ItemRead(**row)
