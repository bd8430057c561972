// The admin area's entry: theme, then React. The server decides who may do what; this page only asks.

import '../ui/tokens.css';
import '../ui/base.css';
import './admin.css';
import './tables.css';
import { QueryClientProvider } from '@tanstack/react-query';
import { StrictMode } from 'react';
import { createRoot } from 'react-dom/client';
import { applyTheme } from '../ui/parts/theme';
import { Admin } from './admin';
import { queries } from './wire';

applyTheme();

const root = document.getElementById('root');
if (root !== null) {
  createRoot(root).render(
    <StrictMode>
      <QueryClientProvider client={queries}>
        <Admin />
      </QueryClientProvider>
    </StrictMode>,
  );
}
