// What stands where a conversation would: what the place is for, and the one next step.

import type { Problem } from '../../client';
import { isName } from '../logic/names';
import { go } from '../logic/route';
import { useClient } from '../parts/context';
import { explain, explainCode } from '../parts/explain';
import { toast } from '../parts/toasts';
import type { Overlay } from './shell';

interface NoRoomProps {
  readonly hasRooms: boolean;
  readonly loading: boolean;
  readonly onOverlay: (overlay: Overlay) => void;
}

export function NoRoom({ hasRooms, loading, onOverlay }: NoRoomProps) {
  if (loading) return <div className="empty" aria-busy="true" />;
  return (
    <div className="empty">
      <h1>{hasRooms ? 'Pick a room' : 'No rooms yet'}</h1>
      <p>
        {hasRooms
          ? 'Choose a room or a person on the left, or go anywhere with Ctrl K.'
          : 'A room is where people talk about one thing. Make the first one, or find one to join.'}
      </p>
      <div className="empty-actions">
        <button type="button" className="button primary" onClick={() => onOverlay(hasRooms ? 'switcher' : 'new-room')}>
          {hasRooms ? 'Go to a room' : 'Make a room'}
        </button>
        {!hasRooms && (
          <button type="button" className="button" onClick={() => onOverlay('switcher')}>
            Find rooms and people
          </button>
        )}
      </div>
    </div>
  );
}

interface RoomProblemProps {
  readonly room: string;
  readonly problem: Problem;
  readonly onRetry: () => void;
}

export function RoomProblem({ room, problem, onRetry }: RoomProblemProps) {
  const client = useClient();
  const missing = problem.code === 'not_found';
  const make = async () => {
    try {
      await client.createRoom(room);
      onRetry();
    } catch (error) {
      toast(explain(error));
    }
  };
  return (
    <div className="empty" role="alert">
      <h1>{missing ? `There is no room “${room}”` : `“${room}” can’t be opened`}</h1>
      <p>{missing ? 'It may be private, or it may not exist yet.' : explainCode(problem.code, problem.detail)}</p>
      <div className="empty-actions">
        {missing && isName(room) ? (
          <button type="button" className="button primary" onClick={() => void make()}>
            Make the room “{room}”
          </button>
        ) : (
          !missing &&
          problem.code !== 'banned' && (
            <button type="button" className="button primary" onClick={onRetry}>
              Try again
            </button>
          )
        )}
        <button type="button" className="button" onClick={() => go(null, { replace: true })}>
          Back to your rooms
        </button>
      </div>
    </div>
  );
}
