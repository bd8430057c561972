"""A chat room on uWebSockets, for the benchmark: what a text frame holds goes to everybody in the room.

uWebSockets does the work in C++: its topics merge what is published in one turn of its loop and write it once per
socket. Python sees each message once, whatever the number of its receivers. Nothing is stored; a receiver that is too
slow for the buffer below loses messages.

usage: server.py PORT
"""

import sys

from socketify import App, OpCode

# As much as a slow moment needs; past it uWebSockets drops messages.
BACKLOG = 64 * 1024 * 1024


def upgrade(response, request, context):
    key = request.get_header("sec-websocket-key")
    protocol = request.get_header("sec-websocket-protocol")
    response.upgrade(key, protocol, "", context, request.get_parameter(0))


def opened(ws):
    ws.subscribe(ws.get_user_data())
    ws.send('{"type":"live"}', OpCode.TEXT)


def said(ws, message, opcode):
    # The sender is among the receivers: its own message coming back is what acknowledges it.
    ws.publish(ws.get_user_data(), '{"type":"message","message":' + message.partition('"message":')[2], OpCode.TEXT)


app = App()
app.ws(
    "/ws/chat/:room/",
    {
        "compression": 0,
        "max_payload_length": 64 * 1024,
        "max_backpressure": BACKLOG,
        "idle_timeout": 120,
        "send_pings_automatically": True,
        "upgrade": upgrade,
        "open": opened,
        "message": said,
    },
)
app.listen(int(sys.argv[1]))
app.run()
