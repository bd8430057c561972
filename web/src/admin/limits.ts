// Every bound and time of the admin area, named once.

/** How often the figures are fetched while somebody looks at them. Milliseconds. */
export const FIGURES_EVERY = 5_000;
/** Minutes that a curve shows. */
export const CURVE_MINUTES = 60;
/** Rows fetched at once. */
export const PAGE = 50;
/** Pages of messages held at once; the farthest are forgotten first. */
export const MESSAGE_PAGES = 20;
/** Pause after typing before a search goes to the server. Milliseconds. */
export const SEARCH_PAUSE = 200;
/** How long a notice without a way back stays. One with "Undo" stays until it is dismissed. Milliseconds. */
export const NOTICE_TIME = 6_000;
/** Notices on show at once; the oldest gives way. */
export const NOTICES = 3;
/** Characters of a message that a confirmation quotes. */
export const QUOTE_CHARS = 200;

// Bounds of the server, from docs/openapi.json.
export const NAME_CHARS = 32;
export const TITLE_CHARS = 100;
export const INVITE_USES = 1_000;
export const INVITE_DAYS = 365;
