// Two pages come out of one build: the chat client and the admin area. The
// server sends a strict content security policy, so nothing may be inlined
// into the pages: no module preload script, no data: fonts, no inline styles.
import react from '@vitejs/plugin-react';
import { defineConfig } from 'vitest/config';

/** Where `npm run dev` sends what belongs to the server. */
const backend = process.env.NATTER_BACKEND ?? 'http://127.0.0.1:8080';

export default defineConfig({
  plugins: [
    react(),
    {
      name: 'natter-pages',
      // The server answers `/chat/...` with the client and `/admin` with the
      // admin page; the development server has to do the same.
      configureServer(server) {
        server.middlewares.use((request, _response, next) => {
          const path = (request.url ?? '/').split('?')[0] ?? '/';
          if (path === '/admin' || path.startsWith('/admin/')) request.url = '/admin.html';
          else if (path.startsWith('/chat/')) request.url = '/index.html';
          next();
        });
      },
    },
  ],
  server: {
    port: 5173,
    strictPort: true,
    proxy: {
      '/api': { target: backend, changeOrigin: false },
      '/ws': { target: backend, ws: true, changeOrigin: false },
    },
  },
  build: {
    outDir: 'dist',
    emptyOutDir: true,
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
    target: 'es2022',
    cssTarget: ['chrome123', 'firefox121', 'safari17.5'],
    manifest: 'manifest.json',
    rolldownOptions: { input: { index: 'index.html', admin: 'admin.html' } },
  },
  test: {
    include: ['src/**/*.test.{ts,tsx}'],
    environment: 'node',
    restoreMocks: true,
  },
});
