// Every bound of the user interface, named once.

/** Characters (Unicode scalar values) in one message until the server has named its own bound. */
export const MESSAGE_CHARS = 4000;
/** From how many characters before the bound the composer counts down. */
export const COUNTDOWN_FROM = 200;
/** Messages of one author within this time stand together. Milliseconds. */
export const GROUP_SPAN = 5 * 60_000;
/** How near to the end still counts as the end. Pixels. */
export const END_SLACK = 40;
/** How far outside the view history is fetched before it is seen. Pixels. */
export const PREFETCH = 1400;
/** Names offered for completion at once. */
export const COMPLETIONS = 8;
/** Results of one kind that a search shows. */
export const RESULTS = 20;
/** Members fetched at once for the details panel. */
export const MEMBER_PAGE = 100;
/** Names of people typing that are spelt out. */
export const TYPING_NAMES = 3;
/** How long a lost connection is not mentioned. Milliseconds. */
export const BANNER_DELAY = 2000;
/** How long a notice stays. Milliseconds. */
export const TOAST_TIME = 6000;
/** Notices on show at once; the oldest gives way. */
export const TOASTS = 3;
/** Announcements for screen readers are gathered for this long, and at most so many are spelt out. */
export const ANNOUNCE_EVERY = 1500;
export const ANNOUNCE_AT_MOST = 3;
/** Pause after typing before a search goes to the server. Milliseconds. */
export const SEARCH_PAUSE = 150;
/** Emoji in a line of nothing else, up to which they are shown larger. */
export const LARGE_EMOJI = 12;
/** Characters of a message quoted above its reply. */
export const QUOTE_CHARS = 140;
/** Rooms of one kind that the sidebar shows before somebody asks for all. */
export const SIDEBAR_ROOMS = 20;
/** Characters of a message that are read out when its row takes the focus. */
export const SPOKEN_CHARS = 500;
/** How long a message that was looked for stands out. Milliseconds. */
export const FLASH_TIME = 1600;
