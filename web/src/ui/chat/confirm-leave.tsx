import type { RoomSummary } from '../../client';
import { Dialog } from '../parts/dialog';

interface ConfirmLeaveProps {
  readonly room: RoomSummary;
  readonly onClose: () => void;
  readonly onConfirm: () => void;
}

export function ConfirmLeave({ room, onClose, onConfirm }: ConfirmLeaveProps) {
  return (
    <Dialog title={`Leave ${room.label}?`} onClose={onClose} alert>
      <p>
        {room.kind === 'private'
          ? 'You won’t see it any more until somebody adds you again.'
          : 'It leaves your list. You can join again whenever you like.'}
      </p>
      <div className="dialog-actions">
        {/* biome-ignore lint/a11y/noAutofocus: the harmless answer is the first one. */}
        <button type="button" className="button" onClick={onClose} autoFocus>
          Stay
        </button>
        <button type="button" className="button danger" onClick={onConfirm}>
          Leave {room.name}
        </button>
      </div>
    </Dialog>
  );
}
