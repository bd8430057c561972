// What stands where there are no messages (yet): the beginning of a room, and the shape of history on its way.

import type { Problem, RoomSummary } from '../../client';

export function Beginning({ room, empty }: { readonly room: RoomSummary; readonly empty: boolean }) {
  const direct = room.kind === 'direct';
  return (
    <div className="beginning">
      <h2>{room.label}</h2>
      <p>
        {direct ? `Only you and ${room.label} can read this.` : `This is the beginning of ${room.name}.`}
        {room.kind === 'private' && ' Only its members can read it.'}
        {empty && (direct ? ' Say hello.' : ' Write the first message.')}
      </p>
    </div>
  );
}

const SHAPE = [
  { key: 'a', name: 90, lines: [72, 40] },
  { key: 'b', name: 64, lines: [55] },
  { key: 'c', name: 110, lines: [80, 66, 30] },
] as const;

/** `problem`: why the last fetch failed; the shape makes way for words then, at the same height. */
export function MessagesSkeleton({
  problem,
  onRetry,
}: {
  readonly problem: Problem | null;
  readonly onRetry: () => void;
}) {
  return (
    <div className="messages-skeleton">
      {problem !== null ? (
        <p role="alert">
          Couldn’t load earlier messages.{' '}
          <button type="button" className="link-button" onClick={onRetry}>
            Try again
          </button>
        </p>
      ) : (
        <div aria-hidden="true">
          {SHAPE.map((group) => (
            <div key={group.key} className="messages-skeleton-group">
              <div className="skeleton" style={{ width: group.name, height: 12 }} />
              {group.lines.map((width) => (
                <div key={width} className="skeleton" style={{ width: `${width}%`, height: 12 }} />
              ))}
            </div>
          ))}
        </div>
      )}
    </div>
  );
}
