import { Dialog } from '../parts/dialog';
import { isMac, modKey } from './keys';

const ALT = isMac ? '⌥' : 'Alt';

const KEYS: readonly (readonly [readonly string[], string])[] = [
  [[modKey, 'K'], 'Go to a room or a person'],
  [[ALT, '↑ ↓'], 'Previous or next room'],
  [[ALT, 'Shift', '↑ ↓'], 'Previous or next unread room'],
  [['Esc'], 'Mark this room read and go to its end'],
  [['Enter'], 'Send'],
  [['Shift', 'Enter'], 'New line'],
  [['↑'], 'Edit your last message, if the field is empty'],
  [['@'], 'Name somebody; Tab or Enter completes'],
  [['Shift', 'Tab'], 'To the messages; there ↑ ↓ move and Tab reaches what can be done'],
  [['?'], 'This sheet'],
];

export default function Help({ onClose }: { readonly onClose: () => void }) {
  return (
    <Dialog title="Keyboard" onClose={onClose}>
      <dl className="keys">
        {KEYS.map(([keys, what]) => (
          <div key={what}>
            <dt>
              {keys.map((key) => (
                <kbd key={key}>{key}</kbd>
              ))}
            </dt>
            <dd>{what}</dd>
          </div>
        ))}
      </dl>
    </Dialog>
  );
}
