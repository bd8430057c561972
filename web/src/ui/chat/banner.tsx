// A thin line about the connection. It lies over the messages, so it moves nothing; a short interruption never shows.

import { useEffect, useState } from 'react';
import type { ConnectionState } from '../../client';
import { BANNER_DELAY } from '../logic/limits';
import { useChat, useClient } from '../parts/context';
import { explainStop } from '../parts/explain';

export function Banner({ degraded }: { readonly degraded: boolean }) {
  const client = useClient();
  const { connection, queued } = useChat();
  const down = connection.phase !== 'live';
  const [shown, setShown] = useState(false);
  useEffect(() => {
    if (!down) {
      setShown(false);
      return;
    }
    const timer = setTimeout(() => setShown(true), BANNER_DELAY);
    return () => clearTimeout(timer);
  }, [down]);

  return (
    <div className="banner-place" role="status">
      {shown ? (
        <div className="banner">
          <span>{words(connection, queued)}</span>
          {connection.phase === 'waiting' && (
            <button type="button" className="link-button" onClick={() => client.reconnectNow()}>
              Try now
            </button>
          )}
          {connection.phase === 'stopped' && (
            <button type="button" className="link-button" onClick={() => window.location.reload()}>
              Reload
            </button>
          )}
        </div>
      ) : (
        degraded && <div className="banner">New messages in this room are held back for now. Nothing is lost.</div>
      )}
    </div>
  );
}

function words(connection: ConnectionState, queued: number): string {
  if (connection.phase === 'stopped') return explainStop(connection.reason).text;
  const kept =
    queued === 0
      ? 'What you write is kept and will be sent.'
      : queued === 1
        ? 'Your message is kept and will be sent.'
        : `Your ${queued} messages are kept and will be sent.`;
  return connection.phase === 'offline' ? `You’re offline. ${kept}` : `Couldn’t reach the server. ${kept}`;
}
