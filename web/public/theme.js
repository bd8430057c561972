// Runs before the first paint, on both pages: a chosen theme never flashes the other one. theme.ts does the rest.
try {
  const theme = localStorage.getItem('natter.theme');
  if (theme === 'light' || theme === 'dark') document.documentElement.dataset.theme = theme;
} catch {
  // Without storage the system's theme holds.
}
