// Making a room: its name, and who may find it.

import { type FormEvent, useState } from 'react';
import { Field } from '../account/log-in';
import { nameProblem } from '../logic/names';
import { go } from '../logic/route';
import { useClient } from '../parts/context';
import { Dialog } from '../parts/dialog';
import { explain } from '../parts/explain';

export default function NewRoom({ onClose }: { readonly onClose: () => void }) {
  const client = useClient();
  const [name, setName] = useState('');
  const [visibility, setVisibility] = useState<'public' | 'private'>('public');
  const [problem, setProblem] = useState<string | null>(null);
  const [busy, setBusy] = useState(false);

  const submit = async (event: FormEvent) => {
    event.preventDefault();
    const wrong = nameProblem(name);
    setProblem(wrong);
    if (wrong !== null || busy) return;
    setBusy(true);
    try {
      await client.createRoom(name, { visibility });
      onClose();
      go(name);
    } catch (error) {
      setProblem(explain(error));
      setBusy(false);
    }
  };

  return (
    <Dialog title="Make a room" onClose={onClose}>
      <form className="stack" onSubmit={submit} noValidate>
        <Field
          label="Name"
          value={name}
          onChange={setName}
          autoComplete="off"
          error={problem}
          hint="Letters, digits, “_” and “-”, such as “garden-plans”."
          first
        />
        <Choice
          legend="Who may find it"
          value={visibility}
          onChange={setVisibility}
          options={[
            { value: 'public', label: 'Public', hint: 'Everybody here can find it and join.' },
            { value: 'private', label: 'Private', hint: 'Only those you add can see it.' },
          ]}
        />
        <div className="dialog-actions">
          <button type="button" className="button" onClick={onClose}>
            Cancel
          </button>
          <button type="submit" className="button primary" disabled={busy}>
            Make the room
          </button>
        </div>
      </form>
    </Dialog>
  );
}

interface ChoiceProps<T extends string> {
  readonly legend: string;
  readonly value: T;
  readonly onChange: (value: T) => void;
  readonly options: readonly { readonly value: T; readonly label: string; readonly hint?: string }[];
}

/** A few alternatives, all to be seen. */
export function Choice<T extends string>({ legend, value, onChange, options }: ChoiceProps<T>) {
  return (
    <fieldset className="choice">
      <legend className="field-label">{legend}</legend>
      {options.map((option) => (
        <label key={option.value} className="choice-option">
          <input
            type="radio"
            name={legend}
            value={option.value}
            checked={value === option.value}
            onChange={() => onChange(option.value)}
          />
          <span>
            {option.label}
            {option.hint !== undefined && <span className="field-hint">{option.hint}</span>}
          </span>
        </label>
      ))}
    </fieldset>
  );
}
