// Who is there, and if it is a superuser: the tabs. The tab is in the address, so that reload and Back keep it.

import { useQuery } from '@tanstack/react-query';
import { type ReactNode, useEffect, useState } from 'react';
import { Tab, TabList, TabPanel, Tabs } from 'react-aria-components';
import type { Me } from '../client/wire';
import { ActProvider } from './acts';
import { Audit } from './audit';
import { FiguresPanel } from './figures';
import { Invites } from './invites';
import { explainAdmin } from './logic';
import { Messages } from './messages';
import { Rooms } from './rooms';
import { Users } from './users';
import { whoAmI } from './wire';

const TABS = [
  ['figures', 'Live figures'],
  ['users', 'Users'],
  ['rooms', 'Rooms'],
  ['messages', 'Messages'],
  ['audit', 'Audit log'],
  ['invites', 'Invites'],
] as const;

/** The tab, and what stands behind a slash: the room whose messages are asked for. */
function readHash(): { tab: string; rest: string } {
  const [tab = '', rest = ''] = window.location.hash.slice(1).split('/', 2);
  try {
    return { tab: TABS.some(([key]) => key === tab) ? tab : 'figures', rest: decodeURIComponent(rest) };
  } catch {
    return { tab: 'figures', rest: '' };
  }
}

export function Admin() {
  const session = useQuery({ queryKey: ['session'], queryFn: whoAmI, staleTime: 60_000, refetchOnWindowFocus: true });
  if (session.data === undefined && session.isError) {
    return (
      <Alone>
        <p role="alert">{explainAdmin(session.error)}</p>
        <button type="button" className="button primary" onClick={() => void session.refetch()}>
          Try again
        </button>
      </Alone>
    );
  }
  if (session.data === undefined) return <Loading />;
  if (session.data === null) {
    return (
      <Alone>
        <p>You are not logged in. Log in as a superuser, then come back to this page.</p>
        <a className="button primary" href="/">
          Log in
        </a>
      </Alone>
    );
  }
  if (!session.data.superuser) {
    return (
      <Alone>
        <p>
          You are logged in as <strong>{session.data.username}</strong>, who is not a superuser. Ask a superuser to make
          you one, or log in as somebody else.
        </p>
        <a className="button primary" href="/">
          Back to the chat
        </a>
      </Alone>
    );
  }
  return (
    <ActProvider>
      <Area me={session.data} />
    </ActProvider>
  );
}

function Area({ me }: { readonly me: Me }) {
  const [place, setPlace] = useState(readHash);
  useEffect(() => {
    const follow = () => setPlace(readHash());
    window.addEventListener('hashchange', follow);
    return () => window.removeEventListener('hashchange', follow);
  }, []);
  useEffect(() => {
    const label = TABS.find(([key]) => key === place.tab)?.[1] ?? '';
    document.title = `${label} – Natter admin`;
    window.scrollTo(0, 0);
    // On a phone the row of tabs is wider than the page.
    document.querySelector('.tab[data-selected]')?.scrollIntoView({ block: 'nearest', inline: 'center' });
  }, [place.tab]);

  return (
    <Tabs
      className="admin"
      selectedKey={place.tab}
      onSelectionChange={(key) => {
        // The list reports its own first choice too; an address that says the same is left as it is.
        if (key !== readHash().tab) window.location.hash = String(key);
      }}
    >
      <header className="admin-head">
        <h1>Natter admin</h1>
        <p className="admin-me">
          <span className="visually-hidden">You are </span>
          {me.username}
        </p>
        <a className="button" href="/">
          Back to the chat
        </a>
      </header>
      <main className="admin-body">
        <TabList className="tabs" aria-label="Admin area">
          {TABS.map(([key, label]) => (
            <Tab key={key} id={key} className="tab">
              {label}
            </Tab>
          ))}
        </TabList>
        <div className="admin-main">
          <Panel id="figures">
            <FiguresPanel />
          </Panel>
          <Panel id="users">
            <Users me={me.id} />
          </Panel>
          <Panel id="rooms">
            <Rooms />
          </Panel>
          <Panel id="messages">
            <Messages key={place.rest} room={place.rest} />
          </Panel>
          <Panel id="audit">
            <Audit />
          </Panel>
          <Panel id="invites">
            <Invites />
          </Panel>
        </div>
      </main>
    </Tabs>
  );
}

function Panel({ id, children }: { readonly id: string; readonly children: ReactNode }) {
  return (
    <TabPanel id={id} className="panel">
      {children}
    </TabPanel>
  );
}

function Alone({ children }: { readonly children: ReactNode }) {
  return (
    <main className="alone">
      <h1>Natter admin</h1>
      {children}
    </main>
  );
}

function Loading() {
  return (
    <div className="admin" role="status" aria-label="Loading">
      <div className="admin-head">
        <span className="skeleton bar" />
      </div>
      <div className="admin-main">
        <div className="figures">
          {TABS.map(([key]) => (
            <div key={key} className="skeleton figure-skeleton" />
          ))}
        </div>
      </div>
    </div>
  );
}
