// Editing a message where it stands. What is typed is kept until it is saved or given up.

import { useEffect, useLayoutEffect, useRef, useState } from 'react';
import { explain } from '../parts/explain';
import { grow } from './grow';

interface EditBoxProps {
  readonly text: string;
  readonly onSave: (text: string) => Promise<void>;
  readonly onCancel: () => void;
}

export function EditBox({ text, onSave, onCancel }: EditBoxProps) {
  const [value, setValue] = useState(text);
  const [problem, setProblem] = useState<string | null>(null);
  const [busy, setBusy] = useState(false);
  const field = useRef<HTMLTextAreaElement>(null);

  // biome-ignore lint/correctness/useExhaustiveDependencies: the height follows the text.
  useLayoutEffect(() => grow(field.current), [value]);
  // After the list has settled where it stands: the message may be far above.
  useEffect(() => {
    const area = field.current;
    area?.focus({ preventScroll: true });
    area?.setSelectionRange(area.value.length, area.value.length);
    area?.closest('li')?.scrollIntoView({ block: 'nearest' });
  }, []);

  const save = async () => {
    if (busy) return;
    if (value.trim() === '' || value === text) {
      onCancel();
      return;
    }
    setBusy(true);
    try {
      await onSave(value);
    } catch (error) {
      setProblem(explain(error));
      setBusy(false);
    }
  };

  return (
    <div className="edit-box">
      <textarea
        ref={field}
        className="input"
        aria-label="Edit message"
        rows={1}
        dir="auto"
        value={value}
        onChange={(event) => setValue(event.target.value)}
        onKeyDown={(event) => {
          if (event.nativeEvent.isComposing) return;
          if (event.key === 'Escape') onCancel();
          else if (event.key === 'Enter' && !event.shiftKey) void save();
          else return;
          event.preventDefault();
        }}
      />
      <div className="edit-box-actions">
        <button type="button" className="link-button" onClick={() => void save()} disabled={busy}>
          Save
        </button>
        <button type="button" className="link-button" onClick={onCancel}>
          Cancel
        </button>
        {problem !== null && (
          <span className="field-error" role="alert">
            {problem}
          </span>
        )}
      </div>
    </div>
  );
}
