// Log-in and registration on one page: the same two fields, and an invite where the server wants one.

import './log-in.css';
import { useQuery } from '@tanstack/react-query';
import { type FormEvent, useId, useState } from 'react';
import { ApiError } from '../../client';
import { nameProblem } from '../logic/names';
import { useClient } from '../parts/context';
import { explain } from '../parts/explain';

interface Problem {
  readonly field: 'username' | 'password' | 'invite' | null;
  readonly text: string;
}

export function LogIn({ reason, onDone }: { readonly reason: string | null; readonly onDone: () => Promise<void> }) {
  const { api } = useClient();
  const info = useQuery({ queryKey: ['info'], queryFn: api.info });
  const registration = info.data?.registration ?? 'closed';
  const [mode, setMode] = useState<'log_in' | 'register'>(() =>
    new URLSearchParams(window.location.search).has('invite') ? 'register' : 'log_in',
  );
  const [username, setUsername] = useState('');
  const [password, setPassword] = useState('');
  const [invite, setInvite] = useState(() => new URLSearchParams(window.location.search).get('invite') ?? '');
  const [problem, setProblem] = useState<Problem | null>(null);
  const [busy, setBusy] = useState(false);
  const registering = mode === 'register' && registration !== 'closed';

  const submit = async (event: FormEvent) => {
    event.preventDefault();
    const found = registering
      ? check(username, password, registration === 'invite' ? invite : null)
      : missing(username, password);
    setProblem(found);
    if (found !== null || busy) return;
    setBusy(true);
    try {
      if (registering) await api.register(username, password, invite === '' ? undefined : invite);
      else await api.login(username, password);
      await onDone();
    } catch (error) {
      setProblem({ field: fieldOf(error), text: explain(error) });
    } finally {
      setBusy(false);
    }
  };

  const swap = () => {
    setMode(registering ? 'log_in' : 'register');
    setProblem(null);
  };

  return (
    <main className="log-in">
      <form className="log-in-form" onSubmit={submit} noValidate>
        <div className="log-in-head">
          <h1>{registering ? 'Register' : 'Log in'}</h1>
          <p>{hostLine(info.data?.name)}</p>
        </div>
        {reason !== null && problem === null && (
          <p className="log-in-note" role="status">
            {reason}
          </p>
        )}
        <Field
          label="Name"
          value={username}
          onChange={setUsername}
          autoComplete="username"
          error={problem?.field === 'username' ? problem.text : null}
          hint={registering ? 'Letters, digits, “_” and “-”. Others see it.' : null}
          first
        />
        <Field
          label="Password"
          type="password"
          value={password}
          onChange={setPassword}
          autoComplete={registering ? 'new-password' : 'current-password'}
          error={problem?.field === 'password' ? problem.text : null}
          hint={registering ? 'At least 8 characters.' : null}
        />
        {registering && registration === 'invite' && (
          <Field
            label="Invite"
            value={invite}
            onChange={setInvite}
            autoComplete="off"
            error={problem?.field === 'invite' ? problem.text : null}
            hint="The code you were given."
          />
        )}
        {problem !== null && problem.field === null && (
          <p className="field-error" role="alert">
            {problem.text}
          </p>
        )}
        <button type="submit" className="button primary" disabled={busy}>
          {registering ? 'Register' : 'Log in'}
        </button>
        <p className="log-in-swap">
          {registration === 'closed' ? (
            info.data === undefined ? (
              '\u00a0'
            ) : (
              'Accounts are made by whoever runs this server.'
            )
          ) : (
            <>
              {registering ? 'You have an account?' : 'New here?'}{' '}
              <button type="button" className="link-button" onClick={swap}>
                {registering ? 'Log in' : 'Register'}
              </button>
            </>
          )}
        </p>
      </form>
    </main>
  );
}

interface FieldProps {
  readonly label: string;
  readonly type?: string;
  readonly value: string;
  readonly onChange: (value: string) => void;
  readonly autoComplete: string;
  readonly error: string | null;
  readonly hint: string | null;
  readonly first?: boolean;
}

export function Field({ label, type = 'text', value, onChange, autoComplete, error, hint, first = false }: FieldProps) {
  const id = useId();
  return (
    <div className="field">
      <label htmlFor={id}>{label}</label>
      <input
        id={id}
        className="input"
        type={type}
        value={value}
        onChange={(event) => onChange(event.target.value)}
        autoComplete={autoComplete}
        autoCapitalize="none"
        spellCheck={false}
        aria-invalid={error !== null}
        aria-describedby={`${id}-more`}
        // biome-ignore lint/a11y/noAutofocus: the page has nothing else to do than to be filled in.
        autoFocus={first}
      />
      <span
        id={`${id}-more`}
        className={error === null ? 'field-hint' : 'field-error'}
        role={error === null ? undefined : 'alert'}
      >
        {error ?? hint}
      </span>
    </div>
  );
}

function hostLine(name: string | undefined): string {
  return name === undefined || name.toLowerCase() === 'natter'
    ? `Natter at ${window.location.host}`
    : `${name} at ${window.location.host}`;
}

function missing(username: string, password: string): Problem | null {
  if (username === '') return { field: 'username', text: 'Enter your name.' };
  return password === '' ? { field: 'password', text: 'Enter your password.' } : null;
}

function check(username: string, password: string, invite: string | null): Problem | null {
  const problem = nameProblem(username);
  if (problem !== null) return { field: 'username', text: problem };
  const length = [...password].length;
  if (length < 8) return { field: 'password', text: 'Use at least 8 characters.' };
  if (length > 256) return { field: 'password', text: 'Use at most 256 characters.' };
  return invite === '' ? { field: 'invite', text: 'Enter the invite you were given.' } : null;
}

function fieldOf(error: unknown): Problem['field'] {
  if (!(error instanceof ApiError)) return null;
  if (error.code === 'name_taken' || error.code === 'invalid_name') return 'username';
  if (error.code === 'invalid_password') return 'password';
  return error.field === 'invite' ? 'invite' : null;
}
