// The chat client's entry: theme, storage, the protocol client, then React.

import './tokens.css';
import './base.css';
import { QueryClient, QueryClientProvider } from '@tanstack/react-query';
import { StrictMode } from 'react';
import { createRoot } from 'react-dom/client';
import { createClient, MemoryStorage, openIdbStorage } from '../client';
import { App } from './app';
import { ClientContext } from './parts/context';
import { applyTheme } from './parts/theme';

applyTheme();

const queries = new QueryClient({
  defaultOptions: { queries: { staleTime: 30_000, retry: 1, refetchOnWindowFocus: false } },
});

async function begin(root: HTMLElement): Promise<void> {
  // Without IndexedDB (private windows of some browsers) what waits lasts as long as the page.
  const storage = await openIdbStorage().catch(() => new MemoryStorage());
  const client = createClient({ storage });
  createRoot(root).render(
    <StrictMode>
      <QueryClientProvider client={queries}>
        <ClientContext value={client}>
          <App />
        </ClientContext>
      </QueryClientProvider>
    </StrictMode>,
  );
}

const root = document.getElementById('root');
if (root !== null) void begin(root);
