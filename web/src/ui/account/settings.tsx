// Account settings: theme, password, sessions, log out.

import './settings.css';
import { useMutation, useQuery, useQueryClient } from '@tanstack/react-query';
import { type FormEvent, useState } from 'react';
import { ApiError, type SessionInfo } from '../../client';
import { dateTime } from '../logic/time';
import { Choice } from '../nav/new-room';
import { useChat, useClient } from '../parts/context';
import { Dialog } from '../parts/dialog';
import { explain } from '../parts/explain';
import { setTheme, useTheme } from '../parts/theme';
import { toast } from '../parts/toasts';
import { agentName } from './agent-name';
import { Field } from './log-in';

interface SettingsProps {
  readonly onClose: () => void;
  readonly onLoggedOut: () => void;
}

export default function Settings({ onClose, onLoggedOut }: SettingsProps) {
  const client = useClient();
  const { me, queued, failed } = useChat();
  const theme = useTheme();
  const [busy, setBusy] = useState(false);
  const waiting = queued + failed;

  const logOut = async () => {
    setBusy(true);
    try {
      await client.logout();
      onLoggedOut();
    } catch (error) {
      setBusy(false);
      toast(explain(error));
    }
  };

  return (
    <Dialog title={me === null ? 'Settings' : `Settings for ${me.username}`} onClose={onClose} className="wide">
      <div className="settings">
        <section>
          <Choice
            legend="Colours"
            value={theme}
            onChange={setTheme}
            options={[
              { value: 'system', label: 'As the system has it' },
              { value: 'light', label: 'Light' },
              { value: 'dark', label: 'Dark' },
            ]}
          />
        </section>
        <Password />
        <Sessions />
        <section>
          <h3>Log out</h3>
          <p className="field-hint">
            {waiting === 0
              ? 'Ends this session. Drafts on this device are forgotten.'
              : `Ends this session. ${waiting === 1 ? 'A message that is not sent yet' : `${waiting} messages that are not sent yet`} and drafts on this device are forgotten.`}
          </p>
          <div>
            <button type="button" className="button" onClick={() => void logOut()} disabled={busy}>
              Log out
            </button>
          </div>
        </section>
      </div>
    </Dialog>
  );
}

function Password() {
  const { api } = useClient();
  const queries = useQueryClient();
  const [current, setCurrent] = useState('');
  const [next, setNext] = useState('');
  const [problem, setProblem] = useState<{ field: 'current' | 'next' | null; text: string } | null>(null);
  const [done, setDone] = useState(false);
  const change = useMutation({
    mutationFn: () => api.changePassword(current, next),
    onSuccess: () => {
      setCurrent('');
      setNext('');
      setDone(true);
      void queries.invalidateQueries({ queryKey: ['sessions'] });
    },
    onError: (error) => {
      const code = error instanceof ApiError ? error.code : '';
      if (code === 'bad_credentials') setProblem({ field: 'current', text: 'That is not your password.' });
      else setProblem({ field: code === 'invalid_password' ? 'next' : null, text: explain(error) });
    },
  });

  const submit = (event: FormEvent) => {
    event.preventDefault();
    setDone(false);
    if (current === '') setProblem({ field: 'current', text: 'Enter your password.' });
    else if ([...next].length < 8) setProblem({ field: 'next', text: 'Use at least 8 characters.' });
    else {
      setProblem(null);
      change.mutate();
    }
  };

  return (
    <section>
      <h3>Password</h3>
      <form className="stack" onSubmit={submit} noValidate>
        <Field
          label="Current password"
          type="password"
          value={current}
          onChange={setCurrent}
          autoComplete="current-password"
          error={problem?.field === 'current' ? problem.text : null}
          hint={null}
        />
        <Field
          label="New password"
          type="password"
          value={next}
          onChange={setNext}
          autoComplete="new-password"
          error={problem?.field === 'next' ? problem.text : null}
          hint="At least 8 characters. Your other sessions end."
        />
        <div className="settings-row">
          <button type="submit" className="button" disabled={change.isPending}>
            Change password
          </button>
          <span className={problem?.field === null ? 'field-error' : 'field-hint'} role="status">
            {done ? 'Changed. Your other sessions have ended.' : problem?.field === null ? problem.text : ''}
          </span>
        </div>
      </form>
    </section>
  );
}

function Sessions() {
  const { api } = useClient();
  const queries = useQueryClient();
  const sessions = useQuery({ queryKey: ['sessions'], queryFn: api.sessions, staleTime: 0 });
  const end = useMutation({
    mutationFn: (handle: string) => api.endSession(handle),
    onSettled: () => queries.invalidateQueries({ queryKey: ['sessions'] }),
    onError: (error) => toast(explain(error)),
  });
  return (
    <section>
      <h3>Where you are logged in</h3>
      {sessions.isError && (
        <p className="field-error" role="alert">
          {explain(sessions.error)}
        </p>
      )}
      <ul className="sessions">
        {sessions.isPending && <li className="session skeleton" />}
        {sessions.data?.sessions.map((session) => (
          <SessionLine
            key={session.handle}
            session={session}
            onEnd={() => end.mutate(session.handle)}
            busy={end.isPending}
          />
        ))}
      </ul>
    </section>
  );
}

interface SessionLineProps {
  readonly session: SessionInfo;
  readonly onEnd: () => void;
  readonly busy: boolean;
}

function SessionLine({ session, onEnd, busy }: SessionLineProps) {
  const agent = agentName(session.user_agent);
  return (
    <li className="session">
      <div>
        <p title={session.user_agent ?? undefined}>{agent}</p>
        <p className="field-hint">
          {session.current ? 'This session' : `Last seen ${dateTime(Date.parse(session.last_seen_at))}`}
          {session.address !== null && session.address !== '' && ` · ${session.address}`}
        </p>
      </div>
      {!session.current && (
        <button
          type="button"
          className="button"
          onClick={onEnd}
          disabled={busy}
          aria-label={`End the session ${agent}`}
        >
          End
        </button>
      )}
    </li>
  );
}
