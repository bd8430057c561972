import type { RoomSnapshot } from '../../client';
import { addressOf, go } from '../logic/route';
import { lastSeen } from '../logic/time';
import { usePhone } from '../parts/hooks';
import { Icon, Presence } from '../parts/icons';

export function ConversationHead({
  room,
  detailsOpen,
}: {
  readonly room: RoomSnapshot;
  readonly detailsOpen: boolean;
}) {
  const phone = usePhone();
  const { summary } = room;
  const address = addressOf(summary);
  const toggle = () => {
    if (!detailsOpen) go(address, { panel: 'details', replace: !phone });
    else if (phone) window.history.back();
    else go(address, { replace: true });
  };
  return (
    <header className="conversation-head">
      <button type="button" className="icon-button only-phone" aria-label="Back to the list" onClick={() => go(null)}>
        <Icon name="back" />
      </button>
      <span className="room-link-mark">
        {summary.with !== null ? (
          <Presence online={summary.with.online} />
        ) : (
          <Icon name={summary.kind === 'private' ? 'lock' : 'hash'} />
        )}
      </span>
      <h1 title={summary.label}>{summary.label}</h1>
      <p className="conversation-sub">{subtitle(room)}</p>
      {summary.kind !== 'direct' && (
        <button
          type="button"
          className="here-button"
          aria-expanded={detailsOpen}
          onClick={toggle}
          title="Members and details"
        >
          <Icon name="people" />
          {room.presentCount > 0 ? (
            <span>
              {room.presentCount.toLocaleString()}
              <span className="visually-hidden"> here; members and details</span>
            </span>
          ) : (
            <span className="visually-hidden">Members and details</span>
          )}
        </button>
      )}
    </header>
  );
}

function subtitle({ summary }: RoomSnapshot): string {
  if (summary.archived) return 'Read-only';
  if (summary.with !== null) {
    if (summary.with.online) return 'online';
    return summary.with.lastSeen === null ? 'offline' : `last seen ${lastSeen(summary.with.lastSeen, Date.now())}`;
  }
  return summary.name !== null && summary.title !== '' && summary.title !== summary.name ? summary.name : '';
}
