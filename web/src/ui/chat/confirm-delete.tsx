import type { ChatMessage } from '../../client';
import { oneLine } from '../logic/text';
import { Dialog } from '../parts/dialog';

interface ConfirmDeleteProps {
  readonly message: ChatMessage;
  readonly onClose: () => void;
  readonly onConfirm: () => void;
}

export default function ConfirmDelete({ message, onClose, onConfirm }: ConfirmDeleteProps) {
  return (
    <Dialog
      title={message.own ? 'Delete your message?' : `Delete ${message.author}’s message?`}
      onClose={onClose}
      alert
    >
      <blockquote className="dialog-quote" dir="auto">
        {oneLine(message.text)}
      </blockquote>
      <p>Its text is removed for everybody. This can’t be undone.</p>
      <div className="dialog-actions">
        {/* biome-ignore lint/a11y/noAutofocus: the harmless answer is the first one. */}
        <button type="button" className="button" onClick={onClose} autoFocus>
          Keep it
        </button>
        <button type="button" className="button danger" onClick={onConfirm}>
          Delete the message
        </button>
      </div>
    </Dialog>
  );
}
