import os

from sqlalchemy.ext.asyncio import create_async_engine

url = os.environ["DATABASE_URL"]
engine = create_async_engine(url.replace("postgresql://", "postgresql+asyncpg://"))
