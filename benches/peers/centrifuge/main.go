// A chat room on Centrifuge, for the benchmark: each connection is subscribed to the channel that its address names,
// and may publish to it. Publications go through the memory broker; nothing is stored.
//
// usage: centrifuge ADDRESS
package main

import (
	"context"
	"log"
	"net/http"
	"os"

	"github.com/centrifugal/centrifuge"
)

type roomKey struct{}

func main() {
	node, err := centrifuge.New(centrifuge.Config{
		LogLevel: centrifuge.LogLevelError,
		// A slow moment of the generator's is no reason to cut it off.
		ClientQueueMaxSize: 64 * 1024 * 1024,
	})
	if err != nil {
		log.Fatal(err)
	}
	node.OnConnecting(func(ctx context.Context, _ centrifuge.ConnectEvent) (centrifuge.ConnectReply, error) {
		room, _ := ctx.Value(roomKey{}).(string)
		return centrifuge.ConnectReply{
			Credentials:   &centrifuge.Credentials{UserID: "someone"},
			Subscriptions: map[string]centrifuge.SubscribeOptions{room: {}},
			// No limit to what is merged into one write.
			MaxMessagesInFrame: -1,
		}, nil
	})
	node.OnConnect(func(client *centrifuge.Client) {
		client.OnPublish(func(_ centrifuge.PublishEvent, reply centrifuge.PublishCallback) {
			reply(centrifuge.PublishReply{}, nil)
		})
	})
	if err := node.Run(); err != nil {
		log.Fatal(err)
	}
	sockets := centrifuge.NewWebsocketHandler(node, centrifuge.WebsocketConfig{
		CheckOrigin:        func(*http.Request) bool { return true },
		UseWriteBufferPool: true,
	})
	http.HandleFunc("/connection/websocket", func(w http.ResponseWriter, r *http.Request) {
		room := r.URL.Query().Get("room")
		sockets.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), roomKey{}, room)))
	})
	log.Fatal(http.ListenAndServe(os.Args[1], nil))
}
