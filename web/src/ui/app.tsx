// Who is there: nobody yet known, nobody, or somebody. Everything else is the shell's.

import { useQueryClient } from '@tanstack/react-query';
import { useCallback, useEffect, useState } from 'react';
import { ApiError, type StopReason } from '../client';
import { LogIn } from './account/log-in';
import { Shell } from './nav/shell';
import { ShellSkeleton } from './nav/skeleton';
import { useClient, useNotices } from './parts/context';
import { explain, explainStop } from './parts/explain';

type State =
  | { readonly who: 'asking' }
  | { readonly who: 'nobody'; readonly reason: string | null }
  | { readonly who: 'me' }
  | { readonly who: 'unreachable'; readonly reason: string };

export function App() {
  const client = useClient();
  const queries = useQueryClient();
  const [state, setState] = useState<State>({ who: 'asking' });

  const start = useCallback(async () => {
    try {
      await client.start();
      setState({ who: 'me' });
    } catch (error) {
      if (error instanceof ApiError && error.status === 401) setState({ who: 'nobody', reason: null });
      else setState({ who: 'unreachable', reason: explain(error) });
    }
  }, [client]);

  useEffect(() => {
    void start();
  }, [start]);

  useNotices((notice) => {
    if (notice.what !== 'stopped') return;
    const { text, action } = explainStop(notice.reason satisfies StopReason);
    if (action !== 'log_in') return;
    client.stop();
    queries.clear();
    setState({ who: 'nobody', reason: text });
  });

  const loggedOut = useCallback(() => {
    queries.clear();
    setState({ who: 'nobody', reason: null });
  }, [queries]);

  switch (state.who) {
    case 'asking':
      return <ShellSkeleton />;
    case 'me':
      return <Shell onLoggedOut={loggedOut} />;
    case 'nobody':
      return <LogIn reason={state.reason} onDone={start} />;
    case 'unreachable':
      return (
        <main className="alone">
          <h1>Natter</h1>
          <p role="alert">{state.reason}</p>
          <button type="button" className="button primary" onClick={() => void start()}>
            Try again
          </button>
        </main>
      );
  }
}
