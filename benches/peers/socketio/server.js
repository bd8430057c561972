// A chat room on Socket.IO, for the benchmark: an event `m` goes to everybody else in the room that the address names,
// and is acknowledged. The in-memory adapter encodes a packet once for a room; nothing is stored.
//
// usage: node server.js PORT
import { createServer } from "node:http";
import { Server } from "socket.io";

const server = createServer();
const io = new Server(server, { transports: ["websocket"], perMessageDeflate: false, serveClient: false });

io.on("connection", (socket) => {
  const room = socket.handshake.query.room;
  socket.join(room);
  socket.on("m", (text, acknowledge) => {
    socket.to(room).emit("m", text);
    acknowledge();
  });
  // Node keeps the request of a handshake for as long as somebody points to it.
  socket.conn.request = null;
  socket.emit("live");
});

server.listen(Number(process.argv[2]), "127.0.0.1");
