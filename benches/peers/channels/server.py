"""A chat room on Django Channels, for the benchmark: as its tutorial has it, with messages kept in SQLite.

A group of the Redis channel layer carries each message to every consumer of the room; the sender is acknowledged once
the row is committed.

usage: REDIS=redis://HOST:PORT uvicorn server:application --app-dir FOLDER
"""

import json
import os

import django
from django.conf import settings

settings.configure(
    SECRET_KEY="only for the benchmark",
    DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": "chat.db"}},
    INSTALLED_APPS=["channels"],
    CHANNEL_LAYERS={
        "default": {
            "BACKEND": "channels_redis.pubsub.RedisPubSubChannelLayer",
            "CONFIG": {"hosts": [os.environ["REDIS"]]},
        }
    },
)
django.setup()

from channels.db import database_sync_to_async  # noqa: E402
from channels.generic.websocket import AsyncWebsocketConsumer  # noqa: E402
from channels.routing import ProtocolTypeRouter, URLRouter  # noqa: E402
from django.db import connection  # noqa: E402
from django.urls import path  # noqa: E402


def make_table():
    with connection.cursor() as cursor:
        cursor.execute("PRAGMA journal_mode=WAL")
        cursor.execute("PRAGMA synchronous=FULL")
        cursor.execute("CREATE TABLE IF NOT EXISTS messages (id INTEGER PRIMARY KEY, room TEXT, message TEXT)")


@database_sync_to_async
def keep(room, message):
    with connection.cursor() as cursor:
        cursor.execute("INSERT INTO messages (room, message) VALUES (%s, %s)", [room, message])


class Chat(AsyncWebsocketConsumer):
    async def connect(self):
        self.room = self.scope["url_route"]["kwargs"]["room"]
        await self.channel_layer.group_add(self.room, self.channel_name)
        await self.accept()
        await self.send(text_data='{"type":"live"}')

    async def disconnect(self, code):
        await self.channel_layer.group_discard(self.room, self.channel_name)

    async def receive(self, text_data):
        said = json.loads(text_data)
        await keep(self.room, said["message"])
        event = {"type": "chat.message", "message": said["message"], "sender": self.channel_name}
        await self.channel_layer.group_send(self.room, event)
        await self.send(text_data=json.dumps({"type": "ack", "ref": said["ref"]}))

    async def chat_message(self, event):
        if event["sender"] != self.channel_name:
            await self.send(text_data=json.dumps({"type": "message", "message": event["message"]}))


make_table()
application = ProtocolTypeRouter({"websocket": URLRouter([path("ws/chat/<str:room>/", Chat.as_asgi())])})
