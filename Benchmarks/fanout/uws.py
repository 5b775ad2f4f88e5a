"""A plain uWebSockets server: /NUMBER subscribes to that room; POST /pub publishes each line `NUMBER text`."""

import sys

from socketify import App, CompressOptions, OpCode


def upgrade(response, request, context):
    response.upgrade(request.get_header("sec-websocket-key"), request.get_header("sec-websocket-protocol"),
                     request.get_header("sec-websocket-extensions"), context, {"room": request.get_url()[1:]})


async def publish(response, request):
    body = await response.get_data()
    for line in body.getvalue().splitlines():
        room, _, text = line.partition(b" ")
        app.publish(room.decode(), text, OpCode.BINARY)
    response.end("")


app = App()
app.ws("/*", {"compression": CompressOptions.DISABLED, "upgrade": upgrade, "max_backpressure": 64 << 20, "idle_timeout": 0,
              "open": lambda ws: ws.subscribe(ws.get_user_data()["room"])})
app.post("/pub", publish)
app.listen(int(sys.argv[1]))
app.run()
